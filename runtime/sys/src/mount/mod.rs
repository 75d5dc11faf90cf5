//! The mount interface by descriptor: open_tree(2), move_mount(2), fsopen(2), mount_setattr(2).
//!
//! A mount is made where nobody sees it, gets its attributes, and is attached to an object that was looked at. Kernels before 5.12 lack
//! a part of that; there [`stage`] and mount(2) stand in, in a mount namespace that is this process's own ([`claim_namespace`]).

mod loose;
mod new;
mod stage;

use std::os::fd::{AsFd, AsRawFd};

use bitflags::bitflags;
pub use nix::mount::{MntFlags, MsFlags, mount, umount2};
pub use nix::unistd::pivot_root;

pub use self::loose::{Loose, clone_path, clone_tree};
pub use self::new::{NewFs, reconfigure};
pub use self::stage::{claim_namespace, cover_root, leave_stage, strike_stage};
use crate::newer::Newer;
use crate::{Errno, Result, check};

const AT_EMPTY_PATH: libc::c_uint = 0x1000;
const AT_RECURSIVE: libc::c_uint = 0x8000;

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

/// A change of attributes and propagation.
#[derive(Debug, Clone, Copy)]
struct Change {
    extent: Extent,
    set: Attr,
    clear: Attr,
    propagation: Option<Propagation>,
}

impl Change {
    fn new(extent: Extent, set: Attr, clear: Attr, propagation: Option<Propagation>) -> Self {
        let mut clear = clear;
        if set.intersects(Attr::ATIME_MASK) || clear.intersects(Attr::ATIME_MASK) {
            clear |= Attr::ATIME_MASK;
        }
        Self {
            extent,
            set,
            clear,
            propagation,
        }
    }

    fn make(self, mount: impl AsFd) -> Result<()> {
        let attr = MountAttr {
            attr_set: self.set.bits(),
            attr_clr: self.clear.bits(),
            propagation: self.propagation.map_or(0, |p| p.flag().bits()),
            userns_fd: 0,
        };
        setattr(mount, self.extent, &attr)
    }
}

/// Tells whether this kernel was found to lack what mounts are made with.
fn is_lacking() -> bool {
    Newer::OpenTree.is_lacking() || Newer::MountSetattr.is_lacking()
}

/// Changes attributes and, if given, propagation of the mount behind a descriptor, which is attached in this mount namespace; Linux 5.12,
/// before that in a namespace of our own only.
///
/// An access-time mode in `set` replaces the one that was there, as mount_setattr(2) demands.
pub fn set_attr(
    mount: impl AsFd,
    extent: Extent,
    set: Attr,
    clear: Attr,
    propagation: Option<Propagation>,
) -> Result<()> {
    let change = Change::new(extent, set, clear, propagation);
    match change.make(&mount) {
        Err(Errno::ENOSYS) => stage::change(mount, change),
        other => other,
    }
}

fn setattr(mount: impl AsFd, extent: Extent, attr: &MountAttr) -> Result<()> {
    let flags = AT_EMPTY_PATH
        | if extent == Extent::Tree {
            AT_RECURSIVE
        } else {
            0
        };
    let (fd, size) = (mount.as_fd().as_raw_fd(), size_of::<MountAttr>());
    Newer::MountSetattr.call(|| {
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
        })
    })?;
    Ok(())
}
