//! Opening a path below a root step by step, where the kernel cannot do it at once (openat2(2), Linux 5.6).
//!
//! The way is a list of descriptors, each opened from the one before by a single name and without following anything. `..` goes back
//! in that list and is never given to the kernel, symlinks are read and walked from here: whoever renames what we walk through may lead
//! us to something else of his own, but never above the root.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use crate::fs::{
    FileStat, Inside, Mode, OFlag, PROC_SUPER_MAGIC, SFlag, fstat, fstatfs, openat, read_link_fd,
};
use crate::{Errno, Result};

/// The kernel's own limit of symlinks in one path (path_resolution(7)).
const LINKS: u32 = 40;
/// File systems beside procfs whose symlinks may be doors and not texts: securityfs, and AppArmor's own.
const DOORS: [i64; 2] = [0x7363_6673, 0x5a3c_69f0];
/// The number of the top directory of every procfs.
const PROC_ROOT: u64 = 1;
const NOSYMFOLLOW: i64 = 0x2000;

/// Opens `path` below `root`; `EAGAIN` if somebody has exchanged the file between the last two looks at it.
pub(crate) fn open(
    root: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlag,
    inside: Inside,
) -> Result<OwnedFd> {
    if flags.contains(OFlag::O_CREAT) || flags.contains(OFlag::O_TMPFILE) {
        return Err(Errno::EINVAL);
    }
    let mut walk = Walk {
        root,
        above: Vec::new(),
        rest: Vec::new(),
        slash: false,
        links: 0,
        inside,
    };
    walk.push(path.to_bytes());
    walk.end(flags)
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The directories that lead to where we are, the first one in the root.
    above: Vec<OwnedFd>,
    /// The names that are still to be walked, the next one last.
    rest: Vec<Vec<u8>>,
    /// Whether the path ends with a slash: a symlink there is followed in any case, and leads to a directory.
    slash: bool,
    links: u32,
    inside: Inside,
}

impl Walk<'_> {
    /// Puts the names of a path before those that are left.
    fn push(&mut self, path: &[u8]) {
        let slash = path.ends_with(b"/") || path.ends_with(b"/.");
        self.slash = self.slash || (self.rest.is_empty() && slash);
        let names = path.split(|byte| *byte == b'/').rev();
        let names = names.filter(|name| !matches!(*name, b"" | b"."));
        self.rest.extend(names.map(<[u8]>::to_vec));
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.above.last().map_or(self.root, AsFd::as_fd)
    }

    fn end(mut self, flags: OFlag) -> Result<OwnedFd> {
        let directory = flags.contains(OFlag::O_DIRECTORY);
        while let Some(name) = self.rest.pop() {
            if name == b".." {
                self.above.pop();
                continue;
            }
            let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let found = openat(self.here(), OsStr::from_bytes(&name), look, Mode::empty())?;
            let stat = fstat(&found)?;
            let last = self.rest.is_empty();
            match kind(&stat) {
                SFlag::S_IFDIR => self.above.push(found),
                SFlag::S_IFLNK if last && flags.contains(OFlag::O_NOFOLLOW) && !self.slash => {
                    return match (flags.contains(OFlag::O_PATH), directory) {
                        (true, false) => Ok(found),
                        (true, true) => Err(Errno::ENOTDIR),
                        (false, _) => Err(Errno::ELOOP),
                    };
                }
                SFlag::S_IFLNK => self.follow(&found)?,
                _ if !last || self.slash || directory => return Err(Errno::ENOTDIR),
                _ if flags.contains(OFlag::O_PATH) => return Ok(found),
                _ => return self.use_file(&name, &stat, flags),
            }
        }
        if flags.contains(OFlag::O_PATH)
            && let Some(end) = self.above.pop()
        {
            return Ok(end);
        }
        let flags = (flags - OFlag::O_NOFOLLOW) | OFlag::O_CLOEXEC;
        openat(self.here(), ".", flags, Mode::empty())
    }

    /// Opens for use what was looked at; a symlink that has taken its place meanwhile is not followed.
    fn use_file(&self, name: &[u8], seen: &FileStat, flags: OFlag) -> Result<OwnedFd> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self.here(), OsStr::from_bytes(name), flags, Mode::empty()) {
            Err(Errno::ELOOP | Errno::ENOENT) => Err(Errno::EAGAIN),
            Err(errno) => Err(errno),
            Ok(file) => {
                let stat = fstat(&file)?;
                if (stat.st_dev, stat.st_ino) == (seen.st_dev, seen.st_ino) {
                    Ok(file)
                } else {
                    Err(Errno::EAGAIN)
                }
            }
        }
    }

    fn follow(&mut self, link: &OwnedFd) -> Result<()> {
        self.links += 1;
        if self.inside == Inside::NoSymlinks || self.links > LINKS || self.is_door(link)? {
            return Err(Errno::ELOOP);
        }
        let target = read_link_fd(link)?;
        let target = target.as_bytes();
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        if target.starts_with(b"/") {
            self.above.clear();
        }
        self.push(target);
        Ok(())
    }

    /// Tells whether the kernel would go through a symlink without reading it (RESOLVE_NO_MAGICLINKS), or not at all (nosymfollow).
    ///
    /// In a procfs only the links at the top are sure to be texts (`self`, `mounts`); of those below, all count as doors.
    fn is_door(&self, link: &OwnedFd) -> Result<bool> {
        let (fs, flags) = file_system(link)?;
        if flags & NOSYMFOLLOW != 0 || DOORS.contains(&fs) {
            return Ok(true);
        }
        if fs != PROC_SUPER_MAGIC.0 {
            return Ok(false);
        }
        let here = fstatfs(self.here())?.filesystem_type();
        Ok(here != PROC_SUPER_MAGIC || fstat(self.here())?.st_ino != PROC_ROOT)
    }
}

/// Returns the type and the flags of the file system that a descriptor lies on.
pub(crate) fn file_system(fd: impl AsFd) -> Result<(i64, i64)> {
    use std::os::fd::AsRawFd;
    // SAFETY: an all-zero statfs is a valid value of this plain C structure.
    let mut stat: libc::statfs64 = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one statfs, which lives across the call.
    let done = unsafe { libc::fstatfs64(fd.as_fd().as_raw_fd(), &raw mut stat) };
    crate::check(done.into())?;
    Ok((stat.f_type, stat.f_flags))
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
