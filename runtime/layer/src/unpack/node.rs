//! Each kind of entry as a file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use sys::Errno;
use sys::file::{self, FallocateFlags};
use sys::fs::{self, AtFlags, FileStat, Mode, OFlag, SFlag};

use super::attributes::{self, DEFAULT_ACL};
use super::dirs::Missing;
use super::{Late, Tree, remove};
use crate::name;
use crate::tar::{Archive, Entry, Kind, Piece};
use crate::tree::{self, is_kind, is_whiteout};
use crate::{Error, error::quote};

/// From this size on room is asked for before it is written to: a full disk shows at once.
const RESERVED: u64 = 1 << 20;

impl Tree<'_> {
    /// Makes a regular file with its contents.
    pub(super) fn file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        base: &[u8],
        entry: &Entry,
    ) -> Result<(), Error> {
        let wrong = |what| move |errno| Error::kernel(&entry.name, what, errno);
        let mode = Mode::from_bits_truncate(entry.mode & 0o777);
        let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let fd = self.fresh(base, entry, |dir| {
            fs::openat(dir, base, new | OFlag::O_CLOEXEC, mode)
        })?;
        let mut file = File::from(fd);
        match &entry.pieces {
            None => write(archive, &mut file, entry)?,
            Some(pieces) => write_pieces(archive, &file, pieces, entry)?,
        }
        let parent = self.dirs.here();
        // Owner, mode, attributes, time: each takes away some of what comes after it.
        if self.maker.needs_owner(parent, entry) {
            attributes::set_owner(&file, entry)?;
        }
        if self.maker.needs_mode(parent, entry) {
            attributes::set_mode(&file, entry.mode).map_err(wrong("set its mode"))?;
        }
        self.maker
            .set_xattrs(file.as_fd(), entry, &mut self.warnings)?;
        attributes::set_time(&file, entry.mtime).map_err(wrong("set its time"))
    }

    /// Makes a directory, or changes the one that is there.
    pub(super) fn directory(&mut self, base: &[u8], entry: &Entry) -> Result<(), Error> {
        let wrong = |what| move |errno| Error::kernel(&entry.name, what, errno);
        // Ordinary users need the right to fill it.
        let shut = self.maker.uid != 0 && entry.mode & 0o700 != 0o700;
        let open_mode = if shut { entry.mode | 0o700 } else { entry.mode };
        let mode = Mode::from_bits_truncate(open_mode & 0o777);
        let here = self.dirs.here();
        let (mut new, mut opaque) = (true, false);
        match fs::mkdirat(here.fd, base, mode) {
            Err(Errno::EEXIST) => {
                let stat = stat(here.fd, base).map_err(wrong("make the directory"))?;
                opaque = is_whiteout(&stat);
                new = !is_kind(&stat, SFlag::S_IFDIR);
                if new {
                    self.clear(base, entry)?;
                    fs::mkdirat(self.dirs.here().fd, base, mode)
                        .map_err(wrong("make the directory"))?;
                }
            }
            other => other.map_err(wrong("make the directory"))?,
        }
        let parent = self.dirs.here();
        let fd = tree::open(parent.fd, base).map_err(wrong("open the directory"))?;
        if !new || self.maker.needs_owner(parent, entry) {
            attributes::set_owner(&fd, entry)?;
        }
        if !new || self.maker.needs_mode(parent, entry) {
            attributes::set_mode(&fd, open_mode).map_err(wrong("set its mode"))?;
        }
        if opaque {
            self.maker
                .mark_opaque(&fd)
                .map_err(wrong("mark it opaque"))?;
        }
        self.maker
            .set_xattrs(fd.as_fd(), entry, &mut self.warnings)?;
        // Most often what comes next lies in it.
        let plain = self.maker.is_plain(entry.gid, entry.mode);
        self.dirs.push(base, fd, plain, &entry.name)?;
        self.later(entry, shut.then_some(entry.mode))
    }

    /// Gives the root what its entry says.
    pub(super) fn root(&mut self, entry: &Entry) -> Result<(), Error> {
        let wrong = |what| move |errno| Error::kernel(&entry.name, what, errno);
        self.dirs.forget();
        attributes::set_owner(self.root, entry)?;
        // The root is never shut: who opened it made it.
        attributes::set_mode(self.root, entry.mode).map_err(wrong("set its mode"))?;
        self.maker
            .set_xattrs(self.root, entry, &mut self.warnings)?;
        self.dirs
            .set_root(self.maker.is_plain(entry.gid, entry.mode));
        self.later(entry, None)
    }

    /// Keeps for the end what the directory that was entered last gets then.
    fn later(&mut self, entry: &Entry, mode: Option<u32>) -> Result<(), Error> {
        let acl = entry.xattrs.iter().find(|(name, _)| name == DEFAULT_ACL);
        let late = Late {
            time: entry.mtime,
            mode,
            acl: acl.map(|(_, value)| value.clone()),
        };
        self.keep(self.dirs.path().to_vec(), late)
    }

    /// Makes another name of a file of this layer; what the entry says of owner, mode and time the file has already.
    pub(super) fn link(&mut self, base: &[u8], entry: &Entry) -> Result<(), Error> {
        let mut source = std::mem::take(&mut self.source);
        let linked = self.link_to(&mut source, base, entry);
        self.source = source;
        linked
    }

    fn link_to(&mut self, source: &mut Vec<u8>, base: &[u8], entry: &Entry) -> Result<(), Error> {
        let refused = |why: &str| {
            let what = format!("hard link to {}", quote(&entry.link));
            Error::entry(&entry.name, what, why)
        };
        let wrong = |errno| {
            let what = format!("hard link to {}", quote(&entry.link));
            Error::kernel(&entry.name, what, errno)
        };
        name::clean(&entry.link, source).map_err(|_| refused("it leads upwards or nowhere"))?;
        let (dir, file) = name::split(source);
        if file.is_empty() {
            return Err(refused("it is the root"));
        }
        self.sources.enter(dir, Missing::Refuse, &entry.name)?;
        let from = self.sources.here().fd;
        let found = stat(from, file).map_err(wrong)?;
        if is_kind(&found, SFlag::S_IFDIR) {
            return Err(refused("it is a directory"));
        }
        if is_whiteout(&found) {
            return Err(wrong(Errno::ENOENT));
        }
        // Without AT_SYMLINK_FOLLOW a symlink gets another name itself.
        let link = |from: BorrowedFd<'_>, to: BorrowedFd<'_>| {
            file::linkat(from, file, to, base, AtFlags::empty())
        };
        match link(from, self.dirs.here().fd) {
            Err(Errno::EEXIST) => {}
            other => return other.map_err(wrong),
        }
        let there = stat(self.dirs.here().fd, base).map_err(wrong)?;
        if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) {
            return Ok(());
        }
        self.clear(base, entry)?;
        self.sources.enter(dir, Missing::Refuse, &entry.name)?;
        link(self.sources.here().fd, self.dirs.here().fd).map_err(wrong)
    }

    /// Makes a symlink; wherever it leads is the reader's affair.
    pub(super) fn symlink(&mut self, base: &[u8], entry: &Entry) -> Result<(), Error> {
        if entry.link.is_empty() {
            return Err(Error::entry(&entry.name, "symlink", "its target is empty"));
        }
        let target = entry.link.as_slice();
        self.fresh(base, entry, |dir| fs::symlinkat(target, dir, base))?;
        self.dress(base, entry)
    }

    /// Makes a device or a fifo, and never opens it.
    pub(super) fn device(&mut self, base: &[u8], entry: &Entry) -> Result<(), Error> {
        let kind = match entry.kind {
            Kind::Char => SFlag::S_IFCHR,
            Kind::Block => SFlag::S_IFBLK,
            _ => SFlag::S_IFIFO,
        };
        let (major, minor) = entry.device;
        if kind == SFlag::S_IFCHR && (major, minor) == (0, 0) {
            let why = "device 0:0 would hide a file of another layer without being a whiteout";
            return Err(Error::entry(&entry.name, "character device", why));
        }
        if kind != SFlag::S_IFIFO && !self.devices {
            self.warnings.add("device left out", &entry.name);
            return Ok(());
        }
        let mode = Mode::from_bits_truncate(entry.mode & 0o777);
        let device = fs::makedev(major.into(), minor.into());
        self.fresh(base, entry, |dir| {
            fs::mknodat(dir, base, kind, mode, device)
        })?;
        self.dress(base, entry)
    }

    /// Gives owner, mode, attributes and time, in this order, to what is not opened.
    fn dress(&mut self, base: &[u8], entry: &Entry) -> Result<(), Error> {
        let wrong = |what| move |errno| Error::kernel(&entry.name, what, errno);
        let parent = self.dirs.here();
        if self.maker.needs_owner(parent, entry) {
            attributes::set_owner_at(parent.fd, base, entry)?;
        }
        if entry.kind != Kind::Symlink && self.maker.needs_mode(parent, entry) {
            attributes::set_mode_at(parent.fd, base, entry.mode).map_err(wrong("set its mode"))?;
        }
        if !entry.xattrs.is_empty() {
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let fd =
                fs::openat(parent.fd, base, flags, Mode::empty()).map_err(wrong("look at it"))?;
            self.maker
                .set_xattrs(fd.as_fd(), entry, &mut self.warnings)?;
        }
        attributes::set_time_at(self.dirs.here().fd, base, entry.mtime)
            .map_err(wrong("set its time"))
    }

    /// Hides a name of the layers below.
    pub(super) fn whiteout(&mut self, hidden: &[u8], entry: &Entry) -> Result<(), Error> {
        let wrong = |errno| Error::kernel(&entry.name, "make the whiteout", errno);
        let here = self.dirs.here().fd;
        match fs::mknodat(here, hidden, SFlag::S_IFCHR, Mode::empty(), 0) {
            Err(Errno::EEXIST) => {}
            other => return other.map_err(wrong),
        }
        if is_kind(&stat(here, hidden).map_err(wrong)?, SFlag::S_IFDIR) {
            let fd = tree::open(here, hidden).map_err(wrong)?;
            self.maker.mark_opaque(&fd).map_err(wrong)?;
        }
        Ok(())
    }

    /// Hides what the layers below have in the directory that was entered last.
    pub(super) fn opaque(&mut self, entry: &Entry) -> Result<(), Error> {
        self.maker
            .mark_opaque(self.dirs.here().fd)
            .map_err(|errno| Error::kernel(&entry.name, "mark its directory opaque", errno))
    }

    /// Makes something under a name; what has the name already is removed, and never followed.
    fn fresh<T>(
        &mut self,
        base: &[u8],
        entry: &Entry,
        make: impl Fn(BorrowedFd<'_>) -> sys::Result<T>,
    ) -> Result<T, Error> {
        let made = match make(self.dirs.here().fd) {
            Err(Errno::EEXIST) => {
                self.clear(base, entry)?;
                make(self.dirs.here().fd)
            }
            other => other,
        };
        made.map_err(|errno| Error::kernel(&entry.name, "make it", errno))
    }

    /// Removes what has a name, and all that is known of it.
    fn clear(&mut self, base: &[u8], entry: &Entry) -> Result<(), Error> {
        remove::remove(self.dirs.here().fd, base)
            .map_err(|errno| Error::kernel(&entry.name, "replace what was there", errno))?;
        let mut path = self.dirs.path().to_vec();
        tree::join(&mut path, base);
        self.late.remove(&path);
        path.push(b'/');
        let below = self.late.range(path.clone()..).map(|(below, _)| below);
        let below: Vec<_> = below
            .take_while(|below| below.starts_with(&path))
            .cloned()
            .collect();
        below.iter().for_each(|below| drop(self.late.remove(below)));
        // It may have been a directory on the way to the last link's source.
        self.sources.forget();
        Ok(())
    }
}

/// Writes the entry's data.
fn write<R: Read>(archive: &mut Archive<R>, file: &mut File, entry: &Entry) -> Result<(), Error> {
    let wrong = |error: io::Error| failed(entry, &error);
    if entry.size >= RESERVED {
        // Not all at once: the size is the archive's word only.
        let len = i64::try_from(entry.size.min(1 << 30)).unwrap_or(1 << 30);
        // Where the file system cannot do it, writing can.
        if let Err(errno @ (Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG)) =
            file::fallocate(&*file, FallocateFlags::empty(), 0, len)
        {
            return Err(Error::kernel(&entry.name, "write", errno));
        }
    }
    loop {
        let data = archive.data()?;
        if data.is_empty() {
            return Ok(());
        }
        file.write_all(data).map_err(wrong)?;
    }
}

/// Writes the entry's data where they belong to, and leaves holes between them.
fn write_pieces<R: Read>(
    archive: &mut Archive<R>,
    file: &File,
    pieces: &[Piece],
    entry: &Entry,
) -> Result<(), Error> {
    let wrong = |error: io::Error| failed(entry, &error);
    for piece in pieces {
        let mut at = piece.offset;
        let end = piece.offset + piece.len;
        while at < end {
            let data = archive.data_up_to(end - at)?;
            file.write_all_at(data, at).map_err(wrong)?;
            at += data.len() as u64;
        }
    }
    file.set_len(entry.size).map_err(wrong)
}

fn failed(entry: &Entry, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(raw) => Error::kernel(&entry.name, "write", Errno::from_raw(raw)),
        None => Error::entry(&entry.name, "write", error.to_string()),
    }
}

fn stat(dir: BorrowedFd<'_>, base: &[u8]) -> sys::Result<FileStat> {
    fs::fstatat(dir, base, AtFlags::AT_SYMLINK_NOFOLLOW)
}
