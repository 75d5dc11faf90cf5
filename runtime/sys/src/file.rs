//! Contents of whole trees by descriptor: extended attributes, hard links, room on disk, times.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

pub use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
pub use nix::sys::stat::futimens;
pub use nix::unistd::{linkat, syncfs};

use crate::{Errno, NixPath, Result, check};

/// No attribute's value and no list of names is longer (XATTR_SIZE_MAX, XATTR_LIST_MAX).
const LONGEST: usize = 64 * 1024;

/// Sets an extended attribute of what a descriptor refers to, `O_PATH` ones of symlinks and devices included.
pub fn set_xattr<P: ?Sized + NixPath>(fd: impl AsFd, name: &P, value: &[u8]) -> Result<()> {
    let raw = fd.as_fd().as_raw_fd();
    let (data, len) = (value.as_ptr().cast(), value.len());
    name.with_nix_path(|name| {
        either(
            raw,
            // SAFETY: the kernel reads a NUL-terminated name and `len` bytes of the value; both live across the call.
            || i64::from(unsafe { libc::fsetxattr(raw, name.as_ptr(), data, len, 0) }),
            // SAFETY: as above, and the path is NUL-terminated.
            |path| i64::from(unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), data, len, 0) }),
        )
    })??;
    Ok(())
}

/// Reads an extended attribute of what a descriptor refers to; none where there is no such attribute.
pub fn get_xattr<P: ?Sized + NixPath>(fd: impl AsFd, name: &P) -> Result<Option<Vec<u8>>> {
    let raw = fd.as_fd().as_raw_fd();
    let read = name.with_nix_path(|name| {
        whole(|value| {
            let (data, len) = (value.as_mut_ptr(), value.len());
            either(
                raw,
                // SAFETY: the kernel reads a NUL-terminated name and writes at most `len` bytes into the value.
                || unsafe { libc::fgetxattr(raw, name.as_ptr(), data.cast(), len) as i64 },
                // SAFETY: as above, and the path is NUL-terminated.
                |path| unsafe {
                    libc::getxattr(path.as_ptr(), name.as_ptr(), data.cast(), len) as i64
                },
            )
        })
    })?;
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Errno::ENODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns the names of the extended attributes of what a descriptor refers to, in no order; none where the file system has no such thing.
pub fn list_xattrs(fd: impl AsFd) -> Result<Vec<Vec<u8>>> {
    let raw = fd.as_fd().as_raw_fd();
    let names = whole(|list| {
        let (data, len) = (list.as_mut_ptr(), list.len());
        either(
            raw,
            // SAFETY: the kernel writes at most `len` bytes into the list.
            || unsafe { libc::flistxattr(raw, data.cast(), len) as i64 },
            // SAFETY: as above, and the path is NUL-terminated.
            |path| unsafe { libc::listxattr(path.as_ptr(), data.cast(), len) as i64 },
        )
    });
    match names {
        Ok(names) => Ok(names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(<[u8]>::to_vec)
            .collect()),
        Err(Errno::EOPNOTSUPP) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// Calls with a small buffer, and again with the largest that the kernel ever fills.
fn whole(mut call: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = [0; 512];
    match call(&mut buffer) {
        Ok(len) => Ok(buffer[..len].to_vec()),
        Err(Errno::ERANGE) => {
            let mut buffer = vec![0; LONGEST];
            let len = call(&mut buffer)?;
            buffer.truncate(len);
            Ok(buffer)
        }
        Err(errno) => Err(errno),
    }
}

/// Makes a call by descriptor, or where the descriptor is an `O_PATH` one by its magic link, which leads to the very file and no further.
fn either(
    raw: i32,
    by_fd: impl FnOnce() -> i64,
    by_path: impl FnOnce(&CStr) -> i64,
) -> Result<usize> {
    let done = match check(by_fd()) {
        Err(Errno::EBADF) => {
            let path = format!("/proc/self/fd/{raw}");
            path.with_nix_path(|path| check(by_path(path)))??
        }
        other => other?,
    };
    usize::try_from(done).map_err(|_| Errno::EOVERFLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Mode, OFlag};

    #[test]
    fn attributes_of_files_and_of_what_cannot_be_opened() {
        let dir = std::env::temp_dir().join(format!("sys-xattr-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("file"), "").unwrap();
        std::os::unix::fs::symlink("file", dir.join("link")).unwrap();
        let at =
            |name: &str, flags| crate::fs::open(&dir.join(name), flags, Mode::empty()).unwrap();
        let file = at("file", OFlag::O_RDONLY);
        let link = at("link", OFlag::O_PATH | OFlag::O_NOFOLLOW);
        let long = vec![7; 600];
        let name: &[u8] = b"trusted.long";
        set_xattr(&file, name, &long).unwrap();
        set_xattr(&link, "trusted.of-the-link", b"").unwrap();
        assert_eq!(get_xattr(&file, name).unwrap(), Some(long));
        assert_eq!(list_xattrs(&file).unwrap(), [name.to_vec()]);
        assert_eq!(
            list_xattrs(&link).unwrap(),
            [b"trusted.of-the-link".to_vec()]
        );
        assert_eq!(
            get_xattr(&link, "trusted.of-the-link").unwrap(),
            Some(Vec::new())
        );
        assert_eq!(get_xattr(&link, name).unwrap(), None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
