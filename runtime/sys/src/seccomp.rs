//! Loading a classic BPF program as a system call filter (seccomp(2)).

use std::os::fd::OwnedFd;

use crate::{Errno, Result, check, owned};

/// One BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

#[repr(C)]
struct Filter {
    len: u16,
    instructions: *const Instruction,
}

/// Asks for a descriptor at which calls arrive (SECCOMP_RET_USER_NOTIF, Linux 5.0).
pub const NEW_LISTENER: u32 = 1 << 3;

/// Installs the filter; needs no_new_privs or CAP_SYS_ADMIN in the user namespace.
pub fn load(program: &[Instruction], flags: u32) -> Result<()> {
    install(program, flags & !NEW_LISTENER).map(drop)
}

/// Installs the filter and returns the descriptor at which the calls arrive that it hands on.
pub fn load_listened(program: &[Instruction], flags: u32) -> Result<OwnedFd> {
    owned(install(program, flags | NEW_LISTENER)?)
}

fn install(program: &[Instruction], flags: u32) -> Result<libc::c_long> {
    let filter = Filter {
        len: u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?,
        instructions: program.as_ptr(),
    };
    // SAFETY: `filter` and the instructions it points to live across the call, and `len` is their number.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const filter,
        )
    })
}

/// Tells whether the kernel knows all of these flags. Without a program it gets no further than to look at them (seccomp(2)).
#[must_use]
pub fn knows_flags(flags: u32) -> bool {
    let none = std::ptr::null::<Filter>();
    // SAFETY: the kernel reads no memory of ours through a null pointer; it answers EFAULT, or EINVAL for an unknown flag.
    let answer = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            none,
        )
    });
    answer == Err(Errno::EFAULT)
}

/// Tells whether the kernel knows a filter action (SECCOMP_GET_ACTION_AVAIL, Linux 4.14).
#[must_use]
pub fn knows_action(action: u32) -> bool {
    // SAFETY: the call reads one u32, which lives across it.
    unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        ) == 0
    }
}
