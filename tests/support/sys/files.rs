//! Files and what is attached to them.

use super::c;
use std::io;
use std::path::Path;

/// Returns an extended attribute of a file or link.
pub fn attribute(path: &Path, key: &str) -> io::Result<Vec<u8>> {
    let (path, key) = (c(path), c(key));
    let mut value = vec![0u8; 4096];
    let into = value.as_mut_ptr().cast();
    // SAFETY: two NUL-terminated strings and a buffer of that length, all of which live across the call.
    let length = unsafe { libc::lgetxattr(path.as_ptr(), key.as_ptr(), into, value.len()) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    value.truncate(length);
    Ok(value)
}
