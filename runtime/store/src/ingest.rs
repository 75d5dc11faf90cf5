//! Blobs under way: one process fetches, the others wait, and what a killed one has written is not fetched again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use image::Digest;

use crate::blob::{Found, StagedBlob, refuse_other};
use crate::error::{Absent, At, Error, Result};
use crate::layout::{BLOBS, READY, dashed};
use crate::lease::{Kind, Lease};
use crate::lock::{LOCK, Lock, make_dir};
use crate::root::{Store, names_in};
use crate::spans::{RECORD, Spans};

pub(crate) const DATA: &str = "data";
const HAVE: &str = "have";

/// What became of asking for a blob.
#[derive(Debug)]
pub enum Ingest {
    /// It is stored, and has this many bytes.
    Stored(u64),
    /// Somebody has finished it; the commit takes it as if we had.
    Staged(StagedBlob),
    /// It is ours to fetch, or to go on with.
    Partial(Partial),
}

/// A blob that this process fetches. Dropped, it stays as it is, for the next who asks.
#[derive(Debug)]
pub struct Partial {
    store: Store,
    lease: Lease,
    digest: Digest,
    size: u64,
    dir: PathBuf,
    data: File,
    have: File,
    spans: Mutex<Spans>,
    /// Given back last.
    _lock: Lock,
}

/// A blob that is made here, whose digest is known at its end. Dropped before, it is removed.
#[derive(Debug)]
pub struct Unknown {
    store: Store,
    lease: Lease,
    dir: PathBuf,
    data: File,
    size: u64,
    _lock: Lock,
}

impl Store {
    /// Asks for a blob of `size` bytes, keeps it by the lease, and waits while another process fetches it.
    ///
    /// Where it is there already, its size is what it is, whatever `size` says.
    pub fn ingest(&self, lease: &Lease, digest: &Digest, size: u64) -> Result<Ingest> {
        if let Some(found) = self.found(lease, digest)? {
            return Ok(found);
        }
        let dir = self.layout().ingest(digest);
        let lock = self.work_in(&dir)?;
        // Whoever had the lock before may have finished it.
        if let Some(found) = self.found(lease, digest)? {
            // Part of what is whole elsewhere by now: nobody would go on with it.
            fs::remove_file(dir.join(DATA)).ok();
            clear(&dir);
            return Ok(found);
        }
        self.recover(digest, &dir)?;
        Partial::open(self, lease, *digest, size, dir, lock).map(Ingest::Partial)
    }

    /// Begins a blob whose digest is not known yet.
    pub fn ingest_unknown(&self, lease: &Lease) -> Result<Unknown> {
        let dir = self.layout().ingest_new();
        let lock = self.work_in(&dir)?;
        let data = open(&dir.join(DATA))?;
        Ok(Unknown {
            store: self.clone(),
            lease: lease.clone(),
            dir,
            data,
            size: 0,
            _lock: lock,
        })
    }

    fn found(&self, lease: &Lease, digest: &Digest) -> Result<Option<Ingest>> {
        Ok(match self.look_for_blob(lease, digest)? {
            Found::Stored(size) => Some(Ingest::Stored(size)),
            Found::Staged(size) => Some(Ingest::Staged(self.staged(lease, *digest, size))),
            Found::Nowhere => None,
        })
    }

    /// Goes on with what was finished before the power went: it may be all there, which the hash at the end says.
    fn recover(&self, digest: &Digest, dir: &Path) -> Result<()> {
        let ready = self.layout().at(READY);
        for boot in names_in(&ready)? {
            let path = ready.join(&boot).join(BLOBS).join(dashed(digest));
            if boot.as_os_str() == self.layout().boot.as_str() || dir.join(DATA).exists() {
                continue;
            }
            let Some(file) = fs::symlink_metadata(&path).absent().at(&path)? else {
                continue;
            };
            // It may be collected just now.
            if fs::rename(&path, dir.join(DATA))
                .absent()
                .at(&path)?
                .is_some()
            {
                let (_, record) = Spans::default().add(&(0..file.len()));
                let have = dir.join(HAVE);
                fs::write(&have, record).at(&have)?;
            }
        }
        Ok(())
    }

    /// Puts what is complete and verified where a commit, of whomever, finds it.
    fn make_ready(&self, dir: &Path, digest: &Digest) -> Result<()> {
        let ready = self.layout().ready();
        make_dir(&ready)?;
        make_dir(&ready.join(BLOBS))?;
        let data = dir.join(DATA);
        fs::rename(&data, self.layout().ready_blob(digest)).at(&data)
    }
}

impl Partial {
    fn open(
        store: &Store,
        lease: &Lease,
        digest: Digest,
        size: u64,
        dir: PathBuf,
        lock: Lock,
    ) -> Result<Self> {
        let data = open(&dir.join(DATA))?;
        let have_path = dir.join(HAVE);
        let have = open(&have_path)?;
        let written = data.metadata().at(&dir)?.len();
        if written > size {
            // Whoever began it was told another size.
            data.set_len(size).at(&dir)?;
        }
        let records = fs::read(&have_path).at(&have_path)?;
        let spans = Spans::read(&records, size, written);
        let file = spans.file();
        if file != records {
            // In this order: a kill in between costs bytes that are fetched again.
            have.set_len(0).at(&have_path)?;
            have.write_all_at(&file, 0).at(&have_path)?;
        }
        let spans = Mutex::new(spans);
        Ok(Self {
            store: store.clone(),
            lease: lease.clone(),
            digest,
            size,
            dir,
            data,
            have,
            spans,
            _lock: lock,
        })
    }

    /// Returns what is being fetched.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns how many bytes it is to have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns where its bytes go, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// Returns the file, for reading what is there and for writing what is missing, at its place.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.data
    }

    /// Returns the spans that nobody has written yet, in order.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        self.spans().missing(self.size)
    }

    /// Writes some bytes to their place, and remembers that they are there. Many threads may do so at once.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        self.data.write_all_at(bytes, at).at(&self.path())?;
        self.wrote(at..at + bytes.len() as u64)
    }

    /// Remembers that a span of the file was written.
    pub fn wrote(&self, span: Range<u64>) -> Result<()> {
        if span.is_empty() {
            return Ok(());
        }
        // Written under the lock: two threads may grow the same record.
        let mut spans = self.spans();
        let (index, record) = spans.add(&span);
        let at = (index * RECORD) as u64;
        self.have.write_all_at(&record, at).at(&self.dir.join(HAVE))
    }

    /// Forgets everything that was written: the whole had another digest than it should have.
    pub fn restart(&mut self) -> Result<()> {
        let spans = self.spans.get_mut().unwrap_or_else(PoisonError::into_inner);
        *spans = Spans::default();
        // In this order: records without bytes would be bytes of zeros.
        self.have.set_len(0).at(&self.dir)?;
        self.data.set_len(0).at(&self.dir)
    }

    /// Ends the fetching; `verified` is what the caller has computed over the whole file.
    ///
    /// Fails with [`Error::Wrong`] when that is not what was asked for, and when bytes are missing.
    pub fn finish(self, verified: &Digest) -> Result<StagedBlob> {
        refuse_other(self.digest, *verified)?;
        let missing: u64 = self
            .missing()
            .iter()
            .map(|span| span.end - span.start)
            .sum();
        let size = self.data.metadata().at(&self.dir)?.len();
        if missing > 0 || size != self.size {
            return Err(Error::other(format_args!(
                "blob {}: {size} bytes of {} are there, and {missing} were never written: fetch the rest",
                self.digest, self.size
            )));
        }
        self.store.make_ready(&self.dir, &self.digest)?;
        clear(&self.dir);
        Ok(self.store.staged(&self.lease, self.digest, size))
    }

    fn spans(&self) -> MutexGuard<'_, Spans> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unknown {
    /// Returns the file; what is written to it by this counts, too, as long as it is not mixed with `Write`.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.data
    }

    /// Returns how many bytes were written through `Write`.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns where its bytes go, for messages.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join(DATA)
    }

    /// Ends it; `digest` is what the caller has computed over all that he wrote.
    pub fn finish(self, digest: &Digest) -> Result<StagedBlob> {
        let _publishing = self.store.publishing()?;
        self.lease.hold(&[(Kind::Blob, *digest)])?;
        let size = self.data.metadata().at(&self.dir)?.len();
        self.store.make_ready(&self.dir, digest)?;
        Ok(self.store.staged(&self.lease, *digest, size))
    }
}

impl Write for Unknown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.data.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Unknown {
    fn drop(&mut self) {
        // Gone already where it was finished.
        fs::remove_file(self.dir.join(DATA)).ok();
        clear(&self.dir);
    }
}

/// Removes a directory of `ingest/` whose data has been moved away. What stays is collected.
fn clear(dir: &Path) {
    for name in [HAVE, LOCK] {
        fs::remove_file(dir.join(name)).ok();
    }
    fs::remove_dir(dir).ok();
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).open(path).at(path)
}
