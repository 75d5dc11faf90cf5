//! The mount interface by descriptor: open_tree(2), move_mount(2), fsopen(2), mount_setattr(2).

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bitflags::bitflags;
pub use nix::mount::{MntFlags, MsFlags, mount, umount2};
pub use nix::unistd::pivot_root;

use crate::fs::AT_FDCWD;
use crate::{Errno, NixPath, Result, check, owned};

const AT_EMPTY_PATH: libc::c_uint = 0x1000;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x04;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSCONFIG_CMD_RECONFIGURE: libc::c_uint = 7;
const FSPICK_CLOEXEC: libc::c_uint = 1;

bitflags! {
    /// Attributes of one mount (`MOUNT_ATTR_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Attr: u64 {
        const RDONLY = 0x1;
        const NOSUID = 0x2;
        const NODEV = 0x4;
        const NOEXEC = 0x8;
        /// The field of the three access-time modes; relatime is its zero.
        const ATIME_MASK = 0x70;
        const NOATIME = 0x10;
        const STRICTATIME = 0x20;
        const NODIRATIME = 0x80;
        const NOSYMFOLLOW = 0x0020_0000;
    }
}

/// What happens to mount events below a mount (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Private,
    Slave,
    Shared,
    Unbindable,
}

impl Propagation {
    /// Returns the `MS_*` bit that mount(2) and mount_setattr(2) both take.
    #[must_use]
    pub fn flag(self) -> MsFlags {
        match self {
            Self::Private => MsFlags::MS_PRIVATE,
            Self::Slave => MsFlags::MS_SLAVE,
            Self::Shared => MsFlags::MS_SHARED,
            Self::Unbindable => MsFlags::MS_UNBINDABLE,
        }
    }
}

/// One mount, or the whole tree below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    One,
    Tree,
}

#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Copies the mount that `path` lies on (a bind mount that is attached nowhere yet); Linux 5.2.
pub fn clone_tree<P: ?Sized + NixPath>(
    dir: impl AsFd,
    path: &P,
    extent: Extent,
) -> Result<OwnedFd> {
    let mut flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    if extent == Extent::Tree {
        flags |= AT_RECURSIVE;
    }
    let dir = dir.as_fd().as_raw_fd();
    // SAFETY: the path is a NUL-terminated string that outlives the call; the kernel writes no memory.
    owned(path.with_nix_path(|path| unsafe {
        libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags)
    })?)
}

/// Copies the mount at an absolute path.
pub fn clone_path<P: ?Sized + NixPath>(path: &P, extent: Extent) -> Result<OwnedFd> {
    clone_tree(AT_FDCWD, path, extent)
}

/// Attaches a detached mount (or moves an attached one) onto the very object that `target` refers to; Linux 5.2.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to) = (mount.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
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

/// Changes attributes and, if given, propagation of the mount behind a descriptor; Linux 5.12.
///
/// An access-time mode in `set` replaces the one that was there, as mount_setattr(2) demands.
pub fn set_attr(
    mount: impl AsFd,
    extent: Extent,
    set: Attr,
    clear: Attr,
    propagation: Option<Propagation>,
) -> Result<()> {
    let mut clear = clear;
    if set.intersects(Attr::ATIME_MASK) || clear.intersects(Attr::ATIME_MASK) {
        clear |= Attr::ATIME_MASK;
    }
    let attr = MountAttr {
        attr_set: set.bits(),
        attr_clr: clear.bits(),
        propagation: propagation.map_or(0, |p| p.flag().bits()),
        userns_fd: 0,
    };
    setattr(mount, extent, &attr)
}

/// Shows the files of a mount with the owners that a user namespace's maps give them (Linux 5.12); the mount must not have been
/// attached anywhere yet. `EINVAL`: the file system cannot do it; `EPERM`: it is mapped already, or not ours.
pub fn idmap(mount: impl AsFd, extent: Extent, user_namespace: impl AsFd) -> Result<()> {
    let fd = user_namespace.as_fd().as_raw_fd();
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        userns_fd: u64::try_from(fd).map_err(|_| Errno::EBADF)?,
        ..MountAttr::default()
    };
    setattr(mount, extent, &attr)
}

fn setattr(mount: impl AsFd, extent: Extent, attr: &MountAttr) -> Result<()> {
    let flags = AT_EMPTY_PATH
        | if extent == Extent::Tree {
            AT_RECURSIVE
        } else {
            0
        };
    let (fd, size) = (mount.as_fd().as_raw_fd(), size_of::<MountAttr>());
    // SAFETY: `attr` lives across the call and `size` is its size; the path is a static empty string.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd,
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size,
        )
    })?;
    Ok(())
}

/// Gives the file system that is mounted at `path` these flags in the place of those that it has (fspick(2), Linux 5.2).
pub fn reconfigure<'a>(path: &Path, flags: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path is a NUL-terminated string that outlives the call.
    let picked = NewFs(owned(unsafe {
        libc::syscall(
            libc::SYS_fspick,
            libc::AT_FDCWD,
            path.as_ptr(),
            FSPICK_CLOEXEC,
        )
    })?);
    for flag in flags {
        picked.flag(flag)?;
    }
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the reconfigure command takes neither key nor value.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            picked.0.as_raw_fd(),
            FSCONFIG_CMD_RECONFIGURE,
            none,
            none,
            0,
        )
    })?;
    Ok(())
}

/// A file system that is being configured (fsopen(2), Linux 5.2).
#[derive(Debug)]
pub struct NewFs(OwnedFd);

impl NewFs {
    /// Starts a new instance of a file system type.
    pub fn open(fstype: &str) -> Result<Self> {
        let name = CString::new(fstype).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the name is a NUL-terminated string that outlives the call.
        owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
    }

    /// Sets an option that has a value.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let key = CString::new(key).map_err(|_| Errno::EINVAL)?;
        let value = CString::new(value).map_err(|_| Errno::EINVAL)?;
        let fd = self.0.as_raw_fd();
        // SAFETY: both strings are NUL-terminated and outlive the call.
        check(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                fd,
                FSCONFIG_SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            )
        })?;
        Ok(())
    }

    /// Sets an option without a value.
    pub fn flag(&self, key: &str) -> Result<()> {
        let key = CString::new(key).map_err(|_| Errno::EINVAL)?;
        let (fd, none) = (self.0.as_raw_fd(), std::ptr::null::<libc::c_char>());
        // SAFETY: the key is NUL-terminated and outlives the call; a flag has no value.
        check(unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                fd,
                FSCONFIG_SET_FLAG,
                key.as_ptr(),
                none,
                0,
            )
        })?;
        Ok(())
    }

    /// Makes the file system and a mount of it that is attached nowhere yet.
    pub fn mount(self, attr: Attr) -> Result<OwnedFd> {
        let (fd, none) = (self.0.as_raw_fd(), std::ptr::null::<libc::c_char>());
        // SAFETY: the create command takes neither key nor value.
        check(unsafe {
            libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0)
        })?;
        // SAFETY: fsmount takes integers only.
        owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attr.bits()) })
    }

    /// Returns what the kernel wrote about a failed option or mount, one line, without its `e ` prefix.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let mut text = [0_u8; 512];
        let length = nix::unistd::read(&self.0, &mut text).ok()?;
        let line = String::from_utf8_lossy(&text[..length]);
        let line = line
            .trim()
            .trim_start_matches("e ")
            .trim_start_matches("w ");
        (!line.is_empty()).then(|| line.to_string())
    }
}
