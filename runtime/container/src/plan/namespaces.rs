//! Namespaces that are made, namespaces that are joined, and the id maps of a user namespace.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Spec};
use serde::{Serialize, Serializer};
use sys::process::Namespaces;

use super::{Lack, Refusal};
use crate::Host;

/// What the container shares with whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamespacePlan {
    #[serde(serialize_with = "names")]
    pub new: Namespaces,
    pub join: Vec<Join>,
    pub uid_map: Vec<IdMap>,
    pub gid_map: Vec<IdMap>,
}

/// A namespace that exists and is entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Join {
    #[serde(serialize_with = "names")]
    pub kind: Namespaces,
    pub path: PathBuf,
    /// The JSON path.
    pub at: String,
}

/// One line of `/proc/PID/uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdMap {
    pub container: u32,
    pub host: u32,
    pub size: u32,
}

impl NamespacePlan {
    /// All kinds in which the container differs from the host.
    #[must_use]
    pub fn own(&self) -> Namespaces {
        self.join.iter().fold(self.new, |all, join| all | join.kind)
    }

    #[must_use]
    pub fn has(&self, kind: Namespaces) -> bool {
        self.own().contains(kind)
    }

    #[must_use]
    pub fn has_user(&self) -> bool {
        self.has(Namespaces::USER)
    }

    #[must_use]
    pub fn joins(&self, kind: Namespaces) -> bool {
        self.join.iter().any(|join| join.kind == kind)
    }
}

pub(super) fn names<S: Serializer>(kinds: &Namespaces, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(kinds.iter_names().map(|(name, _)| name.to_lowercase()))
}

fn kind(kind: LinuxNamespaceType) -> Namespaces {
    match kind {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
        LinuxNamespaceType::Uts => Namespaces::UTS,
        LinuxNamespaceType::Ipc => Namespaces::IPC,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Pid => Namespaces::PID,
        LinuxNamespaceType::Network => Namespaces::NETWORK,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}

pub(super) fn plan(
    spec: &Spec,
    host: &Host,
    lacks: &mut Vec<Lack>,
) -> Result<NamespacePlan, Refusal> {
    let mut plan = NamespacePlan::default();
    let linux = spec.linux().as_ref();
    for (index, namespace) in linux
        .and_then(|linux| linux.namespaces().as_ref())
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = format!("linux.namespaces[{index}]");
        let kind = kind(namespace.typ());
        if plan.has(kind) {
            return Err(Refusal::new(
                at,
                format!("a second {} namespace; keep one", namespace.typ()),
            ));
        }
        if !host.namespaces.contains(kind) {
            lacks.push(Lack {
                at: at.clone(),
                why: format!("this kernel has no {} namespaces", namespace.typ()),
            });
        }
        match namespace.path() {
            Some(path) if !path.as_os_str().is_empty() => {
                if !path.is_absolute() {
                    return Err(Refusal::new(
                        format!("{at}.path"),
                        format!("{} is not an absolute path", path.display()),
                    ));
                }
                plan.join.push(Join {
                    kind,
                    path: path.clone(),
                    at: format!("{at}.path"),
                });
            }
            _ => plan.new |= kind,
        }
    }
    plan.uid_map = id_map(
        linux.and_then(|l| l.uid_mappings().as_ref()),
        "linux.uidMappings",
        &plan,
    )?;
    plan.gid_map = id_map(
        linux.and_then(|l| l.gid_mappings().as_ref()),
        "linux.gidMappings",
        &plan,
    )?;
    Ok(plan)
}

fn id_map(
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

/// Returns the maps of the configuration; where a user namespace is joined they are not applied, but said to be its own.
pub(super) fn ids_of(spec: &Spec) -> Result<[Vec<IdMap>; 2], Refusal> {
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
    maps.into_iter().flatten().enumerate().map(map).collect()
}

/// Checks a name that belongs to the UTS namespace.
pub(super) fn uts_name(
    name: Option<&String>,
    at: &str,
    plan: &NamespacePlan,
) -> Result<Option<String>, Refusal> {
    // __NEW_UTS_LEN of the kernel.
    const LONGEST: usize = 64;
    match name.filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(_) if !plan.has(Namespaces::UTS) => Err(Refusal::new(
            at,
            "would rename the host; add {\"type\": \"uts\"} to linux.namespaces",
        )),
        Some(name) if name.len() > LONGEST => Err(Refusal::new(
            at,
            format!("{} bytes; at most {LONGEST} fit", name.len()),
        )),
        Some(name) => Ok(Some(name.clone())),
    }
}
