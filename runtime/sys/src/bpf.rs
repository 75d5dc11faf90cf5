//! Programs that decide about devices in a cgroup (bpf(2), Linux 4.15).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::{Errno, Result, check, owned};

/// One eBPF instruction, laid out as the kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u8,
    /// The destination register in the low half, the source register in the high one, on little-endian machines.
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

impl Instruction {
    /// Makes an instruction of this machine's byte order.
    #[must_use]
    pub fn new(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        let registers = if cfg!(target_endian = "little") {
            source << 4 | destination
        } else {
            destination << 4 | source
        };
        Self {
            code,
            registers,
            offset,
            immediate,
        }
    }
}

/// What the kernel tells of a loaded program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    pub id: u32,
    pub name: String,
}

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const F_ALLOW_MULTI: u32 = 2;

/// The longest name of a program, its terminating zero not counted.
const NAME: usize = 15;

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME + 1],
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of the kernel's `struct bpf_prog_info`, as far as it is read here.
#[repr(C)]
#[derive(Default)]
struct ProgInfo {
    prog_type: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    addresses: [u64; 2],
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; NAME + 1],
}

/// Makes the call with one of the structures above.
///
/// # Safety
///
/// `T` must be laid out as the kernel's attributes of this command, and every address in it must stay valid for the call.
unsafe fn bpf<T>(command: libc::c_long, attributes: &mut T) -> Result<libc::c_long> {
    // SAFETY: the attributes live across the call, their size is given; the rest is promised by the caller.
    check(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) })
}

fn number(fd: impl AsFd) -> u32 {
    // A descriptor that is open is not negative.
    fd.as_fd().as_raw_fd().unsigned_abs()
}

/// Loads a program that is asked at each access to a device: 0 refuses, 1 allows. Needs CAP_BPF and CAP_NET_ADMIN, before
/// Linux 5.8 CAP_SYS_ADMIN, on the host.
pub fn load_cgroup_device(program: &[Instruction], name: &str) -> Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut prog_name = [0; NAME + 1];
    for (to, from) in prog_name[..NAME].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let mut attributes = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    // SAFETY: `Load` is the layout of BPF_PROG_LOAD; program and license outlive the call and are only read.
    owned(unsafe { bpf(PROG_LOAD, &mut attributes) }?)
}

/// Attaches a program to a cgroup v2 directory, beside those that are there: each of them, and of those above, has to allow.
pub fn attach(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attributes = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: CGROUP_DEVICE,
        attach_flags: F_ALLOW_MULTI,
    };
    // SAFETY: `Attach` is the layout of BPF_PROG_ATTACH and holds no address.
    unsafe { bpf(PROG_ATTACH, &mut attributes) }.map(drop)
}

/// Detaches a program from a cgroup v2 directory.
pub fn detach(cgroup: impl AsFd, program: impl AsFd) -> Result<()> {
    let mut attributes = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: CGROUP_DEVICE,
        attach_flags: 0,
    };
    // SAFETY: `Attach` is the layout of BPF_PROG_DETACH and holds no address.
    unsafe { bpf(PROG_DETACH, &mut attributes) }.map(drop)
}

/// Returns the ids of the device programs that are attached to a cgroup v2 directory itself.
pub fn attached(cgroup: impl AsFd) -> Result<Vec<u32>> {
    // The kernel attaches at most 64.
    let mut ids = [0_u32; 64];
    let mut attributes = Query {
        target_fd: number(cgroup),
        attach_type: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().addr() as u64,
        prog_cnt: 64,
        padding: 0,
    };
    // SAFETY: `Query` is the layout of BPF_PROG_QUERY; `ids` has room for `prog_cnt` numbers and outlives the call.
    unsafe { bpf(PROG_QUERY, &mut attributes) }?;
    let count = usize::try_from(attributes.prog_cnt).map_err(|_| Errno::EOVERFLOW)?;
    Ok(ids.get(..count).ok_or(Errno::EOVERFLOW)?.to_vec())
}

/// Opens a loaded program by its id.
pub fn open(id: u32) -> Result<OwnedFd> {
    let mut attributes = [id, 0, 0];
    // SAFETY: three numbers are the layout of BPF_PROG_GET_FD_BY_ID: id, an output, flags.
    owned(unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) }?)
}

/// Returns id and name of a loaded program.
pub fn info(program: impl AsFd) -> Result<Info> {
    let mut info = ProgInfo::default();
    let mut attributes = GetInfo {
        bpf_fd: number(program),
        info_len: u32::try_from(size_of::<ProgInfo>()).map_err(|_| Errno::EOVERFLOW)?,
        info: (&raw mut info).addr() as u64,
    };
    // SAFETY: `GetInfo` is the layout of BPF_OBJ_GET_INFO_BY_FD; the kernel writes at most `info_len` bytes to `info`.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    let name = info
        .name
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    Ok(Info {
        id: info.id,
        name: String::from_utf8_lossy(name).into_owned(),
    })
}
