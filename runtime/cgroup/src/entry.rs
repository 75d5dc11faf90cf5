//! Moving processes into a cgroup.
//!
//! On cgroup v1 the cheap way is the process's own: writing `0` to `tasks` moves the calling thread without the lock over all
//! thread groups, for which a write to `cgroup.procs` waits a grace period of the kernel (milliseconds, often). So the parent
//! opens the files ([`Cgroup::entry`]), the clone itself goes into the cgroup v2 directory (`CLONE_INTO_CGROUP`), and the new
//! process, while it has one thread, calls [`Entry::enter`] first of all.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::Errno;
use sys::fs::{Mode, OFlag};

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;

/// Open doors to a container's cgroups; good for any number of processes.
#[derive(Debug)]
pub struct Entry {
    tasks: Vec<(String, OwnedFd)>,
    unified: Option<OwnedFd>,
}

impl Entry {
    /// Returns the cgroup v2 directory, for `CLONE_INTO_CGROUP`.
    #[must_use]
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// Moves the calling thread into every v1 hierarchy; allocates nothing, so that a cloned child can call it.
    ///
    /// On failure it names the hierarchy. A process of several threads would be torn apart: it uses [`Cgroup::join`].
    pub fn enter(&self) -> Result<(), (&str, Errno)> {
        self.tasks.iter().try_for_each(|(name, fd)| {
            file::write_fd(fd, b"0").map_err(|errno| (name.as_str(), errno))
        })
    }

    /// Moves the calling process into the cgroup v2 directory, where the clone could not (before Linux 5.7).
    pub fn enter_unified(&self) -> Result<(), (&str, Errno)> {
        let Some(dir) = &self.unified else {
            return Ok(());
        };
        sys::fs::openat(
            dir,
            "cgroup.procs",
            OFlag::O_WRONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )
        .and_then(|fd| file::write_fd(&fd, b"0"))
        .map_err(|errno| ("unified", errno))
    }
}

impl Cgroup {
    /// Opens what a process needs to move itself in.
    pub fn entry(&self) -> Result<Entry, Error> {
        let mut entry = Entry {
            tasks: Vec::with_capacity(self.dirs.len()),
            unified: None,
        };
        for dir in &self.dirs {
            if dir.is_unified() {
                let fd = sys::fs::open_path(&dir.path)
                    .map_err(|errno| Error::call("open", &dir.path, errno))?;
                entry.unified = Some(fd);
            } else {
                let path = dir.path.join("tasks");
                let fd = file::open_for_write(&path)
                    .map_err(|errno| Error::call("open", &path, errno))?;
                entry.tasks.push((dir.hierarchy.clone(), fd));
            }
        }
        Ok(entry)
    }

    /// Moves a whole process, whoever it is, into every hierarchy; the slow way.
    pub fn join(&self, pid: i32) -> Result<(), Error> {
        for dir in &self.dirs {
            let path = dir.path.join("cgroup.procs");
            file::write(&path, &pid.to_string())
                .map_err(|errno| Error::call(&format!("write \"{pid}\" to"), &path, errno))?;
        }
        Ok(())
    }
}
