//! New limits: `{"before": …, "change": …}` in the form of linux.resources, or the options of `update`, one word a line.

use std::ffi::OsString;

use cgroup::{CgroupPath, Dir, Plan, Write};
use container::resources;
use oci_spec::runtime::LinuxResources;
use orlop::Invocation;
use orlop::command;
use serde_json::Value;

use crate::machine::layout;
use crate::{config, is_message};

pub(crate) fn run(bytes: &[u8]) {
    if bytes.first() != Some(&b'{') {
        return options(bytes);
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let read = |name: &str| {
        let part = value.get(name).map_or("{}".to_owned(), Value::to_string);
        resources::parse(part.as_bytes(), name)
    };
    match (read("before"), read("change")) {
        (Ok(before), Ok(change)) => laid_over(&before, &change, bytes.len()),
        (Err(error), _) | (_, Err(error)) => is_message(&error.to_string()),
    }
}

/// A change that is laid over something changes what it names, and nothing the second time.
fn laid_over(before: &LinuxResources, change: &LinuxResources, number: usize) {
    let plain = |resources: &LinuxResources| resources::given(resources).expect("what is given");
    let over = |a: &LinuxResources, b: &LinuxResources| resources::merged(a, b).expect("merged");
    let change = plain(change);
    assert_eq!(plain(&change), change, "given is given");
    let none = LinuxResources::default();
    let merged = over(before, &change);
    assert_eq!(over(&merged, &change), merged, "a second time");
    let same = over(before, &none);
    assert_eq!(over(&same, &none), same, "no change");
    // As the record keeps it.
    let text = serde_json::to_vec(&merged).expect("JSON");
    assert_eq!(
        serde_json::from_slice::<LinuxResources>(&text).expect("what was printed"),
        merged
    );
    let dirs = dirs(number);
    let planned = cgroup::update(&dirs, before, &change);
    assert_eq!(planned, cgroup::update(&dirs, before, &change));
    match planned {
        Ok(plan) => limits(&plan, before, &change),
        Err(refusal) => is_message(&refusal.message),
    }
    let nothing = cgroup::update(&dirs, before, &none).expect("no change");
    assert!(nothing.writes.is_empty() && nothing.devices.is_none());
    let id = CgroupPath::parse(Some("/a/b"), "id").expect("a path");
    if let Ok(plan) = cgroup::plan(&layout(number), &id, Some(before)) {
        limits(&plan, &none, before);
        config::cgroups(&plan);
    }
}

fn dirs(number: usize) -> Vec<Dir> {
    let path = CgroupPath::parse(Some("/a/b"), "id").expect("a path");
    cgroup::plan(&layout(number), &path, None)
        .expect("a plan")
        .dirs
}

/// What is written is the number that was asked for, whatever the file.
fn limits(plan: &Plan, before: &LinuxResources, asked: &LinuxResources) {
    for write in &plan.writes {
        assert!(!write.value.contains('\n'), "{write:?}");
        if let Some(want) = wanted(write, before, asked) {
            assert_eq!(write.value, want, "{write:?}");
        }
    }
}

fn wanted(write: &Write, before: &LinuxResources, asked: &LinuxResources) -> Option<String> {
    let memory = asked.memory().as_ref();
    let cpu = asked.cpu().as_ref();
    let unlimited = |value: i64| {
        if value == -1 {
            "max".to_owned()
        } else {
            value.to_string()
        }
    };
    let plain = |value: i64| value.to_string();
    match (write.file.as_str(), write.json_path.rsplit('.').next()?) {
        ("memory.max", "limit") => memory?.limit().map(unlimited),
        ("memory.limit_in_bytes", "limit") => memory?.limit().map(plain),
        ("memory.memsw.limit_in_bytes", "swap") => memory?.swap().map(plain),
        ("memory.low", "reservation") => memory?.reservation().map(unlimited),
        ("memory.soft_limit_in_bytes", "reservation") => memory?.reservation().map(plain),
        ("memory.swap.max", "swap") => {
            let old = before.memory().as_ref().and_then(|memory| memory.limit());
            let limit = memory?.limit().filter(|limit| *limit != 0).or(old)?;
            match memory?.swap()? {
                -1 => Some("max".to_owned()),
                swap => Some((i128::from(swap) - i128::from(limit)).to_string()),
            }
        }
        ("pids.max", "limit") => match asked.pids().as_ref()?.limit() {
            ..=0 => Some("max".to_owned()),
            limit => Some(limit.to_string()),
        },
        ("cpu.cfs_quota_us", "quota") => cpu?.quota().map(plain),
        ("cpu.cfs_period_us", "period") => cpu?.period().map(|period| period.to_string()),
        ("cpu.shares", "shares") => cpu?.shares().map(|shares| shares.to_string()),
        ("cpu.rt_runtime_us", _) => cpu?.realtime_runtime().map(plain),
        ("cpuset.cpus", "cpus") => cpu?.cpus().clone(),
        _ => None,
    }
}

fn options(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let words = ["orlop", "update"].into_iter().chain(text.split('\n'));
    let line: Vec<OsString> = words.map(OsString::from).collect();
    let Ok(Ok(invocation)) = Invocation::parse("orlop", &line) else {
        return;
    };
    if invocation.command != "update" {
        return;
    }
    let read = match command::read(&invocation) {
        Ok(Ok(read)) => read,
        Ok(Err(text)) => return is_message(&text),
        Err(failure) => return is_message(&failure.message),
    };
    let change = match command::update::change(&read) {
        Ok(change) => change,
        Err(error) => return is_message(&error.to_string()),
    };
    let memory = change.resources.memory().unwrap_or_default();
    for (name, value) in [
        ("memory", memory.limit()),
        ("memory_swap", memory.swap()),
        ("memory_reservation", memory.reservation()),
    ] {
        let text = read.get_one::<String>(name);
        size(text.map_or("", String::as_str), value);
    }
    laid_over(&LinuxResources::default(), &change.resources, bytes.len());
}

/// The size that was read is the one that was written, but for what a fraction loses.
#[expect(clippy::cast_precision_loss, reason = "compared with room")]
fn size(text: &str, value: Option<i64>) {
    // Zero says "as it is".
    let Some(value) = value.filter(|value| *value != 0) else {
        return;
    };
    if text == "-1" {
        assert_eq!(value, -1);
        return;
    }
    assert!(value > 0, "{text:?} is {value}");
    // As Go has it, and so runc.
    let text = text.strip_prefix('+').unwrap_or(text);
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let unit = text[digits..]
        .trim_start()
        .chars()
        .next()
        .map(|c| c.to_ascii_lowercase());
    let power = unit.and_then(|unit| "bkmgtp".find(unit)).unwrap_or(0);
    let number: f64 = text[..digits].parse().expect("a number");
    let want = number * 1024_f64.powi(i32::try_from(power).expect("small"));
    assert!(
        (value as f64 - want).abs() <= 1.0 + want * 1e-9,
        "{text:?} is {value}"
    );
}
