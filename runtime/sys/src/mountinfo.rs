//! Tables of mounts: `/proc/PID/mountinfo` (proc_pid_mountinfo(5)), and what it tells of this mount namespace where no system call does.
//!
//! Names are bytes: whoever may mount chooses them, in a namespace of their own, too.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::fs::{
    AT_FDCWD, Inside, Mode, OFlag, PROC_SUPER_MAGIC, fstatfs, open, open_inside, readlinkat,
};
use crate::{Errno, Result};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: u64,
    pub parent: u64,
    /// `MAJOR:MINOR` of the file system.
    pub device: String,
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where, as seen from the root of whoever reads.
    pub point: PathBuf,
    /// The mount's own, with commas between them.
    pub options: String,
    /// The file system's type.
    pub kind: String,
    /// The file system's options, with commas between them.
    pub settings: String,
}

/// Reads the text of a whole table; `None` where a line is no mount's.
#[must_use]
pub fn parse(table: &[u8]) -> Option<Vec<Entry>> {
    table
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(entry)
        .collect()
}

/// Reads the table of this process, where `/proc` is still the host's.
pub(crate) fn table() -> Result<Vec<Entry>> {
    parse(&read("thread-self/mountinfo")?).ok_or(Errno::EINVAL)
}

fn entry(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let path = |field: &[u8]| PathBuf::from(OsString::from_vec(unescape(field)));
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let device = text(fields.next()?);
    let (root, point) = (path(fields.next()?), path(fields.next()?));
    let options = text(fields.next()?);
    // Fields that need not be there end with a hyphen.
    fields.find(|field| *field == b"-")?;
    let (kind, _source) = (text(fields.next()?), fields.next()?);
    let settings = text(fields.next()?);
    Some(Entry {
        id,
        parent,
        device,
        root,
        point,
        options,
        kind,
        settings,
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

/// Returns all mounts that hang below one; parents before children.
#[must_use]
pub fn below(table: &[Entry], top: u64) -> Vec<&Entry> {
    let mut found: Vec<&Entry> = Vec::new();
    // By age a table is sorted, not by depth.
    let mut above = vec![top];
    while !above.is_empty() {
        let known = |id: u64| id == top || found.iter().any(|entry| entry.id == id);
        let here = |entry: &&Entry| above.contains(&entry.parent) && !known(entry.id);
        let next: Vec<&Entry> = table.iter().filter(here).collect();
        above = next.iter().map(|entry| entry.id).collect();
        found.extend(next);
    }
    found
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
    use std::path::Path;

    use super::*;

    #[test]
    fn lines_are_read_with_their_escapes() {
        let line = b"36 35 98:0 /r\\011 /a\\040b\\134c rw,noatime master:1 - ext3 /dev/root rw,x\n";
        let table = parse(line).expect("a table");
        assert_eq!(
            (table[0].id, table[0].parent, table.len()),
            (36, 35, 1),
            "{table:?}"
        );
        assert_eq!(table[0].root, Path::new("/r\t"));
        assert_eq!(table[0].point, Path::new("/a b\\c"));
        assert_eq!(
            (table[0].device.as_str(), table[0].kind.as_str()),
            ("98:0", "ext3")
        );
        assert_eq!(
            (table[0].options.as_str(), table[0].settings.as_str()),
            ("rw,noatime", "rw,x")
        );
        assert_eq!(unescape(b"\\0"), b"\\0");
    }

    #[test]
    fn a_name_that_is_no_text_is_read_and_a_line_that_is_no_mount_is_refused() {
        let table = parse(b"7 1 0:1 / /\xff rw - tmpfs t rw\n").expect("a table");
        assert_eq!(table[0].point.as_os_str().as_bytes(), b"/\xff");
        assert_eq!(parse(b"7 1 0:1 / /a rw tmpfs t rw\n"), None);
    }

    #[test]
    fn mounts_below_one_come_in_order_whatever_the_table_says() {
        let line = |id: u64, parent: u64| format!("{id} {parent} 0:1 / /{id} rw - tmpfs t rw\n");
        let check = |pairs: &[(u64, u64)], want: &[u64]| {
            let text: String = pairs
                .iter()
                .map(|(id, parent)| line(*id, *parent))
                .collect();
            let table = parse(text.as_bytes()).expect("a table");
            let ids: Vec<_> = below(&table, 4).iter().map(|entry| entry.id).collect();
            assert_eq!(ids, want, "{text}");
        };
        check(&[(7, 5), (5, 4), (4, 1), (9, 1)], &[5, 7]);
        check(&[(5, 4), (5, 5), (4, 5), (4, 4)], &[5]);
    }
}
