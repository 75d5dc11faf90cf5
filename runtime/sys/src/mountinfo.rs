//! What `/proc/self/mountinfo` tells of this mount namespace's mounts (proc_pid_mountinfo(5)), where no system call does.
//!
//! Only read where `/proc` is still the host's.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::fs::{
    AT_FDCWD, Inside, Mode, OFlag, PROC_SUPER_MAGIC, fstatfs, open, open_inside, readlinkat,
};
use crate::{Errno, Result};

/// One line.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    pub(crate) point: PathBuf,
}

/// Reads the whole table.
pub(crate) fn table() -> Result<Vec<Entry>> {
    let text = read("self/mountinfo")?;
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| entry(line).ok_or(Errno::EINVAL))
        .collect()
}

fn entry(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let point = OsString::from_vec(unescape(fields.nth(2)?));
    Some(Entry {
        id,
        parent,
        point: point.into(),
    })
}

/// Undoes `\040` and its like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *byte == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(code) => {
                plain.push(code);
                rest = &after[3..];
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

/// Returns the id of the mount that a descriptor lies on.
pub(crate) fn id_of(fd: BorrowedFd<'_>) -> Result<u64> {
    let text = read(&format!("self/fdinfo/{}", fd.as_raw_fd()))?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    line.and_then(|id| id.trim().parse().ok())
        .ok_or(Errno::ENOSYS)
}

/// Tells whether a descriptor is the root of its mount.
pub(crate) fn is_root(fd: BorrowedFd<'_>) -> Result<bool> {
    let id = id_of(fd)?;
    let path = readlinkat(AT_FDCWD, by_number(fd).as_str())?;
    let table = table()?;
    let entry = table.iter().find(|entry| entry.id == id);
    Ok(entry.is_some_and(|entry| entry.point.as_os_str().as_bytes() == path.as_bytes()))
}

/// Returns all mounts that hang below one, with their paths from its root; parents before children.
pub(crate) fn below(table: &[Entry], top: u64) -> Result<Vec<(u64, PathBuf)>> {
    let point = |id| table.iter().find(|entry| entry.id == id);
    let root = &point(top).ok_or(Errno::EINVAL)?.point;
    let mut ids = vec![top];
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(&above) = ids.get(next) {
        let here = |entry: &&Entry| entry.parent == above && entry.id != top;
        for entry in table.iter().filter(here) {
            let inside = entry.point.strip_prefix(root).unwrap_or(Path::new(""));
            found.push((entry.id, inside.to_owned()));
            ids.push(entry.id);
        }
        next += 1;
    }
    Ok(found)
}

/// Returns a path that leads to the very object of a descriptor of ours.
pub(crate) fn by_number(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Opens `/proc`, if it is a procfs.
pub(crate) fn proc() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let proc = open("/proc", flags, Mode::empty())?;
    if fstatfs(&proc)?.filesystem_type() == PROC_SUPER_MAGIC {
        Ok(proc)
    } else {
        Err(Errno::EXDEV)
    }
}

fn read(path: &str) -> Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = open_inside(proc()?, path, flags, Mode::empty(), Inside::Root)?;
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(file), &mut text)
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_escapes() {
        let line = b"36 35 98:0 / /a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw";
        let entry = entry(line).expect("an entry");
        assert_eq!((entry.id, entry.parent), (36, 35));
        assert_eq!(entry.point, Path::new("/a b\\c"));
        assert_eq!(unescape(b"\\0"), b"\\0");
    }

    #[test]
    fn mounts_below_one_come_with_their_way() {
        let line = |id, parent, point: &str| Entry {
            id,
            parent,
            point: point.into(),
        };
        let table = [
            line(7, 5, "/s/k/a/b"),
            line(5, 4, "/s/k/a"),
            line(4, 1, "/s/k"),
            line(9, 1, "/s/kk"),
        ];
        let below = below(&table, 4).expect("the mount is there");
        assert_eq!(below, [(5, "a".into()), (7, "a/b".into())]);
    }
}
