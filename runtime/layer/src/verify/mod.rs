//! Comparing a directory with the archive that it was unpacked from.
//!
//! What the directory should be is worked out from the archive alone, in memory (`expected`), by the rules of `unpack` but not by its code;
//! then the directory is walked once. Of each file the contents (by a hash, `contents`), kind, mode, owner, time, attributes and the names it shares are
//! compared, and that nothing else is there. Reading changes nothing but access times.

mod contents;
mod expected;

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use sys::Errno;
use sys::fs::{self, AtFlags, FileStat, Mode, OFlag, SFlag, Whence};

use crate::error::quote;
use crate::limits::{HELD, within};
use crate::tree::{self, Attributes};
use crate::{Error, Options, name};
use contents::Contents;
use expected::{Expected, File, Kind};

/// So many differences are told.
const LINES: usize = 1_000;

/// Returns how a directory differs from what the archive makes, a line each (`"path": what`), and the SHA-256 of the whole stream.
///
/// The options have to be those that it was unpacked with.
pub fn verify(
    tar: impl Read,
    dir: BorrowedFd<'_>,
    options: &Options,
) -> Result<(Vec<String>, [u8; 32]), Error> {
    let (expected, hash) = Expected::read(tar, options)?;
    let mut walk = Walk {
        expected: &expected,
        seen: HashMap::new(),
        found: HashMap::new(),
        path: Vec::new(),
        held: 0,
        lines: Vec::new(),
        more: 0,
    };
    let fd = tree::open(dir, b".").map_err(|errno| Error::kernel(b".", "open it", errno))?;
    let stat = fs::fstat(&fd).map_err(|errno| Error::kernel(b".", "look at it", errno))?;
    walk.visit(&fd, None, &stat)?;
    for (path, name) in &expected.names {
        let above = expected.names.get(name::split(path).0);
        if !name.seen.get() && above.is_some_and(|above| above.seen.get()) {
            walk.line(|| format!("{}: is missing", quote(path)));
        }
    }
    let mut lines = walk.lines;
    lines.sort_unstable();
    if walk.more > 0 {
        lines.push(format!("and {} more", walk.more));
    }
    Ok((lines, hash))
}

struct Walk<'a> {
    expected: &'a Expected,
    /// Of each file that has several names, which one it should be and its first name.
    seen: HashMap<(u64, u64), (usize, Vec<u8>)>,
    /// Of each file that should have several names, which one it is and its first name.
    found: HashMap<usize, ((u64, u64), Vec<u8>)>,
    path: Vec<u8>,
    /// Bytes of the names of the directories on the way.
    held: u64,
    lines: Vec<String>,
    /// Differences that are not told.
    more: u64,
}

impl Walk<'_> {
    fn differs(&mut self, what: &str) {
        let path = quote(&self.path);
        self.line(|| format!("{path}: {what}"));
    }

    fn line(&mut self, text: impl FnOnce() -> String) {
        if self.lines.len() < LINES {
            self.lines.push(text());
        } else {
            self.more += 1;
        }
    }

    /// Compares what lies at the path, and what is in it. Its name is none for the root.
    fn visit(&mut self, dir: &OwnedFd, base: Option<&[u8]>, stat: &FileStat) -> Result<(), Error> {
        let Some(name) = self.expected.names.get(self.path.as_slice()) else {
            self.differs("is not in the archive");
            return Ok(());
        };
        name.seen.set(true);
        let file = &self.expected.files[name.file];
        if !self.is_first(name.file, file, stat) {
            return Ok(());
        }
        for line in attributes_differ(file, stat) {
            self.differs(&line);
        }
        if Kind::of(stat) != Some(file.kind) {
            return Ok(());
        }
        self.inside(dir, base, file, stat)
    }

    /// Compares the names that a file shares; false where it has been compared by another one, or is not to be.
    fn is_first(&mut self, index: usize, file: &File, stat: &FileStat) -> bool {
        let inode = (stat.st_dev, stat.st_ino);
        let here = || self.path.clone();
        if stat.st_nlink > 1 && !tree::is_kind(stat, SFlag::S_IFDIR) {
            let first = self.seen.entry(inode).or_insert_with(|| (index, here()));
            if first.0 != index {
                let other = quote(&first.1);
                self.differs(&format!(
                    "is the same file as {other}, which it should not be"
                ));
                return false;
            }
        }
        if file.names < 2 {
            return true;
        }
        let found = self.found.entry(index).or_insert_with(|| (inode, here()));
        if found.0 != inode {
            let other = quote(&found.1);
            self.differs(&format!(
                "is not the same file as {other}, which it should be"
            ));
            return false;
        }
        found.1 == self.path
    }

    /// Compares what cannot be told from a stat.
    fn inside(
        &mut self,
        dir: &OwnedFd,
        base: Option<&[u8]>,
        file: &File,
        stat: &FileStat,
    ) -> Result<(), Error> {
        let path = &self.path.clone();
        let wrong = |errno| Error::kernel(path, "read it", errno);
        let flags = match file.kind {
            Kind::File => OFlag::O_RDONLY | OFlag::O_NONBLOCK,
            Kind::Directory => OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            _ => OFlag::O_PATH,
        };
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = fs::openat(dir, base.unwrap_or(b"."), flags, Mode::empty()).map_err(wrong)?;
        let found = Attributes::read(fd.as_fd()).map_err(wrong)?;
        if found.kept != file.xattrs {
            self.differs("its extended attributes are others");
        }
        let opaque = found.opaque.as_deref() == Some(b"y");
        if opaque != file.opaque {
            self.differs(if opaque { "is opaque" } else { "is not opaque" });
        }
        match file.kind {
            Kind::File => {
                // Another size has been told already.
                let comparable = stat.st_size.cast_unsigned() == file.size;
                if comparable && hash(fd, file.size).map_err(wrong)? != file.hash {
                    self.differs("its contents are others");
                }
            }
            Kind::Symlink => {
                let target = fs::readlinkat(&fd, "").map_err(wrong)?;
                if target.as_encoded_bytes() != &*file.target {
                    self.differs(&format!("leads to {}", quote(target.as_encoded_bytes())));
                }
            }
            Kind::Directory => self.children(&fd)?,
            _ => {}
        }
        Ok(())
    }

    fn children(&mut self, fd: &OwnedFd) -> Result<(), Error> {
        let path = &self.path.clone();
        let wrong = |errno| Error::kernel(path, "read it", errno);
        let mut names = tree::names(fd.as_fd(), HELD.saturating_sub(self.held)).map_err(wrong)?;
        self.held += names.held();
        within(self.held, HELD, || {
            format!("{}: bytes of names in memory", quote(path))
        })?;
        names.sort();
        for name in names.iter() {
            let stat = fs::fstatat(fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(wrong)?;
            tree::join(&mut self.path, name);
            self.visit(fd, Some(name), &stat)?;
            self.path.truncate(path.len());
        }
        self.held -= names.held();
        Ok(())
    }
}

/// Compares what a stat tells, a line for each difference.
fn attributes_differ(file: &File, stat: &FileStat) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(kind) = Kind::of(stat) else {
        return vec!["is a socket".to_owned()];
    };
    if kind != file.kind {
        return vec![format!("is a {}, not a {}", kind.name(), file.kind.name())];
    }
    if kind == Kind::Whiteout {
        return lines;
    }
    let mode = stat.st_mode & 0o7777;
    if kind != Kind::Symlink && mode != file.mode {
        lines.push(format!("its mode is {mode:04o}, not {:04o}", file.mode));
    }
    if (stat.st_uid, stat.st_gid) != (file.uid, file.gid) {
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        lines.push(format!(
            "its owner is {uid}:{gid}, not {}:{}",
            file.uid, file.gid
        ));
    }
    let found = (stat.st_mtime, stat.st_mtime_nsec);
    let time = (file.mtime.seconds, i64::from(file.mtime.nanos));
    if found != time {
        lines.push(format!(
            "its time is {}.{:09}, not {}.{:09}",
            found.0, found.1, time.0, time.1
        ));
    }
    if kind == Kind::File && stat.st_size.cast_unsigned() != file.size {
        lines.push(format!("its size is {}, not {}", stat.st_size, file.size));
    }
    if matches!(kind, Kind::Char | Kind::Block) {
        let device = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
        if device != (file.device.0.into(), file.device.1.into()) {
            lines.push(format!(
                "is device {}:{}, not {}:{}",
                device.0, device.1, file.device.0, file.device.1
            ));
        }
    }
    lines
}

/// Hashes a file of some size; its holes are not read.
fn hash(fd: OwnedFd, size: u64) -> sys::Result<[u8; 32]> {
    let file = std::fs::File::from(fd);
    let mut contents = Contents::default();
    let mut buffer = vec![0; 256 * 1024];
    let mut at = 0;
    while let Some(data) = data(&file, at, size)? {
        contents.hole(data.start - at);
        at = data.start;
        while at < data.end {
            let most =
                usize::try_from(data.end - at).map_or(buffer.len(), |len| len.min(buffer.len()));
            match file.read_at(&mut buffer[..most], at) {
                // It has become shorter meanwhile.
                Ok(0) => return Err(Errno::EIO),
                Ok(len) => {
                    contents.data(&buffer[..len]);
                    at += len as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
            }
        }
    }
    contents.hole(size - at);
    Ok(contents.finish())
}

/// Returns the next data of a file of some size; none where the rest is a hole.
fn data(file: &std::fs::File, from: u64, size: u64) -> sys::Result<Option<Range<u64>>> {
    let seek = |from: u64, what| {
        let from = i64::try_from(from).map_err(|_| Errno::EOVERFLOW)?;
        let found = fs::lseek(file, from, what)?;
        sys::Result::Ok(found.cast_unsigned().min(size))
    };
    match seek(from, Whence::SeekData) {
        Ok(start) => Ok(Some(start..seek(start, Whence::SeekHole)?)),
        Err(Errno::ENXIO) => Ok(None),
        // A file system that does not tell.
        Err(Errno::EINVAL) if from < size => Ok(Some(from..size)),
        Err(Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
    .map(|data| data.filter(|data| data.start < data.end))
}

impl Kind {
    /// Returns what a stat says; none for sockets, which no archive brings.
    fn of(stat: &FileStat) -> Option<Self> {
        Some(
            match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
                SFlag::S_IFREG => Self::File,
                SFlag::S_IFDIR => Self::Directory,
                SFlag::S_IFLNK => Self::Symlink,
                SFlag::S_IFCHR if stat.st_rdev == 0 => Self::Whiteout,
                SFlag::S_IFCHR => Self::Char,
                SFlag::S_IFBLK => Self::Block,
                SFlag::S_IFIFO => Self::Fifo,
                _ => return None,
            },
        )
    }

    fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Whiteout => "whiteout",
            Self::Char => "character device",
            Self::Block => "block device",
            Self::Fifo => "fifo",
        }
    }
}
