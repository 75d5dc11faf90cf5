//! Blocking signals and reading them as events.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, sigaction};
pub use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::{Errno, Result, owned};

/// Delivers every signal of this process through a descriptor, as signalfd(2) does.
#[derive(Debug)]
pub struct Signals(pub OwnedFd);

impl Signals {
    /// Blocks all signals and opens the descriptor that they arrive at.
    pub fn take() -> Result<Self> {
        // glibc keeps two real-time signals for itself and leaves them out of a full set, hence the raw one.
        let all = SigSet::all();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&all), None)?;
        // SAFETY: the set lives across the call.
        owned(
            unsafe { libc::signalfd(-1, all.as_ref(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }
                .into(),
        )
        .map(Self)
    }

    /// Returns the number of the next waiting signal, or `None`.
    pub fn next(&self) -> Result<Option<i32>> {
        self.arrived().map(|next| next.map(|next| next.signal))
    }

    /// Returns the next waiting signal, and whether the kernel sent it, or `None`.
    pub fn arrived(&self) -> Result<Option<Arrived>> {
        // SAFETY: an all-zero record is a valid value of this plain C structure.
        let mut record: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the kernel writes at most one record, which lives across the call.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut record).cast(), size) };
        match Errno::result(read) {
            Ok(_) => Ok(i32::try_from(record.ssi_signo).ok().map(|signal| Arrived {
                signal,
                by_kernel: record.ssi_code == SI_KERNEL,
            })),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// What the kernel calls itself as a sender (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// A signal that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    pub signal: i32,
    /// Whether the kernel sent it, as a terminal's keys have it do to all processes in the foreground.
    pub by_kernel: bool,
}

/// Makes each of `signals` end this process, with the code that a shell would show: the kernel keeps their default action from the first
/// process of a pid namespace (pid_namespaces(7)). Executing a program ends this.
pub fn end_on(signals: &[Signal]) -> Result<()> {
    extern "C" fn end(signal: libc::c_int) {
        // SAFETY: _exit(2) is safe in a handler (signal-safety(7)) and does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    let action = SigAction::new(SigHandler::Handler(end), SaFlags::empty(), SigSet::empty());
    for signal in signals {
        // SAFETY: the handler does nothing that may not be done at any moment.
        unsafe { sigaction(*signal, &action) }?;
    }
    Ok(())
}

/// Gives the payload what a fresh process has: no signal blocked, and the default action for each that we were told to ignore.
pub fn reset() -> Result<()> {
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    // The raw call: the C library keeps two signals to itself and refuses to touch them. All zeros is the default action.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        let none = std::ptr::null_mut::<u64>();
        // SAFETY: the kernel reads one sigaction, which lives across the call, and the default action installs no handler. The two
        // signals that cannot be changed answer with an error and stay as they are.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, 8) };
    }
    Ok(())
}
