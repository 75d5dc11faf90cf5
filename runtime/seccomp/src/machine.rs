//! The machine that a filter runs on: classic BPF as seccomp(2) allows it, and an interpreter for it.

/// One instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// What a filter sees of a system call: the kernel's `struct seccomp_data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    pub nr: u32,
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

// Instruction codes, from `linux/bpf_common.h`: class, mode and operation in one number.
pub(crate) const LOAD: u16 = 0x20;
pub(crate) const AND: u16 = 0x54;
pub(crate) const JUMP: u16 = 0x05;
pub(crate) const JUMP_EQUAL: u16 = 0x15;
pub(crate) const JUMP_GREATER: u16 = 0x25;
pub(crate) const JUMP_GREATER_EQUAL: u16 = 0x35;
pub(crate) const JUMP_BITS: u16 = 0x45;
pub(crate) const RETURN: u16 = 0x06;

/// Where `Data` holds what: offsets of loads.
pub(crate) const NUMBER: u32 = 0;
pub(crate) const ARCH: u32 = 4;
pub(crate) const ARGUMENTS: u32 = 16;

/// What seccomp(2) does at the end: the high half of the returned number, data in the low half.
pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const KILL_THREAD: u32 = 0x0000_0000;
pub(crate) const TRAP: u32 = 0x0003_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;
pub(crate) const NOTIFY: u32 = 0x7fc0_0000;
pub(crate) const TRACE: u32 = 0x7ff0_0000;
pub(crate) const LOG: u32 = 0x7ffc_0000;
pub(crate) const ALLOW: u32 = 0x7fff_0000;

/// The bit of an audit architecture that says little-endian.
const LITTLE_ENDIAN: u32 = 0x4000_0000;

/// Runs a filter and returns its verdict.
///
/// A program that the kernel would refuse (an unknown instruction, a jump behind the end) returns `KILL_PROCESS`, as the kernel does
/// where it meets an action that it does not know.
pub fn run(program: &[Instruction], data: &Data) -> u32 {
    trace(program, data).0
}

/// Runs a filter and returns its verdict and how many instructions that took.
pub fn trace(program: &[Instruction], data: &Data) -> (u32, usize) {
    let mut accumulator: u32 = 0;
    let mut index: u32 = 0;
    let mut at = 0;
    let mut steps = 0;
    let mut memory = [0u32; 16];
    while let Some(instruction) = program.get(at) {
        steps += 1;
        at += 1;
        let Instruction { code, jt, jf, k } = *instruction;
        let operand = if code & 0x08 == 0 { k } else { index };
        let jump = |taken: bool| usize::from(if taken { jt } else { jf });
        match code {
            LOAD => accumulator = word(data, k),
            0x00 => accumulator = k,
            0x01 => index = k,
            0x60 | 0x61 | 0x02 | 0x03 if k > 15 => break,
            0x60 => accumulator = memory[k as usize],
            0x61 => index = memory[k as usize],
            0x02 => memory[k as usize] = accumulator,
            0x03 => memory[k as usize] = index,
            0x07 => index = accumulator,
            0x87 => accumulator = index,
            AND | 0x5c => accumulator &= operand,
            0x44 | 0x4c => accumulator |= operand,
            0x04 | 0x0c => accumulator = accumulator.wrapping_add(operand),
            0x14 | 0x1c => accumulator = accumulator.wrapping_sub(operand),
            JUMP => at += k as usize,
            JUMP_EQUAL | 0x1d => at += jump(accumulator == operand),
            JUMP_GREATER | 0x2d => at += jump(accumulator > operand),
            JUMP_GREATER_EQUAL | 0x3d => at += jump(accumulator >= operand),
            JUMP_BITS | 0x4d => at += jump(accumulator & operand != 0),
            RETURN => return (k, steps),
            0x16 => return (accumulator, steps),
            _ => break,
        }
    }
    (KILL_PROCESS, steps)
}

/// Reads the aligned word at `offset`, in the byte order of the architecture that the data names.
#[expect(clippy::cast_possible_truncation, reason = "halves of a 64-bit word")]
fn word(data: &Data, offset: u32) -> u32 {
    let half = |whole: u64| {
        let first = (offset & 4 == 0) == (data.arch & LITTLE_ENDIAN != 0);
        if first {
            whole as u32
        } else {
            (whole >> 32) as u32
        }
    };
    match offset {
        NUMBER => data.nr,
        ARCH => data.arch,
        8 | 12 => half(data.ip),
        ARGUMENTS..=60 => half(data.args[(offset - ARGUMENTS) as usize / 8]),
        _ => 0,
    }
}
