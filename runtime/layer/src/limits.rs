//! How much a layer may hold, and how it is unpacked.

use crate::Error;

/// Up to here any ratio will do.
pub(crate) const FREE: u64 = 64 << 20;

/// Bytes of names that are kept in memory while a tree is packed, or walked through: of four million files in one directory, and more.
pub(crate) const HELD: u64 = if cfg!(test) { 4 << 20 } else { 256 << 20 };

/// Limits against archives that are made to fill a disk or a memory. Each refusal names its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of one archive, those for the reader included.
    pub entries: u64,
    /// Bytes of the unpacked tree (holes count), and apart from that of the archive.
    pub bytes: u64,
    /// Of these, bytes that are no more than a claim: holes of sparse files. Whoever packs the tree writes them as zeros.
    pub holes: u64,
    /// Inflated bytes for each compressed one, beyond the first 64 MiB.
    pub ratio: u64,
    /// Directories in each other.
    pub depth: u64,
    /// Bytes of one extended header, one long name or one map of a sparse file.
    pub extended: u64,
    /// Extended attributes of one entry.
    pub xattrs: u64,
}

impl Limits {
    /// Returns how many bytes the archive in a blob of so many bytes has at most, whatever it is compressed with.
    #[must_use]
    pub fn inflated(&self, compressed: u64) -> u64 {
        let most = compressed.saturating_mul(self.ratio).max(FREE);
        most.min(self.bytes)
    }
}

impl Default for Limits {
    /// What no honest layer comes near to.
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            bytes: 1 << 40,
            holes: 1 << 40,
            // Deflate makes at most 1032 bytes of one, and a layer that is one file of zeros is an honest layer: this is
            // for zstd, which can do a hundred times more.
            ratio: 1100,
            depth: 256,
            extended: 1 << 20,
            xattrs: 1000,
        }
    }
}

/// How to unpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What the archive may hold.
    pub limits: Limits,
    /// Marks for overlay mounts with `userxattr`: `user.overlay.opaque` in the place of `trusted.overlay.opaque`.
    pub userxattr: bool,
    /// Make device nodes; else they are left out with a warning.
    pub devices: bool,
}

impl Default for Options {
    /// What root does.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            userxattr: false,
            devices: true,
        }
    }
}

/// Compares a count with its limit.
pub(crate) fn within(found: u64, limit: u64, what: impl FnOnce() -> String) -> Result<(), Error> {
    if found <= limit {
        return Ok(());
    }
    let what = what();
    Err(Error::Limit { what, found, limit })
}
