//! Owners, modes, times and extended attributes of new files.

use std::os::fd::{AsFd, BorrowedFd};

use sys::Errno;
use sys::file;
use sys::fs::{self, AtFlags, FchmodatFlags, Gid, Mode, TimeSpec, Uid, UtimensatFlags};

use super::Warnings;
use super::dirs::Parent;
use crate::Error;
use crate::error::quote;
use crate::tar::{Entry, Time};
use crate::tree::{belongs, is_void};

/// What files that are made in a directory inherit.
pub(super) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// As whom and how this process makes files: what need not be set again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maker {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) umask: u32,
    userxattr: bool,
}

impl Maker {
    pub(super) fn new(userxattr: bool) -> Self {
        Self {
            uid: sys::process::geteuid().as_raw(),
            gid: sys::process::getegid().as_raw(),
            umask: umask(),
            userxattr,
        }
    }

    /// Tells whether what is made in such a directory is ours: no group is inherited.
    pub(super) fn is_plain(self, gid: u32, mode: u32) -> bool {
        gid == self.gid && mode & 0o2000 == 0
    }

    /// Makes a file ours.
    pub(super) fn own(self, fd: impl AsFd) -> sys::Result<()> {
        fs::fchown(
            fd,
            Some(Uid::from_raw(self.uid)),
            Some(Gid::from_raw(self.gid)),
        )
    }

    /// Lets a directory hide what layers below have in theirs.
    pub(super) fn mark_opaque(self, fd: impl AsFd) -> sys::Result<()> {
        let name = if self.userxattr {
            "user.overlay.opaque"
        } else {
            "trusted.overlay.opaque"
        };
        file::set_xattr(fd, name, b"y")
    }

    /// Tells whether a new file has to be given its owner.
    pub(super) fn needs_owner(self, parent: Parent<'_>, entry: &Entry) -> bool {
        !parent.plain || entry.uid != self.uid || entry.gid != self.gid
    }

    /// Tells whether a new file has to be given its mode. A change of owner takes the set-id bits away.
    pub(super) fn needs_mode(self, parent: Parent<'_>, entry: &Entry) -> bool {
        !parent.plain || entry.mode & (self.umask | 0o7000) != 0
    }

    /// Sets an attribute; where the file system or our rights do not allow it, it is left out with a warning.
    pub(super) fn set_xattr(
        self,
        fd: BorrowedFd<'_>,
        xattr: &[u8],
        value: &[u8],
        name: &[u8],
        warnings: &mut Warnings,
    ) -> Result<(), Error> {
        match file::set_xattr(fd, xattr, value) {
            Ok(()) => Ok(()),
            Err(errno @ (Errno::EOPNOTSUPP | Errno::EPERM)) => {
                let what = format!(
                    "attribute {} left out: {}",
                    quote(xattr),
                    sys::reason(errno)
                );
                warnings.add(&what, name);
                Ok(())
            }
            Err(errno) => Err(Error::kernel(
                name,
                format!("set attribute {}", quote(xattr)),
                errno,
            )),
        }
    }

    /// Sets an entry's attributes, but for those that come late or never.
    pub(super) fn set_xattrs(
        self,
        fd: BorrowedFd<'_>,
        entry: &Entry,
        warnings: &mut Warnings,
    ) -> Result<(), Error> {
        for (xattr, value) in &entry.xattrs {
            if !belongs(xattr) {
                let what = format!("attribute {} left out: it is the host's", quote(xattr));
                warnings.add(&what, &entry.name);
            } else if xattr != DEFAULT_ACL && !is_void(xattr, value) {
                self.set_xattr(fd, xattr, value, &entry.name, warnings)?;
            }
        }
        Ok(())
    }
}

/// Returns the bits that this process does not give to new files. Where they cannot be known each mode is set.
fn umask() -> u32 {
    // Linux 4.7. umask(2) tells it only by changing it, for all threads.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or(0o777)
}

/// Gives a file its owner.
pub(super) fn set_owner(fd: impl AsFd, entry: &Entry) -> Result<(), Error> {
    let (uid, gid) = owner(entry);
    fs::fchown(fd, Some(uid), Some(gid)).map_err(|errno| no_owner(entry, errno))
}

/// The same by name, not following symlinks.
pub(super) fn set_owner_at(dir: BorrowedFd<'_>, base: &[u8], entry: &Entry) -> Result<(), Error> {
    let (uid, gid) = owner(entry);
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
    fs::fchownat(dir, base, Some(uid), Some(gid), flags).map_err(|errno| no_owner(entry, errno))
}

fn owner(entry: &Entry) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

fn no_owner(entry: &Entry, errno: Errno) -> Error {
    if !matches!(errno, Errno::EINVAL | Errno::EPERM) {
        return Error::kernel(&entry.name, "set its owner", errno);
    }
    Error::Owner {
        name: entry.name.clone(),
        uid: entry.uid,
        gid: entry.gid,
        errno,
    }
}

/// Gives a file its mode.
pub(super) fn set_mode(fd: impl AsFd, mode: u32) -> sys::Result<()> {
    fs::fchmod(fd, Mode::from_bits_truncate(mode))
}

/// Gives what has a name its mode; of a symlink it has none.
pub(super) fn set_mode_at(dir: BorrowedFd<'_>, base: &[u8], mode: u32) -> sys::Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    fs::fchmodat(dir, base, mode, FchmodatFlags::NoFollowSymlink)
}

/// Sets both times to the one that archives know.
pub(super) fn set_time(fd: impl AsFd, time: Time) -> sys::Result<()> {
    let time = spec(time);
    file::futimens(fd, &time, &time)
}

/// The same by name, not following symlinks.
pub(super) fn set_time_at(dir: BorrowedFd<'_>, base: &[u8], time: Time) -> sys::Result<()> {
    let time = spec(time);
    fs::utimensat(dir, base, &time, &time, UtimensatFlags::NoFollowSymlink)
}

fn spec(time: Time) -> TimeSpec {
    TimeSpec::new(time.seconds, i64::from(time.nanos))
}
