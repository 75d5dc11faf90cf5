//! `ps`: the processes of a container.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::kill::owns_pids;
use crate::state::{StateRoot, Status};
use crate::{ContainerId, text};

/// Returns the ids, on the host, of all processes of a container, sorted.
pub fn processes(root: &StateRoot, id: &ContainerId) -> Result<Vec<i32>> {
    let record = root.load(id)?;
    if root.status(id, &record) == Status::Stopped {
        bail!("{}: {id}", text::NOT_RUNNING);
    }
    let mut pids = match &record.cgroup {
        Some(cgroup) => cgroup.pids().context("list processes")?,
        None if owns_pids(&record) => in_namespace_of(record.process.pid)?,
        None => vec![record.process.pid],
    };
    pids.sort_unstable();
    Ok(pids)
}

/// Returns the processes in the pid namespace of one: what a container without a cgroup is known by.
pub(super) fn in_namespace_of(init: i32) -> Result<Vec<i32>> {
    let own = pid_namespace(init).with_context(|| format!("read /proc/{init}/ns/pid"))?;
    let entries = std::fs::read_dir("/proc").context("list /proc")?;
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Whose namespace may not be read is somebody else's.
    Ok(pids
        .filter(|pid| pid_namespace(*pid).is_ok_and(|namespace| namespace == own))
        .collect())
}

/// Tells one pid namespace from another.
pub(super) fn pid_namespace(pid: i32) -> std::io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid"))
}

/// Returns ps(1)'s table with the given options, cut down to some processes.
pub fn table(pids: &[i32], options: &[String]) -> Result<String> {
    // Callers start us with an empty environment, so PATH is of no use.
    let program = ["/bin/ps", "/usr/bin/ps"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let program = program
        .context("ps: not found in /bin or /usr/bin; install procps, or use --format json")?;
    let output = Command::new(program)
        .args(options)
        .output()
        .context("run ps")?;
    if !output.status.success() {
        bail!(
            "ps {}: {}",
            options.join(" "),
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .next()
                .unwrap_or("failed")
        );
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|name| name == "PID");
    let column = column.with_context(|| {
        format!(
            "ps {}: no column PID; choose options that show it",
            options.join(" ")
        )
    })?;
    let ours = |line: &&str| {
        line.split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok())
            .is_some_and(|pid| pids.contains(&pid))
    };
    let rows: Vec<_> = std::iter::once(header).chain(lines.filter(ours)).collect();
    Ok(rows.join("\n") + "\n")
}
