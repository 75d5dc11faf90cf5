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
        Self::attempt_on(path, existing(path))
    }

    fn attempt_on(path: &Path, opened: std::io::Result<File>) -> Result<Option<Self>> {
        let Some(file) = opened.absent().at(path)? else {
            return Ok(None);
        };
        let locked = sys::fs::try_lock(&file).at(path)?;
        let lock = Self(file);
        Ok((locked && lock.is_at(path)?).then_some(lock))
    }

    /// Waits for the lock of a file that is there; `None` where it is gone by then.
    pub(crate) fn wait_existing(path: &Path) -> Result<Option<Self>> {
        let Some(file) = existing(path).absent().at(path)? else {
            return Ok(None);
        };
        sys::fs::lock(&file).at(path)?;
        let lock = Self(file);
        Ok(lock.is_at(path)?.then_some(lock))
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

fn existing(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).open(path)
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}
