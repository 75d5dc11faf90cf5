//! Device rules on cgroup v1: the list of config.json, in its order, behind a closed door.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::Refusal;
use crate::plan::Writes;

const JSON_PATH: &str = "linux.resources.devices";

/// What every container may use, whatever its rules say: making any node (not opening it), the devices that the specification
/// puts into `/dev`, pseudo-terminals, and tun, which VPN images have relied on for ten years.
const DEFAULT: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:8 rwm",
    "c 1:7 rwm",
    "c 5:0 rwm",
    "c 1:5 rwm",
    "c 1:9 rwm",
    "c 136:* rwm",
    "c 5:2 rwm",
    "c 10:200 rwm",
];

/// One line for `devices.allow` or `devices.deny`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    allow: bool,
    text: String,
    json_path: String,
}

/// The rule that stands for all devices and forgets every rule before it.
const ALL: &str = "a";

impl Rule {
    fn line(&self) -> (bool, &str) {
        (self.allow, &self.text)
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
    for rule in rules {
        write(writes, &rule)?;
    }
    Ok(())
}

/// Adds what turns the rules of a running container into others: what is new is allowed first, and no device that is in both
/// lists is ever closed in between.
pub(crate) fn change(
    writes: &mut Writes,
    before: &[LinuxDeviceCgroup],
    after: &[LinuxDeviceCgroup],
) -> Result<(), Refusal> {
    let (before, after) = (complete(before)?, complete(after)?);
    let (Some(old), Some(new)) = (allowed(&before), allowed(&after)) else {
        if before
            .iter()
            .map(Rule::line)
            .eq(after.iter().map(Rule::line))
        {
            return Ok(());
        }
        return Err(Refusal::new(
            JSON_PATH,
            "a running container cannot go between rules that allow all devices and rules that do not; create it anew",
        ));
    };
    for (allow, from, to) in [(true, &new, &old), (false, &old, &new)] {
        for (device, access) in from {
            let other = to.get(device).map_or("", String::as_str);
            let only: String = access.chars().filter(|c| !other.contains(*c)).collect();
            if !only.is_empty() {
                let text = format!("{device} {only}");
                let json_path = JSON_PATH.to_owned();
                write(
                    writes,
                    &Rule {
                        allow,
                        text,
                        json_path,
                    },
                )?;
            }
        }
    }
    Ok(())
}

/// Returns a container's whole list: what a later rule for all devices wipes out is not in it, and the defaults are.
fn complete(devices: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>, Refusal> {
    let mut rules = vec![Rule {
        allow: false,
        text: ALL.to_owned(),
        json_path: JSON_PATH.to_owned(),
    }];
    for (index, device) in devices.iter().enumerate() {
        rules.extend(parse(device, &format!("{JSON_PATH}[{index}]"))?);
    }
    let start = rules
        .iter()
        .rposition(|rule| rule.text == ALL)
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
            .filter(|r| r.allow)
            .map(|r| r.text.clone())
            .collect();
        let missing = DEFAULT
            .iter()
            .filter(|text| !settled.iter().any(|s| s == *text));
        rules.extend(missing.map(|text| Rule {
            allow: true,
            text: (*text).to_owned(),
            json_path: format!("{JSON_PATH} (default)"),
        }));
    }
    Ok(rules)
}

fn everything(rules: &[Rule]) -> bool {
    rules.len() == 1 && rules[0].allow
}

/// Returns what a complete list allows, device by device, as the kernel keeps it; `None` for one that begins by allowing all.
fn allowed(rules: &[Rule]) -> Option<BTreeMap<&str, String>> {
    let mut allowed: BTreeMap<&str, String> = BTreeMap::new();
    for rule in rules {
        let Some((device, access)) = rule.text.rsplit_once(' ') else {
            if rule.allow {
                return None;
            }
            continue;
        };
        let have = allowed.entry(device).or_default();
        have.retain(|c| !access.contains(c));
        if rule.allow {
            have.push_str(access);
        }
    }
    Some(allowed)
}

fn write(writes: &mut Writes, rule: &Rule) -> Result<(), Refusal> {
    let file = if rule.allow {
        "devices.allow"
    } else {
        "devices.deny"
    };
    writes.v1("devices", file, &rule.text, &rule.json_path)?;
    Ok(())
}

/// Checks one entry; an entry for devices of both kinds, but not for all of them, becomes two rules.
fn parse(device: &LinuxDeviceCgroup, json_path: &str) -> Result<Vec<Rule>, Refusal> {
    let rule = |text: String| Rule {
        allow: device.allow(),
        text,
        json_path: json_path.to_owned(),
    };
    let access = device.access().as_deref().unwrap_or_default();
    if access.is_empty() || !access.chars().all(|c| "rwm".contains(c)) {
        let message =
            format!("access {access:?} is not a combination of r (read), w (write) and m (mknod)");
        return Err(Refusal::new(format!("{json_path}.access"), message));
    }
    let major = number(device.major(), &format!("{json_path}.major"))?;
    let minor = number(device.minor(), &format!("{json_path}.minor"))?;
    let numbers = format!("{major}:{minor} {access}");
    Ok(match device.typ().unwrap_or(LinuxDeviceType::A) {
        // The kernel reads no further than the `a`: `a 1:3 r` would open every device there is.
        LinuxDeviceType::A
            if numbers.starts_with("*:* ") && "rwm".chars().all(|c| access.contains(c)) =>
        {
            vec![rule(ALL.to_owned())]
        }
        LinuxDeviceType::A => vec![rule(format!("b {numbers}")), rule(format!("c {numbers}"))],
        LinuxDeviceType::B => vec![rule(format!("b {numbers}"))],
        LinuxDeviceType::C | LinuxDeviceType::U => vec![rule(format!("c {numbers}"))],
        LinuxDeviceType::P => {
            return Err(Refusal::new(
                format!("{json_path}.type"),
                "\"p\" is a fifo, which no rule can deny; use a, b or c",
            ));
        }
    })
}

/// Returns a device number as rules spell it; none and -1 mean any.
fn number(value: Option<i64>, json_path: &str) -> Result<String, Refusal> {
    match value {
        None | Some(-1) => Ok("*".to_owned()),
        Some(number) if u32::try_from(number).is_ok() => Ok(number.to_string()),
        Some(number) => Err(Refusal::new(
            json_path,
            format!("{number} is not a device number; use 0 or more, or -1 for any"),
        )),
    }
}
