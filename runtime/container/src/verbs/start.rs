//! `start`: letting a created container run its payload.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use sys::fs::{self, Mode, OFlag};
use sys::process::{Handle, PollFd, PollFlags, PollTimeout, Signal};

use super::open;
use crate::launch::hooks;
use crate::state::{FIFO, Record, StateRoot, Status, awaits_program, is_alive};
use crate::{ContainerId, text};

/// Starts a container and runs its poststart hooks. Returns, with the container's process, when its program is being executed.
pub fn start(root: &StateRoot, id: &ContainerId) -> Result<Handle> {
    let record = root.load(id)?;
    // Held until the payload runs: of two starts the second finds a running container.
    let _lock = root.lock(id)?;
    match root.status(id, &record) {
        Status::Created | Status::Creating => {}
        Status::Stopped => bail!("cannot start a container that has stopped: {id}"),
        status => bail!(running(id, &status.to_string())),
    }
    let init = open(&record.process)?;
    let output = hooks::Output::open(&record.hooks)?;
    let dir = root.open_dir(id)?;
    // Opening does not wait; it is what the container waits for.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fifo =
        fs::openat(&dir, FIFO, flags, Mode::empty()).with_context(|| format!("open {FIFO}"))?;
    // Its first byte says that it has let go of the fifo's name, which from now on would tell of a container that waits.
    let until = if executes(&record) {
        Until::Now
    } else {
        Until::Byte
    };
    let mut said = listen(&fifo, &init, until)?;
    if said.is_empty() && executes(&record) {
        // A start that was killed had let it go before us.
        bail!(running(id, "running"));
    }
    fs::unlinkat(&dir, FIFO, fs::UnlinkatFlags::NoRemoveDir)
        .with_context(|| format!("remove {FIFO}"))?;
    said.extend(listen(&fifo, &init, Until::End)?);
    match said.strip_prefix(b"0").unwrap_or(&said) {
        _ if said.is_empty() => bail!("{}: {id} died before it was started", text::NOT_RUNNING),
        [] => {}
        failure => bail!(
            "unable to start container process: {}",
            String::from_utf8_lossy(failure)
        ),
    }
    run_poststart(&record, &init, &output)?;
    Ok(init)
}

fn executes(record: &Record) -> bool {
    is_alive(&record.process) && !awaits_program(&record.process)
}

fn running(id: &ContainerId, status: &str) -> String {
    format!("cannot start an already running container: {id} is {status}")
}

/// Runs the poststart hooks. An engine that asked for one must not believe in a container whose hook failed: it is killed, as
/// runc does it.
pub fn poststart(record: &Record, init: &Handle) -> Result<()> {
    run_poststart(record, init, &hooks::Output::open(&record.hooks)?)
}

fn run_poststart(record: &Record, init: &Handle, output: &hooks::Output) -> Result<()> {
    hooks::run(
        &record.hooks.poststart,
        &record.state(Status::Running),
        Some(&record.bundle),
        output,
    )
    .inspect_err(|_| {
        init.signal(Signal::SIGKILL as i32).ok();
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// It has executed its program: all that it will say is there, and no event need come.
    Now,
    Byte,
    End,
}

/// Reads what the container says until it executes its program, which closes the fifo: one byte, and a message if that failed.
fn listen(fifo: &OwnedFd, init: &Handle, until: Until) -> Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let patience = match until {
            Until::Now => PollTimeout::ZERO,
            Until::Byte | Until::End => PollTimeout::NONE,
        };
        let mut fds = vec![PollFd::new(fifo.as_fd(), PollFlags::POLLIN)];
        let dead = init
            .or_ready(&mut fds, patience)
            .context("wait for the container")?;
        // The container's side was open, and is closed: it has executed its program, or dies.
        let closed = fds[0]
            .revents()
            .is_some_and(|got| got.contains(PollFlags::POLLHUP));
        let over = dead || closed || until != Until::Byte;
        match fs::read(fifo, &mut buffer) {
            Ok(0) if over => return Ok(said),
            Err(sys::Errno::EAGAIN) if until == Until::Now => return Ok(said),
            // The container has not opened its side yet.
            Ok(0) | Err(sys::Errno::EAGAIN) => {}
            Ok(length) => {
                said.extend_from_slice(&buffer[..length]);
                if until != Until::End {
                    return Ok(said);
                }
            }
            Err(errno) => bail!("read {FIFO}: {}", sys::reason(errno)),
        }
    }
}
