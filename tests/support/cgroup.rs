//! Where a process is in the cgroup hierarchies.

use crate::Must;
use std::fs;
use std::path::{Path, PathBuf};

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
    mount_point(controller)
        .map(|point| PathBuf::from(format!("{}{path}", point.display()).trim_end_matches('/')))
}

/// The paths in `/proc/PID/cgroup` of those hierarchies that are mounted here; a hierarchy may be mounted only elsewhere, or outlive
/// its last mount for a moment.
pub fn cgroup_paths(pid: i32) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).must("the cgroups of a process");
    let split = table
        .lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'));
    // Of controllers that are mounted together one is enough.
    let mounted = |names: &str| mount_point(names.split(',').next().unwrap_or_default()).is_some();
    split
        .filter(|(names, _)| mounted(names))
        .map(|(_, path)| path.to_owned())
        .collect()
}

/// The root of the hierarchy that limits by `controller` here: its own of cgroup v1, or cgroup v2.
#[track_caller]
pub fn hierarchy(controller: &str) -> PathBuf {
    let found = mount_point(controller).or_else(|| mount_point(""));
    found.must(format!("a hierarchy with {controller}"))
}

/// Stops all processes of a cgroup, or lets them go on, as an administrator would; `dir` lies in the hierarchy of the freezer.
#[track_caller]
pub fn freeze(dir: &Path, frozen: bool) {
    let v1 = dir.join("freezer.state");
    let done = match (v1.exists(), frozen) {
        (true, true) => fs::write(v1, "FROZEN"),
        (true, false) => fs::write(v1, "THAWED"),
        (false, _) => fs::write(dir.join("cgroup.freeze"), if frozen { "1" } else { "0" }),
    };
    done.must(dir.display());
}

/// Where the hierarchy with `controller` is mounted ("" is the v2 hierarchy).
fn mount_point(controller: &str) -> Option<PathBuf> {
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
        here.then(|| PathBuf::from(fields.split(' ').nth(4).unwrap_or_default()))
    })
}

/// Whether this host has cgroup v2 only.
#[must_use]
pub fn only_v2() -> bool {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
    let v1 = |line: &str| line.contains(" - cgroup ") && !line.contains("name=");
    mounts.contains(" - cgroup2 ") && !mounts.lines().any(v1)
}
