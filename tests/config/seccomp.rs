//! `linux.seccomp`: what is stopped, how, and by which arguments.

use crate::check;
use orlop_tests::{Bundle, Env};
use serde_json::{Value, json};

fn allow_but(rules: Value) -> impl FnOnce(&mut Bundle) {
    move |b| {
        b.config["root"]["readonly"] = json!(false);
        b.config["linux"]["seccomp"] =
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    }
}

#[test]
fn errno() {
    let mkdir = "mkdir /tmp/x 2>&1; echo $?";
    let rule = |extra: Value| {
        let mut rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
        rule.as_object_mut()
            .into_iter()
            .for_each(|rule| rule.extend(extra.as_object().cloned().unwrap_or_default()));
        json!([rule])
    };
    let failed = |text: &str| format!("mkdir: can't create directory '/tmp/x': {text}\n1");
    check(
        allow_but(rule(json!({}))),
        mkdir,
        &failed("Operation not permitted"),
    );
    check(
        allow_but(rule(json!({"errnoRet": 5}))),
        mkdir,
        &failed("Input/output error"),
    );
    check(
        allow_but(rule(json!({"errnoRet": 28}))),
        mkdir,
        &failed("No space left on device"),
    );
    check(allow_but(json!([])), mkdir, "0");
    check(
        |b| b.config["linux"]["seccomp"] = json!(null),
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t0",
    );
    check(
        allow_but(rule(json!({}))),
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t2",
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn default_errno() {
    // The shell needs little; everything else gets the default.
    let names = [
        "read",
        "write",
        "openat",
        "open",
        "close",
        "execve",
        "exit",
        "exit_group",
        "brk",
        "mmap",
        "munmap",
        "mprotect",
        "arch_prctl",
        "getuid",
        "geteuid",
        "getgid",
        "getegid",
        "getpid",
        "getppid",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "ioctl",
        "fcntl",
        "stat",
        "fstat",
        "lstat",
        "newfstatat",
        "statx",
        "getcwd",
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlink",
        "readlinkat",
        "getrandom",
        "wait4",
        "clone",
        "clone3",
        "fork",
        "vfork",
        "uname",
        "time",
        "futex",
        "prctl",
        "capset",
        "capget",
        "setuid",
        "setgid",
        "setgroups",
        "setresuid",
        "setresgid",
        "poll",
        "dup2",
        "lseek",
        "chdir",
        "umask",
    ];
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [{"names": names.to_vec(), "action": "SCMP_ACT_ALLOW"}]});
    check(
        |b| b.config["linux"]["seccomp"] = profile,
        "mkdir /tmp/x 2>&1; true",
        "mkdir: can't create directory '/tmp/x': Function not implemented",
    );
}

#[test]
fn arguments() {
    // The shell's own `kill` passes the signal as the second argument.
    let script = "trap 'echo usr1' USR1; trap 'echo usr2' USR2; kill -USR1 $$ 2>&1; kill -USR2 $$ 2>&1; true";
    let denied = |name: &str| {
        if name == "usr1" {
            "sh: can't kill pid 1: Operation not permitted\nusr2"
        } else {
            "usr1\nsh: can't kill pid 1: Operation not permitted"
        }
    };
    let rule = |arg: Value| json!([{"names": ["kill", "tkill", "tgkill"], "action": "SCMP_ACT_ERRNO", "args": [arg]}]);
    for (arg, which) in [
        (
            json!({"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}),
            "usr1",
        ),
        (
            json!({"index": 1, "value": 10, "op": "SCMP_CMP_NE"}),
            "usr2",
        ),
        (
            json!({"index": 1, "value": 10, "op": "SCMP_CMP_GT"}),
            "usr2",
        ),
        (
            json!({"index": 1, "value": 12, "op": "SCMP_CMP_GE"}),
            "usr2",
        ),
        (
            json!({"index": 1, "value": 12, "op": "SCMP_CMP_LT"}),
            "usr1",
        ),
        (
            json!({"index": 1, "value": 10, "op": "SCMP_CMP_LE"}),
            "usr1",
        ),
        (
            json!({"index": 1, "value": 6, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}),
            "usr1",
        ),
        (
            json!({"index": 1, "value": 6, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}),
            "usr2",
        ),
    ] {
        check(allow_but(rule(arg)), script, denied(which));
    }
}

#[test]
fn kill() {
    let env = Env::new();
    let mut bundle = env.bundle();
    allow_but(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]))(
        &mut bundle,
    );
    bundle.sh("(mkdir /tmp/x); echo $?");
    let done = env.run(&bundle).ok();
    assert!(
        done.stdout()
            .trim()
            .ends_with(&(128 + libc::SIGSYS).to_string()),
        "{done}"
    );
}

#[test]
fn calls_that_the_runtime_itself_makes_can_be_denied() {
    for name in [
        "getcwd",
        "chdir",
        "close_range",
        "prctl",
        "capset",
        "setgroups",
        "openat2",
        "dup3",
        "getdents64",
        "fchdir",
        "readlinkat",
    ] {
        check(
            allow_but(json!([{"names": [name], "action": "SCMP_ACT_ERRNO"}])),
            "echo ran",
            "ran",
        );
    }
}

#[test]
fn without_no_new_privileges() {
    check(
        |b| {
            allow_but(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]))(b);
            b.config["process"]["noNewPrivileges"] = json!(false);
            b.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        },
        "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status",
        "NoNewPrivs:\t0\nSeccomp:\t2",
    );
}

#[test]
fn unknown_names_are_skipped_and_flags_are_taken() {
    let rules =
        json!([{"names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules});
    check(
        |b| b.config["linux"]["seccomp"] = profile,
        "mkdir /tmp/x 2>&1; true",
        "mkdir: can't create directory '/tmp/x': Operation not permitted",
    );
}

#[test]
fn exec_is_filtered_too() {
    let env = Env::new();
    let mut bundle = env.bundle();
    allow_but(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]))(
        &mut bundle,
    );
    bundle.args(&["sleep", "100"]);
    let id = env.start(&bundle);
    env.exec(&id, &["sh", "-c", "mkdir /tmp/x 2>&1; true"])
        .ok()
        .prints("mkdir: can't create directory '/tmp/x': Input/output error");
}
