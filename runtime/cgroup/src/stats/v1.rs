//! The counters of cgroup v1.

use std::path::Path;

use super::{
    Blkio, BlkioEntry, Hugetlb, MemoryEntry, Stats, entry, list, number, page_sizes, table, text,
};
use crate::error::Error;
use crate::plan::Dir;

/// `cpuacct.stat` counts in USER_HZ, which is 100 on every architecture that Linux runs containers on.
const TICK: u64 = 10_000_000;

/// Adds what the controllers of one hierarchy count.
pub(super) fn read(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    let path = &dir.path;
    for controller in &dir.controllers {
        match controller.as_str() {
            "cpu" => {
                let table = table(path, "cpu.stat")?;
                stats.cpu.throttling.periods = entry(&table, "nr_periods");
                stats.cpu.throttling.throttled_periods = entry(&table, "nr_throttled");
                stats.cpu.throttling.throttled_time = entry(&table, "throttled_time");
            }
            "cpuacct" => cpuacct(path, stats)?,
            "cpuset" => cpuset(path, stats)?,
            "memory" => memory(path, stats)?,
            "pids" => {
                stats.pids.current = number(path, "pids.current")?;
                // Of these words only a number is a limit.
                let limit = text(path, "pids.max")?.and_then(|text| text.parse().ok());
                stats.pids.limit = limit.unwrap_or_default();
            }
            "blkio" => blkio(path, &mut stats.blkio)?,
            "hugetlb" => {
                for size in page_sizes(path, ".usage_in_bytes")? {
                    let file = |name: &str| number(path, &format!("hugetlb.{size}.{name}"));
                    let counted = Hugetlb {
                        usage: file("usage_in_bytes")?,
                        max: file("max_usage_in_bytes")?,
                        failcnt: file("failcnt")?,
                    };
                    stats.hugetlb.insert(size, counted);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn cpuacct(path: &Path, stats: &mut Stats) -> Result<(), Error> {
    let usage = &mut stats.cpu.usage;
    let ticks = table(path, "cpuacct.stat")?;
    usage.user = entry(&ticks, "user").saturating_mul(TICK);
    usage.kernel = entry(&ticks, "system").saturating_mul(TICK);
    usage.total = number(path, "cpuacct.usage")?;
    let each = text(path, "cpuacct.usage_percpu")?.unwrap_or_default();
    usage.percpu = each
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    // A header, then `processor user system`.
    let all = text(path, "cpuacct.usage_all")?.unwrap_or_default();
    for line in all.lines().skip(1) {
        let mut fields = line.split(' ').skip(1).map(str::parse::<u64>);
        if let (Some(Ok(user)), Some(Ok(kernel))) = (fields.next(), fields.next()) {
            usage.percpu_user.push(user);
            usage.percpu_kernel.push(kernel);
        }
    }
    Ok(())
}

fn cpuset(path: &Path, stats: &mut Stats) -> Result<(), Error> {
    let set = &mut stats.cpuset;
    set.cpus = list(&text(path, "cpuset.cpus")?.unwrap_or_default());
    set.mems = list(&text(path, "cpuset.mems")?.unwrap_or_default());
    set.cpu_exclusive = number(path, "cpuset.cpu_exclusive")?;
    set.mem_hardwall = number(path, "cpuset.mem_hardwall")?;
    set.mem_exclusive = number(path, "cpuset.mem_exclusive")?;
    set.memory_migrate = number(path, "cpuset.memory_migrate")?;
    set.memory_spread_page = number(path, "cpuset.memory_spread_page")?;
    set.memory_spread_slab = number(path, "cpuset.memory_spread_slab")?;
    set.memory_pressure = number(path, "cpuset.memory_pressure")?;
    set.sched_load_balance = number(path, "cpuset.sched_load_balance")?;
    set.sched_relax_domain_level = number(path, "cpuset.sched_relax_domain_level")?;
    Ok(())
}

fn memory(path: &Path, stats: &mut Stats) -> Result<(), Error> {
    let read = |name: &str| -> Result<MemoryEntry, Error> {
        let file = |field: &str| number(path, &format!("{name}.{field}"));
        Ok(MemoryEntry {
            limit: file("limit_in_bytes")?,
            usage: file("usage_in_bytes")?,
            max: file("max_usage_in_bytes")?,
            failcnt: file("failcnt")?,
        })
    };
    let memory = &mut stats.memory;
    memory.raw = table(path, "memory.stat")?;
    memory.cache = entry(&memory.raw, "cache");
    memory.usage = read("memory")?;
    memory.swap = read("memory.memsw")?;
    memory.kernel = read("memory.kmem")?;
    memory.kernel_tcp = read("memory.kmem.tcp")?;
    Ok(())
}

/// The scheduler that is in charge has its own files; without one, throttling counts.
fn blkio(path: &Path, blkio: &mut Blkio) -> Result<(), Error> {
    for prefix in ["blkio.bfq.", "blkio."] {
        let serviced = rows(path, &format!("{prefix}io_serviced_recursive"))?;
        if serviced.is_empty() {
            continue;
        }
        let file = |name: &str| rows(path, &format!("{prefix}{name}_recursive"));
        blkio.io_serviced_recursive = serviced;
        blkio.io_service_bytes_recursive = file("io_service_bytes")?;
        blkio.io_queue_recursive = file("io_queued")?;
        blkio.io_service_time_recursive = file("io_service_time")?;
        blkio.io_wait_time_recursive = file("io_wait_time")?;
        blkio.io_merged_recursive = file("io_merged")?;
        blkio.io_time_recursive = file("time")?;
        blkio.sectors_recursive = file("sectors")?;
        return Ok(());
    }
    // The recursive ones came with Linux 4.17.
    for suffix in ["_recursive", ""] {
        let file = |name: &str| rows(path, &format!("blkio.throttle.{name}{suffix}"));
        blkio.io_serviced_recursive = file("io_serviced")?;
        blkio.io_service_bytes_recursive = file("io_service_bytes")?;
        if !blkio.io_serviced_recursive.is_empty() {
            break;
        }
    }
    Ok(())
}

/// Reads lines such as `8:0 Read 1282048`; the operation may be missing, and the sum in the last line is not ours.
fn rows(path: &Path, name: &str) -> Result<Vec<BlkioEntry>, Error> {
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (major, minor) = fields.next()?.split_once(':')?;
        let (op, value) = match (fields.next()?, fields.next()) {
            (op, Some(value)) => (op, value),
            (value, None) => ("", value),
        };
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    };
    let text = text(path, name)?.unwrap_or_default();
    Ok(text.lines().filter_map(row).collect())
}
