//! Holding up whoever opens a file: the kernel asks us first (fanotify(7)).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Holds all that open or make a file in a directory; dropping it lets them go on.
#[derive(Debug)]
pub struct Gate(OwnedFd);

impl Gate {
    pub fn before(dir: &Path) -> io::Result<Self> {
        let path = CString::new(dir.as_os_str().as_bytes())?;
        // SAFETY: fanotify_init takes integers only; the descriptor that it returns is new and owned by nobody else.
        let gate = unsafe {
            let flags = libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC;
            let raw = libc::fanotify_init(flags, libc::O_RDONLY.unsigned_abs());
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            Self(OwnedFd::from_raw_fd(raw))
        };
        let events = libc::FAN_OPEN_PERM | libc::FAN_EVENT_ON_CHILD;
        let (fd, cwd) = (gate.0.as_raw_fd(), libc::AT_FDCWD);
        // SAFETY: the path is a C string that lives across the call.
        match unsafe { libc::fanotify_mark(fd, libc::FAN_MARK_ADD, events, cwd, path.as_ptr()) } {
            0 => Ok(gate),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Tells whether somebody is held.
    #[must_use]
    pub fn holds(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, which lives across the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }
}
