//! What users of engines run into: users without privileges, streams, variables, signals, starts at once.

use orlop_tests::{Env, Must, until};
use serde_json::json;
use std::fs;

#[test]
fn a_user_can_open_the_standard_streams_again() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.sh("echo to stdout > /dev/stdout; echo to stderr > /dev/stderr");
    let done = env.run(&bundle).ok();
    assert!(done.stdout().contains("to stdout"), "{done}");
    assert!(done.stderr().contains("to stderr"), "{done}");
}

#[test]
fn a_directory_that_only_root_may_enter_is_entered_before_the_user_changes() {
    use std::os::unix::fs::PermissionsExt;
    let env = Env::new();
    let mut bundle = env.bundle();
    let dir = bundle.rootfs().join("private");
    fs::create_dir(&dir).must("a directory");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).must("its mode");
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle
        .set("/process/cwd", json!("/private"))
        .args(&["true"]);
    env.run(&bundle).ok();
}

#[test]
fn the_callers_umask_does_not_keep_a_user_from_starting() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.args(&["true"]).write();
    let (orlop, id) = (orlop_tests::orlop(), env.id());
    let call = format!("{} --root {}", orlop.display(), env.root.display());
    let script = format!(
        "umask 077; {call} create -b {} {id} && {call} start {id}",
        bundle.dir.display()
    );
    env.cmd("/bin/sh").args(["-c", &script]).run().ok();
}

#[test]
fn the_last_value_of_a_variable_counts() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/env/-", json!("FOO=1"))
        .args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let show = ["--env", "FOO=2", &id, "sh", "-c", "env | grep FOO"];
    env.orlop(&["exec"]).args(show).run().ok().prints("FOO=2");
}

#[test]
fn a_process_file_without_capabilities_has_the_containers() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.capabilities(&["CAP_KILL"]).args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let process = json!({"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["/bin/grep", "CapEff", "/proc/self/status"]});
    fs::write(env.dir.join("process.json"), process.to_string()).must("process.json");
    let done = env
        .orlop(&["exec", "--process", "process.json", &id])
        .run()
        .ok();
    done.prints("CapEff:\t0000000000000020");
}

#[test]
fn ignored_signals_of_the_caller_are_not_ignored_inside() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .args(&["grep", "SigIgn", "/proc/self/status"])
        .write();
    let script = format!(
        "trap '' INT HUP TERM; exec {} --root {} run -b {} {}",
        orlop_tests::orlop().display(),
        env.root.display(),
        bundle.dir.display(),
        env.id()
    );
    let done = env.cmd("/bin/sh").args(["-c", &script]).run().ok();
    done.prints("SigIgn:\t0000000000000000");
}

#[test]
fn signal_0_asks_whether_the_container_runs() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    env.orlop(&["kill", &id, "0"]).run().ok();
    env.orlop(&["kill", &id, "KILL"]).run().ok();
    env.reaches(&id, "stopped");
    env.orlop(&["kill", &id, "0"])
        .run()
        .refused(1, &["container not running"]);
}

#[test]
fn of_two_starts_at_once_one_starts_and_one_is_refused() {
    let env = Env::new();
    for _ in 0..10 {
        let mut bundle = env.bundle();
        bundle.args(&["sleep", "1000"]);
        let id = env.create(&bundle);
        let starts = [0, 1].map(|_| env.orlop(&["start", &id]).spawn());
        let mut codes = starts.map(|start| start.wait().rc);
        codes.sort_unstable();
        assert_eq!(codes, [0, 1]);
        assert_eq!(env.state(&id)["status"], "running");
        env.orlop(&["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn kill_reaches_the_children_of_a_container_that_joined_a_pid_namespace() {
    let env = Env::new();
    let mut first = env.bundle();
    first.args(&["sleep", "1000"]);
    let owner = env.start(&first);
    let mut second = env.bundle();
    second.namespace("pid", Some(&format!("/proc/{}/ns/pid", env.pid(&owner))));
    second.sh("sleep 1001 & sleep 1002 & wait");
    let id = env.start(&second);
    let count = || {
        env.orlop(&["ps", "-f", "json", &id])
            .run()
            .json()
            .as_array()
            .map_or(0, Vec::len)
    };
    until("three processes", || (count() == 3).then_some(()));
    env.orlop(&["kill", &id, "KILL"]).run().ok();
    env.reaches(&id, "stopped");
    env.orlop(&["delete", &id]).run().ok();
}
