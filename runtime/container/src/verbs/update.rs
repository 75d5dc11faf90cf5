//! `update`: new limits for a container that exists.

use anyhow::{Context, Result, bail};
use oci_spec::runtime::LinuxResources;

use crate::state::{StateRoot, Status};
use crate::{ContainerId, resources, text};

/// Changes limits; what `change` leaves open stays as it is. Returns what this kernel made us ignore.
///
/// All of them are changed, or none; the record then says what is in force. Killed between the two, some new limits hold and the
/// record still has the old ones: the next update puts that right.
pub fn update(root: &StateRoot, id: &ContainerId, change: &LinuxResources) -> Result<Vec<String>> {
    let _lock = root.lock(id)?;
    let mut record = root.load(id)?;
    if root.status(id, &record) == Status::Stopped {
        bail!("{}: {id}", text::NOT_RUNNING);
    }
    let mut cgroup = record
        .cgroup
        .clone()
        .with_context(|| format!("container {id} has no cgroup to limit"))?;
    let before = record.resources.take().unwrap_or_default();
    let change = resources::given(change)?;
    let plan = cgroup::update(&cgroup.dirs, &before, &change)?;
    record.resources = Some(resources::merged(&before, &change)?);
    // Written first: a full disk must not be found when the limits have changed.
    let replacement = root.replace(id, &record)?;
    cgroup.update(&plan)?;
    replacement.commit()?;
    Ok(cgroup.warnings)
}
