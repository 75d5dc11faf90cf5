//! config.json -> [`Plan`].

use std::collections::BTreeMap;

use container::plan::{DeviceKind, IdMap, Mapping};
use container::{Bundle, ContainerId, Plan, Refusal};

use crate::machine::{host, is_clean, is_inside};
use crate::{is_message, model};

pub(crate) fn run(bytes: &[u8]) {
    let parse = || Bundle::parse("/bundle".into(), bytes, "config.json");
    let (bundle, again) = match (parse(), parse()) {
        (Ok(bundle), Ok(again)) => (bundle, again),
        (Err(error), Err(_)) => return is_message(&error.to_string()),
        _ => panic!("the same text is a configuration and is none"),
    };
    let planned = plan(&bundle, bytes.len());
    // Parsed for itself: its hash maps have another order.
    same(&planned, &plan(&again, bytes.len()));
    match &planned {
        Ok(plan) => check(plan),
        Err(refusal) => {
            is_message(&refusal.at);
            is_message(&refusal.why);
        }
    }
    printed(&bundle, &planned, bytes.len());
}

/// Plans a bundle for a machine that `number` chooses.
pub(crate) fn plan(bundle: &Bundle, number: usize) -> Result<Plan, Refusal> {
    let (host, options) = host(number);
    let id = ContainerId::parse("fuzz").expect("an id");
    Plan::new(&id, bundle, &host, &options)
}

fn same(one: &Result<Plan, Refusal>, other: &Result<Plan, Refusal>) {
    assert_eq!(one, other, "two plans of one configuration");
    if let (Ok(one), Ok(other)) = (one, other) {
        assert_eq!(one.show(), other.show());
        let text = |plan: &Plan| serde_json::to_string(plan).expect("a plan as JSON");
        assert_eq!(text(one), text(other));
    }
}

/// What is written of a configuration is read as the same one: the record of a container relies on it.
fn printed(bundle: &Bundle, planned: &Result<Plan, Refusal>, number: usize) {
    let text = serde_json::to_vec(&bundle.spec).expect("a configuration as JSON");
    let read = Bundle::parse(bundle.dir.clone(), &text, "printed");
    let read = read.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
    same(planned, &plan(&read, number));
}

/// Checks what holds for every plan.
pub(crate) fn check(plan: &Plan) {
    paths(plan);
    for map in [&plan.namespaces.uid_map, &plan.namespaces.gid_map] {
        ids(map);
    }
    for mount in &plan.mounts {
        assert!((mount.set & mount.clear).is_empty(), "{mount:?}");
        assert!((mount.set_tree & mount.clear_tree).is_empty(), "{mount:?}");
        if let Some(Mapping::Ranges { uid, gid }) = mount.idmap.as_ref().map(|idmap| &idmap.by) {
            ids(uid);
            ids(gid);
        }
    }
    if let Some(process) = &plan.process {
        crate::process::check(process);
        // A program that is given as it is, by annotation, is the kernel's to judge.
        if let Some(seccomp) = &process.seccomp
            && !plan.annotations.contains_key("run.oci.seccomp_bpf_data")
        {
            model::is_valid(&seccomp.program);
        }
    }
    shown(plan);
}

/// No range of ids wraps.
pub(crate) fn ids(map: &[IdMap]) {
    for range in map {
        assert!(range.size > 0, "{range:?}");
        for first in [range.container, range.host] {
            assert!(first.checked_add(range.size).is_some(), "{range:?}");
        }
    }
}

/// No path of a plan leaves the root file system, the mount of a hierarchy, or a directory that is ours.
fn paths(plan: &Plan) {
    let devices = plan.devices.iter().map(|device| &device.path);
    let links = plan.links.iter().map(|link| &link.path);
    let lists = plan.masked_paths.iter().chain(&plan.read_only_paths);
    let mounts = plan.mounts.iter().map(|mount| &mount.target);
    for path in devices.chain(links).chain(lists).chain(mounts) {
        assert!(is_inside(path), "{path:?}");
    }
    for sysctl in &plan.sysctl {
        assert!(is_clean(sysctl.path.as_ref()), "{sysctl:?}");
    }
    if let Some(resctrl) = &plan.resctrl {
        let own = resctrl.group.strip_prefix(&resctrl.root);
        assert!(
            own.is_ok_and(|own| own.components().count() <= 1),
            "{resctrl:?}"
        );
        assert!(is_clean(&resctrl.group), "{resctrl:?}");
    }
    if let Some(cgroup) = &plan.cgroup {
        cgroups(cgroup);
    }
}

/// Every cgroup lies below its hierarchy's mount, and every write goes to a file right in it.
pub(crate) fn cgroups(plan: &cgroup::Plan) {
    for dir in &plan.dirs {
        assert!(
            is_clean(&dir.relative) && dir.relative.is_relative(),
            "{dir:?}"
        );
        assert!(!dir.relative.as_os_str().is_empty(), "{dir:?}");
        assert_eq!(dir.path, dir.mount.join(&dir.relative), "{dir:?}");
    }
    for write in &plan.writes {
        assert!(!write.file.contains('/') && write.file != "..", "{write:?}");
        // The kernel parses one value per write.
        assert!(!write.value.contains('\n'), "{write:?}");
        assert!(write.dir < plan.dirs.len(), "{write:?}");
    }
    assert!(plan.writes.is_sorted_by_key(|write| write.dir));
}

/// Every step has a line in what `orlop plan` prints, and nothing in a configuration can make one.
fn shown(plan: &Plan) {
    let text = plan.show();
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        assert!(!line.contains(char::is_control), "{line:?}");
        *found
            .entry(line.split(' ').next().unwrap_or_default())
            .or_default() += 1;
    }
    let mut want = steps(plan);
    want.retain(|_, count| *count > 0);
    assert_eq!(found, want, "{text}");
}

#[expect(clippy::too_many_lines, reason = "table")]
fn steps(plan: &Plan) -> BTreeMap<&'static str, usize> {
    let process = plan.process.as_ref();
    let seccomp = process.and_then(|process| process.seccomp.as_ref());
    let cgroup = plan.cgroup.as_ref();
    let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
    let resctrl = plan.resctrl.as_ref();
    let hooks = &plan.hooks;
    let limits = cgroup.map_or(0, |cgroup| cgroup.writes.len())
        + resctrl.map_or(0, |resctrl| resctrl.schemata.len());
    let known = |kind: &DeviceKind| match kind {
        DeviceKind::Char { .. } | DeviceKind::Block { .. } | DeviceKind::Fifo => 1,
    };
    BTreeMap::from([
        ("container", 1),
        ("new", 1),
        ("join", plan.namespaces.join.len()),
        (
            "map",
            plan.namespaces.uid_map.len() + plan.namespaces.gid_map.len(),
        ),
        ("netdevice", plan.net_devices.len()),
        ("clock", plan.time_offsets.len()),
        ("name", plan.hostname.iter().chain(&plan.domainname).count()),
        ("unit", unit.iter().count()),
        ("property", unit.map_or(0, |unit| unit.properties.len())),
        (
            "delegate",
            cgroup
                .and_then(|cgroup| cgroup.delegated.as_ref())
                .iter()
                .count(),
        ),
        ("cgroup", cgroup.map_or(1, |cgroup| cgroup.dirs.len())),
        ("limit", limits),
        (
            "devices",
            cgroup
                .and_then(|cgroup| cgroup.devices.as_ref())
                .iter()
                .count(),
        ),
        ("class", resctrl.iter().count()),
        ("root", 1),
        ("mount", plan.mounts.len()),
        (
            "device",
            plan.devices.iter().map(|device| known(&device.kind)).sum(),
        ),
        ("link", plan.links.len()),
        ("sysctl", plan.sysctl.len()),
        ("read-only", plan.read_only_paths.len()),
        ("mask", plan.masked_paths.len()),
        (
            "hook",
            hooks.stdout.iter().chain(&hooks.stderr).count()
                + hooks.prestart.len()
                + hooks.create_runtime.len()
                + hooks.create_container.len()
                + hooks.start_container.len()
                + hooks.poststart.len()
                + hooks.poststop.len(),
        ),
        ("pidfd", plan.pidfd_receiver.iter().count()),
        ("user", process.iter().count()),
        ("rlimit", process.map_or(0, |process| process.rlimits.len())),
        ("capability", process.iter().count()),
        ("seccomp", seccomp.iter().count()),
        (
            "listener",
            seccomp
                .and_then(|seccomp| seccomp.listener.as_ref())
                .iter()
                .count(),
        ),
        (
            "apparmor",
            process
                .and_then(|process| process.apparmor.as_ref())
                .iter()
                .count(),
        ),
        (
            "selinux",
            process
                .and_then(|process| process.selinux.as_ref())
                .iter()
                .count(),
        ),
        ("exec", 1),
        ("ignored", plan.warnings.len()),
        ("impossible", plan.lacks.len()),
    ])
}
