//! Profiles and system calls as values.

use oci_spec::runtime::{Arch, LinuxSeccomp};
use seccomp::{Data, Program, compile, run};
use serde_json::Value;

pub(crate) const NATIVE: Arch = Arch::ScmpArchX86_64;
pub(crate) const ALLOW: u32 = 0x7fff_0000;
pub(crate) const LOG: u32 = 0x7ffc_0000;
pub(crate) const NOTIFY: u32 = 0x7fc0_0000;
pub(crate) const TRACE: u32 = 0x7ff0_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;
pub(crate) const TRAP: u32 = 0x0003_0000;
pub(crate) const KILL_THREAD: u32 = 0;
pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const EPERM: u32 = ERRNO | 1;
pub(crate) const ENOSYS: u32 = ERRNO | 38;

pub(crate) fn profile(text: Value) -> LinuxSeccomp {
    serde_json::from_value(text).expect("a profile")
}

pub(crate) fn program(text: Value) -> Program {
    compile(&profile(text), NATIVE).expect("a program")
}

/// A call on some architecture.
pub(crate) fn call(arch: Arch, name: &str, args: [u64; 6]) -> Data {
    let audit = if arch == Arch::ScmpArchX32 {
        NATIVE
    } else {
        arch
    };
    Data {
        nr: seccomp::number(arch, name).expect("a known call"),
        arch: audit as u32,
        ip: 0,
        args,
    }
}

pub(crate) fn native(name: &str) -> Data {
    call(NATIVE, name, [0; 6])
}

#[track_caller]
pub(crate) fn check(program: &Program, data: Data, verdict: u32) {
    let ours = run(&program.instructions, &data);
    assert_eq!(
        ours, verdict,
        "{ours:x} instead of {verdict:x} for {data:x?}"
    );
}
