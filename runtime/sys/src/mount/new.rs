//! New file systems.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Attr, Loose, is_lacking, stage};
use crate::newer::Newer;
use crate::{Errno, Result, check, owned};

const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSCONFIG_CMD_RECONFIGURE: libc::c_uint = 7;
const FSPICK_CLOEXEC: libc::c_uint = 1;

/// A file system that is being configured (fsopen(2), Linux 5.2; else mounted by mount(2) in the end).
#[derive(Debug)]
pub struct NewFs(By);

#[derive(Debug)]
enum By {
    Context(OwnedFd),
    Name(stage::Wanted),
}

impl NewFs {
    /// Starts a new instance of a file system type.
    pub fn open(fstype: &str) -> Result<Self> {
        let name = CString::new(fstype).map_err(|_| Errno::EINVAL)?;
        let opened = if is_lacking() {
            Err(Errno::ENOSYS)
        } else {
            Newer::FsOpen.call(|| {
                // SAFETY: the name is a NUL-terminated string that outlives the call.
                owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })
            })
        };
        match opened {
            Err(Errno::ENOSYS) => stage::Wanted::new(fstype).map(By::Name).map(Self),
            other => other.map(By::Context).map(Self),
        }
    }

    /// Sets an option that has a value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let context = match &mut self.0 {
            By::Context(context) => context,
            By::Name(wanted) => return wanted.set(key, Some(value)),
        };
        let key = CString::new(key).map_err(|_| Errno::EINVAL)?;
        let value = CString::new(value).map_err(|_| Errno::EINVAL)?;
        let fd = context.as_raw_fd();
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
    pub fn flag(&mut self, key: &str) -> Result<()> {
        let context = match &mut self.0 {
            By::Context(context) => context,
            By::Name(wanted) => return wanted.set(key, None),
        };
        let key = CString::new(key).map_err(|_| Errno::EINVAL)?;
        let (fd, none) = (context.as_raw_fd(), std::ptr::null::<libc::c_char>());
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
    pub fn mount(self, attr: Attr) -> Result<Loose> {
        self.mount_or_why(attr).map_err(|(errno, _)| errno)
    }

    /// Does the same; what the kernel wrote about a failure, if it did, comes with it.
    pub fn mount_or_why(self, attr: Attr) -> std::result::Result<Loose, (Errno, Option<String>)> {
        match self.0 {
            By::Context(context) => make(&context, attr)
                .map(Loose::from)
                .map_err(|errno| (errno, Self(By::Context(context)).complaint())),
            By::Name(wanted) => wanted
                .mount(attr)
                .map(Loose::staged)
                .map_err(|errno| (errno, None)),
        }
    }

    /// Tells whether mount(2) will be called in the end: all options then go into one page, separated by commas, and relative paths
    /// among them start at the working directory of that moment.
    #[must_use]
    pub fn is_by_name(&self) -> bool {
        matches!(self.0, By::Name(_))
    }

    /// Returns what the kernel wrote about a failed option or mount, one line, without its `e ` prefix; before Linux 5.2 nothing.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let By::Context(context) = &self.0 else {
            return None;
        };
        let mut text = [0_u8; 512];
        let length = nix::unistd::read(context, &mut text).ok()?;
        let line = String::from_utf8_lossy(&text[..length]);
        let line = line
            .trim()
            .trim_start_matches("e ")
            .trim_start_matches("w ");
        (!line.is_empty()).then(|| line.to_string())
    }
}

fn make(context: &OwnedFd, attr: Attr) -> Result<OwnedFd> {
    let (fd, none) = (context.as_raw_fd(), std::ptr::null::<libc::c_char>());
    // SAFETY: the create command takes neither key nor value.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: fsmount takes integers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attr.bits()) })
}

/// Gives the file system that is mounted at `path` these flags in the place of those that it has (fspick(2), Linux 5.2).
pub fn reconfigure<'a>(path: &Path, flags: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path is a NUL-terminated string that outlives the call.
    let picked = owned(unsafe {
        libc::syscall(
            libc::SYS_fspick,
            libc::AT_FDCWD,
            path.as_ptr(),
            FSPICK_CLOEXEC,
        )
    })?;
    let fd = picked.as_raw_fd();
    let mut picked = NewFs(By::Context(picked));
    for flag in flags {
        picked.flag(flag)?;
    }
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the reconfigure command takes neither key nor value; the descriptor is open as long as `picked` is there.
    check(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            fd,
            FSCONFIG_CMD_RECONFIGURE,
            none,
            none,
            0,
        )
    })?;
    Ok(())
}
