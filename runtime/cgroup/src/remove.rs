//! Removing cgroups, with everything that was made inside of them.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use sys::Errno;
use sys::fs::{UnlinkatFlags, unlinkat};

use crate::error::Error;
use crate::file;
use crate::freeze::wait_for_event;
use crate::make::Cgroup;
use crate::unit::Unit;
use crate::walk::walk;

/// How long processes that are already dying may take: a killed one may first have to write out a core or its memory.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// Removes the cgroups, sub-cgroups first, then the parents that were made for them and that nobody else uses.
    ///
    /// Waits for processes that are about to be gone. Goes on after a failure and returns every error; a cgroup that is gone
    /// already is none.
    pub fn remove(&self) -> Result<(), Vec<Error>> {
        // First: what systemd removes itself is no surprise to it.
        let stopped = self.unit.as_ref().map_or(Ok(()), Unit::stop);
        let end = Instant::now() + PATIENCE;
        // cgroup v2 tells when the last process has gone, so it goes last.
        let events = self
            .dirs
            .iter()
            .find(|dir| dir.is_unified())
            .map(|dir| dir.path.join("cgroup.events"));
        let (unified, v1): (Vec<_>, Vec<_>) = self.dirs.iter().partition(|dir| dir.is_unified());
        let mut errors: Vec<Error> = v1
            .iter()
            .chain(&unified)
            .filter_map(|dir| remove_tree(&dir.path, events.as_deref(), end).err())
            .collect();
        for path in self.parents.iter().rev() {
            match file::remove_dir(path) {
                Err(errno) if errno != Errno::EBUSY && !file::gone(errno) => {
                    errors.push(Error::call("rmdir", path, errno))
                }
                _ => {}
            }
        }
        errors.extend(stopped.err());
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// Removes a directory and those below it; the usual case is one call.
fn remove_tree(path: &Path, events: Option<&Path>, end: Instant) -> Result<(), Error> {
    let mut pause = Duration::from_micros(50);
    loop {
        match file::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(errno) if file::gone(errno) => return Ok(()),
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(Error::call("rmdir", path, errno)),
        }
        if Instant::now() >= end {
            let pids = crate::kill::pids_below(path)?;
            return Err(Error::InUse {
                path: path.to_owned(),
                pids,
            });
        }
        let mut removed = false;
        let leave = |above: &OwnedFd, name: &CString| {
            match unlinkat(above, name.as_c_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) => removed = true,
                Err(Errno::EBUSY) => {}
                Err(errno) if file::gone(errno) => {}
                Err(errno) => return Err(errno),
            }
            Ok(())
        };
        walk(path, |_| Ok(()), leave)
            .map_err(|errno| Error::call("remove what is below", path, errno))?;
        if !removed {
            wait_until_empty(events, &mut pause);
        }
    }
}

/// Waits for the event of cgroup v2; where there is none, or v1 lags behind it, a little while that doubles.
fn wait_until_empty(events: Option<&Path>, pause: &mut Duration) {
    let waited = Instant::now();
    // Not knowing is as good as no event: the loop above has an end of its own.
    let heard = events.is_some_and(|path| {
        wait_for_event(path, "populated 0", Duration::from_millis(100)).unwrap_or(false)
    });
    if !heard || waited.elapsed() < *pause {
        std::thread::sleep(*pause);
        *pause = (*pause * 2).min(Duration::from_millis(10));
    }
}
