//! Removing what a later entry replaces.

use std::os::fd::{AsFd, BorrowedFd};

use sys::Errno;
use sys::fs::{UnlinkatFlags, unlinkat};

use crate::limits::HELD;
use crate::tree;

/// Removes a file, or a directory with all that is in it.
pub(super) fn remove(dir: BorrowedFd<'_>, base: &[u8]) -> sys::Result<()> {
    match unlinkat(dir, base, UnlinkatFlags::NoRemoveDir) {
        // What the kernel says of directories, and what POSIX says of them.
        Err(Errno::EISDIR | Errno::EPERM) => {}
        other => return other,
    }
    let inner = tree::open(dir, base)?;
    loop {
        let names = tree::names(inner.as_fd(), HELD)?;
        for name in names.iter() {
            remove(inner.as_fd(), name)?;
        }
        if names.held() <= HELD {
            break;
        }
    }
    unlinkat(dir, base, UnlinkatFlags::RemoveDir)
}
