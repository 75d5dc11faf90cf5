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
    assert_eq!(program.notify, None);
    assert_eq!(
        program
            .unknown
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["linux.seccomp.syscalls[0].names[1]: unknown system call \"no_such_call\""]
    );
    assert_eq!(
        program.warnings,
        [
            "linux.seccomp.syscalls[0].names[1]: unknown system call \"no_such_call\" is ignored",
            "linux.seccomp.syscalls[1].errnoRet: is ignored, SCMP_ACT_TRAP returns no number",
            "linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is ignored: no rule notifies",
        ]
    );
    check(&program, native("read"), EPERM);
}

#[test]
fn notifying_rules_ask_for_a_listener() {
    let flags = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    ]);
    let asked = Flags::NEW_LISTENER.bits() | Flags::WAIT_KILLABLE_RECV.bits();
    let rules = |names: Value, action: &str| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags,
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}, {"names": names, "action": action}]})
    };
    let rule = program(rules(json!(["no_such_call", "mkdir"]), "SCMP_ACT_NOTIFY"));
    assert_eq!(
        rule.notify.as_deref(),
        Some("linux.seccomp.syscalls[1].action")
    );
    assert_eq!(rule.flags.bits(), asked);
    check(&rule, native("mkdir"), NOTIFY);
    check(&rule, native("mount"), EPERM);
    check(&rule, native("read"), ALLOW);
    assert!(seccomp::allows(&rule.instructions, NATIVE, "read", [0; 6]));
    assert!(!seccomp::allows(
        &rule.instructions,
        NATIVE,
        "mkdir",
        [0; 6]
    ));
    let default = program(json!({"defaultAction": "SCMP_ACT_NOTIFY", "flags": flags}));
    assert_eq!(
        default.notify.as_deref(),
        Some("linux.seccomp.defaultAction")
    );
    check(&default, native("mkdir"), NOTIFY);
    // Rules that name nothing known hand nothing on.
    let nothing = program(rules(json!(["no_such_call"]), "SCMP_ACT_NOTIFY"));
    assert_eq!((nothing.notify, nothing.flags), (None, Flags::TSYNC));
}

#[test]
fn refusals_name_the_place() {
    let rule = |rule: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["write"], "action": "SCMP_ACT_ALLOW"}, rule]});
    let arg = json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"});
    let good = json!({"index": 5, "value": 1, "op": "SCMP_CMP_EQ"});
    let table = [
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
            "linux.seccomp.defaultErrnoRet: 4096 is not an error number, the largest is 4095",
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
