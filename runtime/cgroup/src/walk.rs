//! Cgroups below a cgroup, by descriptor: a container that may make some can nest them deeper than any path is long.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use sys::fs::{Dir, FileType, Mode, OFlag};

use crate::file::{self, Result};

/// Calls `visit` with a cgroup and each one below it, and `leave` with the name of each one below, in its parent, when all that
/// is below that has been left.
///
/// What goes meanwhile is passed over. One descriptor is open at a time: the way up is `..`.
pub(crate) fn walk(
    top: &Path,
    mut visit: impl FnMut(&OwnedFd) -> Result<()>,
    mut leave: impl FnMut(&OwnedFd, &CString) -> Result<()>,
) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut dir = match sys::fs::open(top, flags, Mode::empty()) {
        Err(errno) if file::gone(errno) => return Ok(()),
        opened => opened?,
    };
    visit(&dir)?;
    let mut todo = vec![children(&dir)?];
    let mut way: Vec<CString> = Vec::new();
    while let Some(level) = todo.last_mut() {
        let Some(name) = level.pop() else {
            todo.pop();
            if let Some(name) = way.pop() {
                dir = sys::fs::openat(&dir, "..", flags, Mode::empty())?;
                leave(&dir, &name)?;
            }
            continue;
        };
        match sys::fs::openat(&dir, name.as_c_str(), flags, Mode::empty()) {
            Err(errno) if file::gone(errno) => {}
            opened => {
                dir = opened?;
                way.push(name);
                visit(&dir)?;
                todo.push(children(&dir)?);
            }
        }
    }
    Ok(())
}

/// Lists the cgroups directly below one, the last one first; one that has gone has none.
fn children(dir: &OwnedFd) -> Result<Vec<CString>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut list = match Dir::openat(dir, ".", flags, Mode::empty()) {
        Err(errno) if file::gone(errno) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut found = Vec::new();
    for entry in list.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == Some(FileType::Directory)
            && !matches!(name.to_bytes(), b"." | b"..")
        {
            found.push(name.to_owned());
        }
    }
    // The order of a directory is the kernel's hash order.
    found.sort();
    found.reverse();
    Ok(found)
}
