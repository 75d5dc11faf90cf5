//! socketcall(2) and ipc(2): one system call that does the work of many others, chosen by its first argument.
//!
//! Old 32-bit programs reach `socket` or `shmget` only this way, so a rule for such a name has to hold there, too. The further arguments
//! lie in memory, where no filter can read them: see `policy` for what becomes of rules that look at arguments.

/// The place of a system call behind a multiplexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    None,
    Socket(u8),
    Ipc(u8),
}

/// socketcall's first argument, from `linux/net.h`; the first name has number 1.
const SOCKET: [&[u8]; 20] = [
    b"socket",
    b"bind",
    b"connect",
    b"listen",
    b"accept",
    b"getsockname",
    b"getpeername",
    b"socketpair",
    b"send",
    b"recv",
    b"sendto",
    b"recvfrom",
    b"shutdown",
    b"setsockopt",
    b"getsockopt",
    b"sendmsg",
    b"recvmsg",
    b"accept4",
    b"recvmmsg",
    b"sendmmsg",
];

/// ipc's first argument, from `linux/ipc.h`.
const IPC: [(&[u8], u8); 12] = [
    (b"semop", 1),
    (b"semget", 2),
    (b"semctl", 3),
    (b"semtimedop", 4),
    (b"msgsnd", 11),
    (b"msgrcv", 12),
    (b"msgget", 13),
    (b"msgctl", 14),
    (b"shmat", 21),
    (b"shmdt", 22),
    (b"shmget", 23),
    (b"shmctl", 24),
];

/// Returns the place of a name behind a multiplexer.
pub(crate) const fn part(name: &[u8]) -> Part {
    let mut call = 0;
    while call < SOCKET.len() {
        if same(name, SOCKET[call]) {
            #[expect(clippy::cast_possible_truncation, reason = "20 names")]
            return Part::Socket(call as u8 + 1);
        }
        call += 1;
    }
    let mut call = 0;
    while call < IPC.len() {
        if same(name, IPC[call].0) {
            return Part::Ipc(IPC[call].1);
        }
        call += 1;
    }
    Part::None
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
