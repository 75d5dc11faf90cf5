//! Starting the runtime and passing signals on to it until it ends.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use sys::process::{Exit, Handle, Pid, PollFd, PollFlags, PollTimeout};
use sys::signal::{SigSet, SigmaskHow, Signal, Signals, pthread_sigmask};

use super::bundle::Bundle;
use super::{Ground, Run};

/// All signals of this process, taken over from here on; as before when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    signals: Signals,
    before: SigSet,
}

impl Held {
    /// Takes them over, for this thread and those that it starts.
    pub(super) fn take() -> Result<Self> {
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, None, Some(&mut before))
            .context("read which signals are blocked")?;
        let signals = Signals::take().context("take over signals")?;
        Ok(Self { signals, before })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The mask was the kernel's own.
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None).ok();
    }
}

/// Starts the runtime in the foreground, with our terminal and streams.
///
/// It is told to end when this thread does. What it does not pass on to its container, or the container does not hear, is swept later.
pub(super) fn start(ground: Ground<'_>, run: &Run, bundle: &Bundle, id: &str) -> Result<Handle> {
    let said = || format!("make {}", ground.state.display());
    let mut making = DirBuilder::new();
    making.recursive(true).mode(0o700);
    making.create(ground.state).with_context(said)?;
    let mut command = Command::new(ground.runtime);
    command.arg("--root").arg(ground.state);
    command.arg("--log").arg(&bundle.log);
    command.args(["--log-format", "json", "run", "--bundle"]);
    command.arg(&bundle.dir).arg(id);
    if !run.interactive {
        command.stdin(Stdio::null());
    }
    // A shell at a terminal hears this one only.
    let last = if run.options.terminal {
        Signal::SIGHUP
    } else {
        Signal::SIGTERM
    };
    match sys::spawn::tie(&mut command, last).spawn() {
        Ok(child) => {
            let pid = Pid::from_raw(i32::try_from(child.id())?);
            Handle::child(pid).context("take hold of the runtime")
        }
        Err(error) => bail!("{}", not_started(ground, &error)),
    }
}

pub(super) fn not_started(ground: Ground<'_>, error: &io::Error) -> String {
    let runtime = ground.runtime.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "start the runtime {runtime}: not found; install orlop, or say where it is with --runtime"
            )
        }
        _ => format!("start the runtime {runtime}: {error}"),
    }
}

/// Passes on signals until the runtime has ended.
pub(super) fn attend(runtime: Handle, held: &Held) -> Result<Exit> {
    loop {
        let mut fds = vec![PollFd::new(held.signals.0.as_fd(), PollFlags::POLLIN)];
        let ended = runtime.or_ready(&mut fds, PollTimeout::NONE);
        let ended = ended.context("wait for the runtime")?;
        drop(fds);
        while let Some(arrived) = held.signals.arrived().context("read signals")? {
            let theirs = match Signal::try_from(arrived.signal) {
                Ok(Signal::SIGCHLD) => false,
                // This one the kernel sends to the first process at a terminal only.
                Ok(Signal::SIGHUP) => true,
                // What comes from the terminal the runtime has got itself.
                _ => !arrived.by_kernel,
            };
            if theirs && !ended {
                // One that is just ending hears nothing more.
                runtime.signal(arrived.signal).ok();
            }
        }
        if ended {
            return runtime.wait().context("wait for the runtime");
        }
    }
}
