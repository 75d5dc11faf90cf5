//! A process that is surely the one that was meant, though its id may be given to another when it has ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::fs::{Mode, OFlag, open, read};
use crate::newer::Newer;
use crate::process::{Exit, Namespaces, PollFd, PollFlags, PollTimeout, setns, wait_ready, waitid};
use crate::{Errno, Result, check, owned};

/// How often a process is looked at where nothing tells of its end.
const LOOK: Duration = Duration::from_millis(5);

/// A process, known by a pidfd (pidfd_open(2), Linux 5.3), or else by its id: as our child, or with the time at which it started, which is
/// compared before each use.
#[derive(Debug)]
pub struct Handle {
    pid: Pid,
    by: By,
}

#[derive(Debug)]
enum By {
    Pidfd(OwnedFd),
    /// A child of ours, whose id is its own until we have waited for it, where there is no `/proc` to look it up in.
    Child,
    Start(u64),
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` and so on, field 3.
    pub state: u8,
    /// The kernel's flags of the process, field 9.
    pub flags: u64,
    /// When it started, in clock ticks since boot, field 22.
    pub start: u64,
}

impl Stat {
    /// Reads it for a process that is there now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        // One read: procfs files tell no size, and the line is short.
        let path = format!("/proc/{pid}/stat");
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = open(path.as_str(), flags, Mode::empty()).ok()?;
        let mut buffer = [0; 1024];
        let length = read(&file, &mut buffer).ok()?;
        Self::parse(&String::from_utf8_lossy(&buffer[..length]))
    }

    /// Reads it from the line. The command's name is in parentheses and may hold anything, parentheses too: the fields start behind the
    /// last one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.bytes().next()?;
        Some(Self {
            state,
            flags: fields.nth(5)?.parse().ok()?,
            start: fields.nth(12)?.parse().ok()?,
        })
    }

    /// Whether the process still runs; a zombie does not.
    #[must_use]
    pub fn is_alive(self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }
}

impl Handle {
    /// Takes hold of a process. Whether it is still the one that was meant is for the caller to ask, afterwards.
    pub fn open(pid: Pid) -> Result<Self> {
        match pidfd_open(pid) {
            Err(Errno::ENOSYS) => {
                let stat = Stat::of(pid.as_raw()).ok_or(Errno::ESRCH)?;
                let by = By::Start(stat.start);
                Ok(Self { pid, by })
            }
            other => Ok(Self::of_pidfd(pid, other?)),
        }
    }

    /// Takes hold of a child of ours that has not been waited for, which may be in another pid namespace than `/proc` shows.
    pub fn child(pid: Pid) -> Result<Self> {
        match pidfd_open(pid) {
            Err(Errno::ENOSYS) => {
                let by = By::Child;
                Ok(Self { pid, by })
            }
            other => Ok(Self::of_pidfd(pid, other?)),
        }
    }

    pub(crate) fn of_pidfd(pid: Pid, pidfd: OwnedFd) -> Self {
        let by = By::Pidfd(pidfd);
        Self { pid, by }
    }

    pub(crate) fn of_child(pid: Pid) -> Self {
        // A copy of this process, whose child it is not, may want to know it, too.
        let by = Stat::of(pid.as_raw()).map_or(By::Child, |stat| By::Start(stat.start));
        Self { pid, by }
    }

    /// Tells whether processes are known by their start here.
    pub(crate) fn is_lacking() -> bool {
        matches!(pidfd_open(nix::unistd::getpid()), Err(Errno::ENOSYS))
    }

    /// Returns the pidfd, if there is one.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &self.by {
            By::Pidfd(pidfd) => Some(pidfd.as_fd()),
            By::Child | By::Start(_) => None,
        }
    }

    /// Sends a signal by number; 0 asks only whether the process is there, and a zombie is.
    ///
    /// Without pidfd_send_signal(2) (Linux 5.1) by its id, right after a look at the process. A child of ours that has not been waited for cannot
    /// go between the two; of any other process the id would have to be given away in that moment.
    pub fn signal(&self, signal: i32) -> Result<()> {
        if let By::Pidfd(pidfd) = &self.by {
            match pidfd_signal(pidfd.as_fd(), signal) {
                Err(Errno::ENOSYS) => {}
                other => return other,
            }
        }
        if self.is_there() {
            crate::process::kill(self.pid, signal)
        } else {
            Err(Errno::ESRCH)
        }
    }

    /// Tells whether the id is still the process's, which may be a zombie.
    fn is_there(&self) -> bool {
        match &self.by {
            By::Pidfd(_) => !self.has_ended(PollTimeout::ZERO).unwrap_or(true),
            By::Child => peek(self.pid).is_ok(),
            By::Start(start) => {
                Stat::of(self.pid.as_raw()).is_some_and(|stat| stat.start == *start)
            }
        }
    }

    fn is_alive(&self) -> bool {
        match &self.by {
            By::Pidfd(_) => self.is_there(),
            By::Child => peek(self.pid) == Ok(false),
            By::Start(start) => Stat::of(self.pid.as_raw())
                .is_some_and(|stat| stat.start == *start && stat.is_alive()),
        }
    }

    /// Tells whether the process has ended, waiting at most `timeout`.
    pub fn has_ended(&self, timeout: PollTimeout) -> Result<bool> {
        self.or_ready(&mut Vec::new(), timeout)
    }

    /// Waits until one of the descriptors has an event or the process ends, at most `timeout`; tells whether it has ended.
    pub fn or_ready<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, timeout: PollTimeout) -> Result<bool> {
        match &self.by {
            By::Pidfd(pidfd) => {
                fds.push(PollFd::new(pidfd.as_fd(), PollFlags::POLLIN));
                wait_ready(fds, timeout)?;
                Ok(fds.pop().and_then(|fd| fd.any()).unwrap_or(false))
            }
            By::Child | By::Start(_) => self.look_or_ready(fds, timeout),
        }
    }

    fn look_or_ready(&self, fds: &mut [PollFd<'_>], timeout: PollTimeout) -> Result<bool> {
        let limited = timeout.is_some().then(|| timeout.duration()).flatten();
        let end = limited.map(|limit| Instant::now() + limit);
        let look = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
        loop {
            // In this order: what the process did last is an event that comes with its end.
            let ended = !self.is_alive();
            let over = ended || end.is_some_and(|end| Instant::now() >= end);
            let wait = if over { PollTimeout::ZERO } else { look };
            if wait_ready(fds, wait)? > 0 || over {
                return Ok(ended);
            }
        }
    }

    /// Tells whether it is a child of ours that has not been waited for.
    #[must_use]
    pub fn is_child(&self) -> bool {
        let Ok(id) = libc::id_t::try_from(self.pid.as_raw()) else {
            return false;
        };
        waitid(libc::P_PID, id, libc::WNOHANG | libc::WNOWAIT).is_ok()
    }

    /// Waits for a child of ours and reaps it.
    pub fn wait(&self) -> Result<Exit> {
        let id = libc::id_t::try_from(self.pid.as_raw()).map_err(|_| Errno::ECHILD)?;
        // By its id, which is its own until this call takes it away.
        waitid(libc::P_PID, id, 0)?
            .map(|(_, exit)| exit)
            .ok_or(Errno::ECHILD)
    }

    /// Moves into namespaces of the process (setns(2) with a pidfd, Linux 5.8; else by the files of `/proc/PID/ns`).
    pub fn enter(&self, kinds: Namespaces) -> Result<()> {
        if let By::Pidfd(pidfd) = &self.by {
            match setns(pidfd, kinds) {
                // A kernel from before 5.8 takes no pidfd.
                Err(Errno::EINVAL | Errno::EBADF) => {}
                other => return other,
            }
        }
        // All are opened first: afterwards `/proc` may be a container's.
        let mut files = Vec::new();
        for (file, kind) in NAMESPACE_FILES {
            if kinds.contains(kind) {
                let path = format!("/proc/{}/ns/{file}", self.pid);
                let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
                files.push((open(path.as_str(), flags, Mode::empty())?, kind));
            }
        }
        // After opening: had the process ended meanwhile, the files might be another's.
        if !self.is_alive() {
            return Err(Errno::ESRCH);
        }
        // Those that our own privileges do not reach are tried again with those of the user namespace, which comes last.
        let mut denied = Vec::new();
        for (file, kind) in files {
            match setns(&file, kind) {
                Err(Errno::EPERM) if kind != Namespaces::USER => denied.push((file, kind)),
                other => other?,
            }
        }
        let again = |(file, kind)| setns(file, kind);
        denied.into_iter().try_for_each(again)
    }
}

/// Tells whether a child of ours has ended, without reaping it; `ECHILD`: it is none, or not any more.
fn peek(pid: Pid) -> Result<bool> {
    let id = libc::id_t::try_from(pid.as_raw()).map_err(|_| Errno::ECHILD)?;
    waitid(libc::P_PID, id, libc::WNOWAIT | libc::WNOHANG).map(|ended| ended.is_some())
}

/// The name of each kind of namespace in `/proc/PID/ns`; the user namespace last.
pub const NAMESPACE_FILES: [(&str, Namespaces); 8] = [
    ("ipc", Namespaces::IPC),
    ("uts", Namespaces::UTS),
    ("net", Namespaces::NETWORK),
    ("pid", Namespaces::PID),
    ("cgroup", Namespaces::CGROUP),
    ("time", Namespaces::TIME),
    ("mnt", Namespaces::MOUNT),
    ("user", Namespaces::USER),
];

fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    let opened = Newer::PidfdOpen.call(|| {
        // SAFETY: pidfd_open takes integers only.
        owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
    });
    opened.map_err(|errno| match errno {
        // The number is a thread's, or that of a group of processes whose first one is gone: no process has it.
        Errno::EINVAL | Errno::ENOENT => Errno::ESRCH,
        other => other,
    })
}

fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    use std::os::fd::AsRawFd;
    let none = std::ptr::null::<libc::siginfo_t>();
    Newer::PidfdSignal.call(|| {
        // SAFETY: a null siginfo means an ordinary kill(2).
        check(unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                pidfd.as_raw_fd(),
                signal,
                none,
                0,
            )
        })
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::{Errno, Handle, Pid, Stat};

    #[test]
    fn a_number_that_no_process_has_is_nobodys() {
        let opened = |pid: u32| {
            let pid = i32::try_from(pid).expect("a process id");
            Handle::open(Pid::from_raw(pid)).map(drop)
        };
        let mut first = Command::new("sh")
            .args(["-c", "sleep 10 >/dev/null & echo $!"])
            .process_group(0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("start sh");
        let group = first.id();
        first.wait().expect("wait for sh");
        let said = std::io::read_to_string(first.stdout.take().expect("a pipe")).expect("a number");
        let second: u32 = said.trim().parse().expect("a process id");
        assert_eq!((opened(group), opened(second)), (Err(Errno::ESRCH), Ok(())));
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw().unsigned_abs())
                .expect("a listener");
            ended.recv().ok();
        });
        let living = told.recv().expect("a thread's number");
        assert_eq!(opened(living), Err(Errno::ESRCH));
        drop(end);
        thread.join().expect("a thread");
        Handle::open(Pid::from_raw(second.cast_signed()))
            .and_then(|process| process.signal(libc::SIGKILL))
            .expect("end sleep");
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 10 18446744073709551615";
        let stat = Stat::parse(text).expect("a stat line");
        assert_eq!(
            (stat.state, stat.flags, stat.start),
            (b'S', 4_194_560, 4711)
        );
    }
}
