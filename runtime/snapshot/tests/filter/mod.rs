//! Older kernels, played by a filter of this thread and of those that it starts.

use sys::seccomp::{Instruction, load};

const OPEN_TREE: u32 = 428;
const MOVE_MOUNT: u32 = 429;
const FSOPEN: u32 = 430;
const FSCONFIG: u32 = 431;
const FSMOUNT: u32 = 432;
const MOUNT_SETATTR: u32 = 442;

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

const ALLOW: Instruction = instruction(0x06, 0, 0, 0x7fff_0000);
const NUMBER: Instruction = instruction(0x20, 0, 0, 0);

fn answer(errno: sys::Errno) -> Instruction {
    instruction(0x06, 0, 0, 0x0005_0000 | (errno as i32).unsigned_abs())
}

/// Options with a value are refused, as `lowerdir+` is before Linux 6.8.
#[allow(dead_code, reason = "each test is a program of its own")]
pub(crate) fn before_6_8() {
    let program = [
        NUMBER,
        instruction(0x15, 0, 3, FSCONFIG),
        // The low half of the command, which is the second argument.
        instruction(0x20, 0, 0, 24),
        instruction(0x15, 0, 1, 1),
        answer(sys::Errno::EINVAL),
        ALLOW,
    ];
    load(&program, 0).expect("load a filter");
}

/// There is no mount interface but mount(2), as before Linux 5.2.
#[allow(dead_code, reason = "each test is a program of its own")]
pub(crate) fn before_5_2() {
    let mut program = vec![NUMBER];
    for call in [
        OPEN_TREE,
        MOVE_MOUNT,
        FSOPEN,
        FSCONFIG,
        FSMOUNT,
        MOUNT_SETATTR,
    ] {
        program.extend([instruction(0x15, 0, 1, call), answer(sys::Errno::ENOSYS)]);
    }
    program.push(ALLOW);
    load(&program, 0).expect("load a filter");
}
