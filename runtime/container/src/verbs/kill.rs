//! `kill`: signals.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use sys::process::{Handle, Namespaces, Pid, PollTimeout, Signal};

use super::open;
use super::ps::{in_namespace_of, pid_namespace};
use crate::state::{CRIU, Record, StateRoot, Status};
use crate::{ContainerId, criu, text};

/// Parses a signal: a number (0 asks only whether the process is there), or a name in any case, with or without `SIG`.
pub fn signal(text: &str) -> Result<i32> {
    const HIGHEST: i32 = 64;
    let unknown = || {
        anyhow!("unknown signal {text:?}: use a number from 0 to {HIGHEST} or a name such as TERM")
    };
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=HIGHEST).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    // The kernel's range for programs; the C library keeps the first two of 32 and up for itself.
    let offset = |base: i32, rest: &str| match rest {
        "" => Some(base),
        rest => rest.parse::<i32>().ok()?.checked_add(base),
    };
    let real_time = name
        .strip_prefix("RTMIN")
        .and_then(|rest| offset(34, rest))
        .or_else(|| {
            name.strip_prefix("RTMAX")
                .and_then(|rest| offset(HIGHEST, rest))
        });
    if let Some(number) = real_time.filter(|number| (34..=HIGHEST).contains(number)) {
        return Ok(number);
    }
    let signal = format!("SIG{name}").parse::<Signal>();
    signal.map(|signal| signal as i32).map_err(|_| unknown())
}

/// Sends a signal to the container's process, or to all processes of its cgroup.
pub fn kill(root: &StateRoot, id: &ContainerId, signal: i32, all: bool) -> Result<()> {
    let record = root.load(id)?;
    let status = root.status(id, &record);
    if status == Status::Stopped && !all {
        bail!("{}: {id}", text::NOT_RUNNING);
    }
    // Without a pid namespace of its own the death of the first process leaves the others alive.
    let everybody = all || (signal == Signal::SIGKILL as i32 && !owns_pids(&record));
    if let (true, Some(cgroup)) = (everybody, &record.cgroup) {
        cgroup.kill_all(signal).context("signal all processes")?;
    } else if all && status != Status::Stopped && owns_pids(&record) {
        each(&record, signal)?;
    } else if status != Status::Stopped {
        let init = open(&record.process).with_context(|| id.to_string())?;
        match init.signal(signal) {
            Err(sys::Errno::ESRCH) => bail!("{}: {id}", text::NOT_RUNNING),
            other => other.with_context(|| format!("send signal {signal} to {id}"))?,
        }
    }
    if status == Status::Paused && signal == Signal::SIGKILL as i32 {
        // A frozen process of version 1 does not even die.
        record
            .cgroup
            .as_ref()
            .map_or(Ok(()), cgroup::Cgroup::thaw)
            .context("thaw")?;
    }
    let dir = root.container_dir(id);
    if signal == Signal::SIGKILL as i32 && dir.join(CRIU).exists() {
        if let Ok(init) = open(&record.process) {
            release(root, id, &record, &init)?;
        }
        // A process that it traced alone has ended without it.
        criu::relieve(&dir, record.cgroup.as_ref(), criu::GRACE)?;
    }
    Ok(())
}

/// Waits a moment for the end of a container's first process, which was killed, and then ends the criu that holds it, if one does.
///
/// The first process of a pid namespace ends after all others, and those that criu traces wait for criu, which may wait for the first.
pub(super) fn release(
    root: &StateRoot,
    id: &ContainerId,
    record: &Record,
    init: &Handle,
) -> Result<bool> {
    let grace = PollTimeout::try_from(criu::GRACE).unwrap_or(PollTimeout::MAX);
    let ended = init
        .has_ended(grace)
        .context("wait for the container's process")?;
    if !ended {
        let cgroup = record.cgroup.as_ref();
        criu::relieve(&root.container_dir(id), cgroup, Duration::ZERO)?;
    }
    Ok(ended)
}

/// Signals the processes of a container that has no cgroup, one by one; what is born meanwhile is missed, but for SIGKILL, which ends
/// all with the first.
fn each(record: &Record, signal: i32) -> Result<()> {
    let init = record.process.pid;
    let namespace = pid_namespace(init).with_context(|| format!("read /proc/{init}/ns/pid"))?;
    for pid in in_namespace_of(init)? {
        let Ok(process) = Handle::open(Pid::from_raw(pid)) else {
            continue;
        };
        // After opening: the number may have become another process's.
        if !pid_namespace(pid).is_ok_and(|found| found == namespace) {
            continue;
        }
        match process.signal(signal) {
            Ok(()) | Err(sys::Errno::ESRCH) => {}
            other => other.with_context(|| format!("send signal {signal} to process {pid}"))?,
        }
    }
    Ok(())
}

/// Tells whether all processes of the container die with its first one: that of a pid namespace that was made for it.
pub(super) fn owns_pids(record: &Record) -> bool {
    Namespaces::from_bits_truncate(record.made).contains(Namespaces::PID)
}

#[cfg(test)]
mod tests {
    use super::signal;

    #[test]
    fn signals_by_number_and_name() {
        let check = |text: &str, want: Option<i32>| assert_eq!(signal(text).ok(), want, "{text}");
        check("9", Some(9));
        check("TERM", Some(15));
        check("sigterm", Some(15));
        check("Kill", Some(9));
        check("RTMIN+3", Some(37));
        check("SIGRTMAX-1", Some(63));
        check("0", Some(0));
        check("65", None);
        check("-9", None);
        check("nonsense", None);
    }
}
