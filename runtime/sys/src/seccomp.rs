//! Loading a classic BPF program as a system call filter (seccomp(2)).

use crate::{Errno, Result, check};

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

/// Installs the filter; needs no_new_privs or CAP_SYS_ADMIN in the user namespace.
pub fn load(program: &[Instruction], flags: u32) -> Result<()> {
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
    })?;
    Ok(())
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
