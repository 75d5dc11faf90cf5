//! Tables of mounts: what is mounted where, in this mount namespace and in those of other processes.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sys::mountinfo::{Entry, parse};

/// Tells which mount namespace is ours, by the device and the inode of its file.
pub(super) fn space() -> Option<String> {
    space_of(Path::new("/proc/thread-self"))
}

fn space_of(process: &Path) -> Option<String> {
    let found = fs::metadata(process.join("ns/mnt")).ok()?;
    Some(format!("{}:{}", found.dev(), found.ino()))
}

/// Reads our own table.
pub(super) fn own() -> anyhow::Result<Vec<Entry>> {
    let table = fs::read("/proc/thread-self/mountinfo").context("read the table of mounts")?;
    parse(&table).context("the table of mounts is malformed")
}

/// Reads the tables of all processes of other mount namespaces than ours. An ordinary user may not ask for the namespace of another of
/// his processes, but its table is for everybody.
pub(super) fn others() -> Vec<Entry> {
    let ours = space();
    let mut entries = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = process.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
        let path = process.path();
        if number.is_none() || (ours.is_some() && space_of(&path) == ours) {
            continue;
        }
        // It may have ended since.
        let table = fs::read(path.join("mountinfo")).unwrap_or_default();
        entries.extend(parse(&table).unwrap_or_default());
    }
    entries
}

/// What is to be seen at each place: the last that was mounted there.
pub(super) fn tops(table: &[Entry]) -> HashMap<PathBuf, String> {
    let tops = table.iter().map(|entry| (entry.point.clone(), mark(entry)));
    tops.collect()
}

/// Numbers of mounts are given again, but seldom all of this.
pub(super) fn mark(entry: &Entry) -> String {
    let (id, device, kind) = (entry.id, &entry.device, &entry.kind);
    format!("{id} {device} {kind} {}", entry.root.display())
}
