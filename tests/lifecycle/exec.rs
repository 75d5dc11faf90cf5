//! `exec`: what is run, as whom, where, and how its end is told.

use orlop_tests::{ConsoleSocket, Env, Must, Pty, sys, until};
use serde_json::{Value, json};
use std::fs::{self, File};

/// Starts a container that sleeps.
fn sleeping(env: &Env) -> String {
    let mut bundle = env.bundle();
    bundle
        .args(&["sleep", "1000"])
        .set("/root/readonly", json!(false))
        .set("/process/noNewPrivileges", json!(false));
    env.start(&bundle)
}

#[test]
fn the_exit_code_is_the_programs() {
    let env = Env::new();
    let id = sleeping(&env);
    for (script, rc) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -TERM $$", 128 + 15),
        ("kill -9 $$", 128 + 9),
    ] {
        env.exec(&id, &["sh", "-c", script]).exits(rc);
    }
}

/// As runc has it: a file is the whole process, and absent means false.
#[test]
fn a_file_says_itself_whether_its_process_may_gain_privileges() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .args(&["sleep", "1000"])
        .set("/process/noNewPrivileges", json!(true));
    let id = env.start(&bundle);
    let args = ["grep", "NoNewPrivs", "/proc/self/status"];
    env.exec(&id, &args).ok().prints("NoNewPrivs:\t1");
    for (said, wanted) in [(None, 0), (Some(false), 0), (Some(true), 1)] {
        let mut process =
            json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"], "args": args});
        if let Some(said) = said {
            process["noNewPrivileges"] = json!(said);
        }
        fs::write(env.dir.join("process.json"), process.to_string()).must("process.json");
        let exec = env.orlop(&["exec", "--process", "process.json", &id]);
        exec.run().ok().prints(&format!("NoNewPrivs:\t{wanted}"));
    }
}

#[test]
fn what_cannot_be_run_is_rc_255_in_one_line() {
    let env = Env::new();
    let id = sleeping(&env);
    let world = env.world();
    for (program, text) in [
        (
            "nosuch",
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        ("/bin/nosuch", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        env.exec(&id, &[program])
            .refused(255, &["exec failed: ", program, text]);
    }
    env.orlop(&["exec", "--cwd", "/nosuch", &id, "true"])
        .run()
        .refused(255, &["/nosuch", "no such file or directory"]);
    let done = env.orlop(&["exec", &id]).run();
    assert!(
        done.complaint(1, &["exec"])
            .and(done.complaint(255, &["exec"]))
            .is_none(),
        "{done}"
    );
    env.as_before(&world, "exec of what cannot be run");
}

#[test]
fn flags_change_the_process() {
    let env = Env::new();
    let id = sleeping(&env);
    let check = |flags: &[&str], script: &str, wanted: &str| {
        env.orlop(&["exec"])
            .args(flags)
            .args([&id, "sh", "-c", script])
            .run()
            .ok()
            .prints(wanted);
    };
    check(&["--cwd", "/tmp"], "pwd", "/tmp");
    check(
        &["-e", "A=1", "-e", "B=x=y"],
        "echo $A $B $TERM",
        "1 x=y xterm",
    );
    check(&["--env", "A=1,2"], "echo $A", "1,2");
    check(&["--user", "1000"], "id -u; id -g", "1000\n0");
    check(
        &["--user=1000:1000"],
        "id -u; id -g; echo $HOME",
        "1000\n1000\n/home",
    );
    check(
        &["-u", "1000:1001", "-g", "7", "--additional-gids", "8"],
        "id -u; id -g; grep Groups /proc/self/status",
        "1000\n1001\nGroups:\t7 8",
    );
    let privileges = "grep NoNewPrivs /proc/self/status";
    check(&[], privileges, "NoNewPrivs:\t0");
    check(&["--no-new-privs=false"], privileges, "NoNewPrivs:\t0");
    check(
        &["--no-new-privs"],
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    );
    check(
        &["--no-new-privs=true"],
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    );
    check(
        &["--cap", "CAP_SYS_NICE", "-c", "CAP_CHOWN"],
        "grep CapBnd /proc/self/status | tail -c 9",
        "20800421",
    );
}

#[test]
fn option_parsing_stops_at_the_id() {
    let env = Env::new();
    let id = sleeping(&env);
    env.exec(&id, &["echo", "--cwd", "/tmp", "-e", "-t"])
        .ok()
        .prints("--cwd /tmp -e -t");
    env.exec(&id, &["sh", "-c", "echo $0 $1", "--tty", "--help"])
        .ok()
        .prints("--tty --help");
}

#[test]
fn the_config_of_the_container_is_the_default() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/cwd", json!("/tmp"))
        .set("/process/env/-", json!("FROM=config"))
        .args(&["sleep", "1000"]);
    bundle.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1000, "umask": 18, "additionalGids": [5]}),
    );
    bundle.set(
        "/process/rlimits",
        json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]),
    );
    bundle.set("/process/oomScoreAdj", json!(321));
    let id = env.start(&bundle);
    let script = "pwd; echo $FROM; id -u; id -G; ulimit -n; cat /proc/self/oom_score_adj";
    env.exec(&id, &["sh", "-c", script])
        .ok()
        .prints("/tmp\nconfig\n1000\n1000 5\n100\n321");
}

#[test]
fn a_process_file_replaces_the_default() {
    let env = Env::new();
    let id = sleeping(&env);
    let process = json!({
        "terminal": false, "user": {"uid": 5, "gid": 6, "additionalGids": [9], "umask": 7}, "cwd": "/tmp", "noNewPrivileges": false,
        "args": ["sh", "-c", "id -u; id -g; id -G; umask; pwd; echo $X; ulimit -n; grep -E 'CapEff|CapBnd' /proc/self/status; env | grep -c TERM"],
        "env": ["PATH=/bin", "X=y"], "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
    });
    let path = env.dir.join("process.json");
    fs::write(&path, process.to_string()).must("process.json");
    let wanted =
        "5\n6\n6 9\n0007\n/tmp\ny\n50\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000020\n0";
    for option in ["--process", "-p"] {
        let exec = env.orlop(&["exec", option]).arg(&path).arg(&id);
        exec.run().prints(wanted);
    }
}

#[test]
fn detached_returns_with_a_pid_file() {
    let env = Env::new();
    let id = sleeping(&env);
    let script = ["sh", "-c", "echo in; exec sleep 1000"];
    for option in ["-d", "--detach"] {
        let exec = env.orlop(&["exec", option, "--pid-file", "exec.pid", &id]);
        exec.args(script).run().ok();
    }
    let text = fs::read_to_string(env.dir.join("exec.pid")).must("the pid file");
    let pid: i32 = text.parse().must("digits and nothing else in the pid file");
    let pids = env.orlop(&["ps", "-f", "json", &id]).run().ok().json();
    assert!(
        pids.as_array().must("an array").contains(&json!(pid)),
        "{pid} is not in the container: {pids}"
    );
    let of = |pid: i32, ns: &str| fs::read_link(format!("/proc/{pid}/ns/{ns}")).must("a namespace");
    for ns in ["pid", "net", "ipc", "uts", "mnt"] {
        assert_eq!(of(pid, ns), of(env.pid(&id), ns), "{ns}");
    }
    let cgroup = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).must("the cgroup");
    assert_eq!(cgroup(pid), cgroup(env.pid(&id)));
}

#[test]
fn stdin_reaches_the_program() {
    let env = Env::new();
    let id = sleeping(&env);
    env.orlop(&["exec", &id, "cat"])
        .stdin("through\n")
        .run()
        .ok()
        .prints("through");
}

#[test]
fn signals_are_passed_on() {
    let env = Env::new();
    let id = sleeping(&env);
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let running = env.orlop(&["exec", &id, "sh", "-c", script]).spawn();
    running.expect("ready");
    sys::kill(running.pid(), libc::SIGTERM).must("signal the runtime");
    running.wait().exits(9);
}

#[test]
fn a_terminal_goes_through_the_console_socket() {
    let env = Env::new();
    let id = sleeping(&env);
    let socket = ConsoleSocket::listen(env.dir.join("console"));
    let socket_path = socket.path.to_str().must("a path");
    let command = [
        "exec",
        "--tty",
        "--detach",
        "--console-socket",
        socket_path,
        &id,
        "sh",
        "-c",
        "tty; stty size; exec sleep 1000",
    ];
    env.orlop(&command).run().ok();
    let (_, master) = socket.receive();
    Pty::of_master(File::from(master)).expect("/dev/pts/");

    let process = json!({"terminal": true, "consoleSize": {"height": 13, "width": 57}, "cwd": "/", "user": {"uid": 0, "gid": 0},
        "args": ["sh", "-c", "stty size; exec sleep 1000"], "env": ["PATH=/bin"]});
    fs::write(env.dir.join("process.json"), process.to_string()).must("process.json");
    env.orlop(&[
        "exec",
        "-d",
        "--process",
        "process.json",
        "--console-socket",
        socket_path,
        &id,
    ])
    .run()
    .ok();
    let (_, master) = socket.receive();
    Pty::of_master(File::from(master)).expect("13 57");

    let text = "will detach without setting console socket";
    env.orlop(&["exec", "--tty", "--detach", &id, "true"])
        .run()
        .refused(255, &[text]);
}

#[test]
fn works_in_a_created_container() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]);
    let id = env.create(&bundle);
    env.exec(&id, &["echo", "early"]).ok().prints("early");
}

#[test]
fn listen_fds_are_not_for_exec() {
    let env = Env::new();
    let id = sleeping(&env);
    let orlop = orlop_tests::orlop();
    let script = format!(
        "LISTEN_FDS=1 LISTEN_PID=$$ exec {} --root {} exec {id} sh -c 'echo $LISTEN_FDS; ls /proc/self/fd'",
        orlop.display(),
        env.root.display()
    );
    let command = env.cmd("/bin/sh").args(["-c", &script]);
    let null = File::open("/dev/null").must("/dev/null");
    // The 3 is the directory that ls reads.
    command
        .with(|command| sys::give_fd(command, null, 3))
        .run()
        .ok()
        .prints("0\n1\n2\n3");
}

#[test]
fn preserve_fds_reach_the_program() {
    let env = Env::new();
    let id = sleeping(&env);
    let path = env.dir.join("given");
    fs::write(&path, "given\n").must("a file");
    let file = File::open(&path).must("a file");
    let command = env.orlop(&["exec", "--preserve-fds", "1", &id, "sh", "-c", "cat <&3"]);
    command
        .with(|command| sys::give_fd(command, file, 3))
        .run()
        .ok()
        .prints("given");
}

#[test]
fn many_at_once() {
    let env = Env::new();
    let id = sleeping(&env);
    let all: Vec<_> = (0..20)
        .map(|n| {
            env.orlop(&["exec", &id, "sh", "-c", &format!("exit {n}")])
                .spawn()
        })
        .collect();
    for (n, one) in (0..).zip(all) {
        one.wait().exits(n);
    }
    let pids = || env.orlop(&["ps", "--format=json", &id]).run().ok().json();
    until("only init is left", || {
        (pids().as_array().map(Vec::len) == Some(1)).then_some(Value::Null)
    });
}
