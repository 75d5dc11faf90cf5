//! Capability names, and the five sets of a process.

use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxCapabilities};
use serde::{Serialize, Serializer};

/// Names by number (capability.h), without the `CAP_` before them.
pub(crate) const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The five sets, one bit per capability number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CapabilitySets {
    #[serde(serialize_with = "names")]
    pub bounding: u64,
    #[serde(serialize_with = "names")]
    pub effective: u64,
    #[serde(serialize_with = "names")]
    pub permitted: u64,
    #[serde(serialize_with = "names")]
    pub inheritable: u64,
    #[serde(serialize_with = "names")]
    pub ambient: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn names<S: Serializer>(set: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list(*set))
}

/// Returns the names in a set, in the order of their numbers.
pub(crate) fn list(set: u64) -> impl Iterator<Item = String> {
    NAMES
        .iter()
        .enumerate()
        .filter(move |(number, _)| set & 1 << number != 0)
        .map(|(_, name)| format!("CAP_{name}"))
}

/// Returns the bit of a capability by its name without `CAP_`.
#[must_use]
pub(super) fn bit(name: &str) -> Option<u64> {
    NAMES
        .iter()
        .position(|known| *known == name)
        .map(|number| 1 << number)
}

/// Plans the sets; what the host cannot give is dropped with a warning, as the specification asks.
pub(super) fn plan(
    given: Option<&LinuxCapabilities>,
    grantable: u64,
    at: &str,
    warnings: &mut Vec<String>,
) -> CapabilitySets {
    let Some(given) = given else {
        return CapabilitySets::default();
    };
    let set = |set: &Option<HashSet<Capability>>| {
        set.iter()
            .flatten()
            .filter_map(|name| bit(&name.to_string()))
            .fold(0, |all, bit| all | bit)
    };
    let asked = CapabilitySets {
        bounding: set(given.bounding()),
        effective: set(given.effective()),
        permitted: set(given.permitted()),
        inheritable: set(given.inheritable()),
        ambient: set(given.ambient()),
    };
    let all =
        asked.bounding | asked.effective | asked.permitted | asked.inheritable | asked.ambient;
    for name in list(all & !grantable) {
        warnings.push(format!(
            "{at}.capabilities: {name} cannot be granted on this host and is left out"
        ));
    }
    CapabilitySets {
        bounding: asked.bounding & grantable,
        effective: asked.effective & grantable,
        permitted: asked.permitted & grantable,
        inheritable: asked.inheritable & grantable,
        ambient: asked.ambient & grantable,
    }
}
