//! What has no effect, and what is refused.

mod support;

use oci_spec::runtime::Arch;
use seccomp::{Flags, compile};
use serde_json::{Value, json};
use support::calls::*;

#[test]
fn flags_and_warnings() {
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
                  "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "listenerPath": "",
        "listenerMetadata": "",
        "syscalls": [
            {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["chown32"], "action": "SCMP_ACT_TRAP", "errnoRet": 7},
        ],
    }));
    assert_eq!(
        program.flags.bits(),
        Flags::LOG.bits() | Flags::SPEC_ALLOW.bits() | Flags::TSYNC.bits()
    );
    assert!(!program.notify);
    assert_eq!(
        program.warnings,
        [
            "linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is ignored: no rule notifies",
            "linux.seccomp.syscalls[0].names[1]: unknown system call \"no_such_call\" is ignored",
            "linux.seccomp.syscalls[1].errnoRet: is ignored, SCMP_ACT_TRAP returns no number",
        ]
    );
    check(&program, native("read"), EPERM);
}

#[test]
fn refusals_name_the_place() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ALLOW"}, rule]});
    let arg = json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"});
    let good = json!({"index": 5, "value": 1, "op": "SCMP_CMP_EQ"});
    let table = [
        (
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY is not supported yet",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
            "linux.seccomp.defaultErrnoRet: 4096 is not an error number, the largest is 4095",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/a"}),
            "linux.seccomp.listenerPath: not supported yet",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "a"}),
            "linux.seccomp.listenerMetadata: not supported yet",
        ),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.syscalls[1].action: SCMP_ACT_NOTIFY is not supported yet",
        ),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000})),
            "linux.seccomp.syscalls[1].errnoRet: 5000 is not an error number, the largest is 4095",
        ),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})),
            "linux.seccomp.syscalls[1].errnoRet: 65536 is not a number for a tracer, the largest is 65535",
        ),
        (
            rule(json!({"names": ["read"], "action": "SCMP_ACT_TRAP", "args": [good, arg]})),
            "linux.seccomp.syscalls[1].args[1].index: 6 is not an argument of a system call, the last one is 5",
        ),
        (
            rule(json!({"names": ["read", ""], "action": "SCMP_ACT_TRAP"})),
            "linux.seccomp.syscalls[1].names[1]: is empty, a system call's name is expected",
        ),
    ];
    for (text, message) in table {
        assert_eq!(
            compile(&profile(text), NATIVE)
                .expect_err(message)
                .to_string(),
            message
        );
    }
    let plain = profile(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    let foreign = compile(&plain, Arch::ScmpArchParisc)
        .expect_err("no table")
        .to_string();
    assert_eq!(
        foreign,
        "linux.seccomp: no system call numbers are known for the native SCMP_ARCH_PARISC"
    );
}
