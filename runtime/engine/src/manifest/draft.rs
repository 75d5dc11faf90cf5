//! A list that is being put together: a file for each, in the data root.
//!
//! ```text
//! ROOT/lists/HEX of the name's sha256     JSON: { "name": canonical, "members": [ { "name": canonical, "descriptor": .. } ] }
//! ROOT/lists/HEX.new                      the same while it is written
//! ```
//!
//! Who changes one has the lock (flock(2)) of the folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use image::{Descriptor, Digest, Index, Reference, media};
use serde::{Deserialize, Serialize};
use store::Store;

/// A list, as it is up to now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub name: String,
    pub members: Vec<Member>,
}

/// An image on the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

fn folder(store: &Store) -> PathBuf {
    store.root().join("lists")
}

fn path(store: &Store, name: &Reference) -> PathBuf {
    folder(store).join(Digest::of(name.canonical().as_bytes()).hex())
}

/// The right to change lists: from reading one to writing it nobody else changes any. The kernel gives it back when its owner is killed.
#[derive(Debug)]
pub(crate) struct Writing(File);

/// Waits for the right to change lists, and removes what a killed owner has left.
pub(crate) fn writing(store: &Store) -> Result<Writing> {
    let folder = folder(store);
    let named = || format!("change the manifest lists in {}", folder.display());
    fs::create_dir_all(&folder).with_context(named)?;
    let dir = File::open(&folder).with_context(named)?;
    dir.lock().with_context(named)?;
    for entry in fs::read_dir(&folder).with_context(named)? {
        let path = entry.with_context(named)?.path();
        if path.extension().is_some() {
            fs::remove_file(&path).with_context(named)?;
        }
    }
    Ok(Writing(dir))
}

/// Reads a list, if there is one of that name.
pub(crate) fn read(store: &Store, name: &Reference) -> Result<Option<Draft>> {
    let path = path(store, name);
    let named = || format!("read the manifest list {name} in {}", path.display());
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(named)?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(named),
    }
}

impl Writing {
    /// Writes a list in the place of what was there: after a power cut it is the one or the other.
    pub(crate) fn write(&self, store: &Store, name: &Reference, draft: &Draft) -> Result<()> {
        let path = path(store, name);
        let named = || format!("write the manifest list {name} in {}", path.display());
        let aside = path.with_extension("new");
        let bytes = serde_json::to_vec(draft).with_context(named)?;
        let written = (|| {
            let mut file = File::create(&aside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            self.0.sync_all()?;
            // The folder itself may be new.
            File::open(store.root())?.sync_all()
        })();
        if written.is_err() {
            // Else the next who writes removes it.
            drop(fs::remove_file(&aside));
        }
        written.with_context(named)
    }

    /// Forgets a list; false when there was none.
    pub(crate) fn remove(&self, store: &Store, name: &Reference) -> Result<bool> {
        let path = path(store, name);
        let removed = fs::remove_file(&path).and_then(|()| self.0.sync_all());
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("remove {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_change_a_list_at_once_lose_nothing_and_leave_nothing() {
        let root = std::env::temp_dir().join(format!("engine-draft-{}", std::process::id()));
        let store = Store::open(&root).unwrap();
        let name: Reference = "list:1".parse().unwrap();
        let writing = writing(&store).unwrap();
        let empty = Draft {
            name: name.canonical(),
            members: Vec::new(),
        };
        writing.write(&store, &name, &empty).unwrap();
        drop(writing);
        // Of a killed one, of today and of before.
        for left in [
            path(&store, &name).with_extension("new"),
            folder(&store).join("x.123"),
        ] {
            fs::write(left, "{").unwrap();
        }
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (store, name) = (&store, &name);
                scope.spawn(move || {
                    for at in 0..10 {
                        let writing = super::writing(store).unwrap();
                        let mut draft = read(store, name).unwrap().unwrap();
                        let digest = Digest::of(&[thread, at]);
                        draft.members.push(Member {
                            name: format!("member:{thread}-{at}"),
                            descriptor: Descriptor::new(media::OCI_MANIFEST, digest, 1),
                        });
                        writing.write(store, name, &draft).unwrap();
                    }
                });
            }
        });
        let draft = read(&store, &name).unwrap().unwrap();
        assert_eq!(draft.members.len(), 40);
        assert_eq!(fs::read_dir(folder(&store)).unwrap().count(), 1);
        let writing = super::writing(&store).unwrap();
        assert!(writing.remove(&store, &name).unwrap());
        assert!(!writing.remove(&store, &name).unwrap());
        fs::remove_dir_all(&root).unwrap();
    }
}
