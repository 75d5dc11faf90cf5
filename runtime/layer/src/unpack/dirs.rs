//! The way to an entry's directory.
//!
//! Every step opens one plain name in an open directory and follows no symlink, so that the kernel never walks a path of the archive's. Where
//! a component is a symlink its target is walked in the same way, `..` going back along the directories that were entered: none of it can leave
//! the root, on any kernel. The last directories on the way stay open, as most entries lie in the one that the last entry lay in. This is sound because
//! nobody else writes here: a directory that is removed again is forgotten (`forget`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::Errno;
use sys::fs::{self, AtFlags, Mode, SFlag, UnlinkatFlags};

use super::Maker;
use crate::limits::within;
use crate::tree::{is_kind, is_whiteout, join, open};
use crate::{Error, error::quote, name};

/// So many directories of a way stay open, of those that were entered last: a process has a thousand descriptors, and unpacks several layers at once.
const MOST_OPEN: usize = 32;

/// As many as the kernel follows on one way.
const MOST_LINKS: usize = 40;

/// Open directories from the root to the one that was entered last.
#[derive(Debug)]
pub(super) struct Dirs<'a> {
    root: Parent<'a>,
    /// Where `frames` have led to; no component of it is a symlink.
    path: Vec<u8>,
    frames: Vec<Frame>,
    maker: Maker,
    depth: u64,
    /// Directories that no entry had named, and that were made on the way.
    pub(super) made: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Frame {
    /// How much of the path leads here.
    end: usize,
    /// The last frame has one.
    fd: Option<OwnedFd>,
    plain: bool,
}

/// A directory that new files are made in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parent<'a> {
    pub(super) fd: BorrowedFd<'a>,
    /// New files belong to us, as we are; else they may inherit the directory's group, and directories its set-group-ID bit.
    pub(super) plain: bool,
}

/// What becomes of directories that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

/// Where a component led to.
enum Step {
    In,
    Link(Vec<u8>),
}

impl<'a> Dirs<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, maker: Maker, depth: u64) -> Self {
        Self {
            root: Parent {
                fd: root,
                plain: false,
            },
            path: Vec::new(),
            frames: Vec::new(),
            maker,
            depth,
            made: Vec::new(),
        }
    }

    /// Notes whether files that are made in the root are ours.
    pub(super) fn set_root(&mut self, plain: bool) {
        self.root.plain = plain;
    }

    /// Returns the directory that was entered last.
    pub(super) fn here(&self) -> Parent<'_> {
        let Some(frame) = self.frames.last() else {
            return self.root;
        };
        let fd = frame.fd.as_ref().expect("the last frame is open").as_fd();
        let plain = frame.plain;
        Parent { fd, plain }
    }

    /// Returns the path of the directory that was entered last, which no symlink is part of.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Goes to a directory, for the entry `name`.
    pub(super) fn enter(&mut self, dir: &[u8], missing: Missing, name: &[u8]) -> Result<(), Error> {
        let above = |frame: &Frame| name::is_below(dir, &self.path[..frame.end]);
        let keep = self.frames.iter().rposition(above);
        self.go_back(keep.map_or(0, |last| last + 1), name)?;
        let mut rest = &dir[self.path.len()..];
        loop {
            rest = rest.strip_prefix(b"/").unwrap_or(rest);
            if rest.is_empty() {
                return Ok(());
            }
            let end = rest
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(rest.len());
            let part;
            (part, rest) = rest.split_at(end);
            if let Step::Link(target) = self.step(part, missing, name)? {
                return self.follow(&target, rest, missing, name);
            }
        }
    }

    /// Goes on along a symlink's target and then along the rest of the way.
    fn follow(
        &mut self,
        target: &[u8],
        rest: &[u8],
        missing: Missing,
        name: &[u8],
    ) -> Result<(), Error> {
        let mut todo = Vec::new();
        push_parts(&mut todo, rest);
        push_parts(&mut todo, target);
        if target.starts_with(b"/") {
            self.forget();
        }
        let mut links = 1;
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"." => {}
                // The root's parent is the root.
                b".." => self.go_back(self.frames.len().saturating_sub(1), name)?,
                part => {
                    if let Step::Link(target) = self.step(part, missing, name)? {
                        links += 1;
                        if links > MOST_LINKS || todo.len() > 4096 {
                            return Err(Error::kernel(name, "open its directory", Errno::ELOOP));
                        }
                        push_parts(&mut todo, &target);
                        if target.starts_with(b"/") {
                            self.forget();
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Enters one component.
    fn step(&mut self, part: &[u8], missing: Missing, name: &[u8]) -> Result<Step, Error> {
        let wrong =
            |errno| Error::kernel(name, format!("open its directory {}", quote(part)), errno);
        let here = self.here().fd;
        let fd = match open(here, part) {
            Ok(fd) => fd,
            // By way of a symlink: an entry's own name has been looked at.
            Err(Errno::ENOENT) if part.starts_with(name::WHITEOUT) => {
                let why = "a symlink leads below a whiteout";
                return Err(Error::entry(name, "name", why));
            }
            Err(Errno::ENOENT) if missing == Missing::Make => self.make(part).map_err(wrong)?,
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                let stat = fs::fstatat(here, part, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(wrong)?;
                if is_kind(&stat, SFlag::S_IFLNK) {
                    let target = fs::readlinkat(here, part).map_err(wrong)?;
                    return Ok(Step::Link(target.into_encoded_bytes()));
                }
                if missing == Missing::Refuse || !is_whiteout(&stat) {
                    return Err(wrong(Errno::ENOTDIR));
                }
                // What this layer has below a name that it also hides shows alone.
                fs::unlinkat(here, part, UnlinkatFlags::NoRemoveDir).map_err(wrong)?;
                let fd = self.make(part).map_err(wrong)?;
                self.maker.mark_opaque(&fd).map_err(wrong)?;
                fd
            }
            Err(errno) => return Err(wrong(errno)),
        };
        let stat = fs::fstat(&fd).map_err(wrong)?;
        let plain = self.maker.is_plain(stat.st_gid, stat.st_mode);
        self.push(part, fd, plain, name)?;
        Ok(Step::In)
    }

    /// Makes a directory that no entry has named, as others do: 0755 and ours.
    fn make(&mut self, part: &[u8]) -> sys::Result<OwnedFd> {
        let (here, mode) = (self.here(), Mode::from_bits_truncate(0o755));
        fs::mkdirat(here.fd, part, mode)?;
        let fd = open(here.fd, part)?;
        if !here.plain {
            self.maker.own(&fd)?;
        }
        if !here.plain || self.maker.umask & 0o755 != 0 {
            fs::fchmod(&fd, mode)?;
        }
        let mut path = self.path.clone();
        join(&mut path, part);
        self.made.push(path);
        Ok(fd)
    }

    /// Enters a directory that is open already.
    pub(super) fn push(
        &mut self,
        part: &[u8],
        fd: OwnedFd,
        plain: bool,
        name: &[u8],
    ) -> Result<(), Error> {
        within(self.frames.len() as u64 + 1, self.depth, || {
            format!("entry {}: directories in each other", quote(name))
        })?;
        join(&mut self.path, part);
        let end = self.path.len();
        let fd = Some(fd);
        self.frames.push(Frame { end, fd, plain });
        if let Some(far) = self.frames.len().checked_sub(MOST_OPEN + 1) {
            self.frames[far].fd = None;
        }
        Ok(())
    }

    /// Goes back until so many directories are left on the way.
    fn go_back(&mut self, keep: usize, name: &[u8]) -> Result<(), Error> {
        self.frames.truncate(keep);
        let end = self.frames.last().map_or(0, |frame| frame.end);
        self.path.truncate(end);
        match self.frames.last() {
            Some(Frame { fd: None, .. }) => self
                .reopen()
                .map_err(|errno| Error::kernel(name, "open its directory again", errno)),
            _ => Ok(()),
        }
    }

    /// Opens the way once more: the same names from the root on, none of them a symlink. The last ones stay open, so that the next steps back
    /// cost nothing.
    fn reopen(&mut self) -> sys::Result<()> {
        let open_from = self.frames.len().saturating_sub(MOST_OPEN);
        let (mut start, mut above) = (0, None::<OwnedFd>);
        for at in 0..self.frames.len() {
            let end = self.frames[at].end;
            let part = &self.path[start..end];
            let part = part.strip_prefix(b"/").unwrap_or(part);
            let fd = open(above.as_ref().map_or(self.root.fd, AsFd::as_fd), part)?;
            let left = above.replace(fd);
            if at > open_from {
                self.frames[at - 1].fd = left;
            }
            start = end;
        }
        if let Some(last) = self.frames.last_mut() {
            last.fd = above;
        }
        Ok(())
    }

    /// Goes back to the root.
    pub(super) fn forget(&mut self) {
        self.frames.clear();
        self.path.clear();
    }
}

/// Puts the components of a path on a stack, the first one on top.
fn push_parts(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path
        .rsplit(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    todo.extend(parts.map(<[u8]>::to_vec));
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_long_way_needs_few_descriptors() {
        let dir = std::env::temp_dir().join(format!("layer-dirs-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let root = File::open(&dir).unwrap();
        let mut dirs = Dirs::new(root.as_fd(), Maker::new(false), 256);
        for depth in [200, 100, 101, 70, 32, 250, 0, 33, 1] {
            let way = vec!["d"; depth].join("/");
            dirs.enter(way.as_bytes(), Missing::Make, b"x").unwrap();
            let open = dirs.frames.iter().filter(|frame| frame.fd.is_some());
            assert!(open.count() <= MOST_OPEN, "{depth} deep");
            assert_eq!(dirs.frames.len(), depth);
            let here = fs::fstat(dirs.here().fd).unwrap();
            let there = std::fs::metadata(dir.join(way)).unwrap();
            assert_eq!(here.st_ino, there.ino(), "{depth} deep");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
