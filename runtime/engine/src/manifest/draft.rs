//! A list that is being put together: a file for each, in the data root.
//!
//! ```text
//! ROOT/lists/HEX of the name's sha256     JSON: { "name": canonical, "members": [ { "name": canonical, "descriptor": .. } ] }
//! ```

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use image::{Descriptor, Digest, Index, Reference, media};
use serde::{Deserialize, Serialize};
use store::Store;

/// A list, as it is up to now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub name: String,
    pub members: Vec<Member>,
}

/// An image on the list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Where it comes from, with everything said.
    pub name: String,
    pub descriptor: Descriptor,
}

impl Draft {
    /// The list as it will be pushed: docker's where all members are docker's, else OCI's.
    pub(crate) fn index(&self) -> Result<Index> {
        let members: Vec<Descriptor> = self
            .members
            .iter()
            .map(|member| member.descriptor.clone())
            .collect();
        let docker = |member: &Descriptor| member.media_type == media::DOCKER_MANIFEST;
        let all = !members.is_empty() && members.iter().all(docker);
        let mut index = Index::new(members);
        if all {
            index.media_type = media::DOCKER_LIST.to_string();
        }
        Ok(index)
    }
}

fn path(store: &Store, name: &Reference) -> PathBuf {
    store
        .root()
        .join("lists")
        .join(Digest::of(name.canonical().as_bytes()).hex())
}

/// Reads a list, if there is one of that name.
pub(crate) fn read(store: &Store, name: &Reference) -> Result<Option<Draft>> {
    let path = path(store, name);
    let named = || format!("read the manifest list {name} in {}", path.display());
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(named)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(named),
    }
}

/// Writes a list, in the place of what was there, by rename.
pub(crate) fn write(store: &Store, name: &Reference, draft: &Draft) -> Result<()> {
    let path = path(store, name);
    let named = || format!("write the manifest list {name} in {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(named)?;
    }
    let aside = path.with_extension(std::process::id().to_string());
    let bytes = serde_json::to_vec(draft).with_context(named)?;
    fs::write(&aside, bytes).with_context(named)?;
    fs::rename(&aside, &path).with_context(named)
}

/// Forgets a list; false when there was none.
pub(crate) fn remove(store: &Store, name: &Reference) -> Result<bool> {
    let path = path(store, name);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("remove {}", path.display())),
    }
}
