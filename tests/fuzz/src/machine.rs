//! Machines that are made up.

use std::path::{Component, Path, PathBuf};

use cgroup::{Address, Hierarchy, Layout, Systemd};
use container::{Host, Options};
use sys::process::Namespaces;

const V1: [&str; 11] = [
    "cpuset",
    "cpu,cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls,net_prio",
    "perf_event",
    "hugetlb",
    "pids",
    "name=systemd",
];

fn hierarchy(name: &str) -> Hierarchy {
    Hierarchy {
        name: name.to_owned(),
        controllers: name
            .split(',')
            .filter(|name| !name.contains('='))
            .map(str::to_owned)
            .collect(),
        mount: Path::new("/sys/fs/cgroup").join(name.trim_start_matches("name=")),
        own: "user/shell".into(),
    }
}

fn unified(controllers: &str) -> Hierarchy {
    Hierarchy {
        name: "unified".to_owned(),
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        mount: "/sys/fs/cgroup/unified".into(),
        own: "user.slice/shell.scope".into(),
    }
}

/// cgroup v1 with v2 beside it, v2 alone, v1 alone.
pub(crate) fn layout(number: usize) -> Layout {
    let v1 = || V1.iter().map(|name| hierarchy(name)).collect();
    match number % 3 {
        0 => Layout {
            v1: v1(),
            unified: Some(unified("")),
        },
        1 => Layout {
            v1: Vec::new(),
            unified: Some(unified("cpuset cpu io memory hugetlb pids rdma misc")),
        },
        _ => Layout {
            v1: v1(),
            unified: None,
        },
    }
}

/// A machine, and how a container is asked for there. `number` chooses: the length of an input does, so that a real file stays a
/// real file.
pub(crate) fn host(number: usize) -> (Host, Options) {
    let rich = number.is_multiple_of(2);
    let host = Host {
        cgroups: layout(number),
        uid: if number % 11 == 10 { 1000 } else { 0 },
        gid: if number % 11 == 10 { 1000 } else { 0 },
        user_namespace: number % 11 == 9,
        mounts: number % 11 < 9,
        capabilities: if rich { u64::MAX } else { 0xa80c_25fb },
        namespaces: if rich {
            Namespaces::all()
        } else {
            Namespaces::all() - Namespaces::TIME
        },
        apparmor: rich,
        selinux: rich,
        kcore: rich,
        resctrl: rich.then(|| PathBuf::from("/sys/fs/resctrl")),
    };
    let options = Options {
        systemd: (number % 5 == 1).then(systemd),
        no_cgroup: number % 7 == 6,
        notify_dir: (number % 7 == 5).then(|| "/run/orlop/id/notify".into()),
        listen_fds: u32::from(number % 7 == 4),
        ..Options::default()
    };
    (host, options)
}

pub(crate) fn systemd() -> Systemd {
    Systemd {
        addresses: Address::system(),
        prefix: "orlop".to_owned(),
        user: None,
    }
}

/// Whether a path stays below where it begins: nothing in it climbs.
pub(crate) fn is_clean(path: &Path) -> bool {
    path.components()
        .all(|part| matches!(part, Component::Normal(_) | Component::RootDir))
        && !path.as_os_str().as_encoded_bytes().contains(&0)
}

/// A path in the container, as a plan may have it.
pub(crate) fn is_inside(path: &Path) -> bool {
    path.is_absolute() && is_clean(path)
}
