//! Programs started through the standard library, as this crate starts processes.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::unistd::{getpid, getppid, setsid};

use crate::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use crate::{Errno, pty};

/// Starts the program with no signal blocked, and has the kernel send it `signal` when the thread that starts it ends, by whatever end
/// (PR_SET_PDEATHSIG).
pub fn tie(command: &mut Command, signal: Signal) -> &mut Command {
    let parent = getpid();
    let none = SigSet::empty();
    let ready = move || {
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&none), None)?;
        set_pdeathsig(Some(signal))?;
        // Had it ended before, nothing would be sent.
        if getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::from(Errno::ESRCH))
        }
    };
    // SAFETY: between fork and exec this makes system calls only; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(ready) }
}

/// Starts the program in a session of its own, whose terminal this one is: `/dev/tty`, and none of its streams.
pub fn at_terminal(command: &mut Command, terminal: OwnedFd) -> &mut Command {
    let ready = move || {
        setsid()?;
        Ok(pty::make_controlling(&terminal)?)
    };
    // SAFETY: between fork and exec this makes system calls only; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(ready) }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::{Signal, at_terminal, tie};
    use crate::pty;
    use crate::signal::{SigSet, SigmaskHow, pthread_sigmask};

    #[test]
    fn a_program_ends_with_the_thread_that_started_it() {
        let started = std::thread::spawn(|| {
            let all = SigSet::all();
            pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&all), None).expect("block signals");
            let mut command = Command::new("sh");
            command
                .args([
                    "-c",
                    "trap 'echo told; exit 7' TERM; echo ready; sleep 2 >/dev/null & wait",
                ])
                .stdin(Stdio::null());
            let mut child = tie(&mut command, Signal::SIGTERM)
                .stdout(Stdio::piped())
                .spawn()
                .expect("start sh");
            let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            assert_eq!(lines.next().expect("a line").expect("text"), "ready");
            (child, lines)
        });
        let (mut child, mut lines) = started.join().expect("a thread");
        assert_eq!(lines.next().expect("a line").expect("text"), "told");
        let end = child.wait().expect("wait for sh");
        assert_eq!(end.code(), Some(7));
    }
    #[test]
    fn a_program_has_the_terminal_that_it_was_given_as_long_as_it_is_held() {
        let (_master, peer) = pty::open().expect("open a terminal");
        let given = peer.try_clone().expect("duplicate it");
        let mut command = Command::new("sh");
        // A session of its own; what is written to its terminal is not on its output.
        let script = "echo seen >/dev/tty && cut -d' ' -f6 /proc/$$/stat && echo $$";
        command.args(["-c", script]).stdin(Stdio::null());
        let done = at_terminal(&mut command, given).output().expect("run sh");
        let said = String::from_utf8_lossy(&done.stdout);
        let words: Vec<_> = said.split_whitespace().collect();
        assert!(
            matches!(words[..], [session, pid] if session == pid),
            "{done:?}"
        );
    }
}
