//! Starting, changing and stopping a container's unit.

use std::path::Path;

use crate::bus::{Manager, Starting};
use crate::error::Error;
use crate::file;
use crate::make::Cgroup;
use crate::plan::{Dir, Plan, Write};
use crate::unit::{Unit, UnitPlan, below, is_systemds, properties};

/// A unit on its way: systemd works on it while the caller does other things.
#[derive(Debug)]
pub struct UnitStart {
    manager: Manager,
    starting: Option<Starting>,
}

impl UnitStart {
    /// Connects to the unit's manager, and waits for nothing.
    pub fn connect(unit: &UnitPlan) -> Result<Self, Error> {
        Ok(Self {
            manager: Manager::connect(&unit.unit.manager)?,
            starting: None,
        })
    }

    /// Asks for the unit, with a process in it that is our child: so its id stays its own until we wait for it.
    pub fn ask(&mut self, unit: &UnitPlan, pid: i32) -> Result<(), Error> {
        let mut list = unit.properties.clone();
        if !unit.is_slice() {
            list.push(properties::processes(pid.unsigned_abs()));
        }
        self.starting = Some(self.manager.start(&unit.unit.name, &list)?);
        Ok(())
    }

    /// Waits for the unit, completes its cgroups and sees the process into all of them.
    ///
    /// On failure nothing is left behind, but a unit of the same name that was there before.
    pub fn finish(mut self, plan: &Plan, unit: &UnitPlan, pid: i32) -> Result<Cgroup, Error> {
        if let Some(starting) = self.starting.take() {
            self.manager.started(starting)?;
        }
        let made = Cgroup::complete(plan, unit, pid);
        if made.is_err() {
            // The error that brought us here is the one to report.
            self.manager.stop(&unit.unit.name).ok();
        }
        made
    }
}

impl UnitStart {
    /// Takes back what was asked for.
    pub fn abandon(mut self, unit: &UnitPlan) -> Result<(), Error> {
        match self.starting.take() {
            Some(starting) => {
                self.manager.started(starting)?;
                Ok(self.manager.stop(&unit.unit.name)?)
            }
            None => Ok(()),
        }
    }
}

impl Cgroup {
    fn complete(plan: &Plan, unit: &UnitPlan, pid: i32) -> Result<Self, Error> {
        let mut plan = plan.clone();
        find(&mut plan, unit, pid)?;
        let elsewhere = unit.is_slice() || !unit.subgroup.is_empty() || plan.delegated.is_some();
        let moves = |dir: &Dir| elsewhere && is_systemds(dir);
        let mut cgroup = Self::make(&plan, |_, dir| {
            // At once: controllers are handed down only by a cgroup without processes, which the unit's own has to be.
            if moves(dir) {
                join(&plan.home(dir).path, pid)
            } else {
                Ok(())
            }
        })?;
        cgroup.unit = Some(unit.unit.clone());
        // Now that they can be entered: an empty cpuset could not.
        for dir in cgroup.dirs.iter().filter(|dir| !is_systemds(dir)) {
            join(&dir.path, pid)?;
        }
        Ok(cgroup)
    }

    /// Tells systemd what an update will write.
    pub(crate) fn update_unit(&self, plan: &Plan) -> Result<(), Error> {
        let Some(unit) = &self.unit else {
            return Ok(());
        };
        let properties = plan.limit_properties();
        if properties.is_empty() {
            return Ok(());
        }
        Manager::connect(&unit.manager)?.set(&unit.name, &properties)?;
        // systemd has just written it, rounded to a percentage.
        for write in plan.writes.iter().filter(|write| is_bandwidth(write)) {
            let path = plan.dirs[write.dir].path.join(&write.file);
            file::write(&path, &write.value).map_err(|errno| Error::call("write", &path, errno))?;
        }
        Ok(())
    }
}

impl Unit {
    /// Stops the unit and returns when it is gone.
    pub(crate) fn stop(&self) -> Result<(), Error> {
        use crate::bus::BusError;
        match Manager::connect(&self.manager) {
            Ok(mut manager) => Ok(manager.stop(&self.name)?),
            // Where systemd does not run, it has no unit; what cgroups there are, are removed by hand.
            Err(BusError::Unreachable(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn is_bandwidth(write: &Write) -> bool {
    matches!(write.file.as_str(), "cpu.max" | "cpu.cfs_quota_us")
}

fn join(dir: &Path, pid: i32) -> Result<(), Error> {
    let procs = dir.join("cgroup.procs");
    file::write(&procs, &pid.to_string())
        .map_err(|errno| Error::call(&format!("write \"{pid}\" to"), &procs, errno))
}

/// Looks where systemd has put the process: its manager may itself be below the root of the hierarchy.
fn find(plan: &mut Plan, unit: &UnitPlan, pid: i32) -> Result<(), Error> {
    if unit.is_slice() {
        return Ok(());
    }
    let table = Path::new("/proc").join(pid.to_string()).join("cgroup");
    let text = file::read(&table).map_err(|errno| Error::call("read", &table, errno))?;
    let place = |hierarchy: &str| {
        let key = if hierarchy == "unified" {
            ""
        } else {
            hierarchy
        };
        text.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            (names == key).then_some(Path::new(path))
        })
    };
    for dir in plan.dirs.iter_mut().filter(|dir| is_systemds(dir)) {
        let Some(found) = place(&dir.hierarchy).filter(|path| path.ends_with(&unit.unit.name))
        else {
            continue;
        };
        let found = found.strip_prefix("/").unwrap_or(found);
        let found = below(found.to_owned(), &unit.subgroup);
        // A mount that shows a part of the hierarchy, or a namespace that does, shows the end of the path.
        if !found.ends_with(&dir.relative) {
            dir.path = dir.mount.join(&found);
            dir.relative = found;
        }
    }
    Ok(())
}
