//! What a container monitor relies on: it adopts init, and nothing of the runtime stays between them.

use orlop_tests::{Env, Must, sys};
use std::fs;

#[test]
fn init_is_reparented_to_the_monitor() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]).write();
    let id = env.id();
    let orlop = orlop_tests::orlop();
    let create = format!(
        "{} --root {} create --pid-file pid -b {} {id}",
        orlop.display(),
        env.root.display(),
        bundle.dir.display()
    );
    let monitor = env
        .cmd("/bin/sh")
        .args(["-c", &format!("{create}; echo rc $?; read x; true")]);
    let monitor = monitor.with(|command| {
        sys::adopt_orphans(command);
        command.stdin(std::process::Stdio::piped());
    });
    let mut monitor = monitor.spawn();
    monitor.expect("rc 0");
    let pid = fs::read_to_string(env.dir.join("pid")).must("the pid file");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).must("init's status");
    assert!(
        status.contains(&format!("PPid:\t{}\n", monitor.pid())),
        "init's parent is not the monitor:\n{status}"
    );
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", monitor.pid()))
        .must("the children");
    assert_eq!(
        children.trim(),
        pid,
        "the monitor has other children than init"
    );
    drop(monitor.child.stdin.take());
    monitor.wait().ok();
}

#[test]
fn a_zombie_is_stopped() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]).write();
    let id = env.id();
    let orlop = format!(
        "{} --root {}",
        orlop_tests::orlop().display(),
        env.root.display()
    );
    let script = format!(
        "{orlop} create -b {} {id}; {orlop} start {id}; echo started; read x",
        bundle.dir.display()
    );
    // A shell that waits in `read` does not collect what it adopts.
    let monitor = env.cmd("/bin/sh").args(["-c", &script]);
    let monitor = monitor.with(|command| {
        sys::adopt_orphans(command);
        command.stdin(std::process::Stdio::piped());
    });
    let mut monitor = monitor.spawn();
    monitor.expect("started");
    env.reaches(&id, "stopped");
    env.orlop(&["delete", &id]).run().ok();
    drop(monitor.child.stdin.take());
    monitor.wait();
}

#[test]
fn killing_the_foreground_run_leaves_a_container_that_can_be_deleted() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    bundle.sh("echo up; exec sleep 100").write();
    let (id, running) = env.spawn(&bundle);
    running.expect("up");
    sys::kill(running.pid(), libc::SIGKILL).must("kill the runtime");
    running.wait().exits(-libc::SIGKILL);
    env.orlop(&["delete", "--force", &id]).run().ok();
    env.as_before(&world, "a killed run");
}
