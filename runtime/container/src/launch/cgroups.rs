//! The cgroups of a container in the making.
//!
//! Without systemd they are made before the clone, which goes into them. A unit of systemd is made around a process that is there:
//! then the clone comes first, systemd works while we do, and the child waits before its first step that needs its cgroup.

use anyhow::{Context, Result};
use cgroup::{Cgroup, UnitStart};
use sys::Errno;
use sys::process::{Child, Signal};

use super::protocol::{Channel, ToChild};
use crate::plan::Plan;

/// Cgroups that are removed with their guard, unless the creation ends well.
#[derive(Debug)]
pub(crate) struct CgroupGuard {
    pub(super) cgroup: Option<Cgroup>,
    /// The unit that systemd is asked for, until it is there.
    unit: Option<(UnitStart, cgroup::UnitPlan)>,
    complete: bool,
    keep: bool,
}

impl CgroupGuard {
    /// Makes the cgroups, or connects to the systemd that will.
    pub(crate) fn make(plan: &Plan) -> Result<Self> {
        let mut guard = Self {
            cgroup: None,
            unit: None,
            complete: false,
            keep: false,
        };
        match plan.cgroup.as_ref().map(|plan| (plan, &plan.unit)) {
            Some((_, Some(unit))) => {
                guard.unit = Some((UnitStart::connect(unit)?, unit.clone()));
            }
            Some((plan, None)) => guard.cgroup = Some(Cgroup::create(plan)?),
            None => {}
        }
        Ok(guard)
    }

    pub(crate) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_ref()
    }

    pub(super) fn entry(&self) -> Result<Option<cgroup::Entry>> {
        Ok(self.cgroup.as_ref().map(Cgroup::entry).transpose()?)
    }

    /// Keeps the cgroups, with what this kernel made us ignore.
    pub(crate) fn keep(&mut self) -> Vec<String> {
        self.keep = true;
        self.cgroup
            .as_ref()
            .map_or_else(Vec::new, |cgroup| cgroup.warnings.clone())
    }

    pub(super) fn is_systemds(&self) -> bool {
        let made = self.cgroup.as_ref();
        made.is_some_and(|cgroup| cgroup.unit.is_some())
    }

    /// Asks systemd for the unit around the child.
    pub(super) fn ask(&mut self, plan: &Plan, child: &Child) -> Result<()> {
        self.ask_for(plan, child.pid.as_raw())
    }

    fn ask_for(&mut self, plan: &Plan, pid: i32) -> Result<()> {
        if let Some((start, unit)) = &mut self.unit {
            start.ask(unit, pid).with_context(|| at(plan, unit))?;
        }
        Ok(())
    }

    /// Waits for the unit, if there is one to wait for; tells whether there was.
    fn finish(&mut self, plan: &Plan, pid: i32) -> Result<bool> {
        let (Some((start, unit)), Some(cgroups)) = (self.unit.take(), &plan.cgroup) else {
            return Ok(false);
        };
        let made = start.finish(cgroups, &unit, pid);
        self.cgroup = Some(made.with_context(|| at(plan, &unit))?);
        Ok(true)
    }

    /// Waits until the child is in its cgroups, and tells it so; it was born into those that are not systemd's.
    pub(super) fn settle(&mut self, plan: &Plan, child: &Child, parent: &Channel) -> Result<()> {
        if !self.finish(plan, child.pid.as_raw())? {
            return Ok(());
        }
        match parent.tell_child(ToChild::Joined) {
            // It has failed meanwhile, and what it has said will be heard.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            told => told.context("tell the container that it is in its cgroup"),
        }
    }

    /// Sets the limits, while the child makes its mounts.
    pub(crate) fn limit(&mut self, plan: &Plan) -> Result<()> {
        if let (Some(cgroup), Some(plan)) = (&mut self.cgroup, &plan.cgroup) {
            cgroup.limit(plan)?;
        }
        Ok(())
    }

    /// Sets the device rules and lends the cgroup, once; not before the child has made its nodes, which the rules may forbid, and has
    /// joined, which somebody else's cgroup may not let it.
    pub(crate) fn complete(&mut self, plan: &Plan) -> Result<()> {
        if let (Some(cgroup), Some(plan), false) = (&mut self.cgroup, &plan.cgroup, self.complete) {
            cgroup.restrict_devices(plan)?;
            cgroup.lend(plan)?;
            self.complete = true;
        }
        Ok(())
    }
}

fn at(plan: &Plan, unit: &cgroup::UnitPlan) -> String {
    format!("make unit {} for container {}", unit.unit.name, plan.id)
}

/// For a creation whose processes are made by somebody else.
impl CgroupGuard {
    /// Sees another program into all of the cgroups, whoever makes them.
    pub(crate) fn receive(&mut self, plan: &Plan, pid: i32) -> Result<()> {
        self.ask_for(plan, pid)?;
        if self.finish(plan, pid)? {
            return Ok(());
        }
        self.cgroup.as_ref().map_or(Ok(()), |cgroup| {
            cgroup
                .join(pid)
                .with_context(|| format!("move process {pid} into the container's cgroups"))
        })
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
        if self.keep {
            return;
        }
        // The error that brought us here is the one to report; what is left, `delete --force` finds by the intent.
        if let Some((start, unit)) = self.unit.take() {
            drop(start.abandon(&unit));
        }
        if let Some(cgroup) = &self.cgroup {
            drop(cgroup.remove());
        }
    }
}
