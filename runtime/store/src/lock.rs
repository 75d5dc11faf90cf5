//! Files that are locked as long as somebody lives (flock(2)).
//!
//! The lock goes with the open file: it is given back when the last descriptor is closed, by whatever end. A child that inherits the
//! descriptor has it, too; it is never given back explicitly.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Absent, At, Result};

/// The name of the lock in a directory that somebody works in.
pub(crate) const LOCK: &str = "lock";

/// A lock that this process has.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Makes the file if it is not there, and waits for its exclusive lock.
    pub(crate) fn exclusive(path: &Path) -> Result<Self> {
        let file = open(path).at(path)?;
        sys::fs::lock(&file).at(path)?;
        Ok(Self(file))
    }

    /// Makes the file if it is not there, and waits for a shared lock.
    pub(crate) fn shared(path: &Path) -> Result<Self> {
        let file = open(path).at(path)?;
        sys::fs::lock_shared(&file).at(path)?;
        Ok(Self(file))
    }

    /// Takes the lock if nobody has it; `None` as well where the directory is gone, or the file was moved away meanwhile.
    pub(crate) fn attempt(path: &Path) -> Result<Option<Self>> {
        Self::attempt_on(path, open(path))
    }

    /// The same of a file that is there, and is not to be made.
    pub(crate) fn attempt_existing(path: &Path) -> Result<Option<Self>> {
        Self::attempt_on(path, File::options().read(true).write(true).open(path))
    }

    fn attempt_on(path: &Path, opened: std::io::Result<File>) -> Result<Option<Self>> {
        let Some(file) = opened.absent().at(path)? else {
            return Ok(None);
        };
        let locked = sys::fs::try_lock(&file).at(path)?;
        let lock = Self(file);
        Ok((locked && lock.is_at(path)?).then_some(lock))
    }

    /// Makes a new file, and takes its lock; `None` when a cleaner was there before the lock was.
    pub(crate) fn new_file(path: &Path) -> Result<Option<Self>> {
        let lock = Self::exclusive(path)?;
        Ok(lock.is_at(path)?.then_some(lock))
    }

    /// Makes the directory if it is not there, and waits for the lock in it. Whoever cleans up may move the directory away before:
    /// then it is made anew.
    pub(crate) fn directory(dir: &Path) -> Result<Self> {
        let path = dir.join(LOCK);
        loop {
            make_dir(dir)?;
            let Some(file) = open(&path).absent().at(&path)? else {
                continue;
            };
            sys::fs::lock(&file).at(&path)?;
            let lock = Self(file);
            if lock.is_at(&path)? {
                return Ok(lock);
            }
        }
    }

    fn is_at(&self, path: &Path) -> Result<bool> {
        let ours = self.0.metadata().at(path)?;
        let there = path.symlink_metadata().absent().at(path)?;
        Ok(there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes a directory of ours, unless it is there.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.at(dir),
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}
