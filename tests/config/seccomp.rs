//! `linux.seccomp`: what is stopped, how, and by which arguments.

use crate::check;
use orlop_tests::{Agent, Bundle, Env, Must, behind_filter, skip, sys, until};
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
    if behind_filter() {
        skip("no filter at all", "the runtime runs behind one");
    } else {
        check(
            |b| b.config["linux"]["seccomp"] = json!(null),
            "grep Seccomp: /proc/self/status",
            "Seccomp:\t0",
        );
    }
    check(
        allow_but(rule(json!({}))),
        "grep Seccomp: /proc/self/status",
        "Seccomp:\t2",
    );
}

/// What a shell needs.
pub(crate) const NEEDED: [&str; 58] = [
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

#[test]
fn default_errno() {
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [{"names": NEEDED.to_vec(), "action": "SCMP_ACT_ALLOW"}]});
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
    for action in [
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_TRAP",
    ] {
        let mut bundle = env.bundle();
        allow_but(json!([{"names": ["mkdir", "mkdirat"], "action": action}]))(&mut bundle);
        bundle.sh("(mkdir /tmp/x); echo $?");
        let done = env.run(&bundle).ok();
        let killed = (128 + libc::SIGSYS).to_string();
        assert!(done.stdout().trim().ends_with(&killed), "{action}\n{done}");
    }
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

/// Hands mkdir on to whoever listens at `path`.
fn hand_on(bundle: &mut Bundle, path: &std::path::Path) {
    allow_but(json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]))(bundle);
    bundle
        .set("/linux/seccomp/listenerPath", json!(path))
        .set("/linux/seccomp/listenerMetadata", json!("meta=\"1\""))
        .set("/annotations", json!({"io.example.key": "value"}));
}

/// EXDEV, which mkdir never answers itself.
const MADE_UP: i32 = libc::EXDEV;
const REFUSED: &str = "mkdir: can't create directory '/tmp/x': Invalid cross-device link";

#[test]
fn a_listener_answers() {
    let env = Env::new();
    let agent = Agent::listen(env.dir.join("agent"), |_| MADE_UP);
    let mut bundle = env.bundle();
    hand_on(&mut bundle, &agent.path);
    bundle.sh("mkdir /tmp/x 2>&1; ls /proc/self/fd | wc -l");
    env.run(&bundle).ok().prints(&format!("{REFUSED}\n4"));
    let heard = agent.heard();
    let [one] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    let calls = one.calls.len();
    assert_eq!(calls, 1, "{one:?}");
    let state = &one.state;
    assert_eq!(state["ociVersion"], "1.2.0", "{state}");
    assert_eq!(state["fds"], json!(["seccompFd"]), "{state}");
    assert_eq!(state["metadata"], "meta=\"1\"", "{state}");
    let inner = &state["state"];
    assert_eq!(inner["pid"], state["pid"], "{state}");
    assert_eq!(inner["status"], "creating", "{state}");
    assert_eq!(inner["bundle"], json!(bundle.dir), "{state}");
    assert_eq!(inner["annotations"]["io.example.key"], "value", "{state}");
}

#[test]
fn a_listener_hears_of_a_container_before_it_is_started() {
    let env = Env::new();
    let agent = Agent::listen(env.dir.join("agent"), |_| MADE_UP);
    let mut bundle = env.bundle();
    hand_on(&mut bundle, &agent.path);
    bundle.sh("mkdir /tmp/x 2>/tmp/said; sleep 100");
    let id = env.create(&bundle);
    let pid = env.pid(&id);
    let heard = until("the introduction", || agent.heard().pop());
    assert_eq!(heard.state["pid"], pid, "{heard:?}");
    assert_eq!(heard.state["state"]["id"], json!(id), "{heard:?}");
    assert!(heard.calls.is_empty(), "{heard:?}");
    assert_eq!(env.state(&id)["status"], "created");
    env.orlop(&["start", &id]).run().ok();
    until("the refused call", || {
        let said = std::fs::read_to_string(bundle.rootfs().join("tmp/said")).unwrap_or_default();
        (said.trim() == REFUSED).then_some(())
    });
    // A process that is added is introduced too, on a connection of its own.
    env.exec(&id, &["sh", "-c", "mkdir /tmp/x 2>&1; true"])
        .ok()
        .prints(REFUSED);
    let heard = agent.heard();
    let [_, added] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert_eq!(added.state["state"]["status"], "running", "{added:?}");
    assert_eq!(added.state["state"]["pid"], pid, "{added:?}");
    assert_ne!(added.state["pid"], pid, "{added:?}");
    assert_eq!(added.calls.len(), 1, "{added:?}");
    env.orlop(&["delete", "--force", &id]).run().ok();
}

/// Runc refuses write, because the filtered process itself has to write; here it never does.
#[test]
fn any_call_but_the_one_that_waits_may_be_handed_on() {
    let names = [
        "write",
        "sendmsg",
        "read",
        "recvmsg",
        "openat",
        "close",
        "execve",
        "rt_sigaction",
        "prctl",
        "exit_group",
        "brk",
        "mmap",
    ];
    let hook = json!({"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo hook > /tmp/hook"]}]});
    for (default, rules) in [
        (
            "SCMP_ACT_ALLOW",
            json!([{"names": names, "action": "SCMP_ACT_NOTIFY"}]),
        ),
        (
            "SCMP_ACT_NOTIFY",
            json!([{"names": ["futex"], "action": "SCMP_ACT_ALLOW"}]),
        ),
    ] {
        let env = Env::new();
        let agent = Agent::listen(env.dir.join("agent"), |_| 0);
        let mut bundle = env.bundle();
        bundle
            .set("/root/readonly", json!(false))
            .set("/hooks", hook.clone())
            .set(
                "/linux/seccomp",
                json!({"defaultAction": default, "listenerPath": agent.path, "syscalls": rules,
                    "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
            )
            .sh("read hook < /tmp/hook; echo $hook; grep Seccomp_filters /proc/self/status");
        let filters = if behind_filter() { 2 } else { 1 };
        env.run(&bundle)
            .ok()
            .prints(&format!("hook\nSeccomp_filters:\t{filters}"));
        let id = env.start(&bundle);
        env.reaches(&id, "stopped");
    }
}

#[test]
fn listeners_that_cannot_be_had_are_refused() {
    let env = Env::new();
    let before = env.world();
    let nobody = env.dir.join("nobody");
    let _closed = std::os::unix::net::UnixListener::bind(&nobody).map(drop);
    let notify = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    let mut deaf = notify.clone();
    deaf[0]["names"] = json!(["mkdir", "futex"]);
    let profile = |path: &str, rules: &Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "syscalls": rules});
    for (profile, parts) in [
        (
            profile("", &notify),
            [
                "linux.seccomp.listenerPath",
                "linux.seccomp.syscalls[0].action",
            ],
        ),
        (
            profile("socket", &notify),
            ["linux.seccomp.listenerPath", "absolute"],
        ),
        (
            profile("/nowhere/socket", &notify),
            ["linux.seccomp.listenerPath", "/nowhere/socket"],
        ),
        (
            profile(&nobody.display().to_string(), &notify),
            ["linux.seccomp.listenerPath", "connection refused"],
        ),
        (
            profile(&format!("/{}", "x".repeat(200)), &notify),
            ["linux.seccomp.listenerPath", "too long"],
        ),
        (
            profile("/nowhere/socket", &deaf),
            ["linux.seccomp.syscalls[0].action", "futex"],
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            ["linux.seccomp.listenerMetadata", "listenerPath"],
        ),
    ] {
        let mut bundle = env.bundle();
        bundle.args(&["true"]).set("/linux/seccomp", profile);
        env.run(&bundle).refused(1, &parts);
    }
    env.as_before(&before, "refused listeners");
    // Where no rule hands anything on, nobody is asked to listen (config-linux.md).
    let mut bundle = env.bundle();
    bundle
        .args(&["true"])
        .set("/linux/seccomp", profile("/nowhere/socket", &json!([])));
    let done = env.run(&bundle).ok();
    assert!(
        done.stderr().contains("linux.seccomp.listenerPath"),
        "{done}"
    );
}

/// A listener that goes away lets the calls fail, not hang (seccomp_unotify(2)); so does one that never answered before.
#[test]
fn calls_fail_when_the_listener_is_gone() {
    let env = Env::new();
    let path = env.dir.join("agent");
    let listener = std::os::unix::net::UnixListener::bind(&path).must("a socket");
    let mut bundle = env.bundle();
    hand_on(&mut bundle, &path);
    bundle.sh("mkdir /tmp/x 2>&1; true");
    bundle.write();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .spawn();
    listener.set_nonblocking(true).must("set non-blocking");
    let (stream, _) = until("a connection", || listener.accept().ok());
    stream.set_nonblocking(false).must("set blocking");
    let introduced = sys::receive_fds(&stream).must("the introduction");
    drop(introduced);
    running
        .wait()
        .ok()
        .prints("mkdir: can't create directory '/tmp/x': Function not implemented");
}

#[test]
fn flags() {
    let flag = |name: &str| format!("SECCOMP_FILTER_FLAG_{name}");
    for name in ["LOG", "SPEC_ALLOW", "TSYNC"] {
        let names = ["mkdir", "mkdirat"];
        check(
            |b| {
                allow_but(json!([{"names": names, "action": "SCMP_ACT_ERRNO"}]))(b);
                b.set("/linux/seccomp/flags", json!([flag(name)]));
            },
            "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status",
            "mkdir: can't create directory '/tmp/x': Operation not permitted\nSeccomp:\t2",
        );
    }
    // Without it the kernel closes the processor's side channel for the filtered process, where it has a choice.
    let speculation = |flags: Value| {
        let env = Env::new();
        let mut bundle = env.bundle();
        allow_but(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]))(&mut bundle);
        bundle
            .set("/linux/seccomp/flags", flags)
            .sh("grep Speculation_Store_Bypass /proc/self/status");
        env.run(&bundle).stdout()
    };
    let (with, without) = (
        speculation(json!([flag("SPEC_ALLOW")])),
        speculation(json!([])),
    );
    if with == without {
        skip(
            "SPEC_ALLOW",
            "this kernel mitigates the same with and without it",
        );
    }
}

/// Crun's annotations.
#[test]
fn annotations() {
    let unknown = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO"}]});
    let env = Env::new();
    for (value, refused) in [("1", true), ("0", false)] {
        let mut bundle = env.bundle();
        bundle
            .args(&["true"])
            .set("/linux/seccomp", unknown.clone())
            .set(
                "/annotations",
                json!({"run.oci.seccomp_fail_unknown_syscall": value}),
            );
        let done = env.run(&bundle);
        if refused {
            done.refused(1, &["linux.seccomp.syscalls[0].names[1]", "no_such_call"]);
        } else {
            done.ok();
        }
    }
    let agent = Agent::listen(env.dir.join("agent"), |_| MADE_UP);
    let mut bundle = env.bundle();
    hand_on(&mut bundle, &agent.path);
    bundle
        .set("/linux/seccomp/listenerPath", json!(null))
        .set(
            "/annotations",
            json!({"run.oci.seccomp.receiver": agent.path}),
        )
        .sh("mkdir /tmp/x 2>&1; true");
    env.run(&bundle).ok().prints(REFUSED);
}

/// Three instructions: look at the number, answer EXDEV to 83 (mkdir of x86-64), allow the rest.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_raw_program() {
    let program = [
        [0x20, 0, 0, 0, 0, 0, 0, 0],
        [0x15, 0, 0, 1, 83, 0, 0, 0],
        [0x06, 0, 0, 0, 18, 0, 5, 0],
        [0x06, 0, 0, 0, 0, 0, 0xff, 0x7f],
    ];
    let text = base64(&program.concat());
    let key = "run.oci.seccomp_bpf_data";
    check(
        |b| {
            b.set("/annotations", json!({key: text}));
        },
        "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status",
        &format!("{REFUSED}\nSeccomp:\t2"),
    );
    let env = Env::new();
    for text in ["?", "AAAA", ""] {
        let mut bundle = env.bundle();
        bundle
            .args(&["true"])
            .set("/annotations", json!({key: text}));
        env.run(&bundle).refused(1, &[key]);
    }
}

#[cfg(target_arch = "x86_64")]
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let whole = (0..3).fold(0_usize, |whole, index| {
            whole << 8 | usize::from(chunk.get(index).copied().unwrap_or(0))
        });
        (0..4).map(move |index| {
            let digit = char::from(ALPHABET[whole >> (18 - 6 * index) & 63]);
            if index <= chunk.len() { digit } else { '=' }
        })
    });
    digits.collect()
}
