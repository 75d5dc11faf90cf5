//! Exchanging the file of the running program for the same file on another mount, without a second exec.
//!
//! This is what checkpoint/restore does to a process that it makes again: every part of the old file is mapped over, then the kernel is
//! asked to take the new file for the program's own (PR_SET_MM_MAP, prctl(2), Linux 3.18, needs CAP_SYS_ADMIN or
//! CAP_CHECKPOINT_RESTORE). It refuses while anything of the old one is still mapped, so that a success is a proof. The bytes are the same: the code under our
//! feet does not change. It takes a tenth of the time of an exec.

use super::{AT_FDCWD, syscall};

const PAGE: usize = 4096;
const PT_LOAD: u32 = 1;
const AT_NULL: usize = 0;
const AT_PHDR: usize = 3;
const AT_PHNUM: usize = 5;
const PF_X: u32 = 1;
const PF_W: u32 = 2;

/// A program header (elf(5)).
#[repr(C)]
struct Header {
    kind: u32,
    flags: u32,
    offset: usize,
    address: usize,
    _physical: usize,
    file_size: usize,
    _memory_size: usize,
    _align: usize,
}

/// `struct prctl_mm_map` of linux/prctl.h.
#[repr(C)]
#[derive(Default)]
struct Map {
    start_code: usize,
    end_code: usize,
    start_data: usize,
    end_data: usize,
    start_brk: usize,
    brk: usize,
    start_stack: usize,
    arg_start: usize,
    arg_end: usize,
    env_start: usize,
    env_end: usize,
    auxv: usize,
    auxv_size: u32,
    exe_fd: u32,
}

/// Puts the file of `tree` in place of the program's own; tells whether the kernel has taken it.
///
/// # Safety
///
/// `tree` is a descriptor (O_PATH) of the program's own file. `args` and `env` are what the kernel has put on the stack, with the auxiliary
/// vector behind. Nothing has been written yet to the program's data.
pub(super) unsafe fn exchange(tree: usize, args: *const *const u8, env: *const *const u8) -> bool {
    // SAFETY: by the convention of process start-up the headers lie where the auxiliary vector says, and are mapped.
    unsafe {
        let mut last = env;
        while !(*last).is_null() {
            last = last.add(1);
        }
        let Some((headers, count)) = headers(last.add(1).cast()) else {
            return false;
        };
        let file = open(tree);
        if file < 0 {
            return false;
        }
        let file = file.cast_unsigned();
        let brk = syscall(libc::SYS_brk, [0; 5]).cast_unsigned();
        let first = (*args).addr();
        let middle = if last == env { first } else { (*env).addr() };
        let mut map = Map {
            start_brk: brk,
            brk,
            start_stack: args.addr(),
            arg_start: first,
            arg_end: middle,
            env_start: middle,
            env_end: middle,
            exe_fd: u32::try_from(file).unwrap_or(u32::MAX),
            ..Map::default()
        };
        let mut mapped = true;
        for index in 0..count {
            let header = headers.add(index);
            if (*header).kind == PT_LOAD {
                mapped = mapped && map_over(file, &*header);
                note(&*header, &mut map);
            }
        }
        if last != env {
            map.env_end = end_of(*last.sub(1));
        }
        let set = [
            libc::PR_SET_MM as usize,
            libc::PR_SET_MM_MAP as usize,
            (&raw const map).addr(),
            size_of::<Map>(),
            0,
        ];
        let taken = mapped && syscall(libc::SYS_prctl, set) == 0;
        syscall(libc::SYS_close, [file, 0, 0, 0, 0]);
        taken
    }
}

/// Returns the program's headers by the auxiliary vector; none if they are not where the program was linked to.
///
/// # Safety
///
/// `auxiliary` is the auxiliary vector.
unsafe fn headers(mut auxiliary: *const [usize; 2]) -> Option<(*const Header, usize)> {
    let (mut at, mut count) = (std::ptr::null::<Header>(), 0);
    // SAFETY: the vector ends with AT_NULL; the headers it names are mapped.
    unsafe {
        while (*auxiliary)[0] != AT_NULL {
            match (*auxiliary)[0] {
                AT_PHDR => at = std::ptr::with_exposed_provenance((*auxiliary)[1]),
                AT_PHNUM => count = (*auxiliary)[1],
                _ => {}
            }
            auxiliary = auxiliary.add(1);
        }
        for index in 0..count {
            let header = &*at.add(index);
            let inside = header.address..header.address + header.file_size;
            if header.kind == PT_LOAD && inside.contains(&at.addr()) {
                return Some((at, count));
            }
        }
    }
    None
}

/// Opens for reading what an O_PATH descriptor stands for.
///
/// A number of three digits is not worth its code: whoever has so many descriptors open pays for an exec.
fn open(tree: usize) -> isize {
    const O_RDONLY_CLOEXEC: usize = 0x8_0000;
    let mut path = *b"/proc/self/fd/\0\0\0";
    match tree {
        0..=9 => path[14] = digit(tree),
        10..=99 => [path[14], path[15]] = [digit(tree / 10), digit(tree % 10)],
        _ => return -1,
    }
    // SAFETY: the path ends with a NUL and outlives the call.
    unsafe {
        syscall(
            libc::SYS_openat,
            [AT_FDCWD, path.as_ptr().addr(), O_RDONLY_CLOEXEC, 0, 0],
        )
    }
}

fn digit(number: usize) -> u8 {
    b"0123456789"[number % 10]
}

/// Maps a part of `file` where the same part of the same file is mapped already.
///
/// # Safety
///
/// `header` describes a part of the running program, to which nothing has been written yet.
unsafe fn map_over(file: usize, header: &Header) -> bool {
    let before = header.address % PAGE;
    let begin = header.address - before;
    let end = header.address + header.file_size;
    // PF_X, PF_W, PF_R are PROT_EXEC, PROT_WRITE, PROT_READ the other way round.
    let flags = header.flags as usize;
    let protection = (flags & 1) << 2 | flags & 2 | flags >> 2 & 1;
    // SAFETY: the caller's; the address is where the very same bytes are.
    let mapped = unsafe { map(begin, end - begin, protection, file, header.offset - before) };
    if mapped != begin.cast_signed() {
        return false;
    }
    if header.flags & PF_W != 0 {
        // What follows in the file is not the program's: the last page ends with zeroes.
        let last: *mut u8 = std::ptr::with_exposed_provenance_mut(end);
        for at in 0..end.next_multiple_of(PAGE) - end {
            // SAFETY: inside of the page that was just mapped for writing; volatile, lest the loop become a call of memset.
            unsafe { last.add(at).write_volatile(0) };
        }
    }
    true
}

/// # Safety
///
/// As for [`map_over`].
unsafe fn map(
    address: usize,
    length: usize,
    protection: usize,
    file: usize,
    offset: usize,
) -> isize {
    let flags = (libc::MAP_PRIVATE | libc::MAP_FIXED) as usize;
    // SAFETY: the caller's.
    unsafe {
        syscall(
            libc::SYS_mmap,
            [address, length, protection, flags, file, offset],
        )
    }
}

/// Notes where code and data lie, as the kernel does when it loads a program.
fn note(header: &Header, map: &mut Map) {
    let (begin, end) = (header.address, header.address + header.file_size);
    if header.flags & PF_X != 0 {
        (map.start_code, map.end_code) = (begin, end);
    }
    if map.start_data < begin {
        (map.start_data, map.end_data) = (begin, end);
    }
}

/// # Safety
///
/// `string` ends with a NUL.
unsafe fn end_of(string: *const u8) -> usize {
    let mut at = string;
    // SAFETY: the loop ends at the NUL; volatile, lest it become a call of strlen.
    unsafe {
        while at.read_volatile() != 0 {
            at = at.add(1);
        }
    }
    at.addr() + 1
}
