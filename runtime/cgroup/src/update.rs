//! New limits for cgroups that processes live in: all of them, or none.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;

use crate::devices;
use crate::error::{Error, Refusal};
use crate::file;
use crate::limits;
use crate::make::{Cgroup, write_all};
use crate::plan::{Dir, Missing, Plan, Purpose, Write, Writes};
use crate::subtree;
use crate::unit;

/// Plans new limits for existing cgroups. What `change` leaves open stays; `before` is what the cgroups have been told up to now.
///
/// Rules of devices are written only where they differ from those before: other programs may have added some of their own.
pub fn update(
    dirs: &[Dir],
    before: &LinuxResources,
    change: &LinuxResources,
) -> Result<Plan, Refusal> {
    let mut writes = Writes::new(dirs, Purpose::Update);
    limits::collect(&mut writes, &with_limit(dirs, before, change))?;
    let mut device_properties = Vec::new();
    if let Some(after) = change.devices().as_deref().filter(|list| !list.is_empty()) {
        let before = before.devices().as_deref().unwrap_or_default();
        devices::change(&mut writes, before, after)?;
        device_properties = unit::devices::replacement(&devices::complete(after)?);
    }
    Ok(Plan {
        device_properties,
        ..writes.finish(Vec::new())
    })
}

/// Completes a change of memory for cgroup v2 by what is in force: `swap`, which is memory plus swap, by the limit, because v2
/// takes the difference; a limit by `checkBeforeUpdate`.
fn with_limit<'a>(
    dirs: &[Dir],
    before: &LinuxResources,
    change: &'a LinuxResources,
) -> Cow<'a, LinuxResources> {
    let unified = dirs.iter().any(|dir| dir.is_unified() && dir.has("memory"));
    let (Some(old), Some(new), true) = (before.memory(), change.memory(), unified) else {
        return Cow::Borrowed(change);
    };
    let mut memory = *new;
    let swap_alone = new.swap().is_some_and(|swap| swap > 0) && new.limit().unwrap_or(0) == 0;
    if let Some(limit) = old.limit().filter(|_| swap_alone) {
        memory.set_limit(Some(limit));
    }
    if new.check_before_update().is_none() {
        memory.set_check_before_update(old.check_before_update());
    }
    let mut change = change.clone();
    change.set_memory(Some(memory));
    Cow::Owned(change)
}

impl Cgroup {
    /// Sets new limits, as [`update`] plans them. When one of them is refused, those that were set before it are set back; what
    /// cannot be is in the error. systemd, if it has a unit for them, is told when the files hold.
    pub fn update(&mut self, plan: &Plan) -> Result<(), Error> {
        self.warnings.extend(plan.warnings.iter().cloned());
        self.warnings.extend(subtree::hand_down(plan, &[])?);
        let mut journal = Journal::new();
        for writes in plan.writes.chunk_by(|a, b| a.dir == b.dir) {
            let dir = &plan.dirs[writes[0].dir].path;
            let writes: Vec<&Write> = writes.iter().collect();
            if let Err(first) = write_all(dir, &writes, &mut self.warnings, Some(&mut journal)) {
                return Err(set_back(&journal, first));
            }
        }
        if let Err(first) = self.update_unit(plan) {
            return Err(set_back(&journal, first));
        }
        // Last, because nothing has to set it back.
        if let Some(rules) = &plan.devices {
            match devices::attach(&plan.dirs[rules.dir].path, rules) {
                Ok(warning) => self.warnings.extend(warning),
                Err(first) => return Err(set_back(&journal, first)),
            }
        }
        Ok(())
    }
}

/// What was there before each write, oldest first. Backwards, each step leads from one state that the kernel has taken to the one
/// before it.
pub(crate) type Journal = Vec<Former>;

/// A value that was there before a write.
#[derive(Debug)]
pub(crate) struct Former {
    path: PathBuf,
    /// `None` where it could not be read.
    value: Option<String>,
}

impl Former {
    /// Reads what a write is about to replace.
    pub(crate) fn read(dir: &Path, write: &Write) -> Self {
        if let Some((file, value)) = opposite(write) {
            return Self {
                path: dir.join(file),
                value: Some(value),
            };
        }
        let mut path = dir.join(&write.file);
        let mut text = file::read(&path);
        if let (Err(_), Missing::Use { file: other, .. }) = (&text, &write.missing) {
            path = dir.join(other);
            text = file::read(&path);
        }
        let value = text.ok().map(|text| {
            let value = former(&write.file, &write.value, &text);
            // A write of nothing does not reach the kernel.
            if value.is_empty() {
                "\n".to_owned()
            } else {
                value
            }
        });
        Self { path, value }
    }
}

/// Returns the rule that undoes a rule of devices, whose files cannot be read.
fn opposite(write: &Write) -> Option<(&'static str, String)> {
    let file = match write.file.as_str() {
        "devices.allow" => "devices.deny",
        "devices.deny" => "devices.allow",
        _ => return None,
    };
    Some((file, write.value.clone()))
}

/// Picks, from the text of a file, what a write of `value` replaces: everything, or the line of one device.
fn former(file: &str, value: &str, text: &str) -> String {
    if file == "memory.oom_control" {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill_disable "));
        return line.unwrap_or("0").to_owned();
    }
    let unset = match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.weight" | "io.bfq.weight" => "default",
        "rdma.max" => "hca_handle=max hca_object=max",
        "misc.max" => "max",
        "net_prio.ifpriomap" => "0",
        _ if file.starts_with("blkio.throttle.") || file.ends_with("weight_device") => "0",
        _ => return text.to_owned(),
    };
    let key = value.split_once(' ').map_or("default", |(key, _)| key);
    let line = text
        .lines()
        .find(|line| line.split_once(' ').is_some_and(|(name, _)| name == key));
    line.map_or_else(|| format!("{key} {unset}"), str::to_owned)
}

/// Writes the former values, youngest first, and returns the error that made it necessary.
fn set_back(journal: &[Former], first: Error) -> Error {
    let mut left = Vec::new();
    for Former { path, value } in journal.iter().rev() {
        let written = match value {
            Some(value) => file::write(path, value),
            None => Err(sys::Errno::ENODATA),
        };
        if let Err(errno) = written {
            let verb = format!("write {:?} to", value.as_deref().unwrap_or_default());
            left.push(Error::call(&verb, path, errno));
        }
    }
    if left.is_empty() {
        first
    } else {
        Error::HalfDone {
            first: Box::new(first),
            left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::former;

    #[test]
    fn a_write_replaces_a_file_or_a_line_of_it() {
        let check = |file: &str, value: &str, text: &str, want: &str| {
            assert_eq!(former(file, value, text), want, "{file}")
        };
        check("memory.limit_in_bytes", "4096", "8192", "8192");
        check("cpu.max", "1000 100000", "max 100000", "max 100000");
        check(
            "memory.oom_control",
            "1",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
            "0",
        );
        let throttle = "blkio.throttle.read_bps_device";
        check(throttle, "8:0 5", "8:16 7\n8:0 9", "8:0 9");
        check(throttle, "8:32 5", "8:16 7", "8:32 0");
        let io = "8:16 rbps=2097152 wbps=max riops=max wiops=120";
        check("io.max", "8:16 rbps=max", io, io);
        check(
            "io.max",
            "8:0 rbps=1",
            io,
            "8:0 rbps=max wbps=max riops=max wiops=max",
        );
        check("io.weight", "200", "default 100\n8:0 50", "default 100");
        check("io.weight", "8:0 70", "default 100\n8:0 50", "8:0 50");
    }
}
