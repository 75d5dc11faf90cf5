//! The plan as a list that a person reads.

use std::fmt::Arguments;

use super::{DeviceKind, MountKind, Plan};
use crate::plan::root::propagation_text;

/// Writes one step per line, in the order of execution, and what this host cannot do last.
pub(super) fn list(plan: &Plan) -> String {
    let mut out = Steps::default();
    write(&mut out, plan);
    out.0
}

/// A text with one line for each step.
#[derive(Default)]
struct Steps(String);

impl Steps {
    /// Adds a line. What a configuration says cannot make another one of it, nor give orders to a terminal.
    fn add(&mut self, step: Arguments<'_>) {
        for c in step.to_string().chars() {
            if c.is_control() {
                self.0.extend(c.escape_default());
            } else {
                self.0.push(c);
            }
        }
        self.0.push('\n');
    }
}

fn write(out: &mut Steps, plan: &Plan) {
    out.add(format_args!(
        "container {} from {}",
        plan.id,
        plan.bundle.display()
    ));
    namespaces(out, plan);
    cgroup(out, plan);
    resctrl(out, plan);
    mounts(out, plan);
    for sysctl in &plan.sysctl {
        out.add(format_args!(
            "sysctl      {} = {}",
            sysctl.path, sysctl.value
        ));
    }
    for path in &plan.read_only_paths {
        out.add(format_args!("read-only   {}", path.display()));
    }
    for path in &plan.masked_paths {
        out.add(format_args!("mask        {}", path.display()));
    }
    let hooks = &plan.hooks;
    let kinds = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (stream, file) in [("stdout", &hooks.stdout), ("stderr", &hooks.stderr)] {
        if let Some(file) = file {
            out.add(format_args!("hook        {stream} to {}", file.display()));
        }
    }
    for (kind, hook) in kinds
        .iter()
        .flat_map(|(kind, hooks)| hooks.iter().map(move |hook| (kind, hook)))
    {
        out.add(format_args!("hook        {kind} {}", hook.path.display()));
    }
    if let Some(socket) = &plan.pidfd_receiver {
        out.add(format_args!("pidfd       to {}", socket.display()));
    }
    process(out, plan);
    for warning in &plan.warnings {
        out.add(format_args!("ignored     {warning}"));
    }
    for stand_in in &plan.stand_ins {
        out.add(format_args!("instead     {stand_in}"));
    }
    for lack in &plan.lacks {
        out.add(format_args!("impossible  {}: {}", lack.at, lack.why));
    }
}

fn namespaces(out: &mut Steps, plan: &Plan) {
    let names: Vec<_> = plan
        .namespaces
        .new
        .iter_names()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    out.add(format_args!("new         namespaces {}", names.join(" ")));
    for join in &plan.namespaces.join {
        out.add(format_args!(
            "join        {:?} {}",
            join.kind,
            join.path.display()
        ));
    }
    for (name, map) in [
        ("uid", &plan.namespaces.uid_map),
        ("gid", &plan.namespaces.gid_map),
    ] {
        for range in map {
            out.add(format_args!(
                "map         {name} {} = {} of the host, {} ids",
                range.container, range.host, range.size
            ));
        }
    }
    for offset in &plan.time_offsets {
        out.add(format_args!(
            "clock       {} {} s and {} ns from the host's",
            offset.clock, offset.seconds, offset.nanoseconds
        ));
    }
    for device in &plan.net_devices {
        out.add(format_args!(
            "netdevice   {} as {}",
            device.host, device.name
        ));
    }
    for (name, value) in [
        ("hostname", &plan.hostname),
        ("domainname", &plan.domainname),
    ] {
        if let Some(value) = value {
            out.add(format_args!("name        {name} {value}"));
        }
    }
}

fn cgroup(out: &mut Steps, plan: &Plan) {
    let Some(cgroup) = &plan.cgroup else {
        return out.add(format_args!("cgroup      none"));
    };
    if let Some(unit) = &cgroup.unit {
        out.add(format_args!("unit        {}", unit.unit.name));
        for property in &unit.properties {
            out.add(format_args!("property    {property}"));
        }
    }
    for dir in &cgroup.dirs {
        out.add(format_args!(
            "cgroup      {} {}",
            dir.hierarchy,
            dir.path.display()
        ));
    }
    if let Some(below) = &cgroup.delegated {
        let owner = cgroup.owner.unwrap_or(0);
        out.add(format_args!("delegate    {} to {owner}", below.display()));
    }
    for write in &cgroup.writes {
        out.add(format_args!(
            "limit       {} = {} ({})",
            write.file, write.value, write.json_path
        ));
    }
    if let Some(devices) = &cgroup.devices {
        out.add(format_args!("devices     {} rules", devices.rules.len()));
    }
}

fn resctrl(out: &mut Steps, plan: &Plan) {
    let Some(resctrl) = &plan.resctrl else {
        return;
    };
    out.add(format_args!("class       {}", resctrl.group.display()));
    for schema in &resctrl.schemata {
        out.add(format_args!(
            "limit       {} ({})",
            schema.lines.join(" "),
            schema.at
        ));
    }
}

fn mounts(out: &mut Steps, plan: &Plan) {
    let read_only = if plan.root.read_only {
        ", read-only"
    } else {
        ""
    };
    out.add(format_args!(
        "root        {}{read_only}",
        plan.root.path.display()
    ));
    for mount in &plan.mounts {
        let what = match &mount.kind {
            MountKind::Bind { source, .. } => format!("bind {}", source.display()),
            MountKind::Fs { fstype, .. } => fstype.clone(),
            MountKind::Cgroup { hierarchies, .. } => {
                format!("cgroup in {} hierarchies", hierarchies.len())
            }
            MountKind::Cgroup2 { source, .. } => format!("cgroup2 {}", source.display()),
            MountKind::Remount => "other attributes".to_string(),
        };
        let mut flags: Vec<_> = mount
            .set
            .iter_names()
            .map(|(name, _)| name.to_lowercase())
            .collect();
        flags.extend(mount.propagation.map(propagation_text));
        out.add(format_args!(
            "mount       {} <- {what} [{}]",
            mount.target.display(),
            flags.join(" ")
        ));
    }
    for device in &plan.devices {
        let kind = match device.kind {
            DeviceKind::Char { major, minor } => format!("c {major}:{minor}"),
            DeviceKind::Block { major, minor } => format!("b {major}:{minor}"),
            DeviceKind::Fifo => "fifo".to_string(),
        };
        let how = if device.bind { "bind" } else { "node" };
        out.add(format_args!(
            "device      {} {how} {kind} {:o} {}:{}",
            device.path.display(),
            device.mode,
            device.uid,
            device.gid
        ));
    }
    for link in &plan.links {
        out.add(format_args!(
            "link        {} -> {}",
            link.path.display(),
            link.target.display()
        ));
    }
}

fn process(out: &mut Steps, plan: &Plan) {
    let Some(process) = &plan.process else {
        return out.add(format_args!(
            "exec        nothing: the configuration names no process"
        ));
    };
    let groups = match process.user.keep_groups {
        true => "the caller's".to_string(),
        false => format!("{:?}", process.user.groups),
    };
    out.add(format_args!(
        "user        {}:{} groups {groups}",
        process.user.uid, process.user.gid
    ));
    for limit in &process.rlimits {
        out.add(format_args!(
            "rlimit      {} {} {}",
            limit.name, limit.soft, limit.hard
        ));
    }
    let bounding: Vec<_> = super::capabilities::list(process.capabilities.bounding).collect();
    out.add(format_args!("capability  bounding {}", bounding.join(" ")));
    if let Some(seccomp) = &process.seccomp {
        out.add(format_args!(
            "seccomp     {} instructions, flags {:#x}",
            seccomp.instructions, seccomp.flags
        ));
        if let Some(listener) = &seccomp.listener {
            out.add(format_args!("listener    {}", listener.path.display()));
        }
    }
    if let Some(profile) = &process.apparmor {
        out.add(format_args!("apparmor    {profile}"));
    }
    if let Some(label) = &process.selinux {
        out.add(format_args!("selinux     {label}"));
    }
    out.add(format_args!(
        "exec        {:?} in {}",
        process.args,
        process.cwd.display()
    ));
}
