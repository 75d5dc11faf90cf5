//! What is taken back with its guard, unless the creation ends well: the child, and what it was put into.

use anyhow::{Context, Result};
use sys::process::{Child, Signal};

use crate::plan::Plan;
use crate::resctrl::{self, Groups};

/// A child that dies with its guard, unless the creation ends well.
#[derive(Debug)]
pub(crate) struct Newborn(pub(super) Option<Child>);

impl Newborn {
    pub(super) fn child(&self) -> Result<&Child> {
        self.0.as_ref().context("no child")
    }

    pub(super) fn keep(mut self) -> Result<Child> {
        self.0.take().context("no child")
    }
}

impl Drop for Newborn {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            // It may be dead already; the error that brought us here is the one to report.
            child.handle.signal(Signal::SIGKILL as i32).ok();
            child.handle.wait().ok();
        }
    }
}

/// Classes of service that are removed with their guard, unless the creation ends well.
#[derive(Debug)]
pub(super) struct ClassGuard {
    pub(super) groups: Option<Groups>,
    pub(super) keep: bool,
}

impl ClassGuard {
    /// Puts the child, which has no other threads or children yet, into the classes of the plan.
    pub(super) fn make(plan: &Plan, child: &Child) -> Result<Self> {
        let groups = plan.resctrl.as_ref();
        let groups = groups.map(|plan| resctrl::apply(plan, child.pid.as_raw()));
        Ok(Self {
            groups: groups.transpose()?,
            keep: false,
        })
    }
}

impl Drop for ClassGuard {
    fn drop(&mut self) {
        if let (Some(groups), false) = (&self.groups, self.keep) {
            // The error that brought us here is the one to report; what is left, `delete --force` finds by the intent.
            drop(groups.remove());
        }
    }
}
