//! Kills one process of a command at one system call.
//!
//! `killpoint --list CMD…` runs CMD and prints a line `P:K NAME` for each system call: P is the process in order of birth, 0
//! being CMD itself, and K counts the calls of that process, from CMD's first one. CMD's own stdout goes to stderr.
//! `killpoint --at P:K CMD…` kills exactly that process as it enters that call; the rest runs on untraced. Its exit code is
//! CMD's, or 128 plus the signal that ended it; 99 when the point was not reached, and then stderr says how CMD ended.
//! `--own` before either lets a process go as it becomes another program: its calls do not count, and it may trace others.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program"
)]

use orlop_tests::sys::{self, Event, Resume};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// The exit code for a point that the command did not come to.
const NOT_REACHED: u8 = 99;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    let own = args.next_if(|arg| arg == "--own").is_some();
    let mode = args.next().and_then(|arg| arg.into_string().ok());
    let point = match mode.as_deref() {
        Some("--list") => None,
        Some("--at") => match args.next().and_then(|arg| parse(&arg.into_string().ok()?)) {
            Some(point) => Some(point),
            None => return usage(),
        },
        _ => return usage(),
    };
    let command: Vec<OsString> = args.collect();
    if command.is_empty() {
        return usage();
    }
    match trace(&command, point, own) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("killpoint: {}: {why}", command[0].display());
            ExitCode::from(125)
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: killpoint [--own] --list CMD… | [--own] --at P:K CMD…");
    ExitCode::from(125)
}

fn parse(point: &str) -> Option<(usize, u64)> {
    let (process, call) = point.split_once(':')?;
    Some((process.parse().ok()?, call.parse().ok()?))
}

/// The processes of the command, and how far each is.
struct Trace {
    point: Option<(usize, u64)>,
    own: bool,
    root: i32,
    /// The root has become CMD: from here on calls count.
    begun: bool,
    killed: bool,
    /// By pid: order of birth, and system calls entered.
    processes: HashMap<i32, (usize, u64)>,
    born: usize,
    /// Stopped before the event that says whose child they are; they wait for their number.
    early: Vec<i32>,
}

fn trace(command: &[OsString], point: Option<(usize, u64)>, own: bool) -> std::io::Result<u8> {
    let stdout = if point.is_none() { 2 } else { 1 };
    let (root, mut release) = sys::spawn_traced(command, stdout)?;
    let mut trace = Trace {
        point,
        own,
        root,
        begun: false,
        killed: false,
        processes: HashMap::from([(root, (0, 0))]),
        born: 0,
        early: Vec::new(),
    };
    release.write_all(b"g")?;
    drop(release);
    while let Some((pid, event)) = sys::wait_traced()? {
        if let Event::Ended(code) = event {
            let calls = trace.processes.remove(&pid).map_or(0, |(_, calls)| calls);
            if pid == root {
                return Ok(trace.end(code, calls));
            }
            continue;
        }
        trace.step(pid, event)?;
    }
    Ok(NOT_REACHED)
}

impl Trace {
    /// Handles one stop and lets the process go on.
    fn step(&mut self, pid: i32, event: Event) -> std::io::Result<()> {
        if let Event::Born(child) = event {
            self.born += 1;
            self.processes.insert(child, (self.born, 0));
            if let Some(at) = self.early.iter().position(|early| *early == child) {
                self.early.swap_remove(at);
                self.go(child, 0);
            }
        }
        if !self.processes.contains_key(&pid) {
            self.early.push(pid);
            return Ok(());
        }
        match event {
            Event::Exec if pid == self.root => self.begun = true,
            Event::Exec if self.own => {
                self.processes.remove(&pid);
                sys::resume(pid, Resume::Free { signal: 0 });
                return Ok(());
            }
            Event::Syscall if self.begun && !self.killed => self.count(pid)?,
            Event::Stopped { job: true } if !self.killed => {
                sys::resume(pid, Resume::Listen);
                return Ok(());
            }
            _ => (),
        }
        self.go(
            pid,
            if let Event::Signal(signal) = event {
                signal
            } else {
                0
            },
        );
        Ok(())
    }

    /// Counts a system call at its entry; kills the process when it is the one.
    fn count(&mut self, pid: i32) -> std::io::Result<()> {
        let Some(call) = sys::syscall_at_entry(pid)? else {
            return Ok(());
        };
        let Some((number, count)) = self.processes.get_mut(&pid) else {
            return Ok(());
        };
        *count += 1;
        match self.point {
            None => println!("{number}:{count} {}", name(call)),
            Some(point) if point == (*number, *count) => {
                sys::kill(pid, libc::SIGKILL)?;
                self.killed = true;
            }
            Some(_) => (),
        }
        Ok(())
    }

    /// Lets a process go on: to its next call, or for good once the one has been killed.
    fn go(&self, pid: i32, signal: i32) {
        sys::resume(
            pid,
            if self.killed {
                Resume::Free { signal }
            } else {
                Resume::Traced { signal }
            },
        );
    }

    /// The command has ended; what still runs is released by the end of this process, its tracer.
    fn end(&self, code: i32, calls: u64) -> u8 {
        for pid in &self.early {
            self.go(*pid, 0);
        }
        if self.point.is_some() && !self.killed {
            eprintln!("killpoint: not reached: the command ended with {code} after {calls} calls");
            return NOT_REACHED;
        }
        u8::try_from(if code < 0 { 128 - code } else { code }).unwrap_or(u8::MAX)
    }
}

/// The name of a system call that a runtime makes; the number of any other.
fn name(call: u64) -> String {
    let call = i64::try_from(call).unwrap_or(-1);
    NAMES
        .iter()
        .find(|(number, _)| *number == call)
        .map_or_else(|| call.to_string(), |(_, name)| (*name).to_owned())
}

const NAMES: &[(i64, &str)] = &[
    (libc::SYS_read, "read"),
    (libc::SYS_write, "write"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_openat2, "openat2"),
    (libc::SYS_close, "close"),
    (libc::SYS_socketpair, "socketpair"),
    (libc::SYS_socket, "socket"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_pipe2, "pipe2"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_clone3, "clone3"),
    (libc::SYS_vfork, "vfork"),
    (libc::SYS_fork, "fork"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_execveat, "execveat"),
    (libc::SYS_exit, "exit"),
    (libc::SYS_exit_group, "exit_group"),
    (libc::SYS_wait4, "wait4"),
    (libc::SYS_waitid, "waitid"),
    (libc::SYS_kill, "kill"),
    (libc::SYS_pidfd_open, "pidfd_open"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"),
    (libc::SYS_pidfd_getfd, "pidfd_getfd"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_open_tree, "open_tree"),
    (libc::SYS_move_mount, "move_mount"),
    (libc::SYS_fsopen, "fsopen"),
    (libc::SYS_fsconfig, "fsconfig"),
    (libc::SYS_fsmount, "fsmount"),
    (libc::SYS_mount_setattr, "mount_setattr"),
    (libc::SYS_pivot_root, "pivot_root"),
    (libc::SYS_chroot, "chroot"),
    (libc::SYS_rename, "rename"),
    (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"),
    (libc::SYS_mkdir, "mkdir"),
    (libc::SYS_mkdirat, "mkdirat"),
    (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_unlink, "unlink"),
    (libc::SYS_unlinkat, "unlinkat"),
    (libc::SYS_mknod, "mknod"),
    (libc::SYS_mknodat, "mknodat"),
    (libc::SYS_link, "link"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlink, "symlink"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_sethostname, "sethostname"),
    (libc::SYS_setdomainname, "setdomainname"),
    (libc::SYS_prctl, "prctl"),
    (libc::SYS_capset, "capset"),
    (libc::SYS_setgroups, "setgroups"),
    (libc::SYS_setresuid, "setresuid"),
    (libc::SYS_setresgid, "setresgid"),
    (libc::SYS_setsid, "setsid"),
    (libc::SYS_seccomp, "seccomp"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_close_range, "close_range"),
    (libc::SYS_chdir, "chdir"),
    (libc::SYS_fchdir, "fchdir"),
    (libc::SYS_dup3, "dup3"),
    (libc::SYS_dup2, "dup2"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_poll, "poll"),
    (libc::SYS_ppoll, "ppoll"),
    (libc::SYS_epoll_wait, "epoll_wait"),
    (libc::SYS_memfd_create, "memfd_create"),
    (libc::SYS_fcntl, "fcntl"),
    (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_getdents64, "getdents64"),
    (libc::SYS_mmap, "mmap"),
    (libc::SYS_munmap, "munmap"),
    (libc::SYS_brk, "brk"),
    (libc::SYS_rt_sigaction, "rt_sigaction"),
    (libc::SYS_rt_sigprocmask, "rt_sigprocmask"),
    (libc::SYS_signalfd4, "signalfd4"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_newfstatat, "newfstatat"),
    (libc::SYS_statx, "statx"),
    (libc::SYS_fstat, "fstat"),
    (libc::SYS_prlimit64, "prlimit64"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_lseek, "lseek"),
    (libc::SYS_pread64, "pread64"),
    (libc::SYS_getrandom, "getrandom"),
    (libc::SYS_tgkill, "tgkill"),
];
