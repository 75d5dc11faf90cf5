//! What a process in the container can take from a process of the runtime that enters its pid namespace (CVE-2016-9962).

use orlop_tests::{Env, Must, Running, sys, until};
use std::fs;

/// Tries the descriptors of every process of the runtime that it sees, and says after each whether one could be followed.
const LOOK: &str = "echo armed; while :; do for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in *--roo[t]*) \
    for f in $p/fd/*; do readlink $f && echo open; done; echo tried;; esac; done 2>/dev/null; done";

/// Starts a container that looks.
fn looker(env: &Env) -> (String, Running) {
    let mut bundle = env.bundle();
    bundle.sh(LOOK).write();
    let id = env.id();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    running.expect("armed");
    (id, running)
}

/// What the looker says after it has tried the process `pid` without its privileges.
fn tried(looker: &Running, pid: i32) -> String {
    until("the process gives up its privileges", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("CapEff:\t0000000020000420").then_some(())
    });
    let count = || looker.stdout().matches("tried").count();
    let before = count();
    // Three, since one may have begun earlier.
    until("the looker tries", || (count() >= before + 3).then_some(()));
    looker.stdout()
}

#[test]
fn cve_2016_9962_of_exec() {
    let env = Env::new();
    let (id, running) = looker(&env);
    // The runtime waits for a reader of its pid file while the process that it has added is ready to execute its program.
    let fifo = env.dir.join(".pid");
    sys::mknod(&fifo, libc::S_IFIFO | 0o600, (0, 0)).must("a fifo");
    let exec = env
        .orlop(&["exec", "--pid-file", "pid", &id, "true"])
        .spawn();
    let children = format!("/proc/{0}/task/{0}/children", exec.pid());
    let pid = until("the process that is added", || {
        fs::read_to_string(&children).ok()?.trim().parse().ok()
    });
    let seen = tried(&running, pid);
    fs::read(&fifo).must("the pid file");
    exec.wait().ok();
    assert!(
        !seen.contains("open"),
        "descriptors of the runtime are open to the container:\n{seen}"
    );
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}

#[test]
fn cve_2016_9962_of_a_container_in_the_same_pid_namespace() {
    let env = Env::new();
    let (id, running) = looker(&env);
    let mut second = env.bundle();
    second
        .namespace("pid", Some(&format!("/proc/{}/ns/pid", env.pid(&id))))
        .args(&["true"]);
    let created = env.create(&second);
    let seen = tried(&running, env.pid(&created));
    env.orlop(&["delete", "--force", &created]).run().ok();
    assert!(
        !seen.contains("open"),
        "descriptors of the runtime are open to the container:\n{seen}"
    );
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}
