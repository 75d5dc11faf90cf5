//! The counters of cgroup v2, and its pressure, which a hybrid host has, too.

use std::path::Path;

use super::{
    Blkio, BlkioEntry, Hugetlb, Memory, MemoryEntry, Pressure, Psi, Stats, entry, list, number,
    page_sizes, table, text,
};
use crate::error::Error;
use crate::plan::Dir;

const MICROSECOND: u64 = 1000;

/// Adds what this directory counts. Beside v1 hierarchies most of its files are not there.
pub(super) fn read(dir: &Dir, stats: &mut Stats) -> Result<(), Error> {
    let path = &dir.path;
    if dir.has("cpu") {
        cpu(path, stats)?;
    }
    stats.cpu.psi = pressure(path, "cpu.pressure")?;
    if dir.has("cpuset") {
        stats.cpuset.cpus = list(&text(path, "cpuset.cpus.effective")?.unwrap_or_default());
        stats.cpuset.mems = list(&text(path, "cpuset.mems.effective")?.unwrap_or_default());
    }
    if dir.has("memory") {
        memory(path, &mut stats.memory)?;
    }
    stats.memory.psi = pressure(path, "memory.pressure")?;
    if dir.has("pids") {
        stats.pids.current = number(path, "pids.current")?;
        let limit = text(path, "pids.max")?.and_then(|text| text.parse().ok());
        stats.pids.limit = limit.unwrap_or_default();
    }
    if dir.has("io") {
        io(path, &mut stats.blkio)?;
    }
    stats.blkio.psi = pressure(path, "io.pressure")?;
    if dir.has("hugetlb") {
        for size in page_sizes(path, ".current")? {
            let events = table(path, &format!("hugetlb.{size}.events"))?;
            let counted = Hugetlb {
                usage: number(path, &format!("hugetlb.{size}.current"))?,
                max: 0,
                failcnt: entry(&events, "max"),
            };
            stats.hugetlb.insert(size, counted);
        }
    }
    Ok(())
}

fn cpu(path: &Path, stats: &mut Stats) -> Result<(), Error> {
    let table = table(path, "cpu.stat")?;
    let time = |name: &str| entry(&table, name).saturating_mul(MICROSECOND);
    stats.cpu.usage.total = time("usage_usec");
    stats.cpu.usage.user = time("user_usec");
    stats.cpu.usage.kernel = time("system_usec");
    stats.cpu.throttling.periods = entry(&table, "nr_periods");
    stats.cpu.throttling.throttled_periods = entry(&table, "nr_throttled");
    stats.cpu.throttling.throttled_time = time("throttled_usec");
    Ok(())
}

fn memory(path: &Path, memory: &mut Memory) -> Result<(), Error> {
    memory.raw = table(path, "memory.stat")?;
    memory.cache = entry(&memory.raw, "file");
    let (usage, limit): (u64, u64) = (number(path, "memory.current")?, number(path, "memory.max")?);
    memory.usage = MemoryEntry {
        limit,
        usage,
        // Since Linux 5.19.
        max: number(path, "memory.peak")?,
        failcnt: entry(&table(path, "memory.events")?, "max"),
    };
    // cgroup v2 counts swap alone, and readers of these names expect both together.
    if let Some(swap) = text(path, "memory.swap.current")? {
        let swap_limit: u64 = number(path, "memory.swap.max")?;
        memory.swap = MemoryEntry {
            limit: swap_limit.saturating_add(limit),
            usage: usage.saturating_add(swap.parse().unwrap_or_default()),
            max: 0,
            failcnt: entry(&table(path, "memory.swap.events")?, "max"),
        };
    }
    Ok(())
}

/// Turns lines such as `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6` into v1's tables.
fn io(path: &Path, blkio: &mut Blkio) -> Result<(), Error> {
    for line in text(path, "io.stat")?.unwrap_or_default().lines() {
        let Some((device, values)) = line.split_once(' ') else {
            continue;
        };
        let numbers = device.split_once(':');
        let numbers = numbers.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let Some((major, minor)) = numbers else {
            continue;
        };
        for (name, value) in values.split(' ').filter_map(|word| word.split_once('=')) {
            let (list, op) = match name {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            list.push(BlkioEntry {
                major,
                minor,
                op: op.to_owned(),
                value: value.parse().unwrap_or_default(),
            });
        }
    }
    Ok(())
}

fn pressure(path: &Path, name: &str) -> Result<Option<Psi>, Error> {
    Ok(text(path, name)?.map(|text| parse_pressure(&text)))
}

fn parse_pressure(text: &str) -> Psi {
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut pressure = Pressure::default();
        let mut words = line.split(' ');
        let kind = words.next();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            match name {
                "avg10" => pressure.avg10 = share(value),
                "avg60" => pressure.avg60 = share(value),
                "avg300" => pressure.avg300 = share(value),
                "total" => pressure.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        match kind {
            Some("some") => psi.some = pressure,
            Some("full") => psi.full = pressure,
            _ => {}
        }
    }
    psi
}

/// Reads a share of time. Rust takes `nan` and `inf` for numbers, which JSON cannot write.
fn share(text: &str) -> f64 {
    let share = text.parse().ok();
    share
        .filter(|share: &f64| share.is_finite() && *share >= 0.0)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{parse_pressure, share};

    #[test]
    fn a_share_is_a_number() {
        let check = |text: &str, want: f64| {
            assert_eq!(share(text).to_bits(), want.to_bits(), "{text}");
        };
        check("1.50", 1.5);
        for odd in ["nan", "inf", "-1", "1e999", ""] {
            check(odd, 0.0);
        }
    }

    #[test]
    fn pressure_has_two_lines() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=4711\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=12";
        let psi = parse_pressure(text);
        assert_eq!(
            (psi.some.avg10, psi.some.total, psi.full.total),
            (1.5, 4711, 12)
        );
    }
}
