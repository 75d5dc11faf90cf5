//! Making, entering, waiting for and replacing processes.

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::handle::{Handle, NAMESPACE_FILES, Stat};
use bitflags::bitflags;
pub use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
pub use nix::sys::prctl::{
    get_pdeathsig, set_child_subreaper, set_dumpable, set_keepcaps, set_no_new_privs, set_pdeathsig,
};
pub use nix::sys::resource::rlim_t;
pub use nix::sys::signal::Signal;
pub use nix::unistd::{
    Pid, chroot, getegid, geteuid, getpid, getppid, setgroups, sethostname, setresgid, setresuid,
    setsid,
};

use crate::fs::{AT_FDCWD, AtFlags, Mode, OFlag, fstatat, open};
use crate::newer::Newer;
use crate::{Errno, Result, check, descriptors};

bitflags! {
    /// Kinds of namespaces, with the kernel's `CLONE_NEW*` values.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Namespaces: u64 {
        const TIME = 0x0000_0080;
        const MOUNT = 0x0002_0000;
        const CGROUP = 0x0200_0000;
        const UTS = 0x0400_0000;
        const IPC = 0x0800_0000;
        const USER = 0x1000_0000;
        const PID = 0x2000_0000;
        const NETWORK = 0x4000_0000;
    }
}

const CLONE_PARENT: u64 = 0x0000_8000;
const CLONE_PIDFD: u64 = 0x0000_1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A child process.
#[derive(Debug)]
pub struct Child {
    pub pid: Pid,
    pub handle: Handle,
}

/// A cgroup (v2) to be born in.
#[derive(Debug, Clone, Copy)]
pub struct CgroupDoor<'a> {
    pub dir: BorrowedFd<'a>,
    /// Set before the clone where the kernel does not let the child start there: it has to go in by itself.
    pub closed: &'a Cell<bool>,
}

/// How a child is to be born.
#[derive(Debug, Default, Clone, Copy)]
pub struct Birth<'a> {
    /// The namespaces that are made for it.
    pub namespaces: Namespaces,
    /// The cgroup (v2) that it starts in; Linux 5.7.
    pub cgroup: Option<CgroupDoor<'a>>,
    /// Whether its parent is our parent instead of us.
    pub sibling: bool,
}

/// Whether this process was made by [`clone3`], and so has one thread: none of ours begins another.
static CLONED: AtomicBool = AtomicBool::new(false);

/// Makes a process with clone3(2), or clone(2) before Linux 5.3, that runs `body` on a copy of this address space and exits with what it
/// returns.
///
/// Works only while this process has one thread (`EBUSY` otherwise): another thread could hold a lock of the allocator at
/// that moment, and the copy would wait for it for ever.
pub fn clone3(birth: Birth<'_>, body: impl FnOnce() -> i32) -> Result<Child> {
    // A task directory has two links of its own and one per thread (proc(5)). Whoever was cloned here has one, and may be where no procfs
    // shows it.
    if !CLONED.load(Ordering::Relaxed)
        && fstatat(AT_FDCWD, "/proc/self/task", AtFlags::empty())?.st_nlink != 3
    {
        return Err(Errno::EBUSY);
    }
    descriptors::close_list();
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: birth.namespaces.bits() | CLONE_PIDFD,
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = birth.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.dir.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    }
    if birth.sibling {
        // clone3 refuses an exit signal here: a sibling inherits the one of its creator.
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0;
    }
    let clone = |args: &mut CloneArgs| {
        let cloned = Newer::Clone3.call(|| {
            // SAFETY: without CLONE_VM the child gets a copy of this address space, like fork(2). The process has one thread, checked
            // above, so no lock is held elsewhere. `args` and the pidfd slot live across the call.
            check(unsafe {
                libc::syscall(libc::SYS_clone3, &raw mut *args, size_of::<CloneArgs>())
            })
        });
        match cloned {
            Err(Errno::ENOSYS) => clone_before_5_3(args),
            other => other,
        }
    };
    let pid = match (clone(&mut args), birth.cgroup) {
        // An old kernel, a cgroup with others below it, a lack of rights over the way there: any reason will be given again,
        // with the file it comes from, to the child that goes in by itself; if it comes from something else, to the clone.
        (Err(_), Some(cgroup)) => {
            cgroup.closed.set(true);
            args.flags &= !CLONE_INTO_CGROUP;
            args.cgroup = 0;
            clone(&mut args)?
        }
        (cloned, _) => cloned?,
    };
    if pid == 0 {
        CLONED.store(true, Ordering::Relaxed);
        exit(body());
    }
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)?);
    let handle = if pidfd < 0 {
        Handle::of_child(pid)
    } else {
        // SAFETY: the clone returned a pid and the kernel has written `pidfd`, so nobody else owns it.
        Handle::of_pidfd(pid, unsafe { OwnedFd::from_raw_fd(pidfd) })
    };
    Ok(Child { pid, handle })
}

/// Does the same by clone(2), as far as that can: not into a cgroup, nor, in one call, into a time namespace.
fn clone_before_5_3(args: &mut CloneArgs) -> Result<libc::c_long> {
    if args.flags & CLONE_INTO_CGROUP != 0 {
        return Err(Errno::ENOSYS);
    }
    // Here the lowest byte is the exit signal's, and CLONE_NEWTIME lies in it.
    let time = args.flags & Namespaces::TIME.bits() != 0;
    if time {
        // For children only, hence for this one; what follows it goes back.
        unshare(Namespaces::TIME)?;
    }
    // A pidfd of a kernel without pidfd_open(2) cannot be waited for.
    let pidfd = if Newer::PidfdOpen.is_lacking() || Handle::is_lacking() {
        0
    } else {
        CLONE_PIDFD
    };
    let flags = (args.flags & !(Namespaces::TIME.bits() | CLONE_PIDFD)) | pidfd | args.exit_signal;
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: as above; without a stack of its own the child goes on on its copy of this one. The third argument is where clone(2)
    // writes the pidfd, and lives as long as `args` in the caller.
    let cloned =
        check(unsafe { libc::syscall(libc::SYS_clone, flags, none, args.pidfd, none, none) });
    if time && cloned != Ok(0) {
        return_to_own_time()?;
    }
    cloned
}

fn return_to_own_time() -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let own = open("/proc/self/ns/time", flags, Mode::empty())?;
    setns(own, Namespaces::TIME)
}

/// Ends this process at once: no destructors, no exit handlers, nothing flushed twice after a clone.
pub fn exit(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Moves into the namespace behind a descriptor (setns(2)), or, behind a pidfd, into several at once (Linux 5.8).
pub fn setns(fd: impl AsFd, kinds: Namespaces) -> Result<()> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "all CLONE_NEW* bits lie within 31 bits"
    )]
    let flags = kinds.bits() as libc::c_int;
    // SAFETY: setns takes integers only.
    check(unsafe { libc::setns(fd.as_fd().as_raw_fd(), flags) }.into())?;
    Ok(())
}

/// Leaves namespaces for new ones (unshare(2)).
pub fn unshare(kinds: Namespaces) -> Result<()> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "all CLONE_NEW* bits lie within 31 bits"
    )]
    let flags = kinds.bits() as libc::c_int;
    // SAFETY: unshare of namespaces takes integers only; no memory or descriptors become unshared.
    check(unsafe { libc::unshare(flags) }.into())?;
    Ok(())
}

/// Gives this thread a working directory, a root and a umask of its own, which begin as those of all threads.
pub fn own_directory() -> Result<()> {
    // SAFETY: unshare takes integers only; no memory or descriptors become unshared.
    check(unsafe { libc::unshare(libc::CLONE_FS) }.into())?;
    Ok(())
}

/// Sends a signal by number to a process id; for processes that only a cgroup's list knows.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: kill takes integers only.
    check(unsafe { libc::kill(pid.as_raw(), signal) }.into())?;
    Ok(())
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl Exit {
    /// Returns the shell's exit code: the process's own, or 128 plus the signal.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

pub(crate) fn waitid(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> Result<Option<(Pid, Exit)>> {
    // SAFETY: an all-zero siginfo is a valid value of this plain C structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: the kernel writes one siginfo, which lives across the call.
        let waited = unsafe { libc::waitid(kind, id, &raw mut info, libc::WEXITED | options) };
        match check(waited.into()) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => break,
        }
    }
    // SAFETY: waitid succeeded, so the SIGCHLD members of the union are the ones in use (or zero with WNOHANG).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let exit = if info.si_code == libc::CLD_EXITED {
        Exit::Code(status)
    } else {
        Exit::Signal(status)
    };
    Ok(Some((Pid::from_raw(pid), exit)))
}

/// Reaps one ended child of ours, whichever it is, without waiting.
pub fn reap_any() -> Result<Option<(Pid, Exit)>> {
    waitid(libc::P_ALL, 0, libc::WNOHANG)
}

/// Waits until one of the descriptors has an event; interruptions by signals are waited through.
pub fn wait_ready(fds: &mut [PollFd<'_>], timeout: PollTimeout) -> Result<i32> {
    loop {
        match poll(fds, timeout) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Strings in the shape that execve(2) takes, made before the moment when nothing may be allocated.
#[derive(Debug)]
pub struct CStrings(Vec<CString>);

impl CStrings {
    /// Copies the strings; one with a NUL inside is `EINVAL`.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Result<Self> {
        let copied = strings
            .into_iter()
            .map(|s| CString::new(s.as_ref()).map_err(|_| Errno::EINVAL));
        copied.collect::<Result<_>>().map(Self)
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.0
            .iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    }
}

/// Replaces this program (execve(2)); returns only to say why not.
pub fn execve<P: ?Sized + crate::NixPath>(
    path: &P,
    args: &CStrings,
    env: &CStrings,
) -> Result<Infallible> {
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: path, the strings and both null-terminated pointer arrays live across the call.
    path.with_nix_path(|path| unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) })?;
    Err(Errno::last())
}

/// Replaces this program by the file behind a descriptor (execveat(2) with AT_EMPTY_PATH).
pub fn execve_fd(fd: impl AsFd, args: &CStrings, env: &CStrings) -> Result<Infallible> {
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: the strings and both null-terminated pointer arrays live across the call; the path is a static empty string.
    check(unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    })?;
    Err(Errno::last())
}

/// Sets one resource limit of this process (prlimit(2)); `resource` is an `RLIMIT_*` number.
pub fn set_rlimit(resource: u32, soft: rlim_t, hard: rlim_t) -> Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the kernel reads one rlimit, which lives across the call.
    check(unsafe { libc::prlimit64(0, resource, &raw const limit, std::ptr::null_mut()) }.into())?;
    Ok(())
}

/// Joins a new, empty session keyring (keyctl(2)), so that the payload does not see the caller's keys.
pub fn new_session_keyring(name: &str) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the name is a NUL-terminated string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(())
}

/// Sets the NIS domain name of the current UTS namespace.
pub fn setdomainname(name: &str) -> Result<()> {
    // SAFETY: the bytes live across the call and the length is theirs.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into())?;
    Ok(())
}

/// Returns which kind of namespace a descriptor refers to (NS_GET_NSTYPE, Linux 4.11).
pub fn namespace_kind(fd: impl AsFd) -> Result<Namespaces> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: NS_GET_NSTYPE takes no argument and returns a CLONE_NEW* value.
    let kind = check(unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) }.into())?;
    u64::try_from(kind)
        .ok()
        .and_then(Namespaces::from_bits)
        .ok_or(Errno::EINVAL)
}
