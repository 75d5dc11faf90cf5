//! Starting the runtime and passing signals on to it until it ends.

use std::fs::{DirBuilder, File};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sys::process::{Exit, Handle, Pid, PollFd, PollFlags, PollTimeout};
use sys::signal::{SigSet, SigmaskHow, Signal, Signals, pthread_sigmask};

use super::bundle::Bundle;
use super::{Ground, Run};
use crate::{Error, Kind};

/// So many SIGINT or SIGTERM, of which no other has ended it, end a container by force, as with docker.
const ASKED: u32 = 3;

/// So long a container has after its terminal was closed (what docker gives one that it stops), and the runtime after its container was killed.
const GRACE: Duration = Duration::from_secs(10);

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

/// A terminal that nobody looks at. Runtimes show a container's own only where they have one, and it is there as long as this is.
#[derive(Debug)]
pub(super) struct StandIn {
    _master: OwnedFd,
    peer: OwnedFd,
}

impl StandIn {
    /// Makes one for a container that wants a terminal where we have none: what it shows then goes to our standard output, as with docker.
    fn wanted(run: &Run) -> Result<Option<Self>> {
        // Our standard input is the runtime's only where it is wanted.
        let stdin = usize::from(!run.interactive && io::stdin().is_terminal());
        if !run.options.terminal || terminals() > stdin || File::open("/dev/tty").is_ok() {
            return Ok(None);
        }
        let (_master, peer) = sys::pty::open().context("open a terminal for the runtime")?;
        Ok(Some(Self { _master, peer }))
    }
}

/// Starts the runtime in the foreground, with our terminal and streams.
///
/// It is told to end when this thread does, by whatever end. Orlop then ends its container, too; of another runtime that only passes the
/// signal on, and of a container that does not hear it, what is left is swept later. What stands in for our terminal is to be kept till then.
pub(super) fn start(
    ground: Ground<'_>,
    run: &Run,
    bundle: &Bundle,
    id: &str,
) -> Result<(Handle, Option<StandIn>)> {
    let mut making = DirBuilder::new();
    making.recursive(true).mode(0o700);
    if let Err(error) = making.create(ground.state) {
        let text = format!("make {}: {error}", ground.state.display());
        let hint =
            "--run-root, or for an ordinary user XDG_RUNTIME_DIR, names a directory of one's own";
        bail!(Error::new(Kind::Other, text).with_hint(hint));
    }
    let mut command = Command::new(ground.runtime);
    command.arg("--root").arg(ground.state);
    command.arg("--log").arg(&bundle.log);
    command.args(["--log-format", "json"]);
    command.args(without_cgroup(ground.runtime));
    command.args(["run", "--bundle"]);
    command.arg(&bundle.dir);
    command.arg("--pid-file").arg(&bundle.pid).arg(id);
    if !run.interactive {
        command.stdin(Stdio::null());
    }
    let stand_in = StandIn::wanted(run)?;
    if let Some(stand_in) = &stand_in {
        let peer = stand_in.peer.try_clone();
        sys::spawn::at_terminal(&mut command, peer.context("duplicate a terminal")?);
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
            let handle = Handle::child(pid).context("take hold of the runtime")?;
            Ok((handle, stand_in))
        }
        Err(error) => bail!("{}", not_started(ground, &error)),
    }
}

/// Keeps the runtime, in a user namespace of one's own, from looking for a cgroup and warning that there is none. Runc looks for none.
fn without_cgroup(runtime: &Path) -> &'static [&'static str] {
    let runc = runtime.file_name().is_some_and(|name| name == "runc");
    if runc || !sys::userns::is_inner() {
        return &[];
    }
    &["--cgroup-manager", "disabled"]
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

/// Passes on signals until the runtime has ended, and ends a container by force that nobody could end otherwise.
///
/// `kill` ends the container; the runtime ends with it. Returns how the runtime ended, and why it had to be by force.
pub(super) fn attend(
    runtime: &Handle,
    held: &Held,
    kill: impl Fn() -> Result<()>,
) -> Result<(Exit, Option<String>)> {
    let terminals = terminals();
    let (mut asked, mut due, mut forced) = (0, None, None);
    loop {
        let mut fds = vec![PollFd::new(held.signals.0.as_fd(), PollFlags::POLLIN)];
        let ended = runtime.or_ready(&mut fds, until(due));
        let ended = ended.context("wait for the runtime")?;
        drop(fds);
        while let Some(arrived) = held.signals.arrived().context("read signals")? {
            let signal = Signal::try_from(arrived.signal);
            let theirs = match signal {
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
            match signal {
                Ok(Signal::SIGINT | Signal::SIGTERM) => {
                    asked += 1;
                    if asked >= ASKED {
                        due = Some(Instant::now());
                        forced = Some(format!("got {asked} SIGTERM/SIGINTs, forcefully exiting"));
                    }
                }
                // A terminal that is closed leaves nobody who could say it again.
                Ok(Signal::SIGHUP) if terminals > 0 && self::terminals() == 0 => {
                    due = due.or(Some(Instant::now() + GRACE));
                }
                _ => {}
            }
        }
        if ended {
            let exit = runtime.wait().context("wait for the runtime")?;
            return Ok((exit, forced));
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            // What the runtime has not made yet, or has lost hold of, is found when it has ended.
            kill()
                .or_else(|_| runtime.signal(Signal::SIGKILL as i32))
                .ok();
            due = Some(Instant::now() + GRACE);
        }
    }
}

/// How many of our streams are a terminal. One that has been closed is none any more.
fn terminals() -> usize {
    let streams = [
        io::stdin().is_terminal(),
        io::stdout().is_terminal(),
        io::stderr().is_terminal(),
    ];
    streams.into_iter().filter(|is| *is).count()
}

fn until(due: Option<Instant>) -> PollTimeout {
    let left = due.map(|due| due.saturating_duration_since(Instant::now()));
    // Rounded up: not before it is due.
    left.map_or(PollTimeout::NONE, |left| {
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    })
}
