//! What a profile means, one sentence at a time.

mod support;

use oci_spec::runtime::Arch;
use seccomp::{Data, compile, run};
use serde_json::{Value, json};
use support::calls::*;

/// The operator holds for the values of the second list and not for those of the third.
#[test]
fn operators() {
    const HIGH: u64 = 0x5_0000_0005;
    let around = [
        0,
        5,
        HIGH - 1,
        HIGH,
        HIGH + 1,
        0x5_ffff_ffff,
        0x4_ffff_ffff,
        0x6_0000_0000,
        u64::MAX,
    ];
    type Holds = fn(u64) -> bool;
    let table: [(&str, Holds); 6] = [
        ("SCMP_CMP_EQ", |value| value == HIGH),
        ("SCMP_CMP_NE", |value| value != HIGH),
        ("SCMP_CMP_LT", |value| value < HIGH),
        ("SCMP_CMP_LE", |value| value <= HIGH),
        ("SCMP_CMP_GT", |value| value > HIGH),
        ("SCMP_CMP_GE", |value| value >= HIGH),
    ];
    for (operator, holds) in table {
        for argument in 0..6 {
            let arg = json!({"index": argument, "value": HIGH, "op": operator});
            let rule = json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [arg]});
            let program = program(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}));
            for value in around {
                let mut args = [7; 6];
                args[argument] = value;
                check(
                    &program,
                    call(NATIVE, "ioctl", args),
                    if holds(value) { ALLOW } else { EPERM },
                );
            }
        }
    }
}

/// The mask is `value`, what has to remain is `valueTwo`, whose bits outside of the mask do not count.
#[test]
fn masked_comparison() {
    let table = [
        (0x7e02_0000_u64, 0_u64, 0x1_0000_0011, true),
        (0x7e02_0000, 0, 0x1000_0000, false),
        (0xff_0000_0000, 0x12_0000_0000, 0x12_3456_789a, true),
        (0xff_0000_0000, 0x12_0000_0000, 0x13_3456_789a, false),
        (0xf0_0000_000f, 0x10_0000_0003, 0x1f_ffff_fff3, true),
        (0xf0_0000_000f, 0x10_0000_0003, 0x1f_ffff_fff4, false),
        (0xf0, 0xff, 0xf7, true),
        (0, 5, 9, true),
    ];
    for (mask, wanted, value, holds) in table {
        let arg =
            json!({"index": 2, "value": mask, "valueTwo": wanted, "op": "SCMP_CMP_MASKED_EQ"});
        let rule = json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [arg]});
        let program = program(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}));
        check(
            &program,
            call(NATIVE, "ioctl", [0, 0, value, 0, 0, 0]),
            if holds { ALLOW } else { EPERM },
        );
    }
}

#[test]
fn actions_and_their_numbers() {
    let table = [
        (json!({"action": "SCMP_ACT_ALLOW"}), ALLOW),
        (json!({"action": "SCMP_ACT_LOG"}), LOG),
        (json!({"action": "SCMP_ACT_TRAP"}), TRAP),
        (json!({"action": "SCMP_ACT_KILL"}), KILL_THREAD),
        (json!({"action": "SCMP_ACT_KILL_THREAD"}), KILL_THREAD),
        (json!({"action": "SCMP_ACT_KILL_PROCESS"}), KILL_PROCESS),
        (json!({"action": "SCMP_ACT_ERRNO"}), EPERM),
        (json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 0}), ERRNO),
        (
            json!({"action": "SCMP_ACT_ERRNO", "errnoRet": 4095}),
            ERRNO | 4095,
        ),
        (json!({"action": "SCMP_ACT_TRACE"}), TRACE | 1),
        (
            json!({"action": "SCMP_ACT_TRACE", "errnoRet": 65535}),
            TRACE | 65535,
        ),
    ];
    for (mut rule, verdict) in table {
        let fallback =
            json!({"defaultAction": rule["action"], "defaultErrnoRet": rule["errnoRet"]});
        check(&program(fallback), native("read"), verdict);
        rule["names"] = json!(["read"]);
        let program = program(
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99, "syscalls": [rule]}),
        );
        check(&program, native("read"), verdict);
        check(
            &program,
            native("close"),
            if seccomp::number(NATIVE, "read") == Some(0) {
                ERRNO | 99
            } else {
                ENOSYS
            },
        );
    }
}

#[test]
fn a_rule_without_conditions_wins_wherever_it_stands() {
    let plain = json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW"});
    let second = json!({"names": ["clone"], "action": "SCMP_ACT_LOG"});
    let arg = json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQ"});
    let conditional = json!({"names": ["clone"], "action": "SCMP_ACT_TRAP", "args": [arg]});
    let useless = json!({"names": ["clone"], "action": "SCMP_ACT_ERRNO"});
    for rules in [
        json!([plain, conditional, second]),
        json!([useless, conditional, plain, second]),
    ] {
        let program = program(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
        check(&program, call(NATIVE, "clone", [1; 6]), ALLOW);
        check(&program, call(NATIVE, "clone", [2; 6]), ALLOW);
    }
}

#[test]
fn conditions_hold_together_but_not_two_on_one_argument() {
    let arg =
        |index: usize, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let with = |args: Value| {
        let rule = json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": args});
        program(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}))
    };
    let together = with(json!([arg(1, 5), arg(0, 3)]));
    check(&together, call(NATIVE, "ioctl", [3, 5, 0, 0, 0, 0]), ALLOW);
    check(&together, call(NATIVE, "ioctl", [3, 4, 0, 0, 0, 0]), EPERM);
    check(&together, call(NATIVE, "ioctl", [4, 5, 0, 0, 0, 0]), EPERM);
    let either = with(json!([arg(1, 5), arg(1, 6), arg(0, 3)]));
    check(&either, call(NATIVE, "ioctl", [0, 6, 0, 0, 0, 0]), ALLOW);
    check(&either, call(NATIVE, "ioctl", [3, 0, 0, 0, 0, 0]), ALLOW);
    check(&either, call(NATIVE, "ioctl", [0, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn unknown_calls_answer_enosys_where_the_default_denies() {
    let names = json!(["read", "openat2"]); // 0 and 437
    for (default, above) in [
        ("SCMP_ACT_ERRNO", ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", ENOSYS),
        ("SCMP_ACT_TRAP", ENOSYS),
        ("SCMP_ACT_ALLOW", ALLOW),
        ("SCMP_ACT_LOG", LOG),
        ("SCMP_ACT_TRACE", TRACE | 1),
    ] {
        let rule = json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 5});
        let program = program(json!({"defaultAction": default, "syscalls": [rule]}));
        check(&program, native("openat2"), ERRNO | 5);
        for nr in [438, 500, 100_000, 0x3fff_ffff] {
            check(
                &program,
                Data {
                    nr,
                    ..native("read")
                },
                above,
            );
        }
        assert_ne!(run(&program.instructions, &native("write")), ENOSYS);
    }
}

/// Arm's private calls and x32's old numbers lie far above the others: what is between them is no call.
#[test]
fn numbers_between_calls_answer_enosys() {
    let rule = json!({"names": ["cacheflush", "execveat", "setns"], "action": "SCMP_ACT_ALLOW"});
    let text = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X32", "SCMP_ARCH_ARM"],
        "syscalls": [rule],
    });
    let arm = compile(&profile(text.clone()), Arch::ScmpArchArm).expect("a program");
    check(&arm, call(Arch::ScmpArchArm, "cacheflush", [0; 6]), ALLOW);
    check(&arm, call(Arch::ScmpArchArm, "breakpoint", [0; 6]), EPERM);
    check(&arm, call(Arch::ScmpArchArm, "file_setattr", [0; 6]), EPERM);
    check(&arm, call(Arch::ScmpArchArm, "set_tls", [0; 6]), ENOSYS); // newer than what the profile names, as far as numbers tell
    for nr in [500, 10_000, 983_040] {
        check(
            &arm,
            Data {
                nr,
                ..call(Arch::ScmpArchArm, "read", [0; 6])
            },
            ENOSYS,
        );
    }
    let x86 = program(text);
    check(&x86, call(Arch::ScmpArchX32, "execveat", [0; 6]), ALLOW);
    check(&x86, call(Arch::ScmpArchX32, "ptrace", [0; 6]), EPERM);
    check(
        &x86,
        Data {
            nr: 0x4000_0000 + 500,
            ..native("read")
        },
        ENOSYS,
    );
    check(
        &x86,
        Data {
            nr: 0x4000_0000 + 548,
            ..native("read")
        },
        ENOSYS,
    );
}

#[test]
fn architectures() {
    let rule = json!({"names": ["read", "socketcall"], "action": "SCMP_ACT_ALLOW"});
    let with = |arches: Value, native: Arch| {
        let text =
            json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": arches, "syscalls": [rule]});
        compile(&profile(text), native).expect("a program")
    };
    let read = |arch| call(arch, "read", [0; 6]);
    // The native one is always in, also where the profile lists only others or none.
    for arches in [
        Value::Null,
        json!([]),
        json!(["SCMP_ARCH_X86"]),
        json!(["SCMP_ARCH_NATIVE", "SCMP_ARCH_X86_64"]),
    ] {
        check(&with(arches, NATIVE), read(NATIVE), ALLOW);
    }
    let all = with(
        json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86"]),
        NATIVE,
    );
    check(&all, read(Arch::ScmpArchX86), ALLOW);
    check(&all, read(Arch::ScmpArchX32), ALLOW);
    let alone = with(json!(["SCMP_ARCH_X86_64"]), NATIVE);
    check(&alone, read(Arch::ScmpArchX86), KILL_THREAD);
    check(&alone, read(Arch::ScmpArchX32), KILL_THREAD);
    check(
        &alone,
        Data {
            nr: u32::MAX,
            ..read(NATIVE)
        },
        EPERM,
    ); // a tracer's "skip this call"
    // What this kernel cannot run costs nothing and is no error, in either byte order.
    let foreign = with(
        json!([
            "SCMP_ARCH_X86_64",
            "SCMP_ARCH_AARCH64",
            "SCMP_ARCH_S390X",
            "SCMP_ARCH_PARISC"
        ]),
        NATIVE,
    );
    assert_eq!(foreign, alone);
}

#[test]
fn every_native_architecture() {
    let rule = json!({"names": ["read", "openat2"], "action": "SCMP_ACT_ALLOW"});
    let profile = profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}));
    for native in [
        Arch::ScmpArchX86,
        Arch::ScmpArchAarch64,
        Arch::ScmpArchArm,
        Arch::ScmpArchRiscv64,
        Arch::ScmpArchLoongarch64,
        Arch::ScmpArchPpc64le,
        Arch::ScmpArchPpc64,
        Arch::ScmpArchS390x,
        Arch::ScmpArchMips64,
        Arch::ScmpArchMipsel64,
    ] {
        let program = compile(&profile, native).expect("a program");
        let read = |arch| call(arch, "read", [0; 6]);
        check(&program, read(native), ALLOW);
        check(
            &program,
            read(if native == Arch::ScmpArchX86 {
                NATIVE
            } else {
                Arch::ScmpArchX86
            }),
            KILL_THREAD,
        );
        check(&program, call(native, "close", [0; 6]), EPERM);
    }
}

/// Both halves of an argument are found on big-endian machines, and 32-bit ones have only one half.
#[test]
fn words_of_arguments() {
    let arg = json!({"index": 1, "value": 0x1_0000_0002_u64, "op": "SCMP_CMP_EQ"});
    let rule = json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [arg]});
    let text = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_S390"], "syscalls": [rule]});
    let program = compile(&profile(text), Arch::ScmpArchS390x).expect("a program");
    check(
        &program,
        call(Arch::ScmpArchS390x, "ioctl", [0, 0x1_0000_0002, 0, 0, 0, 0]),
        ALLOW,
    );
    check(
        &program,
        call(Arch::ScmpArchS390x, "ioctl", [0, 0x2_0000_0001, 0, 0, 0, 0]),
        EPERM,
    );
    check(
        &program,
        call(Arch::ScmpArchS390x, "ioctl", [0, 2, 0, 0, 0, 0]),
        EPERM,
    );
    check(
        &program,
        call(Arch::ScmpArchS390, "ioctl", [0, 2, 0, 0, 0, 0]),
        ALLOW,
    );
    check(
        &program,
        Data {
            nr: 0,
            ..call(Arch::ScmpArchS390x, "ioctl", [0; 6])
        },
        ENOSYS,
    ); // a number that the kernel does not know
}

#[test]
fn multiplexers_follow_the_calls_behind_them() {
    const X86: Arch = Arch::ScmpArchX86;
    let with = |default: &str, rules: Value| {
        program(
            json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86"], "syscalls": rules}),
        )
    };
    let socketcall = |number| call(X86, "socketcall", [number, 0xbf00_0000, 0, 0, 0, 0]);
    let ipc = |number| call(X86, "ipc", [number, 0, 0, 0, 0, 0]);
    let open = with(
        "SCMP_ACT_ERRNO",
        json!([{"names": ["bind", "accept4", "shmget", "semtimedop"], "action": "SCMP_ACT_ALLOW"}]),
    );
    for (data, verdict) in [
        (call(X86, "bind", [0; 6]), ALLOW),
        (socketcall(2), ALLOW),
        (socketcall(18), ALLOW),
        (socketcall(1), EPERM),
        (ipc(23), ALLOW),
        (ipc(23 | 1 << 16), ALLOW), // the version of the interface
        (ipc(4), ALLOW),
        (ipc(24), EPERM),
    ] {
        check(&open, data, verdict);
    }
    // Arguments cannot be seen there: such a rule does not open, but it closes.
    let arg = json!({"index": 0, "value": 40, "op": "SCMP_CMP_EQ"});
    let opening = with(
        "SCMP_ACT_ERRNO",
        json!([{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg]}]),
    );
    check(&opening, call(X86, "socket", [40, 0, 0, 0, 0, 0]), ALLOW);
    check(
        &opening,
        socketcall(1),
        if seccomp::number(X86, "socket") > seccomp::number(X86, "socketcall") {
            EPERM
        } else {
            ENOSYS
        },
    );
    let closing = with(
        "SCMP_ACT_ALLOW",
        json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [arg]}]),
    );
    check(&closing, call(X86, "socket", [2, 0, 0, 0, 0, 0]), ALLOW);
    check(&closing, socketcall(1), EPERM);
    check(&closing, socketcall(2), ALLOW);
    // A profile that names the multiplexer itself has the last word.
    let named = with(
        "SCMP_ACT_ERRNO",
        json!([{"names": ["bind", "socketcall"], "action": "SCMP_ACT_ALLOW"}]),
    );
    check(&named, socketcall(1), ALLOW);
}
