//! Where a process is in the cgroup hierarchies.

use crate::Must;
use std::fs;
use std::path::PathBuf;

/// The directory of a process in the hierarchy that has `controller` ("" is the v2 hierarchy), as this mount namespace shows it.
pub fn cgroup_of(pid: i32, controller: &str) -> Option<PathBuf> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).must("the cgroups of a process");
    let path = table.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        names
            .split(',')
            .any(|name| name == controller)
            .then(|| path.to_owned())
    })?;
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
    mounts.lines().find_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let here = if controller.is_empty() {
            kind.starts_with("cgroup2 ")
        } else {
            kind.starts_with("cgroup ")
                && kind
                    .rsplit(' ')
                    .next()?
                    .split(',')
                    .any(|name| name == controller)
        };
        here.then(|| {
            PathBuf::from(format!(
                "{}{path}",
                fields.split(' ').nth(4).unwrap_or_default()
            ))
        })
    })
}

/// Whether this host has cgroup v2 only.
#[must_use]
pub fn only_v2() -> bool {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
    let v1 = |line: &str| line.contains(" - cgroup ") && !line.contains("name=");
    mounts.contains(" - cgroup2 ") && !mounts.lines().any(v1)
}
