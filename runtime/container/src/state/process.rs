//! Recognizing a process again, though its id may by now be another's.

use serde::{Deserialize, Serialize};
use sys::process::Stat;

/// A process by its id and the time at which it started, in clock ticks since boot (field 22 of proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: i32,
    pub start: u64,
}

impl Identity {
    /// Reads the identity of a process that is there now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).map(|stat| Self {
            pid,
            start: stat.start,
        })
    }
}

/// The flag of a process that was cloned and has not executed a program since (PF_FORKNOEXEC of the kernel's sched.h).
const NOT_EXECUTED: u64 = 0x40;

fn alive(process: &Identity) -> Option<Stat> {
    Stat::of(process.pid).filter(|stat| stat.start == process.start && stat.is_alive())
}

/// Tells whether that very process still runs; a zombie does not.
#[must_use]
pub fn is_alive(process: &Identity) -> bool {
    alive(process).is_some()
}

/// Tells whether that very process runs and has not executed its program yet; nor has one that criu has made.
pub(crate) fn awaits_program(process: &Identity) -> bool {
    alive(process).is_some_and(|stat| stat.flags & NOT_EXECUTED != 0)
}
