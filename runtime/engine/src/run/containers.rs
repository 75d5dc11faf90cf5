//! The directories of containers: whose run lives, and which image each stands on.
//!
//! ```text
//! containers/ID/lock     the store's; held as long as the run lives
//! containers/ID/image    the image's id; written before anything is looked up of the image
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use image::Digest;
use store::Store;

/// A container, of a run that lives or one that was killed.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) id: String,
    /// Unknown of one that was killed, or is looked at, before it had said so.
    pub(crate) image: Option<Digest>,
    /// Somebody attends to it.
    pub(crate) running: bool,
}

impl Found {
    /// The id as people are told it.
    pub(crate) fn short(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// Says which image a container stands on.
pub(super) fn note(container: &Path, image: &Digest) -> Result<()> {
    let path = container.join("image");
    fs::write(&path, image.to_string()).map_err(|error| store::Error::at(&path, error).into())
}

/// Lists all containers of a store, those that are running first.
pub(crate) fn list(store: &Store) -> Result<Vec<Found>> {
    let place = place(store);
    let mut found = Vec::new();
    for id in names(&place)? {
        let dir = place.join(&id);
        let Some(running) = is_held(&dir.join("lock"))? else {
            continue;
        };
        let image = fs::read_to_string(dir.join("image")).ok();
        found.push(Found {
            id,
            image: image.and_then(|text| text.parse().ok()),
            running,
        });
    }
    found.sort_by_key(|container| !container.running);
    Ok(found)
}

pub(super) fn place(store: &Store) -> PathBuf {
    store.root().join("containers")
}

/// Returns the names in a directory, which need not be there.
pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let said = || format!("read {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(said)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.with_context(said)?.file_name();
        // What is no text is not ours; what begins with a dot is the runtime's own.
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| !name.starts_with('.')),
        );
    }
    Ok(names)
}

/// Tells whether somebody has the lock; nothing when there is none. Whoever is about to take it waits for us, who give it back at once,
/// and others may look at the same time.
pub(super) fn is_held(lock: &Path) -> Result<Option<bool>> {
    let open = |path| -> io::Result<File> { OpenOptions::new().read(true).open(path) };
    let file = match open(lock) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        other => other.with_context(|| format!("open {}", lock.display()))?,
    };
    let free = sys::fs::try_lock_shared(&file);
    let free = free.with_context(|| format!("lock {}", lock.display()))?;
    Ok(Some(!free))
}
