//! What the processes of a cgroup have used, in the form in which runc's `events` prints it.
//!
//! The names and the units are runc's (`types/events.go`): times in nanoseconds, sizes in bytes, zero where there is nothing to
//! count. A file that this kernel or this cgroup does not have counts as zero: which ones exist differs from kernel to kernel.

mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::Serialize;
use sys::Errno;

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;

/// Everything that the controllers of a container count.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    /// By page size, such as `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Processor time in nanoseconds; the lists have one entry per processor and are empty on cgroup v2, which does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled_time: u64,
}

/// How long processes have waited for a resource, as `*.pressure` of cgroup v2 says (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Psi {
    pub some: Pressure,
    pub full: Pressure,
}

/// Shares of time in percent, and the sum in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Pressure {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    #[serde(skip_serializing_if = "is_zero")]
    pub cache: u64,
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat` as it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MemoryEntry {
    /// The largest number is no limit.
    pub limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    /// How often the limit was reached.
    pub failcnt: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Zero is no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub limit: u64,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_queue_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_zero")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub minor: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub value: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub max: u64,
    pub failcnt: u64,
}

/// As Go's encoder leaves a zero out where runc's types say so.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Cgroup {
    /// Reads what the container has used; each controller from the hierarchy that it is on.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = Stats::default();
        for dir in &self.dirs {
            if dir.is_unified() {
                v2::read(dir, &mut stats)?;
            } else {
                v1::read(dir, &mut stats)?;
            }
        }
        Ok(stats)
    }
}

/// Reads a file that need not be there: `EOPNOTSUPP` comes from one whose counting is switched off.
fn text(dir: &Path, name: &str) -> Result<Option<String>, Error> {
    let path = dir.join(name);
    match file::read(&path) {
        Ok(text) => Ok(Some(text)),
        Err(errno) if file::gone(errno) || errno == Errno::EOPNOTSUPP => Ok(None),
        Err(errno) => Err(Error::call("read", &path, errno)),
    }
}

/// Reads a file with one number; `max` is the largest there is.
fn number<T: FromStr + Default>(dir: &Path, name: &str) -> Result<T, Error> {
    let text = text(dir, name)?.unwrap_or_default();
    let text = if text == "max" {
        u64::MAX.to_string()
    } else {
        text
    };
    Ok(text.parse().unwrap_or_default())
}

/// Reads a file with a name and a number on each line.
fn table(dir: &Path, name: &str) -> Result<BTreeMap<String, u64>, Error> {
    let text = text(dir, name)?.unwrap_or_default();
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

fn entry(table: &BTreeMap<String, u64>, name: &str) -> u64 {
    table.get(name).copied().unwrap_or_default()
}

/// Parses a list of numbers and ranges, such as `0-2,8`.
fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((
            first.trim().parse::<u16>().ok()?,
            last.trim().parse::<u16>().ok()?,
        ))
    };
    let mut ranges: Vec<_> = text.split(',').filter_map(range).collect();
    ranges.sort_unstable();
    // A number counts once, however often the text says it.
    let mut numbers = Vec::new();
    for (first, last) in ranges {
        let next = numbers
            .last()
            .map_or(Some(0), |last: &u16| last.checked_add(1));
        numbers.extend(next.into_iter().flat_map(|next| next.max(first)..=last));
    }
    numbers
}

/// Returns the page sizes that a cgroup counts, from the names of its files.
fn page_sizes(dir: &Path, suffix: &str) -> Result<Vec<String>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if file::gone(file::errno(&error)) => return Ok(Vec::new()),
        Err(error) => return Err(Error::call("list", dir, file::errno(&error))),
    };
    let mut sizes: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size = name.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
            (!size.contains('.')).then(|| size.to_owned())
        })
        .collect();
    sizes.sort();
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn lists_of_processors() {
        assert_eq!(list("0-2,8"), [0, 1, 2, 8]);
        assert_eq!(list(""), Vec::<u16>::new());
        assert_eq!(list("5"), [5]);
        assert_eq!(list("1,0-2,1,65534-65535,65535"), [0, 1, 2, 65534, 65535]);
    }
}
