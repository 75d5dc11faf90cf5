//! Stopping and continuing everything in a cgroup at once.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use sys::Errno;
use sys::process::{PollFd, PollFlags, PollTimeout, wait_ready};

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;
use crate::plan::Dir;

/// How long processes that keep forking may escape the freezer.
const PATIENCE: Duration = Duration::from_secs(5);

impl Cgroup {
    /// Freezes every process and returns when all are frozen; on failure none is.
    pub fn freeze(&self) -> Result<(), Error> {
        let Some(dir) = self.freezer() else {
            return Ok(());
        };
        let frozen = if dir.is_unified() {
            freeze_unified(dir)
        } else {
            freeze_v1(dir)
        };
        if frozen.is_err() {
            // The first error is the one to tell; a half-frozen cgroup must not stay, if that is in our power.
            drop(set(dir, false));
        }
        frozen
    }

    /// Lets every process go on.
    pub fn thaw(&self) -> Result<(), Error> {
        self.freezer().map_or(Ok(()), |dir| set(dir, false))
    }

    /// Tells whether the cgroup is frozen, or about to be.
    pub fn is_frozen(&self) -> Result<bool, Error> {
        self.freezer().map_or(Ok(false), is_frozen)
    }

    /// Returns where the cgroup is frozen, for programs that do it by themselves.
    #[must_use]
    pub fn freezer_path(&self) -> Option<&Path> {
        self.freezer().map(|dir| dir.path.as_path())
    }

    /// Returns the directory that can be frozen: the v1 controller, or cgroup v2, where every cgroup can.
    pub(crate) fn freezer(&self) -> Option<&Dir> {
        self.dirs
            .iter()
            .find(|dir| dir.has("freezer"))
            .or_else(|| self.dirs.iter().find(|dir| dir.is_unified()))
    }
}

/// Tells whether a directory that can be frozen is; others, and those that are gone, are not.
pub(crate) fn is_frozen(dir: &Dir) -> Result<bool, Error> {
    if !dir.is_unified() && !dir.has("freezer") {
        return Ok(false);
    }
    let (name, free) = thawed(dir);
    let path = dir.path.join(name);
    match file::read(&path) {
        Ok(state) => Ok(state != free),
        Err(errno) if file::gone(errno) => Ok(false),
        Err(errno) => Err(Error::call("read", &path, errno)),
    }
}

/// Returns the file that says whether a directory is frozen, and what it holds where that is not so.
pub(crate) fn thawed(dir: &Dir) -> (&'static str, &'static str) {
    if dir.is_unified() {
        ("cgroup.freeze", "0")
    } else {
        ("freezer.state", "THAWED")
    }
}

fn set(dir: &Dir, frozen: bool) -> Result<(), Error> {
    let (name, free) = thawed(dir);
    let value = match (frozen, dir.is_unified()) {
        (false, _) => free,
        (true, true) => "1",
        (true, false) => "FROZEN",
    };
    let path = dir.path.join(name);
    file::write(&path, value)
        .map_err(|errno| Error::call(&format!("write {value:?} to"), &path, errno))
}

/// The v1 freezer stays at FREEZING while processes are born or move in during the attempt, and has to be asked again; nothing
/// signals its progress. Thawing now and then lets a process out that holds up the others.
fn freeze_v1(dir: &Dir) -> Result<(), Error> {
    let start = Instant::now();
    let state = dir.path.join("freezer.state");
    for attempt in 1_u32.. {
        set(dir, true)?;
        if file::read(&state).map_err(|errno| Error::call("read", &state, errno))? == "FROZEN" {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            break;
        }
        if attempt.is_multiple_of(64) {
            set(dir, false)?;
            std::thread::sleep(Duration::from_millis(5));
        } else if attempt.is_multiple_of(8) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    Err(Error::Restless {
        path: dir.path.clone(),
        seconds: PATIENCE.as_secs(),
    })
}

fn freeze_unified(dir: &Dir) -> Result<(), Error> {
    set(dir, true)?;
    let path = dir.path.join("cgroup.events");
    let reached = wait_for_event(&path, "frozen 1", PATIENCE)
        .map_err(|errno| Error::call("read", &path, errno))?;
    if reached {
        Ok(())
    } else {
        Err(Error::Restless {
            path: dir.path.clone(),
            seconds: PATIENCE.as_secs(),
        })
    }
}

/// Waits until a line appears in a `cgroup.events`; tells whether it did in time.
pub(crate) fn wait_for_event(
    path: &std::path::Path,
    line: &str,
    patience: Duration,
) -> file::Result<bool> {
    let start = Instant::now();
    loop {
        let file = file::open_for_read(path)?;
        if file::read_fd(&file)?.lines().any(|l| l == line) {
            return Ok(true);
        }
        let left = patience.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        // A change since this file was read ends the wait, so none is missed in between.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).map_err(|_| Errno::EINVAL)?;
        wait_ready(
            &mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)],
            timeout,
        )?;
    }
}
