//! `update`.

use std::io::Read;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, FromArgMatches, Parser};
use container::verbs::{self, Change};
use container::{ContainerId, resources};
use serde_json::{Map, Value, json};

use super::{Done, Failure, exactly, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Line {
    /// Read the new limits as JSON, in the form of linux.resources, from a file or (-) from standard input; other options are
    /// ignored then
    #[arg(long, short, value_name = "FILE")]
    resources: Option<String>,
    /// Weight for block devices, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<String>,
    /// Period of the processor quota, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_period: Option<String>,
    /// Processor time in each period, in microseconds; -1 for no limit
    #[arg(long, value_name = "TIME")]
    cpu_quota: Option<String>,
    /// Processor time that may be saved up beyond the quota, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_burst: Option<String>,
    /// Processor time in relation to other containers
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<String>,
    /// Period of the real-time runtime, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_rt_period: Option<String>,
    /// Real-time processor time in each period, in microseconds
    #[arg(long, value_name = "TIME")]
    cpu_rt_runtime: Option<String>,
    /// Processors to use, such as 0-3,8
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most memory, in bytes or with a unit (512m); -1 for no limit
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Memory that is left to it when others need some
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Most memory and swap together; -1 for no limit
    #[arg(long, value_name = "SIZE")]
    memory_swap: Option<String>,
    /// Most processes; -1 for no limit
    #[arg(long, value_name = "COUNT")]
    pids_limit: Option<String>,
    /// 1: run only while nobody else wants a processor; 0: as usual
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<String>,
    /// Shares of the last cache, such as "L3:0=7f0;1=1f"
    #[arg(long, value_name = "SCHEMA")]
    l3_cache_schema: Option<String>,
    /// Shares of the memory's bandwidth, such as "MB:0=20;1=70"
    #[arg(long, value_name = "SCHEMA")]
    mem_bw_schema: Option<String>,
    /// Obsolete: accepted, with a warning and no effect
    #[arg(long, value_name = "SIZE")]
    kernel_memory: Option<String>,
    /// Obsolete: accepted, with a warning and no effect
    #[arg(long, value_name = "SIZE")]
    kernel_memory_tcp: Option<String>,
    /// Id of the container
    #[arg(value_name = "ID")]
    id: Vec<String>,
}

pub(super) fn update(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |line: Line| {
        let [id] = exactly(&line.id)?;
        let id = ContainerId::parse(id)?;
        let (root, _) = invocation.root()?;
        let mut warnings = Vec::new();
        let change = match line.resources.as_deref().filter(|file| !file.is_empty()) {
            Some(file) => {
                let (bytes, name) = (read(file)?, format!("--resources {file}"));
                warnings.extend(resources::nothing_known(&bytes, &name));
                Change {
                    resources: resources::parse(&bytes, &name)?,
                    ..Change::default()
                }
            }
            None => {
                warnings.extend(obsolete(&line));
                of_options(&line)?
            }
        };
        warnings.extend(verbs::update(&root, &id, &change)?);
        Ok(Done {
            warnings,
            ..Done::default()
        })
    })
}

/// Returns what options other than `--resources` change.
pub fn change(matches: &ArgMatches) -> Result<Change> {
    of_options(&Line::from_arg_matches(matches)?)
}

fn of_options(line: &Line) -> Result<Change> {
    let text = resources_of(line)?.to_string();
    Ok(Change {
        resources: resources::parse(text.as_bytes(), "options")?,
        l3_cache_schema: line.l3_cache_schema.clone(),
        mem_bw_schema: line.mem_bw_schema.clone(),
    })
}

fn read(file: &str) -> Result<Vec<u8>> {
    let bytes = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    bytes.with_context(|| format!("--resources {file}"))
}

fn obsolete(line: &Line) -> impl Iterator<Item = String> {
    [
        ("kernel-memory", &line.kernel_memory),
        ("kernel-memory-tcp", &line.kernel_memory_tcp),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_some())
    .map(|(name, _)| format!("--{name} is obsolete and has no effect"))
}

/// Writes the options in the form of linux.resources; an option with an empty value says nothing, as with runc.
fn resources_of(line: &Line) -> Result<Value> {
    let mut groups = Map::new();
    let mut set = |group: &str, field: &str, value: Option<Value>| {
        if let Some(value) = value {
            let fields = groups.entry(group).or_insert_with(|| json!({}));
            fields[field] = value;
        }
    };
    let weight = number::<u16>("blkio-weight", &line.blkio_weight)?;
    set("blockIO", "weight", weight);
    for (field, name, value) in [
        ("burst", "cpu-burst", &line.cpu_burst),
        ("period", "cpu-period", &line.cpu_period),
        ("realtimePeriod", "cpu-rt-period", &line.cpu_rt_period),
        ("shares", "cpu-share", &line.cpu_share),
    ] {
        set("cpu", field, number::<u64>(name, value)?);
    }
    for (field, name, value) in [
        ("quota", "cpu-quota", &line.cpu_quota),
        ("realtimeRuntime", "cpu-rt-runtime", &line.cpu_rt_runtime),
        ("idle", "cpu-idle", &line.cpu_idle),
    ] {
        set("cpu", field, number::<i64>(name, value)?);
    }
    set("cpu", "cpus", line.cpuset_cpus.clone().map(Value::from));
    set("cpu", "mems", line.cpuset_mems.clone().map(Value::from));
    for (field, name, value) in [
        ("limit", "memory", &line.memory),
        ("swap", "memory-swap", &line.memory_swap),
        (
            "reservation",
            "memory-reservation",
            &line.memory_reservation,
        ),
    ] {
        set("memory", field, size(name, value)?);
    }
    set(
        "pids",
        "limit",
        number::<i64>("pids-limit", &line.pids_limit)?,
    );
    Ok(Value::Object(groups))
}

fn number<T>(name: &str, text: &Option<String>) -> Result<Option<Value>>
where
    T: Bounded + Into<Value>,
{
    let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse::<T>() {
        Ok(number) => Ok(Some(number.into())),
        Err(_) => bail!(
            "invalid value for {name}: {text:?} is not a whole number from {} to {}",
            T::LOWEST,
            T::HIGHEST
        ),
    }
}

/// A sort of number, with what it can hold.
trait Bounded: FromStr {
    const LOWEST: i64;
    const HIGHEST: u64;
}

impl Bounded for u16 {
    const LOWEST: i64 = 0;
    const HIGHEST: u64 = u16::MAX as u64;
}

impl Bounded for u64 {
    const LOWEST: i64 = 0;
    const HIGHEST: u64 = u64::MAX;
}

impl Bounded for i64 {
    const LOWEST: i64 = i64::MIN;
    const HIGHEST: u64 = i64::MAX.cast_unsigned();
}

fn size(name: &str, text: &Option<String>) -> Result<Option<Value>> {
    let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match bytes(text) {
        Some(bytes) => Ok(Some(bytes.into())),
        None => bail!(
            "invalid value for {name}: {text:?} is not a size; use a number of bytes, or one with a unit of b, k, m, g, t or p"
        ),
    }
}

/// Parses a size as runc does: `512`, `1.5g`, `64 MiB`, `64MB` (all units are powers of 1024), or -1.
fn bytes(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.')? + 1;
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_lowercase();
    let shift = match unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" if unit != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let factor = 1_i64 << shift;
    if let Ok(whole) = number.parse::<u32>() {
        return factor.checked_mul(i64::from(whole));
    }
    if let (Ok(whole), 1) = (number.parse::<i64>(), factor) {
        return Some(whole).filter(|whole| *whole >= 0);
    }
    fraction(number, factor)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a size with a fraction, or beyond 4 billion units, is no exact number"
)]
fn fraction(number: &str, factor: i64) -> Option<i64> {
    let plain = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = number.parse::<f64>().ok().filter(|_| plain)? * factor as f64;
    (value < i64::MAX as f64).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_as_runc_reads_them() {
        let check = |text: &str, want: Option<i64>| assert_eq!(bytes(text), want, "{text}");
        check("33554432", Some(33_554_432));
        check("32m", Some(33_554_432));
        check("32MB", Some(33_554_432));
        check("32 MiB", Some(33_554_432));
        check("1.5g", Some(1_610_612_736));
        check("5b", Some(5));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        for wrong in [
            "",
            "m",
            "-2",
            "-1m",
            "1e3",
            "0x10",
            "1mm",
            "1ib",
            "1  m",
            "inf",
            "9223372036854775808",
            "9999999p",
            "1.2.3",
        ] {
            check(wrong, None);
        }
    }
}
