//! The trash: what is no longer named is moved here by one rename, and deleted by whoever has the time.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Absent, At, Result};
use crate::layout::{TRASH, TRASH_LOCK};
use crate::lock::Lock;
use crate::remove::remove;
use crate::root::{Store, names_in};

impl Store {
    /// Deletes what is in the trash, and returns how many entries that were. Where another process does it already, returns 0 at once.
    ///
    /// What cannot be deleted does not keep the rest: the first error is returned at the end.
    pub fn sweep(&self) -> Result<u64> {
        let trash = self.layout().at(TRASH);
        let mut swept = 0;
        // Again after the lock is given back: what came to the trash while we had it, others have left to us.
        while !names_in(&trash)?.is_empty() {
            let Some(_lock) = Lock::attempt(&self.layout().at(TRASH_LOCK))? else {
                break;
            };
            let mut failed = None;
            for name in names_in(&trash)? {
                match remove(&trash, &name) {
                    Ok(()) => swept += 1,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(swept)
    }

    /// Tells whether there is something in the trash and nobody who deletes it.
    pub fn unswept(&self) -> Result<bool> {
        if names_in(&self.layout().at(TRASH))?.is_empty() {
            return Ok(false);
        }
        Ok(Lock::attempt(&self.layout().at(TRASH_LOCK))?.is_some())
    }

    /// Moves something to the trash; returns where it is now, and nothing if it was not there.
    pub(crate) fn discard(&self, path: &Path) -> Result<Option<PathBuf>> {
        let target = self.layout().trash();
        let moved = fs::rename(path, &target).absent().at(path)?;
        Ok(moved.map(|()| target))
    }
}
