//! Kills a whole command, with all its threads and children, at one system call.
//!
//! `killany --count CMD…` runs CMD to the end of its last process and writes to stderr how many system calls all of them made.
//! `killany --at K CMD…` kills all of them as any thread enters the K-th; `--one K` kills only the process whose call that is, and the rest
//! runs on untraced. The exit code is CMD's, or 128 plus the signal that ended it; 99 when CMD ended before.
//!
//! The order in which threads come to their calls is the scheduler's, so K is a moment, not a place in the code.

#![expect(clippy::print_stderr, reason = "a command-line program")]

use orlop_tests::sys::{self, Event, Resume};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The exit code when the command ended before its K-th call.
const NOT_REACHED: u8 = 99;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    Count,
    All(u64),
    One(u64),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let word = args.next().and_then(|arg| arg.into_string().ok());
    let mut number = || args.next()?.into_string().ok()?.parse().ok();
    let aim = match word.as_deref() {
        Some("--count") => Some(Aim::Count),
        Some("--at") => number().map(Aim::All),
        Some("--one") => number().map(Aim::One),
        _ => None,
    };
    let command: Vec<OsString> = args.collect();
    let (Some(aim), false) = (aim, command.is_empty()) else {
        eprintln!("usage: killany --count CMD… | --at K CMD… | --one K CMD…");
        return ExitCode::from(125);
    };
    match trace(&command, aim) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("killany: {}: {why}", command[0].display());
            ExitCode::from(125)
        }
    }
}

/// The threads of a command and how far they are together.
struct Trace {
    aim: Aim,
    root: i32,
    /// The root has become CMD: from here on calls count.
    begun: bool,
    calls: u64,
    killed: bool,
    threads: BTreeSet<i32>,
}

fn trace(command: &[OsString], aim: Aim) -> std::io::Result<u8> {
    let (root, mut release) = sys::spawn_traced(command, 1)?;
    let mut trace = Trace {
        aim,
        root,
        begun: false,
        calls: 0,
        killed: false,
        threads: BTreeSet::from([root]),
    };
    release.write_all(b"g")?;
    drop(release);
    let mut code = None;
    while let Some((pid, event)) = sys::wait_traced()? {
        if let Event::Ended(ended) = event {
            trace.threads.remove(&pid);
            if pid == root {
                code = Some(ended);
                // What was let go is nobody's business any more.
                if matches!(aim, Aim::One(_)) && trace.killed {
                    break;
                }
            }
            continue;
        }
        trace.step(pid, event)?;
    }
    if aim == Aim::Count {
        eprintln!("{} calls", trace.calls);
    } else if !trace.killed {
        eprintln!(
            "killany: not reached: the command made {} calls",
            trace.calls
        );
        return Ok(NOT_REACHED);
    }
    let code = code.unwrap_or(-libc::SIGKILL);
    Ok(u8::try_from(if code < 0 { 128 - code } else { code }).unwrap_or(u8::MAX))
}

impl Trace {
    /// Handles one stop and lets the thread go on.
    fn step(&mut self, pid: i32, event: Event) -> std::io::Result<()> {
        // A thread may stop before the event of its birth is told.
        self.threads.insert(pid);
        let mut signal = 0;
        match event {
            Event::Born(child) => {
                self.threads.insert(child);
            }
            Event::Exec if pid == self.root => self.begun = true,
            // Another thread may have been killed meanwhile: then there is no call to be read.
            Event::Syscall if self.begun && !self.killed => {
                if let Ok(Some(_)) = sys::syscall_at_entry(pid) {
                    self.count(pid);
                }
            }
            Event::Stopped { job: true } if !self.killed => {
                sys::resume(pid, Resume::Listen);
                return Ok(());
            }
            Event::Signal(number) => signal = number,
            _ => (),
        }
        if self.killed && matches!(self.aim, Aim::All(_)) {
            self.kill(pid);
            sys::resume(pid, Resume::Traced { signal: 0 });
        } else if self.killed {
            sys::resume(pid, Resume::Free { signal });
        } else {
            sys::resume(pid, Resume::Traced { signal });
        }
        Ok(())
    }

    fn count(&mut self, pid: i32) {
        self.calls += 1;
        match self.aim {
            Aim::All(at) if at == self.calls => {
                self.killed = true;
                for thread in &self.threads {
                    self.kill(*thread);
                }
            }
            Aim::One(at) if at == self.calls => {
                self.killed = true;
                self.kill(pid);
            }
            _ => (),
        }
    }

    /// Kills the process of a thread, which may have ended already.
    fn kill(&self, thread: i32) {
        sys::kill(thread, libc::SIGKILL).unwrap_or_default();
    }
}
