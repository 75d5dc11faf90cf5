//! `delete`: taking away all that a container is.
//!
//! Killed at any line, it can be repeated: the record goes last, and every step takes what is gone already for done.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use cgroup::Cgroup;
use sys::process::{PollTimeout, Signal};

use super::kill::{owns_pids, release};
use super::open;
use crate::launch::hooks;
use crate::state::{Found, Intent, Record, StateRoot, Status, is_alive};
use crate::timing::{Phase, Timing};
use crate::{ContainerId, criu, reached, text};

/// How long a killed process may take to end before we give up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a container; a running one only by force. Returns warnings: hooks that failed after the container was gone.
pub fn delete(root: &StateRoot, id: &ContainerId, force: bool) -> Result<Vec<String>> {
    if force && let Ok(Found::Container(record)) = root.find(id) {
        // Before the lock: whoever holds it may wait for this very process.
        thaw(&record)?;
        end(root, id, &record)?;
        criu::relieve(&root.container_dir(id), record.cgroup.as_ref(), criu::GRACE)?;
    }
    // Two at once would take away each other's, or what a third makes anew under the id.
    let _lock = root.lock(id)?;
    match root.find(id) {
        Ok(Found::Container(record)) => container(root, id, &record),
        Ok(Found::Unfinished(intent)) => unfinished(root, id, intent, force).map(|()| Vec::new()),
        Ok(Found::Nothing) if force => Ok(Vec::new()),
        Ok(Found::Nothing) => bail!("{}: {id}", text::NOT_EXIST),
        Err(error) => Err(error),
    }
}

fn container(root: &StateRoot, id: &ContainerId, record: &Record) -> Result<Vec<String>> {
    match root.status(id, record) {
        Status::Stopped => {}
        // Never started, so there is no work to lose; containerd's shim relies on it.
        Status::Created => end(root, id, record)?,
        status => bail!(text::not_stopped(id.as_str(), &status.to_string())),
    }
    // The checkpoint or restore that it worked for was killed, or we would not have the lock.
    criu::relieve(&root.container_dir(id), record.cgroup.as_ref(), criu::GRACE)?;
    discard(root, id, record, &Timing::off())
}

/// Takes away a container whose process has ended; returns the failures of its poststop hooks.
pub fn discard(
    root: &StateRoot,
    id: &ContainerId,
    record: &Record,
    timing: &Timing,
) -> Result<Vec<String>> {
    let reached = reached::limits(record);
    if let Some(cgroup) = &record.cgroup {
        if record.restored || !owns_pids(record) {
            cgroup
                .kill_all(Signal::SIGKILL as i32)
                .context("kill the processes that are left")?;
        }
        remove(cgroup)?;
        timing.parent(Phase::RemoveCgroups);
    }
    if let Some(groups) = &record.resctrl {
        groups.remove()?;
    }
    root.remove(id)?;
    timing.parent(Phase::RemoveState);
    let state = record.state(Status::Stopped);
    let mut warnings: Vec<_> = reached
        .iter()
        .map(|limit| reached::line(&record.id, limit))
        .collect();
    // The container is gone whatever they say.
    warnings.extend(hooks::poststop(&record.hooks, &state, &record.bundle));
    Ok(warnings)
}

/// Lets a paused container go on: a frozen process of version 1 does not even die.
fn thaw(record: &Record) -> Result<()> {
    match &record.cgroup {
        Some(cgroup) if cgroup.is_frozen().unwrap_or(false) => cgroup.thaw().context("thaw"),
        _ => Ok(()),
    }
}

/// Kills the container's process and waits for its end.
fn end(root: &StateRoot, id: &ContainerId, record: &Record) -> Result<()> {
    let Ok(init) = open(&record.process) else {
        return Ok(());
    };
    match init.signal(Signal::SIGKILL as i32) {
        Ok(()) | Err(sys::Errno::ESRCH) => {}
        Err(errno) => bail!("kill {}: {}", record.id, sys::reason(errno)),
    }
    if release(root, id, record, &init)? {
        return Ok(());
    }
    // criu, when it was alive, may have frozen it since.
    thaw(record)?;
    let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    if !init
        .has_ended(patience)
        .context("wait for the container's process")?
    {
        bail!(
            "kill {}: process {} does not end; it may wait for a device or a file server",
            record.id,
            record.process.pid
        );
    }
    Ok(())
}

/// Clears what a cut-off creation has left: by its intent, or, where not even that was written, nothing but the directory.
fn unfinished(
    root: &StateRoot,
    id: &ContainerId,
    intent: Option<Box<Intent>>,
    force: bool,
) -> Result<()> {
    if let Some(intent) = intent {
        if let Some(owner) = intent.owner.filter(is_alive) {
            bail!(
                "container {id} is being created by process {}; wait for it or end it",
                owner.pid
            );
        }
        // It is told nothing any more, and waits for it for ever.
        criu::relieve(&root.container_dir(id), None, Duration::ZERO)?;
        if let Some(cgroup) = &intent.cgroup {
            if force && cgroup.exists() {
                cgroup
                    .kill_all(Signal::SIGKILL as i32)
                    .context("kill the processes that are left")?;
            }
            remove(cgroup)?;
        }
        if let Some(groups) = &intent.resctrl {
            groups.remove()?;
        }
    }
    root.remove(id)
}

fn remove(cgroup: &Cgroup) -> Result<()> {
    cgroup.remove().map_err(|errors| {
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", all.join("; "))
    })
}
