//! Sealing before the program begins.
//!
//! A start of the program costs a third of a millisecond before `main`: the C library asks the processor for its features, Rust looks
//! at its streams and its stack. The verbs that must run from a sealed file (see `exe`) would pay that twice, and an exec besides. This is an
//! entry point that seals first, with a handful of system calls and nothing else, and goes on to the ordinary `_start`. The
//! release build names it to the linker; without that, or where a call fails, `exe::seal` does the same work from `main`.
//!
//! Nothing is set up when this runs: no thread-local storage, no relocated `memcpy`, no stack guard. Hence bytes are compared one by one,
//! through volatile reads, so that no loop becomes a call into the C library.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod exchange;

use std::arch::{asm, global_asm};
use std::mem::MaybeUninit;

/// Commands in whose course a container could reach this program's file. A word that only looks like one seals for nothing.
/// One flat string: a table of pointers would have to be relocated first in a binary that is loaded at any address.
const SEALED: &[u8] = b"create\0run\0exec\0restore\0mounts\0";
const EXE: &[u8] = b"/proc/self/exe\0";
const EMPTY: &[u8] = b"\0";
const AT_FDCWD: usize = (-100_isize).cast_unsigned();

global_asm!(
    ".globl orlop_entry",
    "orlop_entry:",
    // The kernel leaves the arguments on the stack and a value for _start in rdx.
    "push rdx",
    "lea rdi, [rsp + 8]",
    "sub rsp, 8",
    "call {early}",
    "add rsp, 8",
    "pop rdx",
    "jmp _start",
    early = sym early,
);

extern "C" fn early(stack: *const usize) {
    // SAFETY: the x86-64 process start-up convention: argc, then argc pointers and a null, then the environment and a null, all of
    // which live as long as the process.
    unsafe {
        let count = *stack;
        let args = stack.add(1).cast::<*const u8>();
        let env = args.add(count + 1);
        for index in 1..count {
            if is_sealed_verb(*args.add(index)) {
                return seal(args, env);
            }
        }
    }
}

/// # Safety
///
/// `word` points to a NUL-terminated string.
unsafe fn is_sealed_verb(word: *const u8) -> bool {
    let mut begin = 0;
    while begin < SEALED.len() {
        let mut at = 0;
        loop {
            // SAFETY: `at` never passes the first byte that differs, nor the NUL that ends both.
            let byte = unsafe { word.add(at).read_volatile() };
            if SEALED[begin + at] == 0 || byte != SEALED[begin + at] {
                break;
            }
            at += 1;
        }
        // SAFETY: all bytes before `at` were equal to non-NUL bytes, so this one still belongs to the string.
        if SEALED[begin + at] == 0 && unsafe { word.add(at).read_volatile() } == 0 {
            return true;
        }
        while SEALED[begin] != 0 {
            begin += 1;
        }
        begin += 1;
    }
    false
}

/// Puts a read-only mount of the program's file under the running program, unless it runs from one; where the kernel does not take
/// that, runs the program again from it; returns if neither can be had.
///
/// # Safety
///
/// `args` and `env` are what the kernel has put on the stack.
unsafe fn seal(args: *const *const u8, env: *const *const u8) {
    const AT_EMPTY_PATH: usize = 0x1000;
    const OPEN_TREE_CLONE_CLOEXEC: usize = 0x8_0001;
    const O_PATH_CLOEXEC: usize = 0x28_0000;
    const ST_RDONLY: u64 = 1;
    // f_flags is the eleventh word of struct statfs.
    const FLAGS: usize = 10;
    // attr_set = MOUNT_ATTR_RDONLY; attr_clr, propagation and userns_fd empty.
    let read_only: [u64; 4] = [1, 0, 0, 0];
    let mut statfs = MaybeUninit::<[u64; 15]>::uninit();
    // SAFETY: every pointer leads to memory that outlives its call and is as large as the kernel reads or writes; descriptors
    // that are closed were opened here.
    unsafe {
        let exe = syscall(
            libc::SYS_openat,
            [AT_FDCWD, EXE.as_ptr().addr(), O_PATH_CLOEXEC, 0, 0],
        );
        if exe < 0 {
            return;
        }
        let known = syscall(
            libc::SYS_fstatfs,
            [exe.cast_unsigned(), statfs.as_mut_ptr().addr(), 0, 0, 0],
        );
        syscall(libc::SYS_close, [exe.cast_unsigned(), 0, 0, 0, 0]);
        if known < 0 || statfs.as_ptr().cast::<u64>().add(FLAGS).read() & ST_RDONLY != 0 {
            return;
        }
        let tree = syscall(
            libc::SYS_open_tree,
            [AT_FDCWD, EXE.as_ptr().addr(), OPEN_TREE_CLONE_CLOEXEC, 0, 0],
        );
        if tree < 0 {
            return;
        }
        let tree = tree.cast_unsigned();
        let attr = [
            tree,
            EMPTY.as_ptr().addr(),
            AT_EMPTY_PATH,
            read_only.as_ptr().addr(),
            size_of_val(&read_only),
        ];
        if syscall(libc::SYS_mount_setattr, attr) == 0 && !exchange::exchange(tree, args, env) {
            let again = [
                tree,
                EMPTY.as_ptr().addr(),
                args.addr(),
                env.addr(),
                AT_EMPTY_PATH,
            ];
            syscall(libc::SYS_execveat, again);
        }
        syscall(libc::SYS_close, [tree, 0, 0, 0, 0]);
    }
}

/// # Safety
///
/// The arguments are what the system call expects.
unsafe fn syscall<const N: usize>(number: libc::c_long, args: [usize; N]) -> isize {
    // Calls with fewer arguments do not look at the others.
    let arg = |index: usize| if index < N { args[index] } else { 0 };
    let result: isize;
    // SAFETY: the kernel's calling convention; it keeps all registers but rax, rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arg(0),
            in("rsi") arg(1),
            in("rdx") arg(2),
            in("r10") arg(3),
            in("r8") arg(4),
            in("r9") arg(5),
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
