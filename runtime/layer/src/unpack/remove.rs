//! Removing what a later entry replaces.

use std::os::fd::BorrowedFd;

use sys::Errno;
use sys::fs::{Dir, UnlinkatFlags, unlinkat};

use super::dirs;

/// Removes a file, or a directory with all that is in it.
pub(super) fn remove(dir: BorrowedFd<'_>, base: &[u8]) -> sys::Result<()> {
    match unlinkat(dir, base, UnlinkatFlags::NoRemoveDir) {
        // What the kernel says of directories, and what POSIX says of them.
        Err(Errno::EISDIR | Errno::EPERM) => {}
        other => return other,
    }
    let inner = dirs::open(dir, base)?;
    for name in names(std::os::fd::AsFd::as_fd(&inner))? {
        remove(std::os::fd::AsFd::as_fd(&inner), &name)?;
    }
    unlinkat(dir, base, UnlinkatFlags::RemoveDir)
}

/// Returns the names in a directory, in no order.
pub(super) fn names(dir: BorrowedFd<'_>) -> sys::Result<Vec<Vec<u8>>> {
    let mut dir = Dir::from_fd(dirs::open(dir, b".")?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}
