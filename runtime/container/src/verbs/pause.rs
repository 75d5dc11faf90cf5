//! `pause` and `resume`.

use anyhow::{Context, Result, bail};
use cgroup::Cgroup;

use crate::state::{Record, StateRoot, Status};
use crate::{ContainerId, text};

fn freezer(record: &Record) -> Result<&Cgroup> {
    record
        .cgroup
        .as_ref()
        .with_context(|| format!("container {} has no cgroup to freeze", record.id))
}

/// Freezes all processes of a container.
pub fn pause(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let record = root.load(id)?;
    match root.status(id, &record) {
        Status::Running | Status::Created => freezer(&record)?.freeze().context("freeze"),
        Status::Paused => bail!("{}: {id}", text::PAUSED),
        Status::Stopped | Status::Creating => bail!("{}: {id}", text::NOT_RUNNING),
    }
}

/// Lets them go on.
pub fn resume(root: &StateRoot, id: &ContainerId) -> Result<()> {
    let record = root.load(id)?;
    match root.status(id, &record) {
        Status::Paused => freezer(&record)?.thaw().context("thaw"),
        _ => bail!("{}: {id}", text::NOT_PAUSED),
    }
}
