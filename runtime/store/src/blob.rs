//! Blobs: found, read, and staged for the commit.

use std::fs::{self, File};
use std::io::{Read, Write as _};

use image::{Digest, Hasher};
use rusqlite::OptionalExtension as _;

use crate::db;
use crate::error::{Absent, At, Error, Result};
use crate::lease::{Kind, Lease};
use crate::root::Store;

/// A blob that is complete and verified, and becomes durable by the commit. Dropped without one it stays for the next who asks, until
/// somebody collects unfinished work.
#[derive(Debug, Clone)]
pub struct StagedBlob {
    pub(crate) store: Store,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Keeps it until the commit.
    pub(crate) _lease: Lease,
}

/// Where a blob was found.
#[derive(Debug)]
pub(crate) enum Found {
    Stored(u64),
    /// In `ready/`, or at its final name without a row.
    Staged(u64),
    Nowhere,
}

impl Store {
    /// Returns the size of a blob that is stored.
    pub fn blob(&self, digest: &Digest) -> Result<Option<u64>> {
        self.db().read(|transaction| {
            let sql = "SELECT size FROM blobs WHERE digest = ?";
            let mut query = transaction.prepare_cached(sql)?;
            let found = query.query_row([digest.to_string()], |row| db::count(row, 0));
            Ok(found.optional()?)
        })
    }

    /// Opens a blob that is stored; [`Error::Missing`] when it is not.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        let path = self.layout().blob(digest);
        let file = match self.blob(digest)? {
            Some(_) => File::open(&path).absent().at(&path)?,
            None => None,
        };
        file.ok_or_else(|| Error::missing("blob", digest))
    }

    /// Reads a blob that is stored and has at most `most` bytes.
    pub fn read_blob(&self, digest: &Digest, most: u64) -> Result<Vec<u8>> {
        read(self.open_blob(digest)?, digest, most)
    }

    /// Stages some bytes, and returns what they are called.
    pub fn stage_bytes(&self, lease: &Lease, bytes: &[u8]) -> Result<StagedBlob> {
        self.stage(lease, Digest::of(bytes), bytes)
    }

    /// Stages the bytes of a digest; [`Error::Wrong`] when they have another.
    pub fn stage_as(&self, lease: &Lease, digest: &Digest, bytes: &[u8]) -> Result<StagedBlob> {
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(bytes);
        refuse_other(*digest, hasher.finish())?;
        self.stage(lease, *digest, bytes)
    }

    fn stage(&self, lease: &Lease, digest: Digest, bytes: &[u8]) -> Result<StagedBlob> {
        match self.look_for_blob(lease, &digest)? {
            Found::Stored(size) | Found::Staged(size) => Ok(self.staged(lease, digest, size)),
            Found::Nowhere => {
                let mut unknown = self.ingest_unknown(lease)?;
                let path = unknown.path();
                unknown.write_all(bytes).at(&path)?;
                unknown.finish(&digest)
            }
        }
    }

    pub(crate) fn staged(&self, lease: &Lease, digest: Digest, size: u64) -> StagedBlob {
        StagedBlob {
            store: self.clone(),
            digest,
            size,
            _lease: lease.clone(),
        }
    }

    /// Puts the lease on a blob, and tells where it is.
    pub(crate) fn look_for_blob(&self, lease: &Lease, digest: &Digest) -> Result<Found> {
        let _publishing = self.publishing()?;
        lease.hold(&[(Kind::Blob, *digest)])?;
        if let Some(size) = self.blob(digest)? {
            return Ok(Found::Stored(size));
        }
        // In the order in which it moves, so that it cannot pass behind our back.
        for path in [self.layout().ready_blob(digest), self.layout().blob(digest)] {
            if let Some(file) = fs::symlink_metadata(&path).absent().at(&path)? {
                return Ok(Found::Staged(file.len()));
            }
        }
        Ok(Found::Nowhere)
    }
}

impl StagedBlob {
    /// Returns what it is called.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Opens it.
    pub fn open(&self) -> Result<File> {
        let layout = self.store.layout();
        // Another process may have committed it meanwhile.
        for path in [layout.ready_blob(&self.digest), layout.blob(&self.digest)] {
            if let Some(file) = File::open(&path).absent().at(&path)? {
                return Ok(file);
            }
        }
        Err(Error::missing("blob", &self.digest))
    }

    /// Reads it whole; an error when it has more than `most` bytes.
    pub fn read(&self, most: u64) -> Result<Vec<u8>> {
        read(self.open()?, &self.digest, most)
    }
}

fn read(file: File, digest: &Digest, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let path = std::path::PathBuf::from(format!("blob {digest}"));
    let limit = most.saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).at(&path)?;
    if bytes.len() as u64 > most {
        return Err(Error::other(format_args!(
            "blob {digest}: larger than the {most} bytes that its kind may have"
        )));
    }
    Ok(bytes)
}

pub(crate) fn refuse_other(expected: Digest, found: Digest) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let [expected, found] = [expected, found].map(Box::new);
    Err(Error::Wrong { expected, found })
}
