//! The trash: what is no longer named is moved here by one rename, and deleted by whoever has the time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::error::{Absent, At, Result};
use crate::layout::{NEW, TRASH, TRASH_LOCK};
use crate::lock::{LOCK, Lock, make_dir};
use crate::remove::remove;
use crate::root::{Store, names_in};
use crate::walk::measure;

impl Store {
    /// Deletes what is in the trash, and returns how many entries that were. Where another process does it already, returns 0 at once.
    ///
    /// What cannot be deleted does not keep the rest: the first error is returned at the end.
    pub fn sweep(&self) -> Result<u64> {
        let trash = self.layout().at(TRASH);
        let mut swept = 0;
        // Again after the lock is given back: what came to the trash while we had it, others have left to us.
        while !self.sweepable()?.is_empty() {
            let Some(_lock) = Lock::attempt(&self.layout().at(TRASH_LOCK))? else {
                break;
            };
            let mut failed = None;
            let names = self.sweepable()?;
            if names.iter().any(|name| is_bin(name)) {
                // Whoever filled it may have been killed before he did so.
                self.sync_content()?;
            }
            for name in names {
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
        let free = || Lock::attempt(&self.layout().at(TRASH_LOCK));
        Ok(!self.sweepable()?.is_empty() && free()?.is_some())
    }

    /// Returns what may be deleted: all but the bins of the living.
    fn sweepable(&self) -> Result<Vec<PathBuf>> {
        let trash = self.layout().at(TRASH);
        let mut names = Vec::new();
        for name in names_in(&trash)? {
            // Anything else may hold files of an image, with any name.
            if !is_bin(&name) || is_free(&trash.join(&name).join(LOCK))? {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Moves something to the trash; returns where it is now, and nothing if it was not there.
    pub(crate) fn discard(&self, path: &Path) -> Result<Option<PathBuf>> {
        let target = self.layout().trash();
        let moved = fs::rename(path, &target).absent().at(path)?;
        Ok(moved.map(|()| target))
    }
}

/// Tells whether somebody has collected things in it.
fn is_bin(name: &Path) -> bool {
    name.to_string_lossy().starts_with(NEW)
}

/// Tells whether nobody has the lock, or nobody ever took it.
fn is_free(lock: &Path) -> Result<bool> {
    match File::open(lock).absent().at(lock)? {
        Some(file) => sys::fs::try_lock(&file).at(lock),
        None => Ok(true),
    }
}

/// Things on their way out: in the trash already, and nobody deletes them before this is dropped. Made by who is alone.
///
/// Meanwhile its owner makes durable that they have left their places, and looks how large they were. Where he is killed before, the sweep
/// makes it durable.
#[derive(Debug)]
pub(crate) struct Bin<'a> {
    store: &'a Store,
    /// Made for the first thing.
    made: Option<(PathBuf, Lock)>,
    /// How many things are in it.
    count: u64,
    /// Whose size nobody knows yet.
    unmeasured: Vec<PathBuf>,
    bytes: u64,
}

impl<'a> Bin<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            made: None,
            count: 0,
            unmeasured: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes something away, if it is there. `bytes`: what it takes up on disk, where that is known.
    pub(crate) fn take(&mut self, path: &Path, bytes: Option<u64>) -> Result<()> {
        if self.made.is_none() {
            self.made = Some(self.make()?);
        }
        let Some((dir, _)) = &self.made else {
            return Ok(());
        };
        let target = dir.join(self.count.to_string());
        if fs::rename(path, &target).absent().at(path)?.is_some() {
            self.count += 1;
            self.bytes += bytes.unwrap_or(0);
            self.unmeasured.extend(bytes.is_none().then_some(target));
        }
        Ok(())
    }

    /// Locked before it is in the trash, where a free one is somebody's who has ended.
    fn make(&self) -> Result<(PathBuf, Lock)> {
        let layout = self.store.layout();
        let (from, to) = (layout.unpack_new(), layout.trash_new());
        // Even a directory may be too much for a full disk.
        let lock = self.store.with_spare(|| {
            make_dir(&from)?;
            Lock::exclusive(&from.join(LOCK))
        })?;
        fs::rename(&from, &to).at(&from)?;
        Ok((to, lock))
    }

    /// Returns the bytes on disk of all that was taken. To be asked when nobody waits: it may be a large tree.
    pub(crate) fn measure(self) -> Result<u64> {
        let sizes = self.unmeasured.iter().map(|path| measure(path));
        Ok(self.bytes + sizes.sum::<Result<u64>>()?)
    }
}
