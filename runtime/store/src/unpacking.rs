//! Layers: found, and under way. One process unpacks, the others wait; what a killed one has left cannot be gone on with.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use image::Digest;
use rusqlite::OptionalExtension as _;
use sys::fs::{Mode, OFlag};

use crate::blob::refuse_other;
use crate::db;
use crate::error::{Absent, At, Result};
use crate::layout::LAYERS;
use crate::lease::{Kind, Lease};
use crate::lock::{LOCK, Lock, make_dir};
use crate::root::Store;

/// The directory of the files, in the directory of a layer: its mode and owner are the image's, those above it are ours.
pub(crate) const FS: &str = "fs";
pub(crate) const LAYER: &str = "layer";

/// An unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The directory of its files.
    pub path: PathBuf,
    /// Bytes on disk.
    pub size: u64,
}

/// What became of asking for a layer.
#[derive(Debug)]
pub enum Unpack {
    /// It is stored.
    Stored(Layer),
    /// Somebody has unpacked it; the commit takes it as if we had.
    Staged(StagedLayer),
    /// It is ours to unpack.
    New(NewLayer),
}

/// A layer that is complete and verified, and becomes durable by the commit. Dropped without one it stays for the next who asks, until
/// somebody collects unfinished work.
#[derive(Debug, Clone)]
pub struct StagedLayer {
    pub(crate) store: Store,
    pub(crate) diff_id: Digest,
    /// Keeps it until the commit.
    pub(crate) _lease: Lease,
}

/// An empty directory for the files of a layer. Dropped unfinished, it goes to the trash.
#[derive(Debug)]
pub struct NewLayer {
    store: Store,
    lease: Lease,
    expected: Option<Digest>,
    dir: PathBuf,
    fs: OwnedFd,
    /// Given back last.
    _lock: Lock,
}

impl Store {
    /// Returns a layer that is stored, by its diff id.
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<Layer>> {
        let disk = self.db().read(|transaction| {
            let sql = "SELECT disk FROM layers WHERE digest = ?";
            let mut query = transaction.prepare_cached(sql)?;
            let found = query.query_row([diff_id.to_string()], |row| db::count(row, 0));
            Ok(found.optional()?)
        })?;
        let path = self.layout().layer(diff_id).join(FS);
        Ok(disk.map(|size| Layer { path, size }))
    }

    /// Asks for a layer, keeps it by the lease, and waits while another process unpacks it.
    pub fn unpack(&self, lease: &Lease, diff_id: &Digest) -> Result<Unpack> {
        if let Some(found) = self.look_for_layer(lease, diff_id)? {
            return Ok(found);
        }
        let dir = self.layout().unpack(diff_id);
        let lock = self.work_in(&dir)?;
        // Whoever had the lock before may have finished it.
        if let Some(found) = self.look_for_layer(lease, diff_id)? {
            self.clear(&dir);
            return Ok(found);
        }
        let layer = self.new_layer(lease, Some(*diff_id), dir, lock);
        layer.map(Unpack::New)
    }

    /// Begins a layer whose diff id is known at its end.
    pub fn unpack_unknown(&self, lease: &Lease) -> Result<NewLayer> {
        let dir = self.layout().unpack_new();
        let lock = self.work_in(&dir)?;
        self.new_layer(lease, None, dir, lock)
    }

    fn new_layer(
        &self,
        lease: &Lease,
        expected: Option<Digest>,
        dir: PathBuf,
        lock: Lock,
    ) -> Result<NewLayer> {
        let layer = dir.join(LAYER);
        // Left by a kill.
        self.discard(&layer)?;
        make_dir(&layer)?;
        let path = layer.join(FS);
        make_dir(&path)?;
        // What a root directory has that the layer says nothing of, whatever the umask.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).at(&path)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fs = sys::fs::open(&path, flags, Mode::empty()).at(&path)?;
        Ok(NewLayer {
            store: self.clone(),
            lease: lease.clone(),
            expected,
            dir,
            fs,
            _lock: lock,
        })
    }

    fn look_for_layer(&self, lease: &Lease, diff_id: &Digest) -> Result<Option<Unpack>> {
        let _publishing = self.publishing()?;
        lease.hold(&[(Kind::Layer, *diff_id)])?;
        // Somebody may have deleted its files behind the database's back: then it is unpacked once more, and the row is true again.
        if let Some(layer) = self.layer(diff_id)?
            && layer.path.is_dir()
        {
            return Ok(Some(Unpack::Stored(layer)));
        }
        // In the order in which it moves, so that it cannot pass behind our back.
        let layout = self.layout();
        let mut places = [layout.ready_layer(diff_id), layout.layer(diff_id)].into_iter();
        let there = places.any(|place| place.join(FS).exists());
        Ok(there.then(|| Unpack::Staged(self.staged_layer(lease, *diff_id))))
    }

    fn staged_layer(&self, lease: &Lease, diff_id: Digest) -> StagedLayer {
        StagedLayer {
            store: self.clone(),
            diff_id,
            _lease: lease.clone(),
        }
    }

    /// Removes a directory of `unpack/`, whatever is in it. What stays is collected.
    fn clear(&self, dir: &Path) {
        self.discard(&dir.join(LAYER)).ok();
        fs::remove_file(dir.join(LOCK)).ok();
        fs::remove_dir(dir).ok();
    }
}

impl StagedLayer {
    /// Returns its diff id.
    #[must_use]
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Returns the directory of its files, as of now: a commit, of whomever, moves it.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let ready = self.store.layout().ready_layer(&self.diff_id).join(FS);
        if ready.exists() {
            return ready;
        }
        self.store.layout().layer(&self.diff_id).join(FS)
    }
}

impl NewLayer {
    /// Returns the directory to unpack into: empty, mode 0755, of this user.
    #[must_use]
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.fs.as_fd()
    }

    /// Returns the data root that it is in, for messages.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// Returns where it is, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(LAYER).join(FS)
    }

    /// Ends it; `diff_id` is what the caller has computed over the tar.
    ///
    /// Fails with [`Error::Wrong`](crate::Error::Wrong) when that is not what was asked for.
    pub fn finish(self, diff_id: &Digest) -> Result<StagedLayer> {
        refuse_other(self.expected.unwrap_or(*diff_id), *diff_id)?;
        let layout = self.store.layout();
        let _publishing = self.store.publishing()?;
        self.lease.hold(&[(Kind::Layer, *diff_id)])?;
        let ready = layout.ready();
        make_dir(&ready)?;
        make_dir(&ready.join(LAYERS))?;
        // One that was imported may be there already: then ours goes to the trash, by Drop.
        move_new(&self.dir.join(LAYER), &layout.ready_layer(diff_id))?;
        Ok(self.store.staged_layer(&self.lease, *diff_id))
    }
}

impl Drop for NewLayer {
    fn drop(&mut self) {
        // Gone already where it was finished.
        self.store.clear(&self.dir);
    }
}

/// Renames a directory; tells whether that happened, or another one was there before, or it was moved by somebody else.
pub(crate) fn move_new(from: &Path, to: &Path) -> Result<bool> {
    use std::io::ErrorKind::{AlreadyExists, DirectoryNotEmpty};
    match fs::rename(from, to).absent() {
        Ok(moved) => Ok(moved.is_some()),
        Err(error) if matches!(error.kind(), AlreadyExists | DirectoryNotEmpty) => Ok(false),
        Err(error) => Err(error).at(to),
    }
}
