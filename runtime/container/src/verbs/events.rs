//! `events`: what a container uses, and that its memory ran out.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cgroup::Cgroup;
use serde::Serialize;
use sys::process::{Handle, Namespaces, PollTimeout};

use super::open;
use crate::state::{Record, StateRoot, Status};
use crate::{ContainerId, resctrl};

/// Something to tell of a container, in the form of runc's `events`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "data", rename_all = "lowercase")]
pub enum Event {
    Stats(Box<Stats>),
    /// The memory limit was reached.
    Oom,
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    #[serde(flatten)]
    pub cgroup: cgroup::Stats,
    pub intel_rdt: resctrl::Stats,
    /// Those of its own network namespace, but for the loopback; `None` where it has none of its own.
    pub network_interfaces: Option<Vec<NetworkInterface>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkInterface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Returns what a living container uses now.
pub fn stats(root: &StateRoot, id: &ContainerId) -> Result<Stats> {
    let (record, init) = living(root, id)?;
    measure(&record, cgroup_of(&record)?, &init)
}

/// Tells of a container until it ends: what it uses after each interval, and each time that its memory runs out.
pub fn watch(
    root: &StateRoot,
    id: &ContainerId,
    interval: Duration,
    mut tell: impl FnMut(Event) -> Result<()>,
) -> Result<()> {
    let (record, init) = living(root, id)?;
    let cgroup = cgroup_of(&record)?;
    let mut oom = cgroup
        .oom_events()
        .context("listen for the end of memory")?;
    let mut next = Instant::now() + interval;
    loop {
        let ended = wait(&init, oom.as_ref(), next)?;
        if let Some(oom) = &mut oom
            && oom.take().context("hear of the end of memory")?
        {
            tell(Event::Oom)?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            tell(Event::Stats(Box::new(measure(&record, cgroup, &init)?)))?;
            next = Instant::now() + interval;
        }
    }
}

/// Waits for the container's end, for an event, or for the time; tells whether it has ended.
fn wait(init: &Handle, oom: Option<&cgroup::OomEvents>, next: Instant) -> Result<bool> {
    let left = next.saturating_duration_since(Instant::now());
    // Rounded up, so that the time has come when the wait is over.
    let timeout =
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    let mut fds: Vec<_> = oom.map(cgroup::OomEvents::poll).into_iter().collect();
    init.or_ready(&mut fds, timeout)
        .context("wait for the container")
}

fn living(root: &StateRoot, id: &ContainerId) -> Result<(Record, Handle)> {
    let record = root.load(id)?;
    match (root.status(id, &record), open(&record.process)) {
        (Status::Stopped, _) | (_, Err(_)) => bail!("container with id {id} is not running"),
        (_, Ok(init)) => Ok((record, init)),
    }
}

fn cgroup_of(record: &Record) -> Result<&Cgroup> {
    record
        .cgroup
        .as_ref()
        .with_context(|| format!("container {} has no cgroup that counts", record.id))
}

fn measure(record: &Record, cgroup: &Cgroup, init: &Handle) -> Result<Stats> {
    let own = Namespaces::from_bits_truncate(record.namespaces).contains(Namespaces::NETWORK);
    Ok(Stats {
        cgroup: cgroup.stats()?,
        intel_rdt: record
            .resctrl
            .as_ref()
            .map(resctrl::Groups::stats)
            .unwrap_or_default(),
        network_interfaces: own.then(|| interfaces(record.process.pid, init)).flatten(),
    })
}

/// Reads the interfaces of a process's network namespace.
fn interfaces(pid: i32, init: &Handle) -> Option<Vec<NetworkInterface>> {
    let table = std::fs::read(format!("/proc/{pid}/net/dev")).ok()?;
    // After reading: had the process ended, the table might have been another's.
    if init.has_ended(PollTimeout::ZERO).unwrap_or(true) {
        return None;
    }
    Some(network_interfaces(&table)).filter(|found| !found.is_empty())
}

/// Reads the text of `/proc/PID/net/dev`, without the loopback interface. The container chooses names, and they need not be text.
#[must_use]
pub fn network_interfaces(table: &[u8]) -> Vec<NetworkInterface> {
    let table = String::from_utf8_lossy(table);
    table.split('\n').filter_map(interface).collect()
}

/// Parses a line of `/proc/PID/net/dev`; the two lines of its header have no numbers.
fn interface(line: &str) -> Option<NetworkInterface> {
    let (name, counters) = line.split_once(':')?;
    let name = name.trim_start_matches(' ');
    let counters: Vec<u64> = counters
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let [
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        _,
        _,
        _,
        _,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
        ..,
    ] = counters[..]
    else {
        return None;
    };
    (name != "lo").then(|| NetworkInterface {
        name: name.to_owned(),
        rx_bytes,
        rx_packets,
        rx_errors,
        rx_dropped,
        tx_bytes,
        tx_packets,
        tx_errors,
        tx_dropped,
    })
}

#[cfg(test)]
mod tests {
    use super::interface;

    #[test]
    fn a_line_of_the_table_of_interfaces() {
        let line = "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
        let eth0 = interface(line).expect("an interface");
        assert_eq!(
            (eth0.name.as_str(), eth0.rx_dropped, eth0.tx_bytes),
            ("eth0", 4, 9)
        );
        assert_eq!(interface(" face |bytes    packets errs: x"), None);
        assert_eq!(interface("    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"), None);
    }
}
