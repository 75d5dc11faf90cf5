//! What a process in the container can take from a process of the runtime that enters its pid namespace (CVE-2016-9962).

use orlop_tests::{Bundle, Env, Gate, Must, Running, hidden, orlop, until};
use serde_json::json;
use std::fs;

/// Tries the descriptors of every process of the runtime that it sees, and says after each whether one could be followed.
const LOOK: &str = "echo armed; while :; do for p in /proc/[0-9]*; do case $(tr '\\0' ' ' < $p/cmdline) in *--roo[t]*) \
    for f in $p/fd/*; do readlink $f && echo open; done; echo tried;; esac; done 2>/dev/null; done";

/// Starts a container that looks.
fn looker(env: &Env) -> (String, Running) {
    let mut bundle = env.bundle();
    bundle.sh(LOOK).write();
    let (id, running) = env.spawn(&bundle);
    running.expect("armed");
    (id, running)
}

/// What the looker says after it has tried a process without its privileges, which is one of those at the moment.
fn tried(looker: &Running, processes: impl Fn() -> Vec<i32>) -> String {
    until("the process gives up its privileges", || {
        let without = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("CapEff:\t0000000020000420")
        };
        processes().iter().any(without).then_some(())
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
    // The runtime is held where it makes its pid file, while the process that it has added is ready to execute its program.
    let dir = env.dir.join("gate");
    fs::create_dir(&dir).must("a directory");
    let gate = Gate::before(&dir).must("a gate");
    let exec = env
        .orlop(&["exec", "--pid-file", "gate/pid", &id, "true"])
        .spawn();
    let children = format!("/proc/{0}/task/{0}/children", exec.pid());
    // There is one for a moment that enters before it.
    let children = || {
        let text = fs::read_to_string(&children).unwrap_or_default();
        text.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    };
    until("the runtime is held", || gate.holds().then_some(()));
    let seen = tried(&running, children);
    drop(gate);
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
    let seen = tried(&running, || vec![env.pid(&created)]);
    env.orlop(&["delete", "--force", &created]).run().ok();
    assert!(
        !seen.contains("open"),
        "descriptors of the runtime are open to the container:\n{seen}"
    );
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}

/// Looks for a file of the host through the root and the descriptors of whatever else it sees; nothing but its shell works at it, so
/// that it comes to a process within microseconds.
fn reaching(mark: &std::path::Path) -> String {
    let (mark, up) = (mark.display(), "/..".repeat(12));
    format!(
        "echo armed; while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; [ -e $p/root{mark} ] && echo reached $p/root; \
         for f in $p/fd/*; do [ -e $f{up}{mark} ] && echo reached $f; done; done; done 2>/dev/null"
    )
}

/// Starts a container that may trace everything that it sees, which looks for a file of the host.
fn tracer(env: &Env, edit: impl FnOnce(&mut Bundle)) -> (String, Running) {
    let mark = env.dir.join("host");
    fs::write(&mark, "").must("a file of the host");
    let mut bundle = env.bundle();
    edit(&mut bundle);
    bundle
        .capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"])
        .sh(&reaching(&mark))
        .write();
    fs::create_dir(bundle.rootfs().join("more")).must("a place to mount at");
    let (id, running) = env.spawn(&bundle);
    running.expect("armed");
    (id, running)
}

/// Ends such a container, which has found nothing.
#[track_caller]
fn nothing_reached(env: &Env, id: &str, running: Running) {
    let seen = running.stdout();
    env.orlop(&["delete", "--force", id]).run().ok();
    running.wait();
    assert!(
        !seen.contains("reached"),
        "the host is open to the container:\n{seen}"
    );
}

#[test]
fn cve_2016_9962_of_exec_beside_one_who_may_trace() {
    let env = Env::new();
    let (id, running) = tracer(&env, |_| ());
    for _ in 0..60 {
        env.exec(&id, &["true"]).ok();
    }
    nothing_reached(&env, &id, running);
}

/// Where descriptors are closed one by one, the list of them leads to the host as well.
#[test]
fn cve_2016_9962_of_exec_without_close_range_beside_one_who_may_trace() {
    let env = Env::new();
    let (id, running) = tracer(&env, |_| ());
    for _ in 0..60 {
        let older = env.cmd(env!("CARGO_BIN_EXE_enosys")).arg("close_range");
        let exec = older.arg(orlop()).arg("--root").arg(&env.root);
        exec.args(["exec", &id, "true"]).run().ok();
    }
    nothing_reached(&env, &id, running);
}

#[test]
fn cve_2016_9962_of_a_procfs_that_is_mounted_beside_one_who_may_trace() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let (id, running) = tracer(&env, |_| ());
    let mount = r#"[{"destination":"/more","type":"proc","source":"proc"}]"#;
    let file = env.dir.join("mounts.json");
    fs::write(&file, mount).must("a file");
    for _ in 0..30 {
        env.orlop(&["mounts", "add", &id]).arg(&file).run().ok();
        env.orlop(&["mounts", "remove", &id]).arg(&file).run().ok();
    }
    nothing_reached(&env, &id, running);
}

/// Who comes into a pod's namespaces is not looked into before its own first step, in which it would hide.
#[test]
fn cve_2016_9962_of_a_pod_whose_root_is_the_hosts() {
    let env = Env::new();
    let own = |bundle: &mut Bundle| {
        let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
        bundle.namespace("user", None);
        bundle.set("/linux/uidMappings", map.clone());
        bundle.set("/linux/gidMappings", map);
    };
    let (id, running) = tracer(&env, own);
    let pid = env.pid(&id);
    for _ in 0..40 {
        let mut bundle = env.bundle();
        for kind in ["user", "pid"] {
            bundle.namespace(kind, Some(&format!("/proc/{pid}/ns/{kind}")));
        }
        bundle.args(&["true"]);
        env.run(&bundle).ok();
    }
    nothing_reached(&env, &id, running);
}
