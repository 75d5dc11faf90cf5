//! What an archive makes, as values.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read;

use super::contents::Contents;
use crate::error::quote;
use crate::limits::within;
use crate::name::{self, Place};
use crate::tar::{self, Archive, Entry, Time};
use crate::tree::{belongs, is_void};
use crate::{Error, Options, acl};

/// Bytes of all that is expected: four million files with usual names. An archive of some megabytes can say names that take twenty times more.
const HELD: u64 = if cfg!(test) { 4 << 20 } else { 1 << 30 };
/// What a name takes in memory besides its bytes.
const NAME: u64 = 64;

/// What there can be in an unpacked layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Whiteout,
    Char,
    Block,
    Fifo,
}

/// One file, which may have several names.
#[derive(Debug)]
pub(super) struct File {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) size: u64,
    /// Of the contents, as [`Contents`] has it.
    pub(super) hash: [u8; 32],
    pub(super) target: Box<[u8]>,
    pub(super) device: (u32, u32),
    /// By name.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) opaque: bool,
    /// How many names lead to it.
    pub(super) names: u32,
}

/// A name of a file.
#[derive(Debug)]
pub(super) struct Name {
    /// Which file of all.
    pub(super) file: usize,
    /// It is there.
    pub(super) seen: Cell<bool>,
}

/// A whole tree: each path, the root's empty one among them, and the file it leads to.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) names: BTreeMap<Box<[u8]>, Name>,
    pub(super) files: Vec<File>,
    devices: bool,
    held: u64,
}

impl Expected {
    /// Reads a whole stream; returns its hash, too.
    pub(super) fn read(tar: impl Read, options: &Options) -> Result<(Self, [u8; 32]), Error> {
        let mut archive = Archive::new(tar, options.limits, options.limits.bytes);
        let mut expected = Self {
            names: BTreeMap::new(),
            files: Vec::new(),
            devices: options.devices,
            held: 0,
        };
        expected.put(Vec::new(), File::implied())?;
        let mut entry = Entry::default();
        while archive.next(&mut entry)? {
            expected.add(&mut archive, &entry)?;
        }
        for name in expected.names.values() {
            expected.files[name.file].names += 1;
        }
        Ok((expected, archive.finish()?.1))
    }

    /// Returns which file a path leads to.
    fn index(&self, path: &[u8]) -> Option<usize> {
        self.names.get(path).map(|name| name.file)
    }

    fn add<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<(), Error> {
        let mut path = Vec::new();
        let place = name::place(&entry.name, &mut path)?;
        if place == Place::Nothing {
            return Ok(());
        }
        let (dir, base) = name::split(&path);
        let dir = self.resolve(dir, true, entry)?;
        let at = |base: &[u8]| {
            if dir.is_empty() {
                base.to_vec()
            } else {
                [&dir, &b"/"[..], base].concat()
            }
        };
        match place {
            Place::Opaque => {
                if let Some(index) = self.index(&dir) {
                    self.files[index].opaque = true;
                }
            }
            Place::Whiteout => self.whiteout(at(&base[name::WHITEOUT.len()..]))?,
            _ => self.plain(archive, at(base), entry)?,
        }
        Ok(())
    }

    fn plain<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        path: Vec<u8>,
        entry: &Entry,
    ) -> Result<(), Error> {
        let kind = match entry.kind {
            tar::Kind::Link => return self.link(path, entry),
            tar::Kind::Directory => return self.directory(path, entry),
            tar::Kind::File => Kind::File,
            tar::Kind::Symlink => Kind::Symlink,
            tar::Kind::Fifo => Kind::Fifo,
            tar::Kind::Char => Kind::Char,
            tar::Kind::Block => Kind::Block,
        };
        if matches!(kind, Kind::Char | Kind::Block) && !self.devices {
            return Ok(());
        }
        let mut file = File::of(kind, entry);
        if kind == Kind::File {
            file.hash = contents(archive, entry)?;
        }
        self.remove(&path);
        self.put(path, file)
    }

    fn directory(&mut self, path: Vec<u8>, entry: &Entry) -> Result<(), Error> {
        let mut new = File::of(Kind::Directory, entry);
        if let Some(index) = self.index(&path) {
            let old = &mut self.files[index];
            new.opaque = old.opaque || old.kind == Kind::Whiteout;
            if old.kind == Kind::Directory {
                for (name, value) in std::mem::take(&mut old.xattrs) {
                    if !new.xattrs.iter().any(|(known, _)| *known == name) {
                        new.xattrs.push((name, value));
                    }
                }
                new.xattrs.sort_unstable();
                *old = new;
                return Ok(());
            }
            self.remove(&path);
        }
        self.put(path, new)
    }

    fn link(&mut self, path: Vec<u8>, entry: &Entry) -> Result<(), Error> {
        let gone = || Error::entry(&entry.name, "hard link", "what it names is not there");
        let mut source = Vec::new();
        name::clean(&entry.link, &mut source)?;
        let (dir, base) = name::split(&source);
        let mut source = self.resolve(dir, false, entry)?;
        crate::tree::join(&mut source, base);
        let index = self.index(&source).ok_or_else(gone)?;
        if self.index(&path) != Some(index) {
            self.remove(&path);
            // It may have lain in what has been removed.
            self.index(&source).ok_or_else(gone)?;
            self.name(path, index)?;
        }
        Ok(())
    }

    fn whiteout(&mut self, path: Vec<u8>) -> Result<(), Error> {
        match self.index(&path) {
            None => self.put(
                path,
                File {
                    kind: Kind::Whiteout,
                    ..File::implied()
                },
            ),
            Some(index) => {
                let file = &mut self.files[index];
                file.opaque |= file.kind == Kind::Directory;
                Ok(())
            }
        }
    }

    /// Returns the path without symlinks of a directory; those that are not there are made, or else an error.
    fn resolve(&mut self, dir: &[u8], make: bool, entry: &Entry) -> Result<Vec<u8>, Error> {
        let wrong = || Error::entry(&entry.name, "name", "its directory is none");
        let mut todo: Vec<Vec<u8>> = dir
            .rsplit(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect();
        let (mut at, mut links) = (Vec::new(), 0);
        while let Some(part) = todo.pop() {
            if part.is_empty() || part == b"." {
                continue;
            }
            if part == b".." {
                at = name::split(&at).0.to_vec();
                continue;
            }
            let above = at.clone();
            crate::tree::join(&mut at, &part);
            let index = match self.index(&at) {
                None if make => {
                    self.put(at.clone(), File::implied())?;
                    continue;
                }
                None => return Err(wrong()),
                Some(index) => index,
            };
            let file = &mut self.files[index];
            match file.kind {
                Kind::Directory => {}
                Kind::Whiteout if make => {
                    let implied = File {
                        opaque: true,
                        ..File::implied()
                    };
                    self.put(at.clone(), implied)?;
                }
                Kind::Symlink if links < 40 => {
                    links += 1;
                    let target = file.target.clone();
                    at = if target.starts_with(b"/") {
                        Vec::new()
                    } else {
                        above
                    };
                    todo.extend(target.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec));
                }
                _ => return Err(wrong()),
            }
        }
        Ok(at)
    }

    fn put(&mut self, path: Vec<u8>, file: File) -> Result<(), Error> {
        let xattrs = file.xattrs.iter();
        let xattrs: usize = xattrs
            .map(|(name, value)| name.len() + value.len() + 48)
            .sum();
        self.held += (size_of::<File>() + file.target.len() + xattrs) as u64;
        self.name(path, self.files.len())?;
        self.files.push(file);
        Ok(())
    }

    fn name(&mut self, path: Vec<u8>, file: usize) -> Result<(), Error> {
        self.held += path.len() as u64 + NAME;
        within(self.held, HELD, || {
            format!("entry {}: bytes of all names in memory", quote(&path))
        })?;
        let seen = Cell::new(false);
        self.names.insert(path.into(), Name { file, seen });
        Ok(())
    }

    /// Forgets a path and all below it.
    fn remove(&mut self, path: &[u8]) {
        self.names.remove(path);
        let inside = [path, b"/"].concat();
        let below = self.names.range(inside.clone().into_boxed_slice()..);
        let below: Vec<_> = below
            .map(|(path, _)| path.clone())
            .take_while(|path| path.starts_with(&inside))
            .collect();
        for path in below {
            self.names.remove(&path);
        }
    }
}

impl File {
    /// A directory that no entry has named.
    fn implied() -> Self {
        Self {
            kind: Kind::Directory,
            mode: 0o755,
            uid: sys::process::geteuid().as_raw(),
            gid: sys::process::getegid().as_raw(),
            mtime: Time::default(),
            size: 0,
            hash: [0; 32],
            target: Box::default(),
            device: (0, 0),
            xattrs: Vec::new(),
            opaque: false,
            names: 0,
        }
    }

    fn of(kind: Kind, entry: &Entry) -> Self {
        // What files made in it inherit is said of a directory, and of nothing else.
        let fits = |name: &[u8]| kind == Kind::Directory || name != b"system.posix_acl_default";
        let kept = entry
            .xattrs
            .iter()
            .filter(|(name, value)| belongs(name) && fits(name) && !is_void(name, value));
        let (mut xattrs, mut mode) = (Vec::new(), entry.mode);
        for (name, value) in kept {
            let settled = acl::settled(name, value);
            mode = settled.mode.map_or(mode, |said| mode & !0o777 | said);
            xattrs.extend(settled.value.map(|value| (name.clone(), value)));
        }
        xattrs.sort_unstable();
        Self {
            kind,
            mode,
            uid: entry.uid,
            gid: entry.gid,
            mtime: entry.mtime,
            size: entry.size,
            hash: [0; 32],
            target: entry.link.as_slice().into(),
            device: entry.device,
            xattrs,
            opaque: false,
            names: 0,
        }
    }
}

/// Hashes a file as it is unpacked.
fn contents<R: Read>(archive: &mut Archive<R>, entry: &Entry) -> Result<[u8; 32], Error> {
    let mut contents = Contents::default();
    let mut at = 0;
    let whole = [tar::Piece {
        offset: 0,
        len: entry.size,
    }];
    for piece in entry.pieces.as_deref().unwrap_or(&whole) {
        contents.hole(piece.offset - at);
        at = piece.offset;
        while at < piece.offset + piece.len {
            let data = archive.data_up_to(piece.offset + piece.len - at)?;
            contents.data(data);
            at += data.len() as u64;
        }
    }
    contents.hole(entry.size - at);
    Ok(contents.finish())
}
