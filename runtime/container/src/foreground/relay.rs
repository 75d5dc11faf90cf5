//! The caller's terminal in front of the container's: what comes in goes out on the other side, and nothing here ever waits.
//!
//! Somebody who does not read holds up the container's output, and no signal.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use sys::Errno;
use sys::fs::{self, FcntlArg, Mode, OFlag, SFlag};
use sys::process::{PollFd, PollFlags};
use sys::pty::{self, SetArg, Termios};

/// As much as is read at once, and not yet written, each way.
const ROOM: usize = 16384;

/// What a pipe takes without waiting when poll(2) says that it takes anything (PIPE_BUF).
const AT_ONCE: usize = 4096;

/// Two copies: container to caller, caller to container.
#[derive(Debug)]
pub(super) struct Relay {
    master: OwnedFd,
    /// Our own input, until its end.
    stdin: Option<BorrowedFd<'static>>,
    /// Our own output, while somebody may read it.
    stdout: Option<Output>,
    /// Whether the master still has another side.
    open: bool,
    /// What was read and is not written yet.
    out: Vec<u8>,
    typed: Vec<u8>,
    /// What our terminal was like, restored when this is dropped, however the container ends.
    before: Option<Termios>,
}

impl Relay {
    pub(super) fn begin(master: OwnedFd) -> Result<Self> {
        let stdin = fs::inherited(0);
        let before = stdin.and_then(|stdin| pty::tcgetattr(stdin).ok());
        if let (Some(stdin), Some(before)) = (stdin, &before) {
            let mut raw = before.clone();
            pty::cfmakeraw(&mut raw);
            pty::tcsetattr(stdin, SetArg::TCSANOW, &raw)
                .context("put the terminal into raw mode")?;
        }
        // The container has the other side; this one is ours alone.
        fs::fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
            .context("copy a terminal without waiting")?;
        let relay = Self {
            master,
            stdin,
            stdout: fs::inherited(1).map(Output::of),
            open: true,
            out: Vec::new(),
            typed: Vec::new(),
            before,
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of ours; without one of our own it keeps what the configuration says.
    pub(super) fn resize(&self) {
        if let Some(Ok(size)) = self.stdin.map(pty::size) {
            pty::set_size(&self.master, size).ok();
        }
    }

    /// Adds what there is to wait for. Nothing is asked of a descriptor that could not be used now: its end would be an event without end.
    pub(super) fn wants<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let mut want = |fd: BorrowedFd<'a>, flags| fds.push(PollFd::new(fd, flags));
        if let (Some(stdout), false) = (&self.stdout, self.out.is_empty()) {
            want(stdout.fd(), PollFlags::POLLOUT);
        }
        if !self.open {
            return;
        }
        let mut master = PollFlags::empty();
        master.set(PollFlags::POLLIN, self.out.is_empty());
        master.set(PollFlags::POLLOUT, !self.typed.is_empty());
        if !master.is_empty() {
            want(self.master.as_fd(), master);
        }
        if let (Some(stdin), true) = (self.stdin, self.typed.is_empty()) {
            want(stdin, PollFlags::POLLIN);
        }
    }

    /// Copies what can be copied now.
    pub(super) fn step(&mut self) {
        self.read_master();
        self.write_out();
        self.read_stdin();
        self.write_master();
    }

    /// Copies what is left of the container's output; tells whether somebody has to read first.
    pub(super) fn drain(&mut self) -> bool {
        loop {
            self.write_out();
            if !self.out.is_empty() {
                return true;
            }
            self.read_master();
            if self.out.is_empty() {
                self.open = false;
                return false;
            }
        }
    }

    fn read_master(&mut self) {
        if !self.open || !self.out.is_empty() {
            return;
        }
        let mut buffer = [0; ROOM];
        match fs::read(&self.master, &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // EIO: the last process of the container has closed its side.
            Ok(0) | Err(_) => self.open = false,
            Ok(length) => self.out.extend_from_slice(&buffer[..length]),
        }
    }

    fn write_out(&mut self) {
        let Some(stdout) = &self.stdout else {
            // Nobody reads it, which is no error of the container's.
            self.out.clear();
            return;
        };
        match stdout.write(&self.out) {
            Ok(written) => drop(self.out.drain(..written)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.stdout = None;
                self.out.clear();
            }
        }
    }

    fn read_stdin(&mut self) {
        let Some(stdin) = self.stdin.filter(|_| self.open && self.typed.is_empty()) else {
            return;
        };
        // It is shared with others, and stays as it is: asked before it is read.
        if !is_ready(stdin, PollFlags::POLLIN) {
            return;
        }
        let mut buffer = [0; ROOM];
        match fs::read(stdin, &mut buffer) {
            Ok(length) if length > 0 => self.typed.extend_from_slice(&buffer[..length]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // Its end, or something that cannot be read at all.
            _ => self.stdin = None,
        }
    }

    fn write_master(&mut self) {
        if self.typed.is_empty() {
            return;
        }
        match fs::write(&self.master, &self.typed) {
            Ok(written) => drop(self.typed.drain(..written)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.typed.clear(),
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

/// Our standard output. Its flags are shared with whoever gave it to us, so it is not made one that never waits.
#[derive(Debug)]
enum Output {
    /// The same pipe or terminal, opened again, which does not wait.
    Own(OwnedFd),
    Socket(BorrowedFd<'static>),
    /// A file, or what cannot be opened again.
    Shared(BorrowedFd<'static>),
}

impl Output {
    fn of(stdout: BorrowedFd<'static>) -> Self {
        let stat = fs::fstat(stdout);
        let kind = stat.map(|stat| {
            (
                SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT,
                stat,
            )
        });
        let again = match kind {
            Ok((SFlag::S_IFSOCK, _)) => return Self::Socket(stdout),
            Ok((SFlag::S_IFIFO, _)) => true,
            // The master of a pseudo-terminal (5:2) opened again would be another one.
            Ok((SFlag::S_IFCHR, stat)) => {
                stat.st_rdev != fs::makedev(5, 2) && pty::tcgetattr(stdout).is_ok()
            }
            _ => false,
        };
        let path = format!("/proc/self/fd/{}", stdout.as_raw_fd());
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        match again.then(|| fs::open(path.as_str(), flags, Mode::empty())) {
            Some(Ok(own)) => Self::Own(own),
            _ => Self::Shared(stdout),
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => fd.as_fd(),
            Self::Socket(fd) | Self::Shared(fd) => *fd,
        }
    }

    /// Writes what can be written now.
    fn write(&self, bytes: &[u8]) -> sys::Result<usize> {
        match self {
            _ if bytes.is_empty() => Ok(0),
            Self::Own(fd) => fs::write(fd, bytes),
            Self::Socket(fd) => sys::socket::write_now(fd, bytes),
            Self::Shared(fd) if is_ready(*fd, PollFlags::POLLOUT) => {
                fs::write(fd, &bytes[..bytes.len().min(AT_ONCE)])
            }
            Self::Shared(_) => Err(Errno::EAGAIN),
        }
    }
}

fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut fds = [PollFd::new(fd, flags)];
    let now = sys::process::PollTimeout::ZERO;
    sys::process::wait_ready(&mut fds, now).is_ok_and(|ready| ready > 0)
}
