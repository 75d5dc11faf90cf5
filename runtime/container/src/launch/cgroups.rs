//! The cgroups of a container that is being made.

use anyhow::Result;
use cgroup::Cgroup;
use sys::process::Signal;

use crate::plan::Plan;

/// Cgroups that are removed with their guard, unless the creation ends well.
#[derive(Debug)]
pub(crate) struct CgroupGuard {
    pub(super) cgroup: Option<Cgroup>,
    devices: bool,
    pub(super) keep: bool,
}

impl CgroupGuard {
    pub(crate) fn make(plan: &Plan) -> Result<Self> {
        let cgroup = plan.cgroup.as_ref().map(Cgroup::create).transpose()?;
        Ok(Self {
            cgroup,
            devices: false,
            keep: false,
        })
    }

    pub(crate) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    pub(super) fn entry(&self) -> Result<Option<cgroup::Entry>> {
        Ok(self.cgroup.as_ref().map(Cgroup::entry).transpose()?)
    }

    /// Sets the limits, while the child makes its mounts.
    pub(crate) fn limit(&mut self, plan: &Plan) -> Result<()> {
        if let (Some(cgroup), Some(plan)) = (&mut self.cgroup, &plan.cgroup) {
            cgroup.limit(plan)?;
        }
        Ok(())
    }

    /// Sets the device rules, once; not before the child has made its nodes, which they may forbid.
    pub(crate) fn restrict_devices(&mut self, plan: &Plan) -> Result<()> {
        if let (Some(cgroup), Some(plan), false) = (&mut self.cgroup, &plan.cgroup, self.devices) {
            cgroup.restrict_devices(plan)?;
            self.devices = true;
        }
        Ok(())
    }
}

/// For a creation whose processes are made by somebody else.
impl CgroupGuard {
    /// Keeps the cgroups, with what this kernel made us ignore.
    pub(crate) fn keep(&mut self) -> Vec<String> {
        self.keep = true;
        self.cgroup
            .as_ref()
            .map_or_else(Vec::new, |cgroup| cgroup.warnings.clone())
    }

    /// Kills whatever is in cgroups that are not kept.
    pub(crate) fn end(&self) {
        if let (Some(cgroup), false) = (&self.cgroup, self.keep) {
            // The error that brought us here is the one to report.
            drop(cgroup.kill_all(Signal::SIGKILL as i32));
        }
    }
}

impl Drop for CgroupGuard {
    fn drop(&mut self) {
        if let (Some(cgroup), false) = (&self.cgroup, self.keep) {
            // The error that brought us here is the one to report; what is left, `delete --force` finds by the intent.
            drop(cgroup.remove());
        }
    }
}
