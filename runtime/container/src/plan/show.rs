//! The plan as a list that a person reads.

use std::fmt::Write;

use super::{DeviceKind, MountKind, Plan};
use crate::plan::root::propagation_text;

/// Writes one step per line, in the order of execution, and what this host cannot do last.
pub(super) fn list(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, plan);
    out
}

fn write(out: &mut String, plan: &Plan) -> std::fmt::Result {
    writeln!(out, "container {} from {}", plan.id, plan.bundle.display())?;
    namespaces(out, plan)?;
    cgroup(out, plan)?;
    mounts(out, plan)?;
    for sysctl in &plan.sysctl {
        writeln!(out, "sysctl      {} = {}", sysctl.path, sysctl.value)?;
    }
    for path in &plan.read_only_paths {
        writeln!(out, "read-only   {}", path.display())?;
    }
    for path in &plan.masked_paths {
        writeln!(out, "mask        {}", path.display())?;
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
            writeln!(out, "hook        {stream} to {}", file.display())?;
        }
    }
    for (kind, hook) in kinds
        .iter()
        .flat_map(|(kind, hooks)| hooks.iter().map(move |hook| (kind, hook)))
    {
        writeln!(out, "hook        {kind} {}", hook.path.display())?;
    }
    if let Some(socket) = &plan.pidfd_receiver {
        writeln!(out, "pidfd       to {}", socket.display())?;
    }
    process(out, plan)?;
    for warning in &plan.warnings {
        writeln!(out, "ignored     {warning}")?;
    }
    for lack in &plan.lacks {
        writeln!(out, "impossible  {}: {}", lack.at, lack.why)?;
    }
    Ok(())
}

fn namespaces(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let names: Vec<_> = plan
        .namespaces
        .new
        .iter_names()
        .map(|(name, _)| name.to_lowercase())
        .collect();
    writeln!(out, "new         namespaces {}", names.join(" "))?;
    for join in &plan.namespaces.join {
        writeln!(out, "join        {:?} {}", join.kind, join.path.display())?;
    }
    for (name, map) in [
        ("uid", &plan.namespaces.uid_map),
        ("gid", &plan.namespaces.gid_map),
    ] {
        for range in map {
            writeln!(
                out,
                "map         {name} {} = {} of the host, {} ids",
                range.container, range.host, range.size
            )?;
        }
    }
    for offset in &plan.time_offsets {
        writeln!(
            out,
            "clock       {} {} s and {} ns from the host's",
            offset.clock, offset.seconds, offset.nanoseconds
        )?;
    }
    for device in &plan.net_devices {
        writeln!(out, "netdevice   {} as {}", device.host, device.name)?;
    }
    for (name, value) in [
        ("hostname", &plan.hostname),
        ("domainname", &plan.domainname),
    ] {
        if let Some(value) = value {
            writeln!(out, "name        {name} {value}")?;
        }
    }
    Ok(())
}

fn cgroup(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let Some(cgroup) = &plan.cgroup else {
        return writeln!(out, "cgroup      none");
    };
    if let Some(unit) = &cgroup.unit {
        writeln!(out, "unit        {}", unit.unit.name)?;
        for property in &unit.properties {
            writeln!(out, "property    {property}")?;
        }
    }
    for dir in &cgroup.dirs {
        writeln!(out, "cgroup      {} {}", dir.hierarchy, dir.path.display())?;
    }
    if let Some(below) = &cgroup.delegated {
        let owner = cgroup.owner.unwrap_or(0);
        writeln!(out, "delegate    {} to {owner}", below.display())?;
    }
    for write in &cgroup.writes {
        writeln!(
            out,
            "limit       {} = {} ({})",
            write.file, write.value, write.json_path
        )?;
    }
    if let Some(devices) = &cgroup.devices {
        writeln!(out, "devices     {} rules", devices.rules.len())?;
    }
    if let Some(resctrl) = &plan.resctrl {
        writeln!(out, "class       {}", resctrl.group.display())?;
        for schema in &resctrl.schemata {
            writeln!(
                out,
                "limit       {} ({})",
                schema.lines.join(" "),
                schema.at
            )?;
        }
    }
    Ok(())
}

fn mounts(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let read_only = if plan.root.read_only {
        ", read-only"
    } else {
        ""
    };
    writeln!(out, "root        {}{read_only}", plan.root.path.display())?;
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
        writeln!(
            out,
            "mount       {} <- {what} [{}]",
            mount.target.display(),
            flags.join(" ")
        )?;
    }
    for device in &plan.devices {
        let kind = match device.kind {
            DeviceKind::Char { major, minor } => format!("c {major}:{minor}"),
            DeviceKind::Block { major, minor } => format!("b {major}:{minor}"),
            DeviceKind::Fifo => "fifo".to_string(),
        };
        let how = if device.bind { "bind" } else { "node" };
        writeln!(
            out,
            "device      {} {how} {kind} {:o} {}:{}",
            device.path.display(),
            device.mode,
            device.uid,
            device.gid
        )?;
    }
    for link in &plan.links {
        writeln!(
            out,
            "link        {} -> {}",
            link.path.display(),
            link.target.display()
        )?;
    }
    Ok(())
}

fn process(out: &mut String, plan: &Plan) -> std::fmt::Result {
    let Some(process) = &plan.process else {
        return writeln!(
            out,
            "exec        nothing: the configuration names no process"
        );
    };
    let groups = match process.user.keep_groups {
        true => "the caller's".to_string(),
        false => format!("{:?}", process.user.groups),
    };
    writeln!(
        out,
        "user        {}:{} groups {groups}",
        process.user.uid, process.user.gid
    )?;
    for limit in &process.rlimits {
        writeln!(
            out,
            "rlimit      {} {} {}",
            limit.name, limit.soft, limit.hard
        )?;
    }
    let bounding: Vec<_> = super::capabilities::list(process.capabilities.bounding).collect();
    writeln!(out, "capability  bounding {}", bounding.join(" "))?;
    if let Some(seccomp) = &process.seccomp {
        writeln!(
            out,
            "seccomp     {} instructions, flags {:#x}",
            seccomp.instructions, seccomp.flags
        )?;
        if let Some(listener) = &seccomp.listener {
            writeln!(out, "listener    {}", listener.path.display())?;
        }
    }
    if let Some(profile) = &process.apparmor {
        writeln!(out, "apparmor    {profile}")?;
    }
    if let Some(label) = &process.selinux {
        writeln!(out, "selinux     {label}")?;
    }
    writeln!(
        out,
        "exec        {:?} in {}",
        process.args,
        process.cwd.display()
    )
}
