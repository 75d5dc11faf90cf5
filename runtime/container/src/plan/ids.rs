//! The ids of a user namespace: which of the host's they are, and who may say so.

use oci_spec::runtime::{LinuxIdMapping, Spec};
use serde::Serialize;
use sys::process::Namespaces;

use super::namespaces::NamespacePlan;
use super::{Refusal, User};

/// One line of `/proc/PID/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdMap {
    pub container: u32,
    pub host: u32,
    pub size: u32,
}

impl IdMap {
    /// Parses such a line, as the kernel prints it.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let numbers: Option<Vec<u32>> = line.split_whitespace().map(|n| n.parse().ok()).collect();
        let [container, host, size] = numbers?[..] else {
            return None;
        };
        Some(Self {
            container,
            host,
            size,
        })
    }
}

impl std::fmt::Display for IdMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.container, self.host, self.size)
    }
}

/// Who may write an id map (user_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Writer {
    /// We, with a capability over the ids.
    #[default]
    Ours,
    /// We, because our own id alone is mapped. For groups the kernel demands that setgroups(2) is given up for good: groups can be
    /// there to deny something to their members.
    OwnId,
    /// newuidmap(1) or newgidmap(1), which know the ranges that are a user's in `/etc/subuid` and `/etc/subgid`.
    Helper,
}

/// Returns a map of the configuration, if there is a new user namespace to take it.
pub(super) fn id_map(
    maps: Option<&Vec<LinuxIdMapping>>,
    at: &str,
    plan: &NamespacePlan,
) -> Result<Vec<IdMap>, Refusal> {
    let empty = Vec::new();
    let maps = maps.unwrap_or(&empty);
    let new_user = plan.new.contains(Namespaces::USER);
    match (maps.is_empty(), new_user) {
        (true, true) => {
            return Err(Refusal::new(
                at,
                "a new user namespace needs at least one range",
            ));
        }
        // Engines that join a pod's user namespace send its maps along; the namespace has them already.
        (false, false) if plan.has_user() => return Ok(Vec::new()),
        (false, false) => {
            return Err(Refusal::new(
                at,
                "id ranges without a user namespace; add {\"type\": \"user\"}",
            ));
        }
        _ => {}
    }
    ranges(Some(maps), at)
}

/// Returns the maps of a new user namespace, or those that the configuration says a joined one has.
pub(super) fn of(spec: &Spec, namespaces: &NamespacePlan) -> Result<[Vec<IdMap>; 2], Refusal> {
    if namespaces.new.contains(Namespaces::USER) {
        return Ok([namespaces.uid_map.clone(), namespaces.gid_map.clone()]);
    }
    let linux = spec.linux().as_ref();
    Ok([
        ranges(
            linux.and_then(|linux| linux.uid_mappings().as_ref()),
            "linux.uidMappings",
        )?,
        ranges(
            linux.and_then(|linux| linux.gid_mappings().as_ref()),
            "linux.gidMappings",
        )?,
    ])
}

/// Parses ranges of ids.
pub(super) fn ranges(maps: Option<&Vec<LinuxIdMapping>>, at: &str) -> Result<Vec<IdMap>, Refusal> {
    let map = |(index, map): (usize, &LinuxIdMapping)| {
        let (container, host, size) = (map.container_id(), map.host_id(), map.size());
        if size == 0 || container.checked_add(size).is_none() || host.checked_add(size).is_none() {
            return Err(Refusal::new(
                format!("{at}[{index}]"),
                format!("{size} ids from {container} and {host} are no range of ids"),
            ));
        }
        Ok(IdMap {
            container,
            host,
            size,
        })
    };
    let ranges = maps.into_iter().flatten().enumerate().map(map);
    let ranges: Vec<IdMap> = ranges.collect::<Result<_, _>>()?;
    refuse_overlaps(&ranges, at)?;
    Ok(ranges)
}

/// How many ranges a map may have since Linux 4.15 (user_namespaces(7)).
const MOST: usize = 340;

/// Refuses ranges that give an id twice, on either side: the kernel would only say that the map is invalid.
fn refuse_overlaps(ranges: &[IdMap], at: &str) -> Result<(), Refusal> {
    if ranges.len() > MOST {
        let why = format!("{} ranges; the kernel takes {MOST}", ranges.len());
        return Err(Refusal::new(at, why));
    }
    let overlap = |one: u32, other: u32, (a, b): (&IdMap, &IdMap)| {
        one < other + b.size && other < one + a.size
    };
    for (index, range) in ranges.iter().enumerate() {
        for (earlier, other) in ranges[..index].iter().enumerate() {
            let whose = if overlap(range.container, other.container, (range, other)) {
                "container"
            } else if overlap(range.host, other.host, (range, other)) {
                "host"
            } else {
                continue;
            };
            let why =
                format!("has ids of the {whose} that {at}[{earlier}] has, too; give each id once");
            return Err(Refusal::new(format!("{at}[{index}]"), why));
        }
    }
    Ok(())
}

/// Decides who writes a map.
pub(super) fn writer(map: &[IdMap], privileged: bool, own: u32) -> Writer {
    match map {
        _ if privileged => Writer::Ours,
        [only] if only.host == own && only.size == 1 => Writer::OwnId,
        _ => Writer::Helper,
    }
}

/// Returns the host's id for one of the container's.
pub(super) fn on_host(map: &[IdMap], id: u32) -> Option<u32> {
    map.iter().find_map(|range| {
        let offset = id.checked_sub(range.container)?;
        (offset < range.size).then(|| range.host + offset)
    })
}

/// Refuses ids of a process that a new user namespace does not know: the kernel would only say that they are invalid.
pub(super) fn refuse_unmapped(plan: &NamespacePlan, user: &User) -> Result<(), Refusal> {
    if !plan.new.contains(Namespaces::USER) {
        return Ok(());
    }
    let groups = user.groups.iter().enumerate();
    let groups = groups.map(|(index, gid)| (format!("additionalGids[{index}]"), *gid));
    let uids = [("uid".to_owned(), user.uid)].into_iter();
    let gids = [("gid".to_owned(), user.gid)].into_iter().chain(groups);
    let known = |(name, id): (String, u32), map: &[IdMap], maps: &str| match on_host(map, id) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(
            format!("process.user.{name}"),
            format!("{id} is in no range of {maps}; add one that has it"),
        )),
    };
    for uid in uids {
        known(uid, &plan.uid_map, "linux.uidMappings")?;
    }
    for gid in gids {
        known(gid, &plan.gid_map, "linux.gidMappings")?;
    }
    if plan.gid_writer == Writer::OwnId && !user.groups.is_empty() {
        return Err(Refusal::new(
            "process.user.additionalGids",
            "cannot set any additional groups in a rootless container whose own group alone is mapped; remove them, or map ranges of /etc/subgid",
        ));
    }
    Ok(())
}
