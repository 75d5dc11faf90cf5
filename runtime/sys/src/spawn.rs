//! Programs started through the standard library, as this crate starts processes.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::unistd::{getpid, getppid};

use crate::Errno;
use crate::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::{Signal, tie};
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
}
