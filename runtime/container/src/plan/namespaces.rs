//! Namespaces that are made and namespaces that are joined.

use std::path::PathBuf;

use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};
use serde::{Serialize, Serializer};
use sys::capability::{SETGID, SETUID, SYS_ADMIN};
use sys::process::Namespaces;

use super::ids::{IdMap, Writer, id_map, writer};
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
    pub uid_writer: Writer,
    pub gid_writer: Writer,
    /// Whether we could not come back to our own network or pid namespace from another: in a user namespace they may be the host's.
    pub one_way: bool,
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

    /// Whether the owner of the container's process writes its maps, who may do so only while that process can be looked into.
    #[must_use]
    pub(crate) fn is_mapped_by_its_owner(&self) -> bool {
        self.new.contains(Namespaces::USER)
            && [self.uid_writer, self.gid_writer] != [Writer::Ours; 2]
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
    warnings: &mut Vec<String>,
) -> Result<NamespacePlan, Refusal> {
    let mut plan = NamespacePlan {
        one_way: host.user_namespace,
        ..NamespacePlan::default()
    };
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
    if host.holds(SYS_ADMIN) {
        map(&mut plan, linux)?;
    } else {
        for_ordinary_user(&mut plan, linux, host, warnings)?;
    }
    plan.uid_writer = writer(&plan.uid_map, host.holds(SETUID), host.uid);
    plan.gid_writer = writer(&plan.gid_map, host.holds(SETGID), host.gid);
    Ok(plan)
}

/// Completes what only an ordinary user needs: everything else begins with a user namespace and mounts of one's own.
fn for_ordinary_user(
    plan: &mut NamespacePlan,
    linux: Option<&Linux>,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<(), Refusal> {
    if !plan.has(Namespaces::MOUNT) {
        return Err(Refusal::new(
            "linux.namespaces",
            "an ordinary user cannot change the host's mounts; add {\"type\": \"mount\"}",
        ));
    }
    map(plan, linux)?;
    if plan.has_user() {
        return Ok(());
    }
    let own = |host| IdMap {
        container: 0,
        host,
        size: 1,
    };
    plan.new |= Namespaces::USER;
    plan.uid_map = vec![own(host.uid)];
    plan.gid_map = vec![own(host.gid)];
    warnings.push(format!(
        "linux.namespaces: an ordinary user needs a user namespace; one is made, in which 0 is user {} and group {}",
        host.uid, host.gid
    ));
    Ok(())
}

fn map(plan: &mut NamespacePlan, linux: Option<&Linux>) -> Result<(), Refusal> {
    plan.uid_map = id_map(
        linux.and_then(|l| l.uid_mappings().as_ref()),
        "linux.uidMappings",
        plan,
    )?;
    plan.gid_map = id_map(
        linux.and_then(|l| l.gid_mappings().as_ref()),
        "linux.gidMappings",
        plan,
    )?;
    Ok(())
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
