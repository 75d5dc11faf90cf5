//! How a process shares processors, disks and memory nodes with others, and which kernel it believes to run on.

use crate::process::Pid;
use crate::{Errno, Result, check};

/// What sched_setattr(2) sets; numbers are the kernel's (linux/sched.h).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// Nanoseconds, as the next two.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// `struct sched_attr` with the fields of Linux 5.3.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Sets the scheduling policy of a process with its parameters.
pub fn set_attributes(pid: Pid, attributes: &Attributes) -> Result<()> {
    let attr = SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>()).map_err(|_| Errno::E2BIG)?,
        policy: attributes.policy,
        flags: attributes.flags,
        nice: attributes.nice,
        priority: attributes.priority,
        runtime: attributes.runtime,
        deadline: attributes.deadline,
        period: attributes.period,
        util_min: 0,
        util_max: 0,
    };
    // SAFETY: the kernel reads `size` bytes of the structure, which lives across the call.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, pid.as_raw(), &raw const attr, 0) })?;
    Ok(())
}

/// Sets the class (1 real time, 2 best effort, 3 idle) and the level within it of a process's disk accesses (ioprio_set(2)).
pub fn set_io_priority(pid: Pid, class: u8, level: u8) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    const IOPRIO_CLASS_SHIFT: u32 = 13;
    let value = libc::c_int::from(class) << IOPRIO_CLASS_SHIFT | libc::c_int::from(level);
    // SAFETY: ioprio_set takes integers only.
    check(unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            pid.as_raw(),
            value,
        )
    })?;
    Ok(())
}

/// Sets the processors that this process may run on, one bit each; as many as there are, not the C library's 1024.
pub fn set_affinity(cpus: &[u64]) -> Result<()> {
    // SAFETY: the kernel reads the bytes of the slice, which lives across the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(cpus),
            cpus.as_ptr(),
        )
    })?;
    Ok(())
}

/// Sets where this process, and all that it becomes, takes its memory from (set_mempolicy(2)); one bit for each node.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let (pointer, bits) = if nodes.is_empty() {
        (std::ptr::null(), 0)
    } else {
        // The kernel reads one bit less than it is told.
        (nodes.as_ptr(), size_of_val(nodes) * 8 + 1)
    };
    // SAFETY: the kernel reads the bits of the slice, which lives across the call, or nothing at all.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })?;
    Ok(())
}

/// Sets the execution domain of this process, and of all that it becomes (personality(2)).
pub fn set_personality(domain: u32) -> Result<()> {
    // SAFETY: personality takes an integer only.
    check(unsafe { libc::personality(libc::c_ulong::from(domain)) }.into())?;
    Ok(())
}
