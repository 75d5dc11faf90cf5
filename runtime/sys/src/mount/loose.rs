//! Mounts that are attached nowhere yet.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{
    AT_EMPTY_PATH, AT_RECURSIVE, Attr, Change, Extent, MountAttr, Propagation, is_lacking, setattr,
    stage,
};
use crate::fs::{AT_FDCWD, FcntlArg, FileStat, Mode, OFlag, SFlag, fcntl, fstat, open, openat};
use crate::newer::Newer;
use crate::{Errno, NixPath, Result, check, owned};

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// A mount that is attached nowhere yet, known by its top.
///
/// Where the kernel has none such, a copy is only promised: the descriptor is that of what will be bound, what is to be set is
/// noted, and [`attach`](Self::attach) makes and sets all, unseen, before it puts the mount in its place.
#[derive(Debug)]
pub struct Loose {
    fd: OwnedFd,
    how: How,
}

#[derive(Debug)]
enum How {
    Detached,
    /// Made by a stand-in, on the stage.
    Staged,
    Promised(Promise),
}

#[derive(Debug)]
struct Promise {
    /// Where the object was found, as far as that is known.
    path: Option<PathBuf>,
    extent: Extent,
    changes: Vec<Change>,
}

/// Copies the mount that `path` lies on (a bind mount that is attached nowhere yet); Linux 5.2, else promised.
pub fn clone_tree<P: ?Sized + NixPath>(dir: impl AsFd, path: &P, extent: Extent) -> Result<Loose> {
    let dir = dir.as_fd();
    let copy = if Newer::MountSetattr.is_lacking() {
        Err(Errno::ENOSYS)
    } else {
        copy(dir, path, extent)
    };
    let how = match copy {
        Err(Errno::ENOSYS) => How::Promised(Promise {
            path: None,
            extent,
            changes: Vec::new(),
        }),
        other => {
            let (fd, how) = (other?, How::Detached);
            return Ok(Loose { fd, how });
        }
    };
    let fd = if path.is_empty() {
        owned(fcntl(dir, FcntlArg::F_DUPFD_CLOEXEC(0))?.into())?
    } else {
        openat(dir, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?
    };
    Ok(Loose { fd, how })
}

/// Copies the mount at an absolute path.
pub fn clone_path(path: &Path, extent: Extent) -> Result<Loose> {
    clone_tree(AT_FDCWD, path, extent).map(|loose| loose.found_at(path))
}

fn copy<P: ?Sized + NixPath>(dir: BorrowedFd<'_>, path: &P, extent: Extent) -> Result<OwnedFd> {
    let mut flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    if extent == Extent::Tree {
        flags |= AT_RECURSIVE;
    }
    let dir = dir.as_raw_fd();
    Newer::OpenTree.call(|| {
        // SAFETY: the path is a NUL-terminated string that outlives the call; the kernel writes no memory.
        owned(path.with_nix_path(|path| unsafe {
            libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags)
        })?)
    })
}

impl Loose {
    pub(super) fn staged(fd: OwnedFd) -> Self {
        let how = How::Staged;
        Self { fd, how }
    }

    /// Says by which absolute path the object was found, for [`here`](Self::here).
    #[must_use]
    pub fn found_at(mut self, path: &Path) -> Self {
        if let How::Promised(promise) = &mut self.how {
            promise.path = Some(path.to_owned());
        }
        self
    }

    /// Tells whether there is no mount yet, but what it will be a copy of.
    #[must_use]
    pub fn is_promise(&self) -> bool {
        matches!(self.how, How::Promised(_))
    }

    /// Brings what was made in another mount namespace into this one, which is a copy of that. What is there already stays as it is; a
    /// promise is looked up again, and only the very object that was found before will do (`ESTALE`).
    pub fn here(mut self) -> Result<Self> {
        let How::Promised(Promise {
            path: Some(path), ..
        }) = &self.how
        else {
            return Ok(self);
        };
        let was = fstat(&self.fd)?;
        let mut flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        if kind(&was) == SFlag::S_IFLNK {
            flags |= OFlag::O_NOFOLLOW;
        }
        let fd = open(path, flags, Mode::empty())?;
        if !is_same(&was, &fstat(&fd)?) {
            return Err(Errno::ESTALE);
        }
        self.fd = fd;
        Ok(self)
    }

    /// Changes attributes and, if given, propagation, as [`set_attr`](super::set_attr) does. `ENOSYS`: one that cannot be had without
    /// mount_setattr(2), which is read-only with all that is mounted below.
    pub fn set(
        &mut self,
        extent: Extent,
        set: Attr,
        clear: Attr,
        propagation: Option<Propagation>,
    ) -> Result<()> {
        let change = Change::new(extent, set, clear, propagation);
        match &mut self.how {
            How::Detached => change.make(&self.fd),
            How::Staged => stage::change(&self.fd, change),
            How::Promised(promise) => {
                stage::possible(change)?;
                promise.changes.push(change);
                Ok(())
            }
        }
    }

    /// Shows the files with the owners that a user namespace's maps give them (Linux 5.12, `ENOSYS` before). `EINVAL`: the
    /// file system cannot do it; `EPERM`: it is mapped already, or not ours.
    pub fn idmap(&self, extent: Extent, user_namespace: impl AsFd) -> Result<()> {
        if is_lacking() {
            return Err(Errno::ENOSYS);
        }
        let fd = user_namespace.as_fd().as_raw_fd();
        let attr = MountAttr {
            attr_set: MOUNT_ATTR_IDMAP,
            userns_fd: u64::try_from(fd).map_err(|_| Errno::EBADF)?,
            ..MountAttr::default()
        };
        setattr(&self.fd, extent, &attr)
    }

    /// Attaches the mount onto the very object that `target` refers to, and returns its top.
    pub fn attach(self, target: impl AsFd) -> Result<OwnedFd> {
        match self.how {
            How::Detached => {
                move_to(&self.fd, target)?;
                Ok(self.fd)
            }
            How::Staged => {
                stage::move_to(&self.fd, target)?;
                Ok(self.fd)
            }
            How::Promised(promise) => {
                let made = stage::bind(&self.fd, promise.extent, &promise.changes)?;
                stage::move_to(&made, target)?;
                Ok(made)
            }
        }
    }

    /// Leaves a promised mount on the stage, where it is made, and returns its top: it will be `/` without being moved.
    pub fn stay(self) -> Result<OwnedFd> {
        match self.how {
            How::Detached => Err(Errno::EINVAL),
            How::Staged => Ok(self.fd),
            How::Promised(promise) => stage::bind(&self.fd, promise.extent, &promise.changes),
        }
    }

    /// Keeps the mount for what is done below its top; it will never be attached, and no `..` leads out of it.
    pub fn keep(self) -> Result<OwnedFd> {
        match self.how {
            How::Detached => Ok(self.fd),
            How::Staged => stage::detach(&self.fd).map(|()| self.fd),
            How::Promised(promise) => {
                let made = stage::bind(&self.fd, promise.extent, &promise.changes)?;
                stage::detach(&made).map(|()| made)
            }
        }
    }
}

impl From<OwnedFd> for Loose {
    /// Takes a detached mount that another process has sent; or holds what a mount is compared with and never attached itself.
    fn from(fd: OwnedFd) -> Self {
        let how = How::Detached;
        Self { fd, how }
    }
}

impl AsFd for Loose {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn move_to(mount: &OwnedFd, target: impl AsFd) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to) = (mount.as_raw_fd(), target.as_fd().as_raw_fd());
    // SAFETY: both paths are the static empty string; the kernel writes no memory.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from,
            c"".as_ptr(),
            to,
            c"".as_ptr(),
            flags,
        )
    })?;
    Ok(())
}

pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

pub(super) fn is_same(a: &FileStat, b: &FileStat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}
