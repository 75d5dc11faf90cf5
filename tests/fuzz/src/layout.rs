//! `/proc/self/mountinfo`, `/proc/self/cgroup` and a cgroupsPath -> where a container's cgroups are.

use std::path::{Component, Path, PathBuf};

use cgroup::{CgroupPath, Hierarchy, Layout};

use crate::machine::is_clean;
use crate::{config, is_message, parts};

pub(crate) fn run(bytes: &[u8]) {
    let [mountinfo, membership, path] = parts(bytes);
    // The kernel prints none.
    if mountinfo.contains('\0') || membership.contains('\0') {
        return;
    }
    let layout = Layout::parse(&mountinfo, &membership);
    assert_eq!(layout, Layout::parse(&mountinfo, &membership));
    for hierarchy in layout.v1.iter().chain(&layout.unified) {
        check(hierarchy, &mountinfo, &membership);
    }
    let names: Vec<_> = layout.v1.iter().map(|hierarchy| &hierarchy.name).collect();
    assert!(names.iter().all(|name| !name.is_empty()), "{names:?}");
    let path = match CgroupPath::parse(Some(&path), "id") {
        Ok(path) => path,
        Err(refusal) => return is_message(&refusal.message),
    };
    match cgroup::plan(&layout, &path, None) {
        Ok(plan) => config::cgroups(&plan),
        Err(refusal) => is_message(&refusal.message),
    }
}

/// A hierarchy lies at a mount point of the table, and our cgroup in it is the one that the other table names.
fn check(hierarchy: &Hierarchy, mountinfo: &str, membership: &str) {
    let fstype = if hierarchy.name == "unified" {
        "cgroup2"
    } else {
        "cgroup"
    };
    let mounts: Vec<(PathBuf, PathBuf)> = mountinfo
        .split('\n')
        .filter_map(|line| mount(line, fstype))
        .collect();
    let here: Vec<_> = mounts
        .iter()
        .filter(|(_, point)| *point == hierarchy.mount)
        .collect();
    assert!(!here.is_empty(), "{:?} is no mount point", hierarchy.mount);
    assert!(
        hierarchy.own.is_relative() && is_clean(&hierarchy.own),
        "{hierarchy:?}"
    );
    if hierarchy.own.as_os_str().is_empty() {
        return;
    }
    let names = if hierarchy.name == "unified" {
        ""
    } else {
        &hierarchy.name
    };
    let own = membership.split('\n').filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':').filter(|(found, _)| *found == names)
    });
    let own: Vec<_> = own.map(|(_, path)| Path::new(path)).collect();
    let whole = here.iter().map(|(root, _)| root.join(&hierarchy.own));
    assert!(
        whole
            .into_iter()
            .any(|whole| own.iter().any(|own| same(own, &whole))),
        "{hierarchy:?}: {own:?}"
    );
}

fn same(a: &Path, b: &Path) -> bool {
    let plain = |path: &Path| -> Vec<_> {
        path.components()
            .map(Component::as_os_str)
            .map(ToOwned::to_owned)
            .collect()
    };
    plain(a) == plain(b)
}

/// Reads root and mount point of a line; every `\ooo` is one byte.
fn mount(line: &str, wanted: &str) -> Option<(PathBuf, PathBuf)> {
    let words: Vec<&str> = line.split(' ').collect();
    let hyphen = words.iter().skip(5).position(|word| *word == "-")? + 5;
    (words.get(hyphen + 1) == Some(&wanted)).then(|| (plain(words[3]), plain(words[4])))
}

fn plain(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let value =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        // What the kernel escapes, and nothing else.
        match value.filter(|byte| b" \t\n\\".contains(byte)) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}
