//! `criu.json` in a state directory: which criu works on the container, and what has to be undone should it be killed, or we.
//!
//! ```text
//! {"criu": {"pid": 7, "start": 42}, "thaw": true, "hierarchy": {"mount": "/sys/fs/cgroup", "options": "rw,nsdelegate"}}
//! ```
//!
//! It is written before criu is told what to do, and removed when it has ended: there is no moment at which criu holds a process and
//! nobody knows of it. A cut-off file belongs to a criu that was told nothing, and that has ended with its socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cgroup::Cgroup;
use serde::{Deserialize, Serialize};
use sys::Errno;
use sys::process::{Handle, Pid, PollTimeout, Signal};

use super::hierarchy::{self, Kept};
use crate::state::{self, CRIU, Identity, is_alive};

/// How long a criu whose container was killed gets to notice it and to end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// How long a killed criu may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The mark of a criu that is to begin. Dropped, which has to be after criu's end, it undoes what a criu that was killed has left, and
/// is gone.
#[derive(Debug)]
pub(crate) struct Mark<'a> {
    dir: &'a Path,
    cgroup: Option<&'a Cgroup>,
    work: Work,
}

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
struct Work {
    criu: Option<Identity>,
    /// The container ran when criu came: criu freezes it.
    thaw: bool,
    hierarchy: Option<Kept>,
}

impl<'a> Mark<'a> {
    /// Notes what a criu may change; `cgroup` is one that it freezes.
    pub(crate) fn new(dir: &'a Path, cgroup: Option<&'a Cgroup>) -> Self {
        let runs = |cgroup: &Cgroup| cgroup.is_frozen().is_ok_and(|frozen| !frozen);
        let work = Work {
            criu: None,
            thaw: cgroup.is_some_and(runs),
            hierarchy: hierarchy::keep(),
        };
        Self { dir, cgroup, work }
    }

    /// Writes down which process criu is.
    pub(super) fn write(&mut self, criu: i32) -> Result<()> {
        self.work.criu = Identity::of(criu);
        let bytes = serde_json::to_vec(&self.work).context("write criu's process as JSON")?;
        state::write(self.dir, CRIU, &bytes)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        // What criu has done stands; what is not undone here, `delete --force` and the next checkpoint undo.
        if self.work.undo(self.cgroup).is_ok() {
            drop(std::fs::remove_file(self.dir.join(CRIU)));
        }
    }
}

impl Work {
    /// Undoes what criu would have undone at its own end.
    fn undo(&self, cgroup: Option<&Cgroup>) -> Result<()> {
        if let Some(kept) = &self.hierarchy {
            kept.put_back();
        }
        match cgroup {
            Some(cgroup) if self.thaw && cgroup.is_frozen()? => cgroup.thaw().context("thaw"),
            _ => Ok(()),
        }
    }
}

/// Ends the criu that works on a container, unless it ends by itself within `grace`, and undoes what it has left. Killed, criu lets go of the
/// processes that it holds: they run on as they were, but for one that is just doing something on its behalf, which may die of that.
pub(crate) fn relieve(dir: &Path, cgroup: Option<&Cgroup>, grace: Duration) -> Result<()> {
    let file = dir.join(CRIU);
    let Some(bytes) = state::read(dir, CRIU)? else {
        return Ok(());
    };
    if let Ok(work) = serde_json::from_slice::<Work>(&bytes) {
        if let Some(criu) = &work.criu {
            end(criu, grace)?;
        }
        work.undo(cgroup)?;
    }
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!(
                "remove {}: {}",
                file.display(),
                crate::bundle::lower(&error)
            )
        }
        _ => Ok(()),
    }
}

fn end(criu: &Identity, grace: Duration) -> Result<()> {
    let handle = Handle::open(Pid::from_raw(criu.pid));
    // After opening: from now on the handle cannot come to mean another process.
    if !is_alive(criu) {
        return Ok(());
    }
    let what = || format!("criu, process {}", criu.pid);
    let handle = handle.with_context(what)?;
    let ends_within = |limit: Duration| {
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        handle.has_ended(limit).with_context(what)
    };
    if ends_within(grace)? {
        return Ok(());
    }
    match handle.signal(Signal::SIGKILL as i32) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => bail!("kill {}: {}", what(), sys::reason(errno)),
    }
    if !ends_within(PATIENCE)? {
        bail!(
            "kill {}: it does not end; it may wait for a device or a file server",
            what()
        );
    }
    Ok(())
}
