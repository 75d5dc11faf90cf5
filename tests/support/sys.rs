//! The system calls that the tests need and std lacks; the only file of the tests with `unsafe`.
#![expect(unsafe_code, reason = "the one door of the tests to the kernel")]

mod files;
mod sockets;

pub use files::attribute;
pub use sockets::small_send_buffer;

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn c(path: impl AsRef<OsStr>) -> CString {
    CString::new(path.as_ref().as_bytes()).expect("test paths have no NUL byte")
}

fn check(rc: i32) -> io::Result<i32> {
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

// ---- mounts and namespaces ----

/// Gives the calling thread, and what it starts, a network namespace of its own, with nothing in it but `lo`.
pub fn private_network() -> io::Result<()> {
    // SAFETY: unshare of a namespace takes integers only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Gives the calling thread (and what it starts from now on) a mount namespace of its own, with nothing shared.
pub fn private_mounts() -> io::Result<()> {
    // SAFETY: takes no pointer; CLONE_NEWNS affects the calling thread alone, which is what the caller wants.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// Calls mount(2); empty strings stand for absent arguments.
pub fn mount(
    source: impl AsRef<OsStr>,
    target: impl AsRef<OsStr>,
    kind: &str,
    flags: u64,
    data: &str,
) -> io::Result<()> {
    let (source, target, kind, data) = (c(source), c(target), c(kind), c(data));
    // SAFETY: four NUL-terminated strings that live until the call returns; the kernel only reads them.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    })?;
    Ok(())
}

/// Detaches what is mounted at `target`.
pub fn umount(target: impl AsRef<OsStr>) -> io::Result<()> {
    let target = c(target);
    // SAFETY: a NUL-terminated string that lives until the call returns.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) })?;
    Ok(())
}

/// Makes a device node, a fifo or an empty file, by the type bits of `mode`.
pub fn mknod(path: &Path, mode: u32, device: (u32, u32)) -> io::Result<()> {
    let path = c(path);
    // SAFETY: a NUL-terminated string that lives until the call returns.
    check(unsafe { libc::mknod(path.as_ptr(), mode, libc::makedev(device.0, device.1)) })?;
    Ok(())
}

/// Exchanges two names atomically.
pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    let (a, b) = (c(a), c(b));
    // SAFETY: two NUL-terminated strings that live until the call returns.
    check(unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            a.as_ptr(),
            libc::AT_FDCWD,
            b.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    })?;
    Ok(())
}

// ---- processes ----

/// Sends a signal; 0 only asks whether the process is there.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes no pointer; a wrong pid is answered by ESRCH.
    check(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

/// Returns runtime, deadline and period of a process under the policy for deadlines, in nanoseconds (sched_getattr(2)).
pub fn deadline(pid: i32) -> io::Result<[u64; 3]> {
    let mut attr = [0u64; 6];
    // SAFETY: the kernel writes at most the 48 bytes that it is told of, which `attr` has.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, pid, attr.as_mut_ptr(), 48, 0) };
    let found = (done == 0).then_some([attr[3], attr[4], attr[5]]);
    found.ok_or_else(io::Error::last_os_error)
}

/// Makes the started program adopt the orphans among its descendants, as a container monitor does.
pub fn adopt_orphans(command: &mut Command) {
    // SAFETY: prctl is async-signal-safe and takes no pointer; the attribute survives the exec.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)).map(drop));
    }
}

/// Gives `fd` to the started program under the number `number`, below 100.
pub fn give_fd(command: &mut Command, fd: impl Into<OwnedFd>, number: RawFd) {
    let fd = fd.into();
    // Above all numbers that are given, lest one gift land on the source of another.
    // SAFETY: fcntl takes an open fd and a number; the fd that it returns is new and owned by nobody else.
    let high = unsafe {
        let raw = libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100);
        OwnedFd::from_raw_fd(check(raw).expect("an fd to duplicate"))
    };
    // SAFETY: dup2 is async-signal-safe; the closure owns `high`, so it is open when the child runs.
    unsafe {
        command.pre_exec(move || check(libc::dup2(high.as_raw_fd(), number)).map(drop));
    }
}

/// Lets the kernel answer an error to a system call of the started program and its descendants.
pub fn deny(command: &mut Command, call: i64, errno: i32) {
    // SAFETY: the child is alone with a copy of this memory, in which nobody holds the allocator's lock (fork(2) of the GNU C library).
    unsafe {
        command.pre_exec(move || answer(errno, &[call], None));
    }
}

/// Starts the program as the leader of a new session whose controlling terminal is its stdin, whose keys work: a shell has their signals (1, 2, 3) ignored by what it starts in the background.
pub fn own_terminal(command: &mut Command) {
    // SAFETY: these calls are async-signal-safe and take no pointer of ours.
    unsafe {
        command.pre_exec(|| {
            check(libc::setsid())?;
            let _before = [1, 2, 3].map(|signal| libc::signal(signal, libc::SIG_DFL));
            check(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop)
        });
    }
}

/// Reports whether the process behind a pidfd has ended.
pub fn pidfd_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut poll = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd on this stack, as the count says.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
}

// ---- terminals ----

/// Opens a pseudo terminal: (master, slave).
pub fn open_pty() -> io::Result<(File, File)> {
    // SAFETY: posix_openpt takes no pointer; on success the fd is new and nobody else owns it.
    let master = unsafe {
        File::from_raw_fd(check(libc::posix_openpt(
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        ))?)
    };
    // SAFETY: both take only the fd that `master` keeps open.
    unsafe {
        check(libc::grantpt(master.as_raw_fd()))?;
        check(libc::unlockpt(master.as_raw_fd()))?;
    }
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the ioctl takes flags by value and returns a new fd that nobody else owns.
    let slave = unsafe {
        File::from_raw_fd(check(libc::ioctl(
            master.as_raw_fd(),
            libc::TIOCGPTPEER,
            flags,
        ))?)
    };
    Ok((master, slave))
}

/// Returns how many bytes wait to be read (FIONREAD).
pub fn unread(fd: BorrowedFd<'_>) -> io::Result<i32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which lives across the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut bytes) })?;
    Ok(bytes)
}

/// Sets a terminal's size: (rows, columns). The kernel sends SIGWINCH to its foreground processes.
pub fn set_window(terminal: &File, size: (u16, u16)) -> io::Result<()> {
    let window = libc::winsize {
        ws_row: size.0,
        ws_col: size.1,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the ioctl reads one winsize from this stack.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const window) })?;
    Ok(())
}

/// Returns a terminal's size: (rows, columns).
pub fn window(terminal: &File) -> io::Result<(u16, u16)> {
    let mut window = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: the ioctl fills one winsize, for which all-zero is a valid value as well.
    let window = unsafe {
        check(libc::ioctl(
            terminal.as_raw_fd(),
            libc::TIOCGWINSZ,
            window.as_mut_ptr(),
        ))?;
        window.assume_init()
    };
    Ok((window.ws_row, window.ws_col))
}

/// Returns a terminal's settings as (input, output, control, local) flags, enough to see whether it is raw.
pub fn terminal_flags(terminal: &File) -> io::Result<[u32; 4]> {
    let mut settings = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: tcgetattr fills the termios, for which all-zero is a valid value as well.
    let settings = unsafe {
        check(libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()))?;
        settings.assume_init()
    };
    Ok([
        settings.c_iflag,
        settings.c_oflag,
        settings.c_cflag,
        settings.c_lflag,
    ])
}

// ---- fds through sockets ----

/// Receives one message and the fds that came with it (at most 8).
fn receive(socket: RawFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = vec![0u8; 8192];
    // u64 keeps the control buffer aligned as cmsghdr demands.
    let mut control = [0u64; 16];
    let mut part = libc::iovec {
        iov_base: text.as_mut_ptr().cast(),
        iov_len: text.len(),
    };
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let got = loop {
        // SAFETY: the message points to buffers on this frame with their true lengths.
        let got = unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        if let Ok(got) = usize::try_from(got) {
            break got;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    text.truncate(got);
    let mut fds = Vec::new();
    // SAFETY: the kernel filled msg_control and set msg_controllen; CMSG_* walk within that, and every fd in an SCM_RIGHTS
    // message is new in this process and owned by nobody else.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(part) = header.as_ref() {
            if part.cmsg_level == libc::SOL_SOCKET && part.cmsg_type == libc::SCM_RIGHTS {
                let start = libc::CMSG_DATA(header).cast::<RawFd>();
                let room =
                    part.cmsg_len - usize::try_from(libc::CMSG_LEN(0)).expect("a header fits");
                for index in 0..room / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(start.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok((text, fds))
}

/// Receives one message with its fds from a stream.
pub fn receive_fds(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    receive(stream.as_raw_fd())
}

/// Receives one datagram with its fds.
pub fn receive_datagram(socket: &UnixDatagram) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    receive(socket.as_raw_fd())
}

// ---- system calls that wait for an answer ----

/// One system call that a filter hands on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Call {
    id: u64,
    pub pid: u32,
    flags: u32,
    pub number: i32,
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

/// Waits for the next call at a listener's descriptor; None once nobody is left who could make one.
pub fn next_call(listener: BorrowedFd<'_>) -> io::Result<Option<Call>> {
    const SECCOMP_IOCTL_NOTIF_RECV: libc::c_ulong = 0xc050_2100;
    let mut poll = libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, which lives across the call.
    check(unsafe { libc::poll(&raw mut poll, 1, -1) })?;
    if poll.revents & libc::POLLIN == 0 {
        return Ok(None);
    }
    // SAFETY: all-zero is a valid Call, and the kernel demands it.
    let mut call: Call = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the kernel writes one seccomp_notif, of which Call is the layout.
    match check(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut call,
        )
    }) {
        Ok(_) => Ok(Some(call)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers a call: it fails with this error number, or is carried out where that is 0.
pub fn answer_call(listener: BorrowedFd<'_>, call: &Call, errno: i32) -> io::Result<()> {
    const SECCOMP_IOCTL_NOTIF_SEND: libc::c_ulong = 0xc018_2101;
    const CONTINUE: u32 = 1;
    #[repr(C)]
    struct Answer {
        id: u64,
        value: i64,
        error: i32,
        flags: u32,
    }
    let mut answer = Answer {
        id: call.id,
        value: 0,
        error: -errno,
        flags: if errno == 0 { CONTINUE } else { 0 },
    };
    // SAFETY: the kernel reads one seccomp_notif_resp, of which Answer is the layout.
    check(unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut answer,
        )
    })
    .map(drop)
}

// ---- tracing ----

/// What a traced process has stopped for, or how it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The exit code, or minus the signal.
    Ended(i32),
    /// At the entry or the exit of a system call.
    Syscall,
    /// A fork, vfork or clone made this process.
    Born(i32),
    Exec,
    /// Stopped like a shell's job, or for the first time.
    Stopped {
        job: bool,
    },
    Signal(i32),
}

/// Starts `argv` as a traced process that waits until `release` is written to.
pub fn spawn_traced(argv: &[std::ffi::OsString], stdout: RawFd) -> io::Result<(i32, File)> {
    assert_eq!(
        std::fs::read_dir("/proc/self/task")?.count(),
        1,
        "only a process with one thread can fork in safety"
    );
    let words: Vec<CString> = argv.iter().map(c).collect();
    let mut list: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    list.push(std::ptr::null());
    let (hold, release) = io::pipe()?;
    // SAFETY: this process has one thread, so the child may run anything; it calls only async-signal-safe functions.
    let pid = check(unsafe { libc::fork() })?;
    if pid == 0 {
        let mut byte = 0u8;
        // SAFETY: the byte lives on this stack; `list` is NULL-terminated and its strings live until the exec.
        unsafe {
            libc::dup2(stdout, 1);
            libc::read(hold.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::execvp(list[0], list.as_ptr());
            libc::_exit(127);
        }
    }
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    // SAFETY: SEIZE and INTERRUPT take no address; the data of SEIZE are flags.
    unsafe {
        trace_check(libc::ptrace(
            libc::PTRACE_SEIZE,
            pid,
            0usize,
            usize::try_from(options).expect("positive flags"),
        ))?;
        trace_check(libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0usize, 0usize))?;
    }
    Ok((pid, File::from(OwnedFd::from(release))))
}

fn trace_check(rc: libc::c_long) -> io::Result<()> {
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Waits for any traced process; None when there is none left.
pub fn wait_traced() -> io::Result<Option<(i32, Event)>> {
    let mut status = 0;
    // SAFETY: the status lives on this stack.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
    if pid < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ECHILD) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    if libc::WIFEXITED(status) {
        return Ok(Some((pid, Event::Ended(libc::WEXITSTATUS(status)))));
    }
    if libc::WIFSIGNALED(status) {
        return Ok(Some((pid, Event::Ended(-libc::WTERMSIG(status)))));
    }
    let signal = libc::WSTOPSIG(status);
    let event = match status >> 16 {
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
            Event::Born(event_message(pid)?)
        }
        libc::PTRACE_EVENT_EXEC => Event::Exec,
        libc::PTRACE_EVENT_STOP => Event::Stopped {
            job: signal != libc::SIGTRAP,
        },
        _ if signal == libc::SIGTRAP | 0x80 => Event::Syscall,
        _ => Event::Signal(signal),
    };
    Ok(Some((pid, event)))
}

fn event_message(pid: i32) -> io::Result<i32> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: GETEVENTMSG writes one unsigned long, which lives on this stack.
    unsafe {
        trace_check(libc::ptrace(
            libc::PTRACE_GETEVENTMSG,
            pid,
            0usize,
            &raw mut message,
        ))?
    };
    i32::try_from(message).map_err(io::Error::other)
}

/// Returns the number of the system call when the stopped process is at its entry.
pub fn syscall_at_entry(pid: i32) -> io::Result<Option<u64>> {
    let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of::<libc::ptrace_syscall_info>();
    // SAFETY: the kernel writes at most `size` bytes; all-zero is a valid value for what it does not write.
    let info = unsafe {
        trace_check(libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            pid,
            size,
            info.as_mut_ptr(),
        ))?;
        info.assume_init()
    };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    // SAFETY: `op` says that the kernel filled the member `entry`.
    Ok(Some(unsafe { info.u.entry.nr }))
}

/// How a stopped process goes on.
#[derive(Debug, Clone, Copy)]
pub enum Resume {
    /// To its next system call.
    Traced { signal: i32 },
    /// As nobody's tracee.
    Free { signal: i32 },
    /// It stays stopped as a shell's job, but events still come.
    Listen,
}

/// Lets a stopped process go on; that it has ended meanwhile is no error.
pub fn resume(pid: i32, how: Resume) {
    let (request, signal) = match how {
        Resume::Traced { signal } => (libc::PTRACE_SYSCALL, signal),
        Resume::Free { signal } => (libc::PTRACE_DETACH, signal),
        Resume::Listen => (libc::PTRACE_LISTEN, 0),
    };
    // SAFETY: none of the three takes an address; the data is a signal number.
    unsafe {
        libc::ptrace(
            request,
            pid,
            0usize,
            usize::try_from(signal).expect("signals are positive"),
        )
    };
}

// ---- older kernels ----

/// Makes the kernel answer an error to these system calls, and to all from a number upwards, for this process and its descendants.
pub fn answer(errno: i32, calls: &[i64], from: Option<i64>) -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("BPF codes have 16 bits"),
        jt: 0,
        jf: 0,
        k,
    };
    // The number is the first word of seccomp_data, on x86-64 as elsewhere.
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    let answer = libc::SECCOMP_RET_ERRNO | u32::try_from(errno).expect("positive");
    let calls = calls.iter().map(|call| (libc::BPF_JEQ, *call));
    for (comparison, call) in calls.chain(from.map(|call| (libc::BPF_JGE, call))) {
        let number = u32::try_from(call).expect("system calls are positive");
        program.push(libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | comparison | libc::BPF_K, number)
        });
        program.push(statement(libc::BPF_RET | libc::BPF_K, answer));
    }
    program.push(statement(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
    ));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    let load = || {
        // SAFETY: `filter` and the program that it points to live until the call returns, and the kernel only reads them.
        check(unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            )
        })
    };
    match load() {
        // An ordinary user may do it where nothing that is executed gives privileges.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            // SAFETY: the call takes integers only.
            check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
            load()
        }
        other => other,
    }?;
    Ok(())
}
