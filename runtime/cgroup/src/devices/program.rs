//! Device rules as a program for cgroup v2 (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The kernel passes three numbers: kind of device in the low half and wanted access in the high half of the first, then major
//! and minor. The program walks the rules from the last to the first with the accesses that are still undecided; a rule that
//! denies one of them ends it, and so does the rule that allows the last of them.

use sys::bpf::Instruction;

use super::DeviceRule;

// Registers: what is returned, the argument, and what is read from it.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Operations (linux/bpf.h): class, source and operation in one number. All are on 32 bits; such jumps came with Linux 5.1.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_NOT_EQUAL: u8 = 0x56;
const JUMP_ANY_BIT: u8 = 0x46;
const EXIT: u8 = 0x95;

const ALL: i32 = 7;

/// Compiles rules; what none of them speaks of is denied.
#[must_use]
pub fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let load = |to, offset| Instruction::new(LOAD_WORD, to, CONTEXT, offset, 0);
    let mut program = vec![
        load(ACCESS, 0),
        Instruction::new(MOVE_REGISTER, KIND, ACCESS, 0, 0),
        on(AND, KIND, 0xffff),
        on(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        let verdict = verdict(rule);
        let tests = tests(rule);
        for (index, (register, value)) in tests.iter().enumerate() {
            let rest = tests.len() - index - 1 + verdict.len();
            program.push(jump(JUMP_NOT_EQUAL, *register, *value, rest));
        }
        program.extend(verdict);
        if rule.is_for_all() {
            // The verifier takes no instruction that cannot be reached.
            return program;
        }
    }
    program.extend(end(0));
    program
}

/// Returns the registers that a device of this rule has to have, with their values.
fn tests(rule: &DeviceRule) -> Vec<(u8, i32)> {
    let kind = match rule.kind {
        'b' => Some(1),
        'c' => Some(2),
        _ => None,
    };
    [
        (KIND, kind),
        (MAJOR, rule.major.map(u32::cast_signed)),
        (MINOR, rule.minor.map(u32::cast_signed)),
    ]
    .into_iter()
    .filter_map(|(register, value)| value.map(|value| (register, value)))
    .collect()
}

/// Returns what is to be done with a device of this rule.
fn verdict(rule: &DeviceRule) -> Vec<Instruction> {
    let bit = |letter, bit| if rule.access.contains(letter) { bit } else { 0 };
    let access = bit('m', 1) | bit('r', 2) | bit('w', 4);
    let end = end(i32::from(rule.allow));
    let mut list = match (access, rule.allow) {
        (ALL, _) => Vec::new(),
        (_, true) => vec![
            on(AND, ACCESS, ALL & !access),
            jump(JUMP_NOT_EQUAL, ACCESS, 0, end.len()),
        ],
        // Over the next jump, which leads over the end.
        (_, false) => vec![
            jump(JUMP_ANY_BIT, ACCESS, access, 1),
            jump(JUMP, 0, 0, end.len()),
        ],
    };
    list.extend(end);
    list
}

fn end(result: i32) -> [Instruction; 2] {
    [on(MOVE, RESULT, result), Instruction::new(EXIT, 0, 0, 0, 0)]
}

fn on(code: u8, register: u8, value: i32) -> Instruction {
    Instruction::new(code, register, 0, 0, value)
}

/// Jumps over a number of instructions, at most five here.
fn jump(code: u8, register: u8, value: i32, over: usize) -> Instruction {
    Instruction::new(
        code,
        register,
        0,
        i16::try_from(over).unwrap_or(i16::MAX),
        value,
    )
}
