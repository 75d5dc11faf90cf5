//! `start`: letting a created container run its payload.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use sys::fs::{self, Mode, OFlag};
use sys::process::{PollFd, PollFlags, PollTimeout, Signal};

use super::open;
use crate::launch::hooks;
use crate::state::{FIFO, Record, StateRoot, Status};
use crate::{ContainerId, text};

/// Starts a container and runs its poststart hooks. Returns, with the container's process, when its program is being executed.
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<OwnedFd> {
    let record = root.load(id)?;
    // Held until the payload runs: of two starts the second finds a running container.
    let _lock = root.lock(id)?;
    match root.status(id, &record) {
        Status::Created | Status::Creating => {}
        Status::Stopped => bail!("cannot start a container that has stopped: {id}"),
        status => bail!("cannot start an already running container: {id} is {status}"),
    }
    let init = open(&record.process)?;
    let dir = root.open_dir(id)?;
    // Opening does not wait; it is what the container waits for.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fifo =
        fs::openat(&dir, FIFO, flags, Mode::empty()).with_context(|| format!("open {FIFO}"))?;
    // Its first byte says that it has let go of the fifo's name, which from now on would tell of a container that waits.
    let mut said = listen(&fifo, &init, Until::Byte)?;
    fs::unlinkat(&dir, FIFO, fs::UnlinkatFlags::NoRemoveDir)
        .with_context(|| format!("remove {FIFO}"))?;
    said.extend(listen(&fifo, &init, Until::End)?);
    match said.split_first() {
        None => bail!("{}: {id} died before it was started", text::NOT_RUNNING),
        Some((_, [])) => {}
        Some((_, failure)) => bail!(
            "unable to start container process: {}",
            String::from_utf8_lossy(failure)
        ),
    }
    poststart(&record, &init)?;
    Ok(init)
}

/// Runs the poststart hooks. An engine that asked for one must not believe in a container whose hook failed: it is killed, as
/// runc does it.
pub fn poststart(record: &Record, init: &OwnedFd) -> Result<()> {
    hooks::run(
        &record.hooks.poststart,
        &record.state(Status::Running),
        Some(&record.bundle),
    )
    .inspect_err(|_| {
        sys::process::pidfd_signal(init, Signal::SIGKILL as i32).ok();
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Byte,
    End,
}

/// Reads what the container says until it executes its program, which closes the fifo: one byte, and a message if that failed.
fn listen(fifo: &OwnedFd, init: &OwnedFd, until: Until) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let mut fds = [
            PollFd::new(fifo.as_fd(), PollFlags::POLLIN),
            PollFd::new(init.as_fd(), PollFlags::POLLIN),
        ];
        sys::process::wait_ready(&mut fds, PollTimeout::NONE).context("wait for the container")?;
        let dead = fds[1].any().unwrap_or(false);
        match fs::read(fifo, &mut buffer) {
            Ok(0) if dead || until == Until::End => return Ok(said),
            // The container has not opened its side yet.
            Ok(0) | Err(sys::Errno::EAGAIN) => {}
            Ok(length) => {
                said.extend_from_slice(&buffer[..length]);
                if until == Until::Byte {
                    return Ok(said);
                }
            }
            Err(errno) => bail!("read {FIFO}: {}", sys::reason(errno)),
        }
    }
}
