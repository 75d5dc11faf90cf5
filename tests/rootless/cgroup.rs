//! Cgroups that are not delegated.

use crate::User;
use orlop_tests::{Bundle, Must};
use serde_json::json;
use std::fs;

#[test]
fn without_limits_one_warning_names_what_cannot_be_had() {
    let Some(user) = User::new("one warning") else {
        return;
    };
    let mut bundle = user.bundle();
    bundle.sh("cat /proc/self/cgroup");
    let own = fs::read_to_string("/proc/self/cgroup").must("own cgroups");
    let done = user.run(&bundle).ok().prints(&own);
    let lines: Vec<String> = done.stderr().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 1, "{done}");
    for part in [
        "no cgroup of its own",
        "mkdir /sys/fs/cgroup",
        "permission denied",
    ] {
        assert!(lines[0].contains(part), "{part}\n{done}");
    }
    // Rules that every configuration has are no limits.
    bundle.set(
        "/linux/resources/devices",
        json!([{"allow": false, "access": "rwm"}]),
    );
    user.run(&bundle).ok();
    // Whoever wants no cgroup hears nothing.
    bundle.write();
    let run = user.orlop(&["--cgroup-manager", "disabled", "run", "--bundle"]);
    let done = run.arg(&bundle.dir).arg(user.env.id()).run().ok();
    assert_eq!(done.stderr(), "", "{done}");
}

#[test]
fn limits_that_cannot_be_had_are_refused_with_file_and_controller() {
    let Some(user) = User::new("limits") else {
        return;
    };
    let check = |pointer: &str, value: serde_json::Value, parts: &[&str]| {
        let mut bundle = user.bundle();
        bundle.args(&["true"]).set(pointer, value);
        let before = user.env.world();
        user.run(&bundle).refused(1, parts);
        user.env.as_before(&before, pointer);
    };
    let limits = "/linux/resources";
    check(
        &format!("{limits}/memory"),
        json!({"limit": 100 << 20}),
        &[
            "/sys/fs/cgroup",
            "permission denied",
            "the memory controller is not delegated",
            "linux.resources.memory.limit",
        ],
    );
    check(
        &format!("{limits}/pids"),
        json!({"limit": 10}),
        &[
            "/sys/fs/cgroup",
            "the pids controller",
            "linux.resources.pids.limit",
        ],
    );
    let rules = json!([{"allow": true, "access": "rwm"}, {"allow": false, "type": "c", "major": 1, "minor": 5, "access": "rwm"}]);
    check(
        &format!("{limits}/devices"),
        rules,
        &["linux.resources.devices"],
    );
    // Asked to be strict, it is.
    let mut bundle = user.bundle();
    bundle.args(&["true"]).write();
    let run = user.orlop(&["--rootless=false", "run", "--bundle"]);
    run.arg(&bundle.dir)
        .arg(user.env.id())
        .run()
        .refused(1, &["mkdir /sys/fs/cgroup", "permission denied"]);
}

#[test]
fn verbs_that_need_a_cgroup_say_so() {
    let Some(user) = User::new("verbs") else {
        return;
    };
    let mut bundle = user.bundle();
    bundle.sh("sleep 601 & exec sleep 600");
    let id = user.start(&bundle);
    user.orlop(&["pause", &id])
        .run()
        .refused(1, &["has no cgroup to freeze"]);
    user.orlop(&["update", "--memory", "64m", &id])
        .run()
        .refused(1, &["has no cgroup to limit"]);
    user.orlop(&["events", "--stats", &id])
        .run()
        .refused(1, &["has no cgroup that counts"]);
    // Its processes are found by their pid namespace.
    orlop_tests::until("two processes", || {
        let pids = user
            .orlop(&["ps", "--format", "json", &id])
            .run()
            .ok()
            .json();
        (pids.as_array().map_or(0, Vec::len) == 2).then_some(())
    });
    user.orlop(&["kill", "--all", &id, "KILL"]).run().ok();
    user.reaches(&id, "stopped");
}

#[test]
fn the_cgroup_that_is_shown_is_read_only() {
    let Some(user) = User::new("shown cgroup") else {
        return;
    };
    let check = |edit: &dyn Fn(&mut Bundle)| {
        let mut bundle = user.bundle();
        edit(&mut bundle);
        let at = bundle.config["mounts"].as_array_mut().must("mounts");
        at[6]["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        bundle.sh("grep ' - cgroup' /proc/self/mountinfo | grep -v ' ro,'; for dir in /sys/fs/cgroup/*; do mkdir $dir/mine 2>/dev/null && echo made $dir; done; echo done");
        user.run(&bundle).ok().prints("done");
    };
    check(&|_| {});
    check(&|bundle| _ = bundle.namespace("cgroup", None));
}
