//! Files and directories by descriptor.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub use nix::dir::{Dir, Type as FileType};
pub use nix::fcntl::{AT_FDCWD, AtFlags, FcntlArg, FdFlag, OFlag, OpenHow, ResolveFlag};
pub use nix::fcntl::{fcntl, open, openat, openat2, readlinkat, renameat};
pub use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags};
pub use nix::sys::stat::{
    fchmod, fchmodat, fstat, fstatat, major, makedev, minor, mkdirat, mknodat, umask, utimensat,
};
pub use nix::sys::statfs::{
    DEVPTS_SUPER_MAGIC, FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC, fstatfs,
};
pub use nix::sys::statvfs::{FsFlags, fstatvfs};
pub use nix::sys::time::TimeSpec;
pub use nix::unistd::{AccessFlags, Gid, Uid, UnlinkatFlags, Whence};
pub use nix::unistd::{
    chdir, faccessat, fchdir, fchown, fchownat, getcwd, lseek, mkfifo, pipe2, read, symlinkat,
    unlinkat, write,
};

use crate::newer::Newer;
use crate::{Errno, NixPath, Result, check, mountinfo, owned, walk};

pub use crate::descriptors::{cloexec_from, close_all_but};

/// Makes a counter that the kernel can wake us by (eventfd(2)); reading it never waits.
pub fn eventfd() -> Result<OwnedFd> {
    // SAFETY: eventfd takes integers only.
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.into())
}

/// Where a path inside a container's root may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// Symlinks are followed as a process in the container would follow them.
    Root,
    /// Any symlink is refused with `ELOOP`.
    NoSymlinks,
}

/// Opens `path` below `root` as if `root` were `/` (openat2(2), Linux 5.6; on older ones step by step): nothing in the tree can lead
/// out of it. An existing file only: `O_CREAT` is not for this.
///
/// An absolute or empty path is taken as relative to the root. `EAGAIN` (a rename or mount raced with the walk) is tried
/// again: 128 times outlasts an attacker who renames on every core.
pub fn open_inside<P: ?Sized + NixPath>(
    root: impl AsFd,
    path: &P,
    flags: OFlag,
    mode: Mode,
    inside: Inside,
) -> Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let resolve = match inside {
        Inside::Root => resolve,
        Inside::NoSymlinks => resolve | ResolveFlag::RESOLVE_NO_SYMLINKS,
    };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .mode(mode)
        .resolve(resolve);
    let root = root.as_fd();
    for _ in 0..128 {
        let opened = Newer::Openat2.call(|| {
            if path.is_empty() {
                openat2(root, ".", how)
            } else {
                openat2(root, path, how)
            }
        });
        let opened = match opened {
            Err(Errno::ENOSYS) => {
                path.with_nix_path(|path| walk::open(root, path, flags, inside))?
            }
            other => other,
        };
        match opened {
            Err(Errno::EAGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::EAGAIN)
}

/// Makes a file of our own in a directory, in the place of what has that name, which is removed and never followed. `EEXIST` when somebody
/// else puts something there meanwhile.
pub fn replace<P: ?Sized + NixPath>(dir: impl AsFd, name: &P, mode: Mode) -> Result<OwnedFd> {
    match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    openat(dir, name, OFlag::O_WRONLY | new | OFlag::O_CLOEXEC, mode)
}

/// Opens a directory descriptor for walking (`O_PATH`).
pub fn open_path<P: ?Sized + NixPath>(path: &P) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// Returns the id of the mount that a descriptor lies on, as mountinfo has it (statx(2), Linux 5.8; else by `/proc/self/fdinfo`).
pub fn mount_id(fd: impl AsFd) -> Result<u64> {
    let fd = fd.as_fd();
    match statx(fd, libc::STATX_MNT_ID) {
        Ok(stat) if stat.stx_mask & libc::STATX_MNT_ID != 0 => Ok(stat.stx_mnt_id),
        Ok(_) | Err(Errno::ENOSYS) => mountinfo::id_of(fd),
        Err(errno) => Err(errno),
    }
}

/// Tells whether a descriptor is the root of a mount (statx(2), Linux 5.8; else by `/proc/self/mountinfo`).
pub fn is_mount_root(fd: impl AsFd) -> Result<bool> {
    let fd = fd.as_fd();
    let root = u64::from(libc::STATX_ATTR_MOUNT_ROOT.cast_unsigned());
    match statx(fd, 0) {
        Ok(stat) if stat.stx_attributes_mask & root != 0 => Ok(stat.stx_attributes & root != 0),
        Ok(_) | Err(Errno::ENOSYS) => mountinfo::is_root(fd),
        Err(errno) => Err(errno),
    }
}

fn statx(fd: impl AsFd, mask: libc::c_uint) -> Result<libc::statx> {
    // SAFETY: an all-zero statx is a valid value of this plain C structure.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let (raw, empty) = (fd.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH);
    // Not by the C library, which makes up an answer of its own where the kernel has none.
    // SAFETY: the kernel writes one statx, which lives across the call; the path is a static empty string.
    check(unsafe {
        libc::syscall(
            libc::SYS_statx,
            raw,
            c"".as_ptr(),
            empty,
            mask,
            &raw mut stat,
        )
    })?;
    Ok(stat)
}

/// Returns the target of a symlink given by an `O_PATH | O_NOFOLLOW` descriptor.
pub fn read_link_fd(fd: impl AsFd) -> Result<std::ffi::OsString> {
    readlinkat(fd, "")
}

/// Asks with the effective ids whether a file may be executed (faccessat2(2) semantics through `AT_EACCESS`).
pub fn may_execute<P: ?Sized + NixPath>(dir: impl AsFd, path: &P) -> Result<()> {
    faccessat(dir, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

/// Makes a file in memory with some contents, positioned at its beginning.
pub fn memory_file(contents: &[u8]) -> Result<OwnedFd> {
    // SAFETY: the name is a static NUL-terminated string.
    let file =
        crate::owned(unsafe { libc::memfd_create(c"state".as_ptr(), libc::MFD_CLOEXEC) }.into())?;
    let mut rest = contents;
    while !rest.is_empty() {
        rest = &rest[write(&file, rest)?..];
    }
    nix::unistd::lseek(&file, 0, Whence::SeekSet)?;
    Ok(file)
}

/// Waits for the exclusive lock of a file or directory, which its descriptor then holds (flock(2)).
pub fn lock(fd: impl AsFd) -> Result<()> {
    loop {
        // SAFETY: flock takes integers only.
        match check(unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_EX) }.into()) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Sets or clears close-on-exec on one descriptor.
pub fn set_cloexec(fd: impl AsFd, on: bool) -> Result<()> {
    fcntl(
        fd,
        FcntlArg::F_SETFD(if on {
            FdFlag::FD_CLOEXEC
        } else {
            FdFlag::empty()
        }),
    )?;
    Ok(())
}

/// Borrows a descriptor that this process was started with, if it is open.
///
/// Standard streams, preserved and socket-activation descriptors are known by their number only. The borrow is sound as
/// long as nobody closes inherited descriptors, and no code of ours does.
#[must_use]
pub fn inherited(number: i32) -> Option<BorrowedFd<'static>> {
    // SAFETY: F_GETFD on any number is harmless; it tells whether the descriptor is open.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: the descriptor is open, was inherited, and inherited descriptors are never closed by this program.
    (open && number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Makes `number` refer to what `fd` refers to, without close-on-exec (dup2(2)).
pub fn dup_onto(fd: impl AsFd, number: i32) -> Result<()> {
    // SAFETY: dup2 replaces descriptor `number`; callers use it for the standard streams and the payload's listed descriptors
    // only, which no OwnedFd of ours holds, because owned descriptors are kept above them (see `lift`).
    check(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) }.into())?;
    Ok(())
}

/// Copies a descriptor to a number of at least `least`, close-on-exec.
pub fn lift_copy(fd: impl AsFd, least: i32) -> Result<OwnedFd> {
    crate::owned(fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least))?.into())
}

/// Moves a descriptor to a number of at least `least`, so that lower numbers are free for the payload.
pub fn lift(fd: OwnedFd, least: i32) -> Result<OwnedFd> {
    if fd.as_raw_fd() >= least {
        return Ok(fd);
    }
    lift_copy(fd, least)
}

/// Waits for a shared lock of a file or directory, which its descriptor then holds (flock(2)).
pub fn lock_shared(fd: impl AsFd) -> Result<()> {
    loop {
        // SAFETY: flock takes integers only.
        match check(unsafe { libc::flock(fd.as_fd().as_raw_fd(), libc::LOCK_SH) }.into()) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Takes the exclusive lock of a file or directory if nobody has one (flock(2)); tells whether it did.
pub fn try_lock(fd: impl AsFd) -> Result<bool> {
    lock_now(fd, libc::LOCK_EX)
}

/// Takes a lock (flock) that others may have as well, unless somebody has it alone; tells whether it was taken.
pub fn try_lock_shared(fd: impl AsFd) -> Result<bool> {
    lock_now(fd, libc::LOCK_SH)
}

fn lock_now(fd: impl AsFd, how: libc::c_int) -> Result<bool> {
    // SAFETY: flock takes integers only.
    match check(unsafe { libc::flock(fd.as_fd().as_raw_fd(), how | libc::LOCK_NB) }.into()) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}
