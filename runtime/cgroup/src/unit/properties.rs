//! What systemd is told of a plan: each limit that it knows a property for, so that it keeps the limit whenever it writes to the
//! unit's cgroup (`systemctl daemon-reload`, `set-property`). All limits are written to the files besides.
//!
//! Taken from the planned writes, not from config.json: so systemd and the files cannot say different things.

use crate::bus::value::{Type, Value};
use crate::bus::{Property, text};
use crate::error::Refusal;
use crate::plan::{Plan, Write};
use crate::unit::name::Place;

/// What systemd calls no limit.
const INFINITY: u64 = u64::MAX;

/// Annotations whose rest is the name of a property.
const ANNOTATION: &str = "org.systemd.property.";

/// Files that hold one number, which is the property's, too; cgroup v2 first, then v1.
const NUMBERS: [(&str, &str); 12] = [
    ("memory.max", "MemoryMax"),
    ("memory.high", "MemoryHigh"),
    ("memory.low", "MemoryLow"),
    ("memory.min", "MemoryMin"),
    ("memory.swap.max", "MemorySwapMax"),
    ("pids.max", "TasksMax"),
    ("cpu.weight", "CPUWeight"),
    ("io.weight", "IOWeight"),
    ("io.bfq.weight", "IOWeight"),
    ("memory.limit_in_bytes", "MemoryLimit"),
    ("cpu.shares", "CPUShares"),
    ("blkio.weight", "BlockIOWeight"),
];

/// Returns what the unit is, without its processes and limits.
pub(crate) fn of_unit(place: &Place, id: &str, unified: bool) -> Vec<Property> {
    let text = |text: &str| Value::String(text.to_owned());
    let yes = |name: &str| Property::new(name, Value::Bool(true));
    let mut list = vec![Property::new(
        "Description",
        text(&format!("container {id}")),
    )];
    if place.is_slice() {
        list.push(Property::new("Wants", Value::strings([&place.slice])));
    } else {
        list.push(Property::new("Slice", text(&place.slice)));
        // The cgroup is the container's: systemd neither moves its processes nor touches what they make below it.
        list.push(yes("Delegate"));
        // A scope fails with a process that was killed for want of memory; it is not kept for that.
        list.push(Property::new("CollectMode", text("inactive-or-failed")).optional());
    }
    // At a shutdown a container is stopped by its engine, not beside it.
    list.push(Property::new("DefaultDependencies", Value::Bool(false)));
    let io = if unified {
        "IOAccounting"
    } else {
        "BlockIOAccounting"
    };
    list.extend(["MemoryAccounting", "CPUAccounting", "TasksAccounting", io].map(yes));
    list
}

/// Returns the limits of a plan.
pub(crate) fn of_limits(plan: &Plan) -> Vec<Property> {
    let mut list: Vec<Property> = plan.writes.iter().filter_map(number).collect();
    list.extend(plan.writes.iter().filter_map(cpuset));
    let idle = plan
        .writes
        .iter()
        .any(|w| w.file == "cpu.idle" && w.value == "1");
    if idle
        && plan
            .dirs
            .iter()
            .any(|dir| dir.is_unified() && dir.has("cpu"))
    {
        // systemd's word for idle, since its version 252.
        list.retain(|property| property.name != "CPUWeight");
        list.push(Property::new("CPUWeight", Value::Uint64(0)));
    }
    list.extend(bandwidth(plan));
    let list = list.into_iter().map(Property::optional);
    list.chain(plan.device_properties.iter().cloned()).collect()
}

fn number(write: &Write) -> Option<Property> {
    let (_, name) = NUMBERS.iter().find(|(file, _)| *file == write.file)?;
    let value = match write.value.strip_prefix("default ").unwrap_or(&write.value) {
        "max" | "-1" => INFINITY,
        number => number.parse().ok()?,
    };
    Some(Property::new(name, Value::Uint64(value)))
}

/// A set of processors or memory nodes as bits, the first of them the lowest of the first byte.
fn cpuset(write: &Write) -> Option<Property> {
    let name = match write.file.as_str() {
        "cpuset.cpus" => "AllowedCPUs",
        "cpuset.mems" => "AllowedMemoryNodes",
        _ => return None,
    };
    let mut bytes = Vec::new();
    for range in write
        .value
        .split([',', ' ', '\n'])
        .filter(|range| !range.is_empty())
    {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        // Strides of a range (`0-9:1/2`) and what is no number are for the kernel alone.
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // More than any kernel has.
        if last > 65_535 {
            return None;
        }
        for n in first..=last {
            if bytes.len() <= n / 8 {
                bytes.resize(n / 8 + 1, 0);
            }
            bytes[n / 8] |= 1 << (n % 8);
        }
    }
    Some(Property::new(name, Value::bytes(bytes)))
}

/// Processor time. systemd keeps it as a whole percentage of a processor, so it is rounded up: what is below could not be had.
fn bandwidth(plan: &Plan) -> Vec<Property> {
    const PERCENT: u64 = 10_000;
    const SECOND: u64 = 1_000_000;
    const PERIOD: u64 = 100_000;
    let written = |file: &str| plan.writes.iter().find(|w| w.file == file);
    let value = |file: &str| written(file).map(|w| w.value.as_str());
    let (quota, period) = match written("cpu.max") {
        Some(write) => {
            let mut words = write.value.split_whitespace();
            match (words.next(), words.next()) {
                // The quota that was there stays.
                (period, None) if write.keep_first => (None, period),
                words => words,
            }
        }
        None => (value("cpu.cfs_quota_us"), value("cpu.cfs_period_us")),
    };
    let mut list = Vec::new();
    let period = period.and_then(|period| period.parse::<u64>().ok());
    if let Some(period) = period {
        list.push(Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)));
    }
    let per_second = match quota {
        None => None,
        Some("max" | "-1") => Some(INFINITY),
        Some(quota) => quota.parse::<u64>().ok().and_then(|quota| {
            let exact = quota.checked_mul(SECOND)? / period.unwrap_or(PERIOD).max(1);
            exact.checked_next_multiple_of(PERCENT)
        }),
    };
    list.extend(per_second.map(|n| Property::new("CPUQuotaPerSecUSec", Value::Uint64(n))));
    list
}

/// Reads the properties that annotations give; they come last, so that they win.
pub(crate) fn of_annotations<'a>(
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Property>, Refusal> {
    let mut list = Vec::new();
    // The annotations of a container have no order.
    let mut annotations: Vec<_> = annotations.collect();
    annotations.sort_unstable();
    for (key, written) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else {
            continue;
        };
        let refuse = |why: String| Refusal::new(format!("annotations.{key}"), why);
        if name.len() < 3 || !name.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(refuse(format!(
                "{name:?} is not the name of a property, such as TimeoutStopSec"
            )));
        }
        if matches!(name, "PIDs" | "PIDFDs" | "Slice") {
            return Err(refuse(format!(
                "{name} is for the runtime to say; remove the annotation"
            )));
        }
        let value = text::parse(written).map_err(|why| refuse(format!("{written:?}: {why}")))?;
        // systemd's files have a span of time in seconds under one name, its bus in microseconds under another.
        let stem = name
            .strip_suffix("Sec")
            .filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase()));
        list.push(match stem {
            Some(stem) => {
                let value = microseconds(&value)
                    .ok_or_else(|| refuse(format!("{written:?} is not a number of seconds")))?;
                Property::new(&format!("{stem}USec"), Value::Uint64(value))
            }
            None => Property::new(name, value),
        });
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

fn microseconds(seconds: &Value) -> Option<u64> {
    let whole = |n: i128| u64::try_from(n.checked_mul(1_000_000)?).ok();
    match seconds {
        Value::Byte(n) => whole((*n).into()),
        Value::Int16(n) => whole((*n).into()),
        Value::Uint16(n) => whole((*n).into()),
        Value::Int32(n) => whole((*n).into()),
        Value::Uint32(n) => whole((*n).into()),
        Value::Int64(n) => whole((*n).into()),
        Value::Uint64(INFINITY) => Some(INFINITY),
        Value::Uint64(n) => whole((*n).into()),
        Value::Double(n) => {
            let span = std::time::Duration::try_from_secs_f64(*n).ok()?;
            u64::try_from(span.as_micros()).ok()
        }
        _ => None,
    }
}

/// Puts properties together; of two with one name the later one counts.
pub(crate) fn merge(lists: impl IntoIterator<Item = Vec<Property>>) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    for property in lists.into_iter().flatten() {
        match all.iter_mut().find(|known| known.name == property.name) {
            Some(known) => *known = property,
            None => all.push(property),
        }
    }
    all
}

/// Makes the property that names the processes of a scope.
pub(crate) fn processes(pid: u32) -> Property {
    let pids = Value::Array(Type::Basic(b'u'), vec![Value::Uint32(pid)]);
    Property::new("PIDs", pids)
}
