//! Device rules: the list of config.json, in its order, behind a closed door.
//!
//! On cgroup v1 the rules are lines for the `devices` controller, on v2 a program of ours that the kernel asks. For each kind of
//! access (read, write, mknod) the last rule that speaks of it and of the device decides.

mod attach;
mod program;

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use serde::Serialize;

pub(crate) use attach::attach;
pub use program::program;

use crate::error::Refusal;
use crate::plan::Writes;

const JSON_PATH: &str = "linux.resources.devices";

/// What every container may use, whatever its rules say: making any node (not opening it), the devices that the specification
/// puts into `/dev`, pseudo-terminals, and tun, which VPN images have relied on for ten years.
const DEFAULT: [(char, Option<u32>, Option<u32>, &str); 11] = [
    ('c', None, None, "m"),
    ('b', None, None, "m"),
    ('c', Some(1), Some(3), "rwm"),
    ('c', Some(1), Some(8), "rwm"),
    ('c', Some(1), Some(7), "rwm"),
    ('c', Some(5), Some(0), "rwm"),
    ('c', Some(1), Some(5), "rwm"),
    ('c', Some(1), Some(9), "rwm"),
    ('c', Some(136), None, "rwm"),
    ('c', Some(5), Some(2), "rwm"),
    ('c', Some(10), Some(200), "rwm"),
];

/// One rule; a number that is not given stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceRule {
    pub allow: bool,
    /// `c`, `b`, or `a` for the rule that means all devices and forgets every rule before it.
    pub kind: char,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// Of `r`, `w` and `m`.
    pub access: String,
    pub json_path: String,
}

impl DeviceRule {
    fn is_for_all(&self) -> bool {
        self.kind == 'a'
    }

    /// Returns the line for `devices.allow` or `devices.deny`.
    fn line(&self) -> String {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        match self.kind {
            'a' => "a".to_owned(),
            kind => format!(
                "{kind} {}:{} {}",
                number(self.major),
                number(self.minor),
                self.access
            ),
        }
    }

    /// Whether this rule says nothing that `other` does not say.
    fn is_within(&self, other: &Self) -> bool {
        let within = |own: Option<u32>, theirs: Option<u32>| theirs.is_none() || own == theirs;
        self.kind == other.kind
            && within(self.major, other.major)
            && within(self.minor, other.minor)
            && self.access.chars().all(|c| other.access.contains(c))
    }
}

/// The rules for a program of cgroup v2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Devices {
    /// Index into [`crate::Plan::dirs`].
    pub dir: usize,
    pub rules: Vec<DeviceRule>,
    /// Whether they ask for no more than every container gets: then a runtime without privileges may leave them out, because
    /// nobody in a user namespace can make a device's node.
    pub usual: bool,
    /// Whether they take away anything that a rule before has allowed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub denies: bool,
}

impl Devices {
    pub(crate) fn new(dir: usize, rules: Vec<DeviceRule>) -> Self {
        Self {
            dir,
            usual: usual(&rules),
            denies: rules[1..].iter().any(|rule| !rule.allow),
            rules,
        }
    }
}

/// Adds the rules of a new container.
///
/// A container starts with nothing allowed, also if its list does not say so. The default devices come last.
pub(crate) fn collect(writes: &mut Writes, devices: &[LinuxDeviceCgroup]) -> Result<(), Refusal> {
    let rules = complete(devices)?;
    if everything(&rules) && writes.find("devices").is_none() {
        return Ok(());
    }
    if is_on_v2(writes) {
        writes.devices(rules);
        return Ok(());
    }
    rules.iter().try_for_each(|rule| write(writes, rule))
}

/// On cgroup v2 no controller is in charge of devices.
fn is_on_v2(writes: &Writes) -> bool {
    writes.find("devices").is_none() && writes.unified().is_some()
}

/// Adds what turns the rules of a running container into others: what is new is allowed first, and no device that is in both
/// lists is ever closed in between.
pub(crate) fn change(
    writes: &mut Writes,
    before: &[LinuxDeviceCgroup],
    after: &[LinuxDeviceCgroup],
) -> Result<(), Refusal> {
    let (before, after) = (complete(before)?, complete(after)?);
    let line = |rule: &DeviceRule| (rule.allow, rule.line());
    if before.iter().map(line).eq(after.iter().map(line)) {
        return Ok(());
    }
    if is_on_v2(writes) {
        writes.devices(after);
        return Ok(());
    }
    let (Some(old), Some(new)) = (allowed(&before), allowed(&after)) else {
        return Err(Refusal::new(
            JSON_PATH,
            "a running container cannot go between rules that allow all devices and rules that do not; create it anew",
        ));
    };
    for (allow, from, to) in [(true, &new, &old), (false, &old, &new)] {
        for (device, access) in from {
            let other = to.get(device).map_or("", String::as_str);
            let access: String = access.chars().filter(|c| !other.contains(*c)).collect();
            if !access.is_empty() {
                let (kind, major, minor) = *device;
                let rule = DeviceRule {
                    allow,
                    kind,
                    major,
                    minor,
                    access,
                    json_path: JSON_PATH.to_owned(),
                };
                write(writes, &rule)?;
            }
        }
    }
    Ok(())
}

/// Returns a container's whole list: what a later rule for all devices wipes out is not in it, and the defaults are.
pub(crate) fn complete(devices: &[LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>, Refusal> {
    let mut rules = vec![DeviceRule {
        allow: false,
        kind: 'a',
        major: None,
        minor: None,
        access: "rwm".to_owned(),
        json_path: JSON_PATH.to_owned(),
    }];
    for (index, device) in devices.iter().enumerate() {
        rules.extend(parse(device, &format!("{JSON_PATH}[{index}]"))?);
    }
    let start = rules
        .iter()
        .rposition(DeviceRule::is_for_all)
        .unwrap_or_default();
    rules.drain(..start);
    if !everything(&rules) {
        // A default that the list already allows, with no later denial, would change nothing.
        let last_denial = rules
            .iter()
            .rposition(|rule| !rule.allow)
            .unwrap_or_default();
        let settled: Vec<String> = rules[last_denial..]
            .iter()
            .filter(|rule| rule.allow)
            .map(DeviceRule::line)
            .collect();
        rules.extend(default().filter(|rule| !settled.contains(&rule.line())));
    }
    Ok(rules)
}

fn everything(rules: &[DeviceRule]) -> bool {
    rules.len() == 1 && rules[0].allow
}

/// Kind and numbers, as the kernel of cgroup v1 tells its exceptions apart.
type Device = (char, Option<u32>, Option<u32>);

/// Returns what a complete list allows, device by device, as the kernel keeps it; `None` for one that begins by allowing all.
fn allowed(rules: &[DeviceRule]) -> Option<BTreeMap<Device, String>> {
    let mut allowed: BTreeMap<Device, String> = BTreeMap::new();
    for rule in rules {
        if rule.is_for_all() {
            if rule.allow {
                return None;
            }
            continue;
        }
        let device = (rule.kind, rule.major, rule.minor);
        let have = allowed.entry(device).or_default();
        have.retain(|c| !rule.access.contains(c));
        if rule.allow {
            have.push_str(&rule.access);
        }
    }
    Some(allowed)
}

fn write(writes: &mut Writes, rule: &DeviceRule) -> Result<(), Refusal> {
    let file = if rule.allow {
        "devices.allow"
    } else {
        "devices.deny"
    };
    writes.put("devices", file, rule.line(), &rule.json_path)?;
    Ok(())
}

/// Whether rules ask for no more than every container gets.
fn usual(rules: &[DeviceRule]) -> bool {
    !rules[0].allow
        && rules[1..]
            .iter()
            .all(|rule| rule.allow && default().any(|d| rule.is_within(&d)))
}

fn default() -> impl Iterator<Item = DeviceRule> {
    DEFAULT
        .iter()
        .map(|(kind, major, minor, access)| DeviceRule {
            allow: true,
            kind: *kind,
            major: *major,
            minor: *minor,
            access: (*access).to_owned(),
            json_path: format!("{JSON_PATH} (default)"),
        })
}

/// Checks one entry; an entry for devices of both kinds, but not for all of them, becomes two rules.
fn parse(device: &LinuxDeviceCgroup, json_path: &str) -> Result<Vec<DeviceRule>, Refusal> {
    let access = device.access().as_deref().unwrap_or_default();
    if access.is_empty() || !access.chars().all(|c| "rwm".contains(c)) {
        let message =
            format!("access {access:?} is not a combination of r (read), w (write) and m (mknod)");
        return Err(Refusal::new(format!("{json_path}.access"), message));
    }
    let major = number(device.major(), &format!("{json_path}.major"))?;
    let minor = number(device.minor(), &format!("{json_path}.minor"))?;
    let rule = |kind: char| DeviceRule {
        allow: device.allow(),
        kind,
        major,
        minor,
        access: access.to_owned(),
        json_path: json_path.to_owned(),
    };
    let all = major.is_none() && minor.is_none() && "rwm".chars().all(|c| access.contains(c));
    Ok(match device.typ().unwrap_or(LinuxDeviceType::A) {
        // The kernel of cgroup v1 reads no further than the `a`: `a 1:3 r` would open every device there is.
        LinuxDeviceType::A if all => vec![rule('a')],
        LinuxDeviceType::A => vec![rule('b'), rule('c')],
        LinuxDeviceType::B => vec![rule('b')],
        LinuxDeviceType::C | LinuxDeviceType::U => vec![rule('c')],
        LinuxDeviceType::P => {
            return Err(Refusal::new(
                format!("{json_path}.type"),
                "\"p\" is a fifo, which no rule can deny; use a, b or c",
            ));
        }
    })
}

/// Takes a device number; none and -1 mean any.
fn number(value: Option<i64>, json_path: &str) -> Result<Option<u32>, Refusal> {
    match value {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number).map(Some).map_err(|_| {
            Refusal::new(
                json_path,
                format!("{number} is not a device number; use 0 or more, or -1 for any"),
            )
        }),
    }
}
