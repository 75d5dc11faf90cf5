//! Pseudo-terminals, and the terminal that we were started on.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

pub use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::fs::{self, Mode, OFlag};
use crate::{Result, check, owned};

/// Rows and columns of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// Makes a pseudo-terminal in the devpts that is at `/dev/pts`: its master, and its other side.
pub fn open() -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = fs::open("/dev/ptmx", flags, Mode::empty())?;
    let peer = open_peer(&master)?;
    Ok((master, peer))
}

/// Unlocks a master and opens its other side without a path (TIOCGPTPEER, Linux 4.13): nothing in a container's `/dev` is looked up.
pub fn open_peer(master: impl AsFd) -> Result<OwnedFd> {
    let (fd, unlock) = (master.as_fd().as_raw_fd(), 0 as libc::c_int);
    // SAFETY: TIOCSPTLCK reads one int, which lives across the call.
    check(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &raw const unlock) }.into())?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes its open flags by value and returns a new descriptor.
    owned(unsafe { libc::ioctl(fd, libc::TIOCGPTPEER, flags) }.into())
}

/// Makes the terminal the controlling one of this session.
pub fn make_controlling(terminal: impl AsFd) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }.into())?;
    Ok(())
}

/// Returns the size of a terminal; `ENOTTY` where the descriptor is none.
pub fn size(terminal: impl AsFd) -> Result<Size> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ writes one winsize, which lives across the call.
    check(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// Sets the size of a terminal.
pub fn set_size(terminal: impl AsFd, size: Size) -> Result<()> {
    let size = libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCSWINSZ reads one winsize, which lives across the call.
    check(unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &raw const size) }.into())?;
    Ok(())
}
