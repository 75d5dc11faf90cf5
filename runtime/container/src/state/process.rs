//! Recognizing a process again, though its id may by now be another's.

use serde::{Deserialize, Serialize};

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
        stat(pid).map(|stat| Self {
            pid,
            start: stat.start,
        })
    }
}

/// The flag of a process that was cloned and has not executed a program since (PF_FORKNOEXEC of the kernel's sched.h).
const NOT_EXECUTED: u64 = 0x40;

struct Stat {
    state: u8,
    flags: u64,
    start: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    // One read: procfs files tell no size, and the line is short.
    let file = sys::fs::open(
        format!("/proc/{pid}/stat").as_str(),
        sys::fs::OFlag::O_RDONLY | sys::fs::OFlag::O_CLOEXEC,
        sys::fs::Mode::empty(),
    )
    .ok()?;
    let mut buffer = [0; 1024];
    let length = sys::fs::read(&file, &mut buffer).ok()?;
    parse(&String::from_utf8_lossy(&buffer[..length]))
}

/// The command's name is in parentheses and may hold anything, parentheses too: the fields start behind the last one.
fn parse(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.bytes().next()?;
    Some(Stat {
        state,
        flags: fields.nth(5)?.parse().ok()?,
        start: fields.nth(12)?.parse().ok()?,
    })
}

fn alive(process: &Identity) -> Option<Stat> {
    stat(process.pid)
        .filter(|stat| stat.start == process.start && !matches!(stat.state, b'Z' | b'X'))
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

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 10 18446744073709551615";
        let stat = parse(text).expect("a stat line");
        assert_eq!(
            (stat.state, stat.flags, stat.start),
            (b'S', 4_194_560, 4711)
        );
    }
}
