//! Directories of containers.

use std::path::{Path, PathBuf};

use image::Digest;

use crate::error::Result;
use crate::layout::{CONTAINERS, TRASH, unique};
use crate::lock::Lock;
use crate::remove::remove;
use crate::root::Store;

/// The directory of a new container, which is removed with all that is in it when this is dropped, or by the next collect when its
/// process was killed. The layers that it stands on are kept by a lease.
#[derive(Debug)]
pub struct NewContainer {
    store: Store,
    id: String,
    path: PathBuf,
    _lock: Lock,
    removed: bool,
}

impl Store {
    /// Makes the directory of a new container.
    pub fn container(&self) -> Result<NewContainer> {
        let id = Digest::of(unique().as_bytes()).hex();
        let path = self.layout().at(CONTAINERS).join(&id);
        let lock = self.work_in(&path)?;
        let store = self.clone();
        Ok(NewContainer {
            store,
            id,
            path,
            _lock: lock,
            removed: false,
        })
    }
}

impl NewContainer {
    /// Returns the container's id: 64 hexadecimal digits that nothing else has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the directory; `lock` in it is ours, the rest is the caller's.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory and all that is in it.
    pub fn remove(mut self) -> Result<()> {
        self.clear()
    }

    fn clear(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.removed, true) {
            return Ok(());
        }
        // At once, and not by the sweep: it is small, and whoever made it waits for it to be gone.
        match self.store.discard(&self.path)?.as_deref() {
            Some(trashed) => match trashed.file_name() {
                Some(name) => remove(&self.store.layout().at(TRASH), Path::new(name)),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}

impl Drop for NewContainer {
    fn drop(&mut self) {
        // What stays is collected.
        self.clear().ok();
    }
}
