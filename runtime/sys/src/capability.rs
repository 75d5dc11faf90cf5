//! Capability sets of this process (capabilities(7)).

use crate::{Errno, Result, check};

const VERSION_3: u32 = 0x2008_0522;
const PR_CAPBSET_DROP: libc::c_int = 24;
const PR_CAP_AMBIENT: libc::c_int = 47;
const PR_CAP_AMBIENT_RAISE: libc::c_ulong = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: libc::c_ulong = 4;

/// The number of CAP_SETGID.
pub const SETGID: u32 = 6;
/// The number of CAP_SETUID.
pub const SETUID: u32 = 7;
/// The number of CAP_NET_ADMIN.
pub const NET_ADMIN: u32 = 12;
/// The number of CAP_SYS_ADMIN.
pub const SYS_ADMIN: u32 = 21;
/// The number of CAP_SYS_TIME.
pub const SYS_TIME: u32 = 25;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Three of the five sets, one bit per capability number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sets {
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

/// Reads the sets of this process.
pub fn get() -> Result<Sets> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 makes the kernel write exactly two data records; both live across the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(Sets {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
    })
}

/// Replaces the sets of this process.
pub fn set(sets: Sets) -> Result<()> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves of each word"
    )]
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 makes the kernel read exactly two data records; both live across the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) })?;
    Ok(())
}

fn prctl(option: libc::c_int, second: libc::c_ulong, third: libc::c_ulong) -> Result<libc::c_int> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options used in this file take integers only.
    let ret = unsafe { libc::prctl(option, second, third, zero, zero) };
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}

/// Drops from the bounding set whatever is not to be kept; what is dropped can never be had again.
pub fn limit_bounding(keep: u64) -> Result<()> {
    for number in (0..64_u32).filter(|number| keep & 1 << number == 0) {
        match prctl(PR_CAPBSET_DROP, number.into(), 0) {
            Ok(_) => {}
            // Beyond the kernel's last capability.
            Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Empties the ambient set.
pub fn clear_ambient() -> Result<()> {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0).map(drop)
}

/// Raises one capability in the ambient set; it must be permitted and inheritable.
pub fn raise_ambient(number: u32) -> Result<()> {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number.into()).map(drop)
}
