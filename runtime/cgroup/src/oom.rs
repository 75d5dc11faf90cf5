//! Hearing of it when the memory of a cgroup is used up.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use sys::Errno;
use sys::process::{PollFd, PollFlags};

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;

/// A descriptor that the kernel wakes.
#[derive(Debug)]
pub struct OomEvents {
    cgroup: Cgroup,
    fd: OwnedFd,
    unified: bool,
    seen: u64,
}

impl Cgroup {
    /// Begins to listen; `None` where no memory controller counts.
    ///
    /// On v1 the kernel wakes an eventfd that is registered with the cgroup (Documentation/admin-guide/cgroup-v1/memory.rst), on
    /// v2 whoever polls `memory.events`.
    pub fn oom_events(&self) -> Result<Option<OomEvents>, Error> {
        let Some(dir) = self.dirs.iter().find(|dir| dir.has("memory")) else {
            return Ok(None);
        };
        let unified = dir.is_unified();
        let path = dir.path.join(if unified {
            "memory.events"
        } else {
            "memory.oom_control"
        });
        let control =
            file::open_for_read(&path).map_err(|errno| Error::call("open", &path, errno))?;
        let fd = if unified {
            control
        } else {
            let event =
                sys::fs::eventfd().map_err(|errno| Error::call("eventfd for", &path, errno))?;
            let register = dir.path.join("cgroup.event_control");
            let pair = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            file::write(&register, &pair)
                .map_err(|errno| Error::call("write an eventfd to", &register, errno))?;
            event
        };
        let mut events = OomEvents {
            cgroup: self.clone(),
            fd,
            unified,
            seen: 0,
        };
        events.take()?;
        Ok(Some(events))
    }
}

impl OomEvents {
    /// What to wait for.
    #[must_use]
    pub fn poll(&self) -> PollFd<'_> {
        let flags = if self.unified {
            PollFlags::POLLPRI
        } else {
            PollFlags::POLLIN
        };
        PollFd::new(self.fd.as_fd(), flags)
    }

    /// Tells whether memory has run out since the last question.
    pub fn take(&mut self) -> Result<bool, Error> {
        if self.unified {
            // Being woken may have other reasons; kills are what counts.
            let text = match file::read_again(&self.fd) {
                Ok(text) => text,
                Err(errno) if file::gone(errno) => return Ok(false),
                Err(errno) => return Err(Error::call("read", "memory.events".as_ref(), errno)),
            };
            let killed = text
                .lines()
                .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
                .unwrap_or_default();
            let more = killed > self.seen;
            self.seen = killed;
            return Ok(more);
        }
        match sys::fs::read(&self.fd, &mut [0; 8]) {
            // The removal of the cgroup wakes the eventfd, too.
            Ok(_) => Ok(self.cgroup.exists()),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(Error::call("read", "eventfd".as_ref(), errno)),
        }
    }
}
