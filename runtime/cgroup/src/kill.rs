//! The processes of a cgroup: who they are, signals to all of them, and whom the kernel killed.

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::Errno;
use sys::process::{Handle, Pid};

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;
use crate::walk::walk;

const SIGKILL: i32 = 9;
/// How many processes are held at a time; each takes a descriptor.
const HELD: usize = 64;

impl Cgroup {
    /// Whether any of the directories is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.dirs.iter().any(|dir| dir.path.is_dir())
    }

    /// Returns the ids of all processes, those in sub-cgroups included, in order; none if the cgroup is gone.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        // The hierarchies agree, unless a process has moved itself; the one that stops processes is the one that counts.
        match self.freezer().or(self.dirs.first()) {
            Some(dir) => pids_below(&dir.path),
            None => Ok(Vec::new()),
        }
    }

    /// Sends a signal to every process, with none able to slip away by forking.
    ///
    /// After SIGKILL the cgroup is thawed, because a frozen process cannot die; after others it is as frozen as before.
    pub fn kill_all(&self, signal: i32) -> Result<(), Error> {
        if signal == SIGKILL && self.kill_unified()? {
            // On a hybrid host the v1 freezer holds processes back, and one may have left the cgroup v2 directory.
            self.signal_each(signal)?;
            return if self.is_frozen()? {
                self.thaw()
            } else {
                Ok(())
            };
        }
        let was_frozen = self.is_frozen()?;
        // Processes that cannot be frozen in time get the signal all the same, and the error is told afterwards.
        let frozen = if was_frozen { Ok(()) } else { self.freeze() };
        let signalled = self.signal_each(signal);
        let thawed = if was_frozen && signal != SIGKILL {
            Ok(())
        } else {
            self.thaw()
        };
        match frozen.and(signalled).and(thawed) {
            Err(error) if error.errno().is_some_and(file::gone) => Ok(()),
            other => other,
        }
    }

    /// Kills all at once where cgroup v2 can (Linux 5.14); tells whether it did.
    fn kill_unified(&self) -> Result<bool, Error> {
        let Some(dir) = self.dirs.iter().find(|dir| dir.is_unified()) else {
            return Ok(false);
        };
        let path = dir.path.join("cgroup.kill");
        match file::write(&path, "1") {
            Ok(()) => Ok(true),
            Err(errno) if file::gone(errno) => Ok(false),
            Err(errno) => Err(Error::call("write \"1\" to", &path, errno)),
        }
    }

    fn signal_each(&self, signal: i32) -> Result<(), Error> {
        signal_listed(|| self.pids(), signal)
    }

    /// Returns how many processes the kernel has killed because the memory limit was reached; `None` where it does not count.
    pub fn oom_kill_count(&self) -> Result<Option<u64>, Error> {
        let Some(dir) = self.dirs.iter().find(|dir| dir.has("memory")) else {
            return Ok(None);
        };
        let path = dir.path.join(if dir.is_unified() {
            "memory.events"
        } else {
            "memory.oom_control"
        });
        match file::read(&path) {
            Ok(text) => Ok(text
                .lines()
                .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())),
            Err(errno) if file::gone(errno) => Ok(None),
            Err(errno) => Err(Error::call("read", &path, errno)),
        }
    }
}

/// Sends a signal to every process that `list` names, in order, and to none that has got the number of one since: they are taken hold of, and
/// only those that are named once more get it.
fn signal_listed(list: impl Fn() -> Result<Vec<i32>, Error>, signal: i32) -> Result<(), Error> {
    let failed = |pid: i32, errno| Error::Call {
        call: format!("send signal {signal} to process {pid}"),
        errno,
        why: String::new(),
    };
    for pids in list()?.chunks(HELD) {
        let mut held = Vec::new();
        for pid in pids {
            match Handle::open(Pid::from_raw(*pid)) {
                Ok(process) => held.push((*pid, process)),
                Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed(*pid, errno)),
            }
        }
        if held.is_empty() {
            continue;
        }
        let still = list()?;
        for (pid, process) in held {
            if still.binary_search(&pid).is_err() {
                continue;
            }
            match process.signal(signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(failed(pid, errno)),
            }
        }
    }
    Ok(())
}

/// Collects the processes of a directory and all below it.
pub(crate) fn pids_below(dir: &Path) -> Result<Vec<i32>, Error> {
    let mut pids = Vec::new();
    let visit = |dir: &OwnedFd| {
        pids.extend(processes(dir)?);
        Ok(())
    };
    walk(dir, visit, |_, _| Ok(()))
        .map_err(|errno| Error::call("list the processes of", dir, errno))?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

fn processes(dir: &OwnedFd) -> file::Result<Vec<i32>> {
    let text = match file::read_at(dir, "cgroup.procs") {
        Ok(text) => text,
        Err(errno) if file::gone(errno) => return Ok(Vec::new()),
        // A threaded cgroup holds threads, which may be of processes elsewhere.
        Err(Errno::EOPNOTSUPP) => return processes_of_threads(dir),
        Err(errno) => return Err(errno),
    };
    let pids = text.lines().filter_map(|line| line.parse::<i32>().ok());
    // A process outside of our pid namespace is listed as 0 and cannot be reached.
    Ok(pids.filter(|pid| *pid > 0).collect())
}

fn processes_of_threads(dir: &OwnedFd) -> file::Result<Vec<i32>> {
    let text = match file::read_at(dir, "cgroup.threads") {
        Err(errno) if file::gone(errno) => return Ok(Vec::new()),
        read => read?,
    };
    let process = |thread: &str| {
        let status = file::read(Path::new(&format!("/proc/{thread}/status"))).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
        line.trim().parse::<i32>().ok().filter(|pid| *pid > 0)
    };
    Ok(text.lines().filter_map(process).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::process::{Child, Command};

    fn sleep() -> Child {
        let child = Command::new("/bin/sleep").arg("1000").spawn();
        child.expect("sleep")
    }

    #[test]
    fn a_number_that_is_somebody_elses_by_now_is_spared() {
        let (mut ours, mut other) = (sleep(), sleep());
        let number = |child: &Child| child.id().cast_signed();
        let asked = Cell::new(false);
        let list = || {
            let mut pids = vec![number(&ours)];
            // Somebody else has the number of a process that has ended since it was listed.
            if !asked.replace(true) {
                pids.push(number(&other));
            }
            pids.sort_unstable();
            Ok(pids)
        };
        signal_listed(list, SIGKILL).expect("signal");
        ours.wait()
            .expect("the one that stays listed has been killed");
        let spared = other.try_wait().expect("look").is_none();
        other.kill().expect("end it");
        other.wait().expect("end it");
        assert!(spared, "a process that is not listed any more was killed");
    }
}
