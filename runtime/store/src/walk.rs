//! How much a tree takes up on disk, as du(1) counts it.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sys::Errno;
use sys::fs::{AtFlags, FileStat, SFlag};

use crate::error::{Absent, At, Result};
use crate::remove::{each, open_dir};

/// What lies deeper is walked afterwards, from the top: each level costs two descriptors.
const DEEP: usize = 32;
/// The unit of `st_blocks`, on any file system.
const BLOCK: u64 = 512;

/// Returns the bytes on disk of a file or a tree, each inode once; 0 where there is nothing. What vanishes meanwhile is no error.
pub(crate) fn measure(path: &Path) -> Result<u64> {
    let Some(stat) = path.symlink_metadata().absent().at(path)? else {
        return Ok(0);
    };
    let mut walk = Walk {
        seen: HashSet::new(),
        bytes: std::os::unix::fs::MetadataExt::blocks(&stat) * BLOCK,
        later: Vec::new(),
    };
    if stat.is_dir() {
        walk.later.push(Vec::new());
    }
    while let Some(mut below) = walk.later.pop() {
        let top = open_dir(sys::fs::AT_FDCWD, path);
        let found = top.and_then(|top| descend(top, &below));
        let Some(dir) = there(found).at(path)? else {
            continue;
        };
        walk.directory(&dir, &mut below, 0).at(path)?;
    }
    Ok(walk.bytes)
}

struct Walk {
    /// Files with several names.
    seen: HashSet<(u64, u64)>,
    bytes: u64,
    /// Directories to be walked yet, by the names that lead there.
    later: Vec<Vec<CString>>,
}

impl Walk {
    fn directory(
        &mut self,
        dir: &OwnedFd,
        path: &mut Vec<CString>,
        depth: usize,
    ) -> sys::Result<()> {
        each(dir, |name, _| {
            let look = sys::fs::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW);
            let Some(stat) = there(look)? else {
                return Ok(());
            };
            let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
            let is_dir = kind == SFlag::S_IFDIR;
            if is_dir || stat.st_nlink < 2 || self.seen.insert((stat.st_dev, stat.st_ino)) {
                self.bytes += on_disk(&stat);
            }
            if !is_dir {
                return Ok(());
            }
            path.push(name.to_owned());
            if depth == DEEP {
                self.later.push(path.clone());
            } else if let Some(inside) = there(open_dir(dir.as_fd(), name))? {
                self.directory(&inside, path, depth + 1)?;
            }
            path.pop();
            Ok(())
        })
    }
}

fn descend(top: OwnedFd, path: &[CString]) -> sys::Result<OwnedFd> {
    path.iter()
        .try_fold(top, |dir, name| open_dir(&dir, name.as_c_str()))
}

/// Takes what is gone for nothing, and a directory that is closed to us for one that we cannot look into.
fn there<T>(found: sys::Result<T>) -> sys::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn on_disk(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK
}
