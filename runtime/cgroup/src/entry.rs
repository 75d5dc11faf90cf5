//! Moving processes into a cgroup.
//!
//! On cgroup v1 the cheap way is the process's own: writing `0` to `tasks` moves the calling thread without the lock over all
//! thread groups, for which a write to `cgroup.procs` waits a grace period of the kernel (milliseconds, often). So the parent
//! opens the files ([`Cgroup::entry`]), the clone itself goes into the cgroup v2 directory (`CLONE_INTO_CGROUP`), and the new
//! process, while it has one thread, calls [`Entry::enter`] first of all.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::Errno;
use sys::fs::{Mode, OFlag};
use sys::process::CgroupDoor;

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;
use crate::plan::Dir;
use crate::sub::SubPaths;

/// Open doors to a container's cgroups, for one process.
#[derive(Debug)]
pub struct Entry {
    tasks: Vec<(String, OwnedFd)>,
    unified: Option<OwnedFd>,
    /// Whether the clone could not go into the cgroup v2 directory.
    closed: Cell<bool>,
    beside: Option<Beside>,
}

/// A process of the container, whose present cgroup will do where the container's own has become one that holds only others.
#[derive(Debug)]
struct Beside {
    pid: i32,
    dir: Dir,
}

impl Entry {
    /// Returns the cgroup v2 directory, for a clone.
    #[must_use]
    pub fn door(&self) -> Option<CgroupDoor<'_>> {
        self.unified.as_ref().map(|dir| CgroupDoor {
            dir: dir.as_fd(),
            closed: &self.closed,
        })
    }

    /// Moves the calling thread, the only one of its process, into every hierarchy that its clone has not put it in.
    ///
    /// On failure it names the hierarchy.
    pub fn enter(&self) -> Result<(), (&str, Errno)> {
        if self.closed.get() {
            self.enter_unified().map_err(|errno| ("unified", errno))?;
        }
        self.tasks.iter().try_for_each(|(name, fd)| {
            file::write_fd(fd, b"0").map_err(|errno| (name.as_str(), errno))
        })
    }

    fn enter_unified(&self) -> file::Result<()> {
        let Some(dir) = &self.unified else {
            return Ok(());
        };
        match (join_by(dir, Path::new("")), &self.beside) {
            // It has processes below it and controllers for them: a system in the container has moved itself (runc issue 2356).
            (Err(Errno::EBUSY | Errno::EOPNOTSUPP), Some(beside)) => {
                let below = beside.below().ok_or(Errno::EBUSY)?;
                join_by(dir, &below)
            }
            (joined, _) => joined,
        }
    }
}

impl Beside {
    /// Returns where below the container's cgroup the process is; nothing if it has left it: who follows a process that got out
    /// would be out, too.
    fn below(&self) -> Option<PathBuf> {
        let table = file::read(&PathBuf::from(format!("/proc/{}/cgroup", self.pid))).ok()?;
        let own = table.lines().find_map(|line| line.strip_prefix("0::"))?;
        let clean = own.strip_prefix('/')?;
        // The mount may show only a part of the hierarchy: what counts is where the container's path ends.
        let own = Path::new(clean);
        let above = own
            .ancestors()
            .filter(|above| above.ends_with(&self.dir.relative))
            .last()?;
        let below = own.strip_prefix(above).ok()?;
        Some(below.to_owned())
    }
}

/// Moves this process into a directory below another.
fn join_by(dir: &OwnedFd, below: &Path) -> file::Result<()> {
    let procs = sys::fs::openat(
        dir,
        &below.join("cgroup.procs"),
        OFlag::O_WRONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )?;
    file::write_fd(&procs, b"0")
}

impl Cgroup {
    /// Opens what the first process needs to move itself in.
    pub fn entry(&self) -> Result<Entry, Error> {
        self.open(&SubPaths::default(), None)
    }

    /// Opens what one more process needs to move itself in, beside `init` or into cgroups below the container's.
    pub fn entry_beside(&self, init: i32, sub: &SubPaths) -> Result<Entry, Error> {
        self.open(sub, Some(init))
    }

    /// Moves a whole process, whoever it is, into every hierarchy; the slow way.
    pub fn join(&self, pid: i32) -> Result<(), Error> {
        for dir in self.homes() {
            let path = dir.path.join("cgroup.procs");
            file::write(&path, &pid.to_string())
                .map_err(|errno| Error::call(&format!("write \"{pid}\" to"), &path, errno))?;
        }
        Ok(())
    }

    /// Returns the cgroups that the container's processes begin in.
    pub(crate) fn homes(&self) -> Vec<Dir> {
        let home = |dir: &Dir| dir.inner(self.delegated.as_deref());
        self.dirs.iter().map(home).collect()
    }

    fn open(&self, sub: &SubPaths, init: Option<i32>) -> Result<Entry, Error> {
        let mut entry = Entry {
            tasks: Vec::with_capacity(self.dirs.len()),
            unified: None,
            closed: Cell::new(false),
            beside: None,
        };
        for dir in &self.homes() {
            let below = sub.of(dir);
            let path = below.map_or_else(|| dir.path.clone(), |below| dir.path.join(below));
            let verb = below.map_or("open", |_| "--cgroup: open");
            if dir.is_unified() {
                let fd =
                    sys::fs::open_path(&path).map_err(|errno| Error::call(verb, &path, errno))?;
                entry.unified = Some(fd);
                // Who names a cgroup gets this one or none.
                entry.beside = init.filter(|_| below.is_none()).map(|pid| Beside {
                    pid,
                    dir: dir.clone(),
                });
            } else {
                let path = path.join("tasks");
                let fd =
                    file::open_for_write(&path).map_err(|errno| Error::call(verb, &path, errno))?;
                entry.tasks.push((dir.hierarchy.clone(), fd));
            }
        }
        Ok(entry)
    }
}
