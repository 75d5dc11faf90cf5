//! An archive becomes a directory.
//!
//! | in the archive | in the directory |
//! |---|---|
//! | a name that is there already | the later one replaces the earlier; a directory over a directory takes its owner, mode and time and keeps what is in it |
//! | a name whose directories no entry has named | they are made, 0755, of 1970 |
//! | `.wh.X` | X as character device 0:0; where the same layer has an X, before or after, that one stays, and if it is a directory it becomes opaque (image-spec: a whiteout hides lower layers only; containerd refuses X before `.wh.X`) |
//! | `.wh..wh..opq` | `trusted.overlay.opaque=y` on its directory (`user.overlay.opaque` if so wanted) |
//! | other `.wh..wh.*` | nothing: aufs's own |
//! | attributes `{trusted,user}.overlay.*`, `security.ima`, `security.evm` | nothing, and a warning: they would speak for the host |
//! | devices, where they are not wanted | nothing, and a warning |
//!
//! Nothing is ever opened but directories and the new file itself; symlinks are followed only on the way to an entry, and inside the root only.

mod attributes;
mod dirs;
mod node;
mod remove;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};

use sys::fs::{self, Mode};

use crate::limits::within;
use crate::name::{self, Place};
use crate::tar::{Archive, Entry, Kind, Time};
use crate::{Error, Options, error::quote, tree};
use attributes::Maker;
use dirs::{Dirs, Missing};

/// What is kept of directories until the end, in memory: more than a million of them, and no archive of a few megabytes may take more.
const HELD: u64 = 256 << 20;

/// What came of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Headers that were read.
    pub entries: u64,
    /// Bytes of all files, holes included.
    pub bytes: u64,
    /// Bytes of the whole stream.
    pub tar_bytes: u64,
    /// SHA-256 of the whole stream.
    pub tar_sha256: [u8; 32],
    /// What was left out, a line for each kind of thing.
    pub warnings: Vec<String>,
}

/// Unpacks an archive into an empty directory that nobody else writes to, and reads the stream to its very end.
///
/// On an error what has been unpacked so far stays: the caller removes the directory. Nothing is synced.
pub fn unpack(tar: impl Read, into: BorrowedFd<'_>, options: &Options) -> Result<Unpacked, Error> {
    unpack_within(tar, into, options, options.limits.bytes)
}

/// Unpacks an archive like [`unpack`] that has at most so many bytes ([`Limits::inflated`](crate::Limits::inflated)): an entry that says it has
/// more is refused before the first of them is written.
pub fn unpack_within(
    tar: impl Read,
    into: BorrowedFd<'_>,
    options: &Options,
    most: u64,
) -> Result<Unpacked, Error> {
    let mut archive = Archive::new(tar, options.limits, most);
    let mut entry = Entry::default();
    let mut tree = Tree::new(into, options)?;
    while archive.next(&mut entry)? {
        tree.add(&mut archive, &entry)?;
    }
    tree.finish()?;
    let (entries, bytes) = archive.counts();
    let (tar_bytes, tar_sha256) = archive.finish()?;
    Ok(Unpacked {
        entries,
        bytes,
        tar_bytes,
        tar_sha256,
        warnings: tree.warnings.lines(),
    })
}

/// The directory as it grows.
#[derive(Debug)]
struct Tree<'a> {
    root: BorrowedFd<'a>,
    dirs: Dirs<'a>,
    /// The same for the sources of hard links.
    sources: Dirs<'a>,
    maker: Maker,
    devices: bool,
    /// By path.
    late: BTreeMap<Vec<u8>, Late>,
    /// Bytes in it.
    held: u64,
    warnings: Warnings,
    path: Vec<u8>,
    source: Vec<u8>,
}

/// What a directory gets when nothing is made in it any more.
#[derive(Debug, Default)]
struct Late {
    time: Time,
    /// Permissions that would keep us out, and have not been given yet.
    mode: Option<u32>,
    /// What files made in it would inherit.
    acl: Option<Vec<u8>>,
}

impl<'a> Tree<'a> {
    fn new(root: BorrowedFd<'a>, options: &Options) -> Result<Self, Error> {
        let wrong = |errno| Error::kernel(b".", "directory to unpack into", errno);
        if !tree::names(root, 0).map_err(wrong)?.is_empty() {
            return Err(Error::entry(
                b".",
                "directory to unpack into",
                "it is not empty",
            ));
        }
        let maker = Maker::new(options.userxattr);
        maker.own(root).map_err(wrong)?;
        fs::fchmod(root, Mode::from_bits_truncate(0o755)).map_err(wrong)?;
        let mut tree = Self {
            root,
            dirs: Dirs::new(root, maker, options.limits.depth),
            sources: Dirs::new(root, maker, options.limits.depth),
            maker,
            devices: options.devices,
            late: BTreeMap::new(),
            held: 0,
            warnings: Warnings::default(),
            path: Vec::new(),
            source: Vec::new(),
        };
        tree.dirs.set_root(true);
        tree.keep(Vec::new(), Late::default())?;
        Ok(tree)
    }

    fn add<R: Read>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<(), Error> {
        let mut path = std::mem::take(&mut self.path);
        let place = name::place(&entry.name, &mut path)?;
        let (dir, base) = name::split(&path);
        if !matches!(place, Place::Root | Place::Nothing) {
            self.enter(dir, entry)?;
        }
        match place {
            Place::Nothing => {}
            Place::Root if entry.kind == Kind::Directory => self.root(entry)?,
            Place::Root => {
                return Err(Error::entry(
                    &entry.name,
                    "name",
                    "only a directory can be the root",
                ));
            }
            Place::Opaque => self.opaque(entry)?,
            Place::Whiteout => self.whiteout(&base[name::WHITEOUT.len()..], entry)?,
            Place::Plain => match entry.kind {
                Kind::File => self.file(archive, base, entry)?,
                Kind::Directory => self.directory(base, entry)?,
                Kind::Link => self.link(base, entry)?,
                Kind::Symlink => self.symlink(base, entry)?,
                Kind::Char | Kind::Block | Kind::Fifo => self.device(base, entry)?,
            },
        }
        self.path = path;
        Ok(())
    }

    /// Goes to the directory that an entry lies in.
    fn enter(&mut self, dir: &[u8], entry: &Entry) -> Result<(), Error> {
        self.dirs.enter(dir, Missing::Make, &entry.name)?;
        for path in std::mem::take(&mut self.dirs.made) {
            // What no entry has named gets a time that is the same each time.
            self.keep(path, Late::default())?;
        }
        Ok(())
    }

    /// Keeps for the end what a directory gets then; of two entries for one directory the later counts.
    fn keep(&mut self, path: Vec<u8>, mut late: Late) -> Result<(), Error> {
        let before = self.late.remove(&path);
        if before.is_none() {
            self.held += path.len() as u64;
        }
        self.held += late.acl.as_ref().map_or(0, Vec::len) as u64;
        within(self.held, HELD, || {
            format!(
                "entry {}: bytes of the names of all directories",
                quote(&path)
            )
        })?;
        late.acl = late.acl.or(before.and_then(|before| before.acl));
        self.late.insert(path, late);
        Ok(())
    }

    /// Gives directories what they could not have while they were filled.
    fn finish(&mut self) -> Result<(), Error> {
        let late = std::mem::take(&mut self.late);
        for (path, dir) in &late {
            let (above, base) = name::split(path);
            let wrong = |what| move |errno| Error::kernel(path, what, errno);
            self.dirs.enter(above, Missing::Refuse, path)?;
            let here = self.dirs.here().fd;
            if let Some(acl) = &dir.acl {
                let fd = if base.is_empty() {
                    None
                } else {
                    Some(tree::open(here, base))
                };
                let fd = fd.transpose().map_err(wrong("open"))?;
                let fd = fd.as_ref().map_or(self.root, AsFd::as_fd);
                self.maker
                    .set_xattr(fd, attributes::DEFAULT_ACL, acl, path, &mut self.warnings)?;
            }
            let done = match base {
                b"" => attributes::set_time(self.root, dir.time),
                base => attributes::set_time_at(here, base, dir.time),
            };
            done.map_err(wrong("set its time"))?;
        }
        // From below: a directory that keeps us out comes after what is in it.
        for (path, dir) in late.iter().rev() {
            if let Some(mode) = dir.mode {
                let (above, base) = name::split(path);
                self.dirs.enter(above, Missing::Refuse, path)?;
                attributes::set_mode_at(self.dirs.here().fd, base, mode)
                    .map_err(|errno| Error::kernel(path, "set its mode", errno))?;
            }
        }
        Ok(())
    }
}

/// What was left out: what, how often, and where first.
#[derive(Debug, Default)]
struct Warnings(Vec<(String, u64, String)>);

impl Warnings {
    fn add(&mut self, what: &str, name: &[u8]) {
        if let Some((_, count, _)) = self.0.iter_mut().find(|(known, ..)| known == what) {
            *count += 1;
        } else if self.0.len() < 100 {
            self.0.push((what.to_owned(), 1, quote(name)));
        }
    }

    fn lines(&self) -> Vec<String> {
        let line = |(what, count, name): &(String, u64, String)| {
            let mut line = format!("entry {name}: {what}");
            if *count > 1 {
                // Writing into a string cannot go wrong.
                let _ = write!(line, " (and of {} more)", count - 1);
            }
            line
        };
        self.0.iter().map(line).collect()
    }
}
