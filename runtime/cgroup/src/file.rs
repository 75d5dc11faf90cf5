//! One call each on the kernel's interface files: short values, one open, one read or write.

use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use sys::Errno;
use sys::fs::{Mode, OFlag};

/// What callers of this module branch on.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

pub(crate) fn open_for_write(path: &Path) -> Result<OwnedFd> {
    // No O_CREAT and no O_TRUNC: cgroupfs knows neither, and a name outside of it must not come into being.
    sys::fs::open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Writes a whole value: the kernel parses one value per write(2).
pub(crate) fn write_fd(fd: &OwnedFd, value: &[u8]) -> Result<()> {
    loop {
        match sys::fs::write(fd, value) {
            // A memory limit is written while the kernel reclaims, which a signal can interrupt.
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

pub(crate) fn write(path: &Path, value: &str) -> Result<()> {
    write_fd(&open_for_write(path)?, value.as_bytes())
}

pub(crate) fn open_for_read(path: &Path) -> Result<OwnedFd> {
    sys::fs::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Reads a file to its end, without the trailing newline.
pub(crate) fn read(path: &Path) -> Result<String> {
    read_fd(&open_for_read(path)?)
}

/// Reads a file of a directory to its end.
pub(crate) fn read_at(dir: &OwnedFd, name: &str) -> Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    read_fd(&sys::fs::openat(dir, name, flags, Mode::empty())?)
}

/// Reads on to the end of a file. Nobody knows the size of a kernel's file; the buffer holds most in one call.
pub(crate) fn read_fd(fd: &OwnedFd) -> Result<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        match sys::fs::read(fd, &mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end().to_owned())
}

/// Reads a file that has been read before, from its beginning.
pub(crate) fn read_again(fd: &OwnedFd) -> Result<String> {
    sys::fs::lseek(fd, 0, sys::fs::Whence::SeekSet)?;
    read_fd(fd)
}

pub(crate) fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(|e| errno(&e))
}

pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    std::fs::remove_dir(path).map_err(|e| errno(&e))
}

/// Whether an errno means that the cgroup was removed: `ENODEV` comes from a file that was open at that moment.
pub(crate) fn gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

pub(crate) fn errno(error: &std::io::Error) -> Errno {
    // Everything here is a failed system call; an error of another kind reads as I/O error.
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
