//! A picture of what a runtime can leave behind on the host, for "as before" checks.
//!
//! Tests run side by side and the machine has other users, so the picture holds what belongs to one `Env`: the whole mount
//! table of its mount namespace, its whole state root, and of cgroups and processes those that carry its tag.

use crate::Must;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One line for each thing, each starting with what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World(pub BTreeSet<String>);

impl World {
    /// Looks at the host.
    pub fn look(root: &Path, tag: &str) -> Self {
        let mut lines = BTreeSet::new();
        list(root, root, &mut lines);
        for cgroup in cgroups(tag) {
            lines.insert(format!("cgroup {}", cgroup.display()));
        }
        for process in processes(tag) {
            lines.insert(format!("process {process}"));
            if let Ok(net) = fs::read_link(format!("/proc/{process}/ns/net")) {
                lines.insert(format!("netns {}", net.display()));
            }
        }
        lines.extend(mounts());
        Self(lines)
    }

    /// What is new (`+`) and what is gone (`-`) in `later`.
    pub fn diff(&self, later: &Self) -> Vec<String> {
        let gone = self.0.difference(&later.0).map(|line| format!("- {line}"));
        let new = later.0.difference(&self.0).map(|line| format!("+ {line}"));
        gone.chain(new).collect()
    }
}

fn list(root: &Path, dir: &Path, lines: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        lines.insert(format!(
            "state {}",
            path.strip_prefix(root).unwrap_or(&path).display()
        ));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(root, &path, lines);
        }
    }
}

/// The mount table of the calling thread; a name that is no text is shown as well as it can be.
pub(crate) fn mountinfo() -> String {
    let table = fs::read("/proc/thread-self/mountinfo").must("mountinfo");
    String::from_utf8_lossy(&table).into_owned()
}

/// The mount table of the calling thread, without the ids, which differ from one mount to the next.
fn mounts() -> Vec<String> {
    let table = mountinfo();
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').skip(2).collect();
        format!("mount {}", fields.join(" "))
    };
    table.lines().map(line).collect()
}

/// The mount points of all cgroup hierarchies.
fn hierarchies() -> Vec<PathBuf> {
    let table = mountinfo();
    let point = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        kind.starts_with("cgroup")
            .then(|| PathBuf::from(fields.split(' ').nth(4).unwrap_or_default()))
    };
    table.lines().filter_map(point).collect()
}

/// The cgroups of every hierarchy whose path contains `tag`; parents before children.
pub(crate) fn cgroups(tag: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, tag: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            let path = entry.path();
            if path.to_string_lossy().contains(tag) {
                found.push(path.clone());
            }
            walk(&path, tag, found);
        }
    }
    let mut found = Vec::new();
    for hierarchy in hierarchies() {
        walk(&hierarchy, tag, &mut found);
    }
    found
}

/// The living processes that carry `tag` in their environment, arguments, cgroup or mount table.
pub(crate) fn processes(tag: &str) -> Vec<i32> {
    let me = i32::try_from(std::process::id()).must("own pid");
    let contains = |pid: i32, file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes
            .windows(tag.len())
            .any(|window| window == tag.as_bytes())
    };
    // Where systemd runs on cgroup v1, the kernel starts this with the path of each cgroup that has become empty.
    let agent = |pid: i32| {
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = cmdline.split(|byte| *byte == 0).next();
        program.is_some_and(|program| program.ends_with(b"/systemd-cgroups-agent"))
    };
    // A table of mounts is long, and most processes share theirs: each is read once.
    let mut tables = BTreeMap::new();
    let mut sees = |pid: i32| {
        let Ok(namespace) = fs::read_link(format!("/proc/{pid}/ns/mnt")) else {
            return false;
        };
        *tables
            .entry(namespace)
            .or_insert_with(|| contains(pid, "mountinfo"))
    };
    let belongs = |pid: &i32| {
        // Kernel threads have no program, nor have those that have ended.
        let lives = fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        let named = |file: &&str| contains(*pid, file);
        *pid != me
            && lives
            && !agent(*pid)
            && (["environ", "cmdline", "cgroup"].iter().any(named) || sees(*pid))
    };
    let entries = fs::read_dir("/proc").must("/proc");
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(belongs).collect()
}
