//! Paths below the container's root, always by descriptor.

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::Errno;
use sys::fs::{self, FileStat, Inside, Mode, OFlag, SFlag};

/// How many symlinks may lead to one directory that is to be made; the kernel's own limit for a path (path_resolution(7)).
const LINKS: u32 = 40;

/// The root of the new tree; after [`attach_root`] it is the mount that everything is resolved below.
#[derive(Debug)]
pub(super) struct Tree(pub(super) OwnedFd);

impl Tree {
    /// Opens a path as the container would see it, without using the file (`O_PATH`).
    pub(super) fn open(&self, path: &Path, inside: Inside) -> sys::Result<OwnedFd> {
        fs::open_inside(&self.0, below(path), OFlag::O_PATH, Mode::empty(), inside)
    }

    /// Opens a directory, making what is missing on the way. Another process that makes the same one at the same time is no
    /// error (BuildKit shares one root between containers).
    pub(super) fn directory(&self, path: &Path, inside: Inside) -> sys::Result<OwnedFd> {
        self.make_directory(path, inside, LINKS)
    }

    fn make_directory(&self, path: &Path, inside: Inside, links: u32) -> sys::Result<OwnedFd> {
        let open = || {
            fs::open_inside(
                &self.0,
                below(path),
                OFlag::O_PATH | OFlag::O_DIRECTORY,
                Mode::empty(),
                inside,
            )
        };
        let (above, name) = match (open(), path.parent(), path.file_name()) {
            (Err(Errno::ENOENT), Some(above), Some(name)) => (above, name),
            (result, ..) => return result,
        };
        let parent = self.make_directory(above, inside, links)?;
        match fs::mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => open(),
            // Somebody else was faster, or a symlink leads to where nothing is yet: that place is made, inside the root.
            Err(Errno::EEXIST) => match (open(), fs::readlinkat(&parent, name)) {
                (Err(Errno::ENOENT), Ok(_)) if links == 0 => Err(Errno::ELOOP),
                (Err(Errno::ENOENT), Ok(to)) if inside == Inside::Root => {
                    self.make_directory(&above.join(to), inside, links - 1)
                }
                (result, _) => result,
            },
            Err(errno) => Err(errno),
        }
    }

    /// Opens a file, making an empty one if it is missing.
    pub(super) fn file(&self, path: &Path, inside: Inside) -> sys::Result<OwnedFd> {
        match (self.open(path, inside), path.parent(), path.file_name()) {
            (Err(Errno::ENOENT), Some(parent), Some(name)) => {
                let parent = self.directory(parent, inside)?;
                let flags = OFlag::O_CREAT
                    | OFlag::O_EXCL
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_WRONLY
                    | OFlag::O_CLOEXEC;
                match fs::openat(&parent, name, flags, Mode::from_bits_truncate(0o644)) {
                    Ok(_) | Err(Errno::EEXIST) => self.open(path, inside),
                    Err(errno) => Err(errno),
                }
            }
            (result, ..) => result,
        }
    }
}

pub(super) fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Returns what sort of file it is.
pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
