//! The processes of a cgroup: who they are, signals to all of them, and whom the kernel killed.

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::Errno;
use sys::process::Pid;

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;
use crate::walk::walk;

const SIGKILL: i32 = 9;

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
        for pid in self.pids()? {
            match sys::process::kill(Pid::from_raw(pid), signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => {
                    let call = format!("send signal {signal} to process {pid}");
                    return Err(Error::Call {
                        call,
                        errno,
                        why: String::new(),
                    });
                }
            }
        }
        Ok(())
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
