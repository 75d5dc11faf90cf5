//! Standing in for a process that runs in the foreground: its signals, its terminal, its orphans, its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use sys::Errno;
use sys::fs;
use sys::process::{self, Child, Exit, PollFd, PollFlags, PollTimeout};
use sys::pty::{self, SetArg, Termios};
use sys::signal::{Signal, Signals};

/// Returns the size of the terminal that we were started on.
#[must_use]
pub fn terminal_size() -> Option<pty::Size> {
    fs::inherited(0).and_then(|stdin| pty::size(stdin).ok())
}

/// Signals taken over before the process is made, so that none that comes early is lost.
#[derive(Debug)]
pub struct Foreground {
    signals: Signals,
}

impl Foreground {
    /// Takes over all signals. With `subreaper`, orphans of the process become our children and are reaped.
    pub fn begin(subreaper: bool) -> Result<Self> {
        process::set_child_subreaper(subreaper).context("become a subreaper")?;
        Ok(Self {
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
            let (signal, output, input) = self.wait(relay.as_ref())?;
            if signal && let Some(exit) = self.handle(child, relay.as_ref())? {
                if let Some(relay) = &mut relay {
                    relay.drain();
                }
                return Ok(exit);
            }
            if let Some(relay) = &mut relay {
                if output {
                    relay.output();
                }
                if input {
                    relay.input();
                }
            }
        }
    }

    /// Waits for something to do: a signal, output of the terminal, input for it.
    fn wait(&self, relay: Option<&Relay>) -> Result<(bool, bool, bool)> {
        let mut fds = vec![PollFd::new(self.signals.0.as_fd(), PollFlags::POLLIN)];
        let output = relay.filter(|relay| relay.open).map(|relay| {
            fds.push(PollFd::new(relay.master.as_fd(), PollFlags::POLLIN));
            fds.len() - 1
        });
        let input = relay
            .filter(|relay| relay.open)
            .and_then(|relay| relay.stdin)
            .map(|stdin| {
                fds.push(PollFd::new(stdin, PollFlags::POLLIN));
                fds.len() - 1
            });
        process::wait_ready(&mut fds, PollTimeout::NONE).context("wait for the container")?;
        let ready =
            |index: Option<usize>| index.is_some_and(|index| fds[index].any().unwrap_or(false));
        Ok((ready(Some(0)), ready(output), ready(input)))
    }

    /// Handles waiting signals; returns the end of the process when it has come.
    fn handle(&self, child: &Child, relay: Option<&Relay>) -> Result<Option<Exit>> {
        while let Some(signal) = self.signals.next().context("read signals")? {
            match Signal::try_from(signal) {
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
                // A process that is just ending takes no more signals.
                _ => process::pidfd_signal(&child.pidfd, signal)
                    .ok()
                    .unwrap_or_default(),
            }
        }
        Ok(None)
    }
}

/// The caller's terminal in front of the container's.
#[derive(Debug)]
struct Relay {
    master: OwnedFd,
    /// Our own input, until its end.
    stdin: Option<BorrowedFd<'static>>,
    stdout: Option<BorrowedFd<'static>>,
    /// Whether the master still has another side.
    open: bool,
    /// What our terminal was like, restored when this is dropped, however the container ends.
    before: Option<Termios>,
}

impl Relay {
    fn begin(master: OwnedFd) -> Result<Self> {
        let (stdin, stdout) = (fs::inherited(0), fs::inherited(1));
        let before = stdin.and_then(|stdin| pty::tcgetattr(stdin).ok());
        if let (Some(stdin), Some(before)) = (stdin, &before) {
            let mut raw = before.clone();
            pty::cfmakeraw(&mut raw);
            pty::tcsetattr(stdin, SetArg::TCSANOW, &raw)
                .context("put the terminal into raw mode")?;
        }
        let relay = Self {
            master,
            stdin,
            stdout,
            open: true,
            before,
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of ours; without one of our own it keeps what the configuration says.
    fn resize(&self) {
        if let Some(Ok(size)) = self.stdin.map(pty::size) {
            pty::set_size(&self.master, size).ok();
        }
    }

    fn output(&mut self) {
        let mut buffer = [0; 16384];
        match fs::read(&self.master, &mut buffer) {
            // EIO: the last process of the container has closed its side.
            Ok(0) | Err(Errno::EIO) => self.open = false,
            Ok(length) => {
                if let Some(stdout) = self.stdout {
                    write_all(stdout, &buffer[..length]);
                }
            }
            Err(_) => {}
        }
    }

    fn input(&mut self) {
        let mut buffer = [0; 16384];
        match self.stdin.map(|stdin| fs::read(stdin, &mut buffer)) {
            Some(Ok(length)) if length > 0 => write_all(self.master.as_fd(), &buffer[..length]),
            Some(Err(Errno::EINTR | Errno::EAGAIN)) | None => {}
            // Its end, or something that cannot be read at all.
            Some(_) => self.stdin = None,
        }
    }

    /// Writes out what the container wrote last.
    fn drain(&mut self) {
        while self.open {
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            match process::wait_ready(&mut fds, PollTimeout::ZERO) {
                Ok(ready) if ready > 0 => self.output(),
                _ => return,
            }
        }
    }
}

/// Writes everything, waiting where the reader is slow; a reader that is gone is not an error of the container's.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match fs::write(to, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let mut fds = [PollFd::new(to, PollFlags::POLLOUT)];
                if process::wait_ready(&mut fds, PollTimeout::NONE).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let (Some(before), Some(stdin)) = (&self.before, fs::inherited(0)) {
            // There is nobody left to tell.
            pty::tcsetattr(stdin, SetArg::TCSANOW, before).ok();
        }
    }
}
