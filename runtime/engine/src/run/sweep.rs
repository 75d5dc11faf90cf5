//! What killed runs have left.
//!
//! A run holds the lock of its container's directory. Where nobody does, the runtime is asked to end what still runs, and forget it;
//! the directory is the store's to collect.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use store::Collect;

use super::Ground;
use super::end::delete;

/// Takes away all containers that no run attends to any more; cheap when there is none.
pub(crate) fn sweep(ground: &Ground<'_>) -> Result<()> {
    let containers = ground.store.root().join("containers");
    let mut dead = false;
    for id in names(&containers)? {
        dead |= is_free(&containers.join(&id).join("lock"))?;
    }
    for id in names(ground.state)? {
        let lock = containers.join(&id).join("lock");
        // Its directory may have been collected before.
        if !lock.exists() || is_free(&lock)? {
            delete(*ground, &id)?;
        }
    }
    if dead {
        ground.store.collect(Collect::default())?;
        ground.store.sweep()?;
    }
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let said = || format!("read {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
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

/// Tells whether nobody has the lock. Whoever is about to take it waits for us, who give it back at once.
fn is_free(lock: &Path) -> Result<bool> {
    let open = |path| -> io::Result<File> { OpenOptions::new().read(true).open(path) };
    let file = match open(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.with_context(|| format!("open {}", lock.display()))?,
    };
    sys::fs::try_lock(&file).with_context(|| format!("lock {}", lock.display()))
}
