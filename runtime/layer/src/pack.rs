//! A directory becomes an archive, and the same directory always the same one.
//!
//! Each directory comes before what is in it, and in it first the marks about lower layers, then the rest, both by the bytes of their names. The
//! root is `./`. Owners are numbers, times whole seconds (as other engines write them), access times are left out; of a file with several names the
//! first one holds the data. Holes are written as zeros. Attributes of the host and its overlay mounts stay here.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sha2::{Digest as _, Sha256};
use sys::Errno;
use sys::fs::{self, AtFlags, FileStat, FileType, Mode, OFlag, SFlag};

use crate::Error;
use crate::limits::{HELD, Limits, within};
use crate::name::{OPAQUE, WHITEOUT};
use crate::tar::{self, Entry, Kind, Time};
use crate::tree::{self, Attributes, Names};

/// As the reader's.
const BUFFER: usize = 256 * 1024;

/// What a file with several names takes in memory besides its path.
const LINKED: u64 = 64;

/// What an archive came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Its length.
    pub tar_bytes: u64,
    /// SHA-256 of it: the layer's diff id.
    pub tar_sha256: [u8; 32],
}

/// Writes what is in a directory, which has to keep still meanwhile.
///
/// Marks of overlay mounts become whiteouts. A directory that was renamed by one, or a file whose data lie in a layer below, is an error: their
/// contents are not here.
pub fn pack(from: BorrowedFd<'_>, out: impl Write) -> Result<Packed, Error> {
    let mut pack = Pack {
        out: Out {
            to: out,
            buffer: Vec::with_capacity(BUFFER + 4096),
            hash: Sha256::new(),
            total: 0,
        },
        first: HashMap::new(),
        path: Vec::new(),
        held: 0,
    };
    let stat = fs::fstat(from).map_err(|errno| Error::kernel(b"./", "look at it", errno))?;
    let root = tree::open(from, b".").map_err(|errno| Error::kernel(b"./", "open it", errno))?;
    pack.directory(&root, &stat, 0)?;
    pack.out.buffer.extend_from_slice(&tar::write::END);
    pack.out.flush()?;
    pack.out.to.flush().map_err(Error::Write)?;
    Ok(Packed {
        tar_bytes: pack.out.total,
        tar_sha256: pack.out.hash.finalize().into(),
    })
}

struct Pack<W> {
    out: Out<W>,
    /// Of files with several names, the first one.
    first: HashMap<(u64, u64), Vec<u8>>,
    path: Vec<u8>,
    /// Bytes of names in memory.
    held: u64,
}

impl<W: Write> Pack<W> {
    /// Writes the directory at the path and all that is in it.
    fn directory(&mut self, fd: &OwnedFd, stat: &FileStat, depth: u64) -> Result<(), Error> {
        let shown = if self.path.is_empty() {
            b"./".to_vec()
        } else {
            [&self.path[..], b"/"].concat()
        };
        let wrong = |what| move |errno| Error::kernel(&shown, what, errno);
        let limit = Limits::default().depth;
        within(depth, limit, || {
            format!(
                "entry {}: directories in each other",
                crate::error::quote(&self.path)
            )
        })?;
        let attributes = self.attributes(fd.as_fd())?;
        let opaque = attributes.opaque.clone();
        self.entry(Kind::Directory, stat, attributes, Vec::new())?;
        if opaque.as_deref() == Some(b"y") {
            self.mark(OPAQUE)?;
        }
        let mut names =
            tree::names(fd.as_fd(), HELD.saturating_sub(self.held)).map_err(wrong("read it"))?;
        self.hold(names.held())?;
        names.sort();
        // Where a directory says "x", whiteouts are files with an attribute (Linux 6.7).
        let marks = self.marks(fd, &names, opaque.as_deref() == Some(b"x"))?;
        let len = self.path.len();
        for (at, name) in names.iter().enumerate() {
            if marks.binary_search(&at).is_ok() {
                continue;
            }
            let stat = look(fd, name)?;
            tree::join(&mut self.path, name);
            self.child(fd, name, &stat, depth)?;
            self.path.truncate(len);
        }
        self.held -= names.held();
        Ok(())
    }

    /// Writes those of the names that hide one of a layer below, and returns which they are.
    fn marks(&mut self, fd: &OwnedFd, names: &Names, by_xattr: bool) -> Result<Vec<usize>, Error> {
        let mut marks = Vec::new();
        for (at, (name, kind)) in names.kinds().enumerate() {
            let possible = match kind {
                Some(FileType::CharacterDevice) | None => true,
                Some(FileType::File) => by_xattr,
                Some(_) => false,
            };
            if !possible {
                continue;
            }
            let stat = look(fd, name)?;
            if tree::is_whiteout(&stat) || (by_xattr && tree::is_marked(fd.as_fd(), name, &stat)) {
                self.mark(&[WHITEOUT, name].concat())?;
                marks.push(at);
            }
        }
        Ok(marks)
    }

    /// Counts what is kept in memory.
    fn hold(&mut self, bytes: u64) -> Result<(), Error> {
        self.held += bytes;
        within(self.held, HELD, || {
            let path = crate::error::quote(&self.path);
            format!("entry {path}: bytes of names in memory")
        })
    }

    /// Writes what is at the path.
    fn child(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        stat: &FileStat,
        depth: u64,
    ) -> Result<(), Error> {
        if name.starts_with(WHITEOUT) {
            let why = "a name that begins with .wh. hides another one in an archive: rename it";
            return Err(Error::entry(&self.path, "name", why));
        }
        let path = &self.path.clone();
        let wrong = |what| move |errno| Error::kernel(path, what, errno);
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        let open = |flags| {
            fs::openat(
                dir,
                name,
                flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                Mode::empty(),
            )
        };
        if kind == SFlag::S_IFDIR {
            let fd = tree::open(dir.as_fd(), name).map_err(wrong("open it"))?;
            return self.directory(&fd, stat, depth + 1);
        }
        if kind == SFlag::S_IFSOCK {
            // Means nothing without the process behind it.
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.first.get(&(stat.st_dev, stat.st_ino)) {
                let first = first.clone();
                return self.entry(Kind::Link, stat, Attributes::default(), first);
            }
            self.hold(self.path.len() as u64 + LINKED)?;
            self.first
                .insert((stat.st_dev, stat.st_ino), self.path.clone());
        }
        if kind == SFlag::S_IFREG {
            let fd = open(OFlag::O_RDONLY | OFlag::O_NONBLOCK).map_err(wrong("open it"))?;
            let attributes = self.attributes(fd.as_fd())?;
            self.entry(Kind::File, stat, attributes, Vec::new())?;
            return self.contents(fd, stat);
        }
        let fd = open(OFlag::O_PATH).map_err(wrong("open it"))?;
        let attributes = self.attributes(fd.as_fd())?;
        let (kind, link) = match kind {
            SFlag::S_IFLNK => {
                let target = fs::readlinkat(dir, name).map_err(wrong("read the symlink"))?;
                (Kind::Symlink, target.into_encoded_bytes())
            }
            SFlag::S_IFCHR => (Kind::Char, Vec::new()),
            SFlag::S_IFBLK => (Kind::Block, Vec::new()),
            _ => (Kind::Fifo, Vec::new()),
        };
        self.entry(kind, stat, attributes, link)
    }

    fn attributes(&self, fd: BorrowedFd<'_>) -> Result<Attributes, Error> {
        let attributes = Attributes::read(fd)
            .map_err(|errno| Error::kernel(&self.path, "read its attributes", errno))?;
        match attributes.elsewhere {
            Some(attribute) => {
                let why = format!(
                    "{attribute} says that its contents lie in another layer: mount with redirect_dir=off,metacopy=off"
                );
                Err(Error::entry(&self.path, "overlay", why))
            }
            None => Ok(attributes),
        }
    }

    /// Writes the headers of what is at the path.
    fn entry(
        &mut self,
        kind: Kind,
        stat: &FileStat,
        attributes: Attributes,
        link: Vec<u8>,
    ) -> Result<(), Error> {
        let name = match (kind, self.path.is_empty()) {
            (Kind::Directory, true) => b"./".to_vec(),
            (Kind::Directory, false) => [&self.path[..], b"/"].concat(),
            _ => self.path.clone(),
        };
        let device = match kind {
            // The kernel's numbers have 12 and 20 bits.
            Kind::Char | Kind::Block => (
                u32::try_from(fs::major(stat.st_rdev)).unwrap_or(u32::MAX),
                u32::try_from(fs::minor(stat.st_rdev)).unwrap_or(u32::MAX),
            ),
            _ => (0, 0),
        };
        let entry = Entry {
            name,
            link,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: if kind == Kind::File {
                stat.st_size.cast_unsigned()
            } else {
                0
            },
            mtime: Time {
                seconds: stat.st_mtime,
                nanos: 0,
            },
            device,
            xattrs: attributes.kept,
            pieces: None,
        };
        tar::write::headers(&entry, &mut self.out.buffer)?;
        self.out.flush_full()
    }

    /// Writes a mark about lower layers into the directory at the path.
    fn mark(&mut self, base: &[u8]) -> Result<(), Error> {
        let mut name = self.path.clone();
        tree::join(&mut name, base);
        let entry = Entry {
            name,
            ..Entry::default()
        };
        tar::write::headers(&entry, &mut self.out.buffer)?;
        self.out.flush_full()
    }

    /// Writes a file's data, as many as its header has promised.
    fn contents(&mut self, fd: OwnedFd, stat: &FileStat) -> Result<(), Error> {
        let size = stat.st_size.cast_unsigned();
        let mut file = std::fs::File::from(fd);
        let mut left = size;
        while left > 0 {
            let read =
                self.out
                    .read(&mut file, left)
                    .map_err(|error| match error.raw_os_error() {
                        Some(raw) => Error::kernel(&self.path, "read it", Errno::from_raw(raw)),
                        None => Error::entry(&self.path, "read it", error.to_string()),
                    })?;
            if read == 0 {
                return Err(Error::entry(
                    &self.path,
                    "read it",
                    "it became shorter meanwhile",
                ));
            }
            left -= read;
            self.out.flush_full()?;
        }
        self.out.buffer.extend_from_slice(tar::write::padding(size));
        Ok(())
    }
}

fn look(dir: &OwnedFd, name: &[u8]) -> Result<FileStat, Error> {
    fs::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .map_err(|errno| Error::kernel(name, "look at it", errno))
}

/// The receiver, with what it has not been given yet.
struct Out<W> {
    to: W,
    buffer: Vec<u8>,
    hash: Sha256,
    total: u64,
}

impl<W: Write> Out<W> {
    /// Reads some of a file to the end of the buffer.
    fn read(&mut self, file: &mut std::fs::File, most: u64) -> io::Result<u64> {
        let room = (BUFFER as u64)
            .saturating_sub(self.buffer.len() as u64)
            .max(1);
        let read = file.take(most.min(room)).read_to_end(&mut self.buffer)?;
        Ok(read as u64)
    }

    fn flush_full(&mut self) -> Result<(), Error> {
        if self.buffer.len() < BUFFER {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.hash.update(&self.buffer);
        self.to.write_all(&self.buffer).map_err(Error::Write)?;
        self.total += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
