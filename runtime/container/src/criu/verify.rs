//! What the processes of an image may do, against what the configuration gives: an image is only files, and says of each process which user
//! it is, which capabilities it has and whether a filter stands in its way.
//!
//! Compared is what no process of such a container can have got by itself. Ids may have been changed by one that holds the capability for
//! that, or may get it from a file that it executes.

use anyhow::{Context, Result, anyhow};
use sys::process::{Handle, Namespaces, Pid, Signal};

use crate::plan::{CapabilitySets, IdMap, Plan, Process};

// capability.h
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;

/// Compares all processes below a container's first one, which do not run yet; when one may do more than it should, none of them ever runs.
pub(crate) fn verify(plan: &Plan, init: i32) -> Result<()> {
    let allowed = plan
        .process
        .as_ref()
        .map(|process| Allowed::of(plan, process));
    let mut found = vec![init];
    let mut next = 0;
    let mut result = Ok(());
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        result = result.and(look(allowed.as_ref(), pid, &mut found));
    }
    if result.is_err() {
        for pid in found {
            // Whatever is gone already need not be killed.
            if let Ok(process) = Handle::open(Pid::from_raw(pid)) {
                process.signal(Signal::SIGKILL as i32).ok();
            }
        }
    }
    result
}

/// Looks at each thread of a process, and adds its children to those that were found, also when something is wrong.
fn look(allowed: Option<&Allowed>, pid: i32, found: &mut Vec<i32>) -> Result<()> {
    let dir = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&dir).with_context(|| format!("read {dir}"))?;
    let mut result = Ok(());
    for thread in threads {
        let thread = thread.with_context(|| format!("read {dir}"))?.path();
        let read = |name: &str| {
            let file = thread.join(name);
            std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
        };
        let children = read("children")?;
        let children = children.split_whitespace();
        found.extend(children.filter_map(|pid| pid.parse::<i32>().ok()));
        let status = read("status")?;
        let compared = match allowed {
            Some(allowed) => allowed.compare(&status),
            None => Err("anything at all (process)".to_owned()),
        };
        let named = |why| {
            let name = words(&status, "Name").next().unwrap_or_default();
            anyhow!(
                "the image gives the process {name:?} more than config.json: {why}; use the config.json that it was saved with"
            )
        };
        result = result.and(compared.map_err(named));
    }
    result
}

/// What a process of the container may have at most.
#[derive(Debug)]
struct Allowed {
    /// The host's ids, where they are known and cannot change.
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Option<Vec<u32>>,
    bounding: u64,
    /// Of what it can use.
    permitted: u64,
    /// Of what it can hand on.
    any: u64,
    seccomp: bool,
}

impl Allowed {
    fn of(plan: &Plan, process: &Process) -> Self {
        let CapabilitySets {
            bounding,
            effective,
            permitted,
            inheritable,
            ambient,
        } = process.capabilities;
        let held = permitted | effective | ambient;
        let any = held | bounding | inheritable;
        let permitted = if process.no_new_privileges { held } else { any };
        let fixed = |change: u64| permitted & change == 0;
        let ids = Ids::of(plan, process);
        Self {
            uid: ids.uid.filter(|_| fixed(SETUID)),
            gid: ids.gid.filter(|_| fixed(SETGID)),
            groups: ids.groups.filter(|_| fixed(SETGID)),
            bounding,
            permitted,
            any,
            seccomp: process.seccomp.is_some(),
        }
    }

    /// Compares what `/proc/PID/status` says of a thread (proc_pid_status(5)).
    fn compare(&self, status: &str) -> Result<(), String> {
        // The dead have what they were born with.
        if words(status, "State")
            .next()
            .is_some_and(|state| "ZX".contains(state))
        {
            return Ok(());
        }
        let ids = |key: &str, wanted: Option<u32>, name: &str| {
            let other = |id: &&str| wanted.is_some_and(|wanted| *id != wanted.to_string());
            match words(status, key).find(other) {
                Some(id) => Err(format!("{name} {id} (process.user.{name})")),
                None => Ok(()),
            }
        };
        ids("Uid", self.uid, "uid")?;
        ids("Gid", self.gid, "gid")?;
        if let Some(groups) = &self.groups {
            let known = |id: &&str| groups.iter().any(|known| *id == known.to_string());
            if let Some(id) = words(status, "Groups").find(|id| !known(id)) {
                return Err(format!("group {id} (process.user.additionalGids)"));
            }
        }
        for (key, most) in [
            ("CapBnd", self.bounding),
            ("CapPrm", self.permitted),
            ("CapEff", self.permitted),
            ("CapInh", self.any),
            ("CapAmb", self.any),
        ] {
            let set = words(status, key).next();
            let set = set.and_then(|set| u64::from_str_radix(set, 16).ok());
            let set = set.ok_or_else(|| format!("no readable {key}"))?;
            let more = set & !most;
            if more != 0 {
                return Err(format!(
                    "capabilities {more:#x} in {key} (process.capabilities)"
                ));
            }
        }
        let number = |key: &str| words(status, key).next().unwrap_or("0");
        // Not compared: no_new_privs, which some criu (3.17) brings back for nobody.
        if self.seccomp && number("Seccomp") == "0" {
            return Err("all system calls, without a filter (linux.seccomp)".to_owned());
        }
        Ok(())
    }
}

/// The ids of the configured process as the host sees them.
struct Ids {
    uid: Option<u32>,
    gid: Option<u32>,
    groups: Option<Vec<u32>>,
}

impl Ids {
    fn of(plan: &Plan, process: &Process) -> Self {
        let spaces = &plan.namespaces;
        // A user namespace that is joined has its maps already, and only it knows them.
        let joined = spaces.joins(Namespaces::USER);
        let new = spaces.new.contains(Namespaces::USER);
        let map = |maps: &[IdMap], id: u32| match (joined, new) {
            (true, _) => None,
            (false, true) => on_host(maps, id),
            (false, false) => Some(id),
        };
        let user = &process.user;
        let groups = user.groups.iter().chain([&user.gid]);
        let groups = groups.map(|gid| map(&spaces.gid_map, *gid)).collect();
        Self {
            uid: map(&spaces.uid_map, user.uid),
            gid: map(&spaces.gid_map, user.gid),
            groups: if user.keep_groups { None } else { groups },
        }
    }
}

fn on_host(maps: &[IdMap], id: u32) -> Option<u32> {
    maps.iter().find_map(|range| {
        let offset = id.checked_sub(range.container)?;
        (offset < range.size).then(|| range.host.checked_add(offset))?
    })
}

/// Returns what stands behind a key.
fn words<'a>(status: &'a str, key: &str) -> impl Iterator<Item = &'a str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tsh\nState:\tt (tracing stop)\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\n\
        Groups:\t1000 5\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000000\n\
        CapBnd:\t0000000000000420\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    fn allowed() -> Allowed {
        Allowed {
            uid: Some(1000),
            gid: Some(1000),
            groups: Some(vec![5, 1000]),
            bounding: 0x420,
            permitted: 0x400,
            any: 0x420,
            seccomp: true,
        }
    }

    #[track_caller]
    fn check(line: &str, instead: &str, wanted: &str) {
        let status = STATUS.replace(line, instead);
        assert!(line.is_empty() || status != STATUS, "{line}");
        let said = allowed().compare(&status).err().unwrap_or_default();
        assert!(
            said.contains(wanted) && said.is_empty() == wanted.is_empty(),
            "{said}"
        );
    }

    #[test]
    fn whatever_is_more_than_the_configuration_gives_is_found() {
        check("", "", "");
        check("Uid:\t1000\t1000", "Uid:\t1000\t0", "uid 0");
        check(
            "Gid:\t1000\t1000\t1000\t1000",
            "Gid:\t1000\t1000\t1000\t4",
            "gid 4",
        );
        check("Groups:\t1000 5", "Groups:\t1000 0 5", "group 0");
        check(
            "CapBnd:\t0000000000000420",
            "CapBnd:\t0000000000000c20",
            "0x800 in CapBnd",
        );
        check(
            "CapPrm:\t0000000000000400",
            "CapPrm:\t0000000000000420",
            "0x20 in CapPrm",
        );
        check(
            "CapEff:\t0000000000000000",
            "CapEff:\t0000000000000001",
            "0x1 in CapEff",
        );
        check("CapInh:\t0000000000000000", "CapInh:\t0000000000000020", "");
        check(
            "CapAmb:\t0000000000000000",
            "CapAmb:\t0000000000000002",
            "0x2 in CapAmb",
        );
        check("CapBnd:\t0000000000000420\n", "", "CapBnd");
        check("Seccomp:\t2", "Seccomp:\t0", "linux.seccomp");
        // A zombie has what criu gave it when it was born.
        let zombie = STATUS
            .replace("State:\tt", "State:\tZ")
            .replace("Uid:\t1000", "Uid:\t0");
        assert_eq!(allowed().compare(&zombie), Ok(()));
    }
}
