//! Standing in for a process that runs in the foreground: its signals, its terminal, its orphans, its end.

mod relay;

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use sys::fs;
use sys::process::{self, Child, Exit, Pid, PollFd, PollFlags, PollTimeout};
use sys::pty;
use sys::signal::{Signal, Signals};

use relay::Relay;

/// Returns the size of the terminal that we were started on.
#[must_use]
pub fn terminal_size() -> Option<pty::Size> {
    fs::inherited(0).and_then(|stdin| pty::size(stdin).ok())
}

/// Whether somebody at a terminal started us: one of the standard streams is one, or there is one behind them.
#[must_use]
pub fn on_terminal() -> bool {
    let is_terminal = |fd| fs::inherited(fd).is_some_and(|stream| pty::size(stream).is_ok());
    (0..=2).any(is_terminal) || std::fs::File::open("/dev/tty").is_ok()
}

/// What tells a program to end.
pub(crate) const ENDING: [Signal; 4] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
];

/// Signals taken over before the process is made, so that none that comes early is lost.
#[derive(Debug)]
pub struct Foreground {
    signals: Signals,
    /// Who started us.
    parent: Pid,
}

impl Foreground {
    /// Takes over all signals. With `subreaper`, orphans of the process become our children and are reaped.
    pub fn begin(subreaper: bool) -> Result<Self> {
        process::set_child_subreaper(subreaper).context("become a subreaper")?;
        Ok(Self {
            parent: process::getppid(),
            signals: Signals::take().context("take over signals")?,
        })
    }

    /// Passes on signals, input and output until the process ends; returns how it ended.
    pub fn attend(&self, child: &Child, terminal: Option<OwnedFd>) -> Result<Exit> {
        let relay = terminal.map(Relay::begin).transpose()?;
        let exit = self.serve(child, relay)?;
        // What ended meanwhile is reaped; what lives on is init's.
        while matches!(process::reap_any(), Ok(Some(_))) {}
        Ok(exit)
    }

    fn serve(&self, child: &Child, mut relay: Option<Relay>) -> Result<Exit> {
        loop {
            let mut fds = vec![PollFd::new(self.signals.0.as_fd(), PollFlags::POLLIN)];
            if let Some(relay) = &relay {
                relay.wants(&mut fds);
            }
            process::wait_ready(&mut fds, PollTimeout::NONE).context("wait for the container")?;
            let signal = fds[0].any().unwrap_or(false);
            if signal && let Some(exit) = self.handle(child, relay.as_ref())? {
                if let Some(relay) = &mut relay {
                    self.finish(relay)?;
                }
                return Ok(exit);
            }
            if let Some(relay) = &mut relay {
                relay.step();
            }
        }
    }

    /// Writes out what the container wrote last, as slowly as it is read, until somebody tells us to end: there is nobody left to pass that on to.
    fn finish(&self, relay: &mut Relay) -> Result<()> {
        while relay.drain() {
            let mut fds = vec![PollFd::new(self.signals.0.as_fd(), PollFlags::POLLIN)];
            relay.wants(&mut fds);
            process::wait_ready(&mut fds, PollTimeout::NONE).context("wait for our reader")?;
            while let Some(signal) = self.signals.next().context("read signals")? {
                if Signal::try_from(signal).is_ok_and(|signal| ENDING.contains(&signal)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Handles waiting signals; returns the end of the process when it has come.
    fn handle(&self, child: &Child, relay: Option<&Relay>) -> Result<Option<Exit>> {
        while let Some(arrived) = self.signals.next().context("read signals")? {
            match Signal::try_from(arrived) {
                Ok(Signal::SIGCHLD) => {
                    while let Ok(Some((pid, exit))) = process::reap_any() {
                        if pid == child.pid {
                            return Ok(Some(exit));
                        }
                    }
                }
                Ok(Signal::SIGWINCH) => {
                    if let Some(relay) = relay {
                        relay.resize();
                    }
                }
                _ => {
                    let signal = if self.is_last(arrived) {
                        // There is nobody left to send another one, should the process not hear this one.
                        Signal::SIGKILL as i32
                    } else {
                        arrived
                    };
                    // A process that is just ending takes no more signals.
                    child.handle.signal(signal).ok().unwrap_or_default();
                }
            }
        }
        Ok(None)
    }

    /// Tells whether a signal says that our parent, who has tied us to himself (PR_SET_PDEATHSIG), has ended. Of his threads one may end
    /// before the others; the last one's end is told again. Who has sent it does not matter: one of anybody's that still waits here
    /// swallows the kernel's.
    fn is_last(&self, arrived: i32) -> bool {
        let tied = process::get_pdeathsig().ok().flatten();
        tied.is_some_and(|tied| tied as i32 == arrived) && process::getppid() != self.parent
    }
}
