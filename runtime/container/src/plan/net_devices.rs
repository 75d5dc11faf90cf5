//! Network devices of the host that move into the container's network namespace.

use std::collections::{BTreeMap, BTreeSet};

use oci_spec::runtime::Spec;
use serde::Serialize;
use sys::netlink::LONGEST_NAME;
use sys::process::Namespaces;

use super::{Lack, NamespacePlan, Refusal};
use crate::Host;

const AT: &str = "linux.netDevices";

/// What every network namespace has, and keeps.
const LOOPBACK: &str = "lo";

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetDevice {
    /// Its name on the host.
    pub host: String,
    /// Its name in the container; with `%d`, the first number that is free there.
    pub name: String,
    /// The JSON path.
    pub at: String,
}

/// Plans the devices, by name; which of them there are, only the kernel can say.
pub(super) fn plan(
    spec: &Spec,
    namespaces: &NamespacePlan,
    host: &Host,
    lacks: &mut Vec<Lack>,
) -> Result<Vec<NetDevice>, Refusal> {
    let given = spec.linux().as_ref();
    let given = given.and_then(|linux| linux.net_devices().as_ref());
    let given: BTreeMap<_, _> = given.into_iter().flatten().collect();
    let mut devices = Vec::new();
    let mut taken = BTreeSet::new();
    for (host, device) in given {
        let at = format!("{AT}.{host}");
        let name = device.name().as_ref().filter(|name| !name.is_empty());
        let name = name.unwrap_or(host);
        if !is_name(host) || host.contains('%') {
            return Err(Refusal::new(at, no_name(host)));
        }
        let template = name.strip_suffix("%d");
        if !is_name(name) || template.unwrap_or(name).contains('%') {
            return Err(Refusal::new(format!("{at}.name"), no_name(name)));
        }
        if host == LOOPBACK || name == LOOPBACK {
            let why = "lo belongs to its network namespace; name another device";
            return Err(Refusal::new(at, why));
        }
        if template.is_none() && !taken.insert(name) {
            let why = format!("a second device with the name {name} in the container; rename one");
            return Err(Refusal::new(format!("{at}.name"), why));
        }
        devices.push(NetDevice {
            host: host.clone(),
            name: name.clone(),
            at,
        });
    }
    if devices.is_empty() {
        return Ok(devices);
    }
    if !namespaces.has(Namespaces::NETWORK) {
        let why = "the container has the host's network, and its devices; add {\"type\": \"network\"} to linux.namespaces";
        return Err(Refusal::new(AT, why));
    }
    // In a user namespace the capability counts there alone, and the network that we come from is another's.
    if host.user_namespace || host.capabilities & 1 << sys::capability::NET_ADMIN == 0 {
        lacks.push(Lack {
            at: AT.into(),
            why: "moving network devices needs CAP_NET_ADMIN on the host".into(),
        });
    }
    Ok(devices)
}

/// What the kernel takes (dev_valid_name).
fn is_name(name: &str) -> bool {
    let wrong = |c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace();
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && ![".", ".."].contains(&name)
        && !name.contains(wrong)
}

fn no_name(name: &str) -> String {
    format!(
        "{name:?} is not the name of a network device: 1 to {LONGEST_NAME} bytes without slash, colon and blank, with %d at the end of a new name at most"
    )
}
