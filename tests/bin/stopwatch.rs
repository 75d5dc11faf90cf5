//! Measures commands as one piece of work: wall time, processor time of every process in it, and the largest of them.
//!
//! `stopwatch COMMAND...` runs commands one after the other, `stopwatch --together COMMAND...` all at once; a command is
//! one argument, its words separated by blanks; the command `--reap` waits until nothing of the earlier ones runs. Output, one line: wall ns, user+system µs, peak KiB, commands that failed.
//!
//! It is a program of its own because the kernel counts what a process was before its exec into its peak memory: the
//! parent has to be smaller than anything that is measured. It is the reaper of what its commands leave behind, so the
//! first process of a detached container is counted, too; such a process has to have ended for stopwatch to end.

#![allow(clippy::print_stderr, clippy::print_stdout)]

use std::ffi::CString;
use std::io;
use std::ptr::null;
use std::time::Instant;

#[derive(Default)]
struct Spent {
    cpu_us: i64,
    peak_kib: i64,
    failed: usize,
}

fn main() {
    match measure() {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("stopwatch: {error}");
            std::process::exit(125);
        }
    }
}

fn measure() -> io::Result<String> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let together = words.first().is_some_and(|word| word == "--together");
    let commands: Vec<Vec<CString>> = words
        .drain(usize::from(together)..)
        .map(|command| split(&command))
        .collect();
    // SAFETY: this option of prctl takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut spent = Spent::default();
    let begin = Instant::now();
    let mut running = Vec::new();
    for command in &commands {
        if command
            .first()
            .is_some_and(|word| word.as_bytes() == b"--reap")
        {
            while reap(&mut running, &mut spent)? {}
            continue;
        }
        running.push(start(command)?);
        if !together {
            reap_until(&mut running, &mut spent)?;
        }
    }
    reap_until(&mut running, &mut spent)?;
    let wall = begin.elapsed().as_nanos();
    while reap(&mut running, &mut spent)? {}
    Ok(format!(
        "{wall} {} {} {}",
        spent.cpu_us, spent.peak_kib, spent.failed
    ))
}

fn split(command: &str) -> Vec<CString> {
    command
        .split_whitespace()
        .filter_map(|word| CString::new(word).ok())
        .collect()
}

fn start(command: &[CString]) -> io::Result<libc::pid_t> {
    let mut arguments: Vec<*const libc::c_char> =
        command.iter().map(|word| word.as_ptr()).collect();
    arguments.push(null());
    // SAFETY: this process has one thread, so the child may go on as if it were alone.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: the list ends in a null pointer and its strings outlive the call; _exit ends only the child.
            unsafe {
                libc::execv(arguments[0], arguments.as_ptr());
                libc::_exit(127)
            }
        }
        child => Ok(child),
    }
}

fn reap_until(running: &mut Vec<libc::pid_t>, spent: &mut Spent) -> io::Result<()> {
    while !running.is_empty() {
        reap(running, spent)?;
    }
    Ok(())
}

/// Waits for one process, a command's own or an orphan; says false when there is none left.
fn reap(running: &mut Vec<libc::pid_t>, spent: &mut Spent) -> io::Result<bool> {
    let mut status = 0;
    // SAFETY: a rusage is plain numbers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are ours and live for the call.
    let pid = unsafe { libc::wait4(-1, &raw mut status, 0, &raw mut usage) };
    if pid < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ECHILD) {
            Ok(false)
        } else {
            Err(error)
        };
    }
    for time in [usage.ru_utime, usage.ru_stime] {
        spent.cpu_us += time.tv_sec * 1_000_000 + time.tv_usec;
    }
    spent.peak_kib = spent.peak_kib.max(usage.ru_maxrss);
    if let Some(place) = running.iter().position(|command| *command == pid) {
        running.swap_remove(place);
        spent.failed += usize::from(status != 0);
    }
    Ok(true)
}
