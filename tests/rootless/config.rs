//! Fields that mean something else, or cannot be had, without root.

use crate::{Map, User};
use orlop_tests::{Bundle, Done, Must};
use serde_json::json;
use std::fs;

/// Runs a script in a changed bundle.
#[track_caller]
fn runs(user: &User, edit: impl FnOnce(&mut Bundle), script: &str) -> Done {
    let mut bundle = user.bundle();
    bundle.sh(script);
    edit(&mut bundle);
    user.run(&bundle)
}

#[test]
fn ids_that_are_not_mapped_are_refused_by_name() {
    let Some(user) = User::new("unmapped") else {
        return;
    };
    let check = |pointer: &str, value: serde_json::Value, parts: &[&str]| {
        runs(&user, |bundle| _ = bundle.set(pointer, value), "true").refused(1, parts);
    };
    check(
        "/process/user/uid",
        json!(1000),
        &[
            "process.user.uid",
            "1000 is in no range of linux.uidMappings",
        ],
    );
    check(
        "/process/user/gid",
        json!(5),
        &["process.user.gid", "linux.gidMappings"],
    );
    check(
        "/process/user/additionalGids",
        json!([9]),
        &["process.user.additionalGids[0]", "linux.gidMappings"],
    );
    check(
        "/process/user/additionalGids",
        json!([0]),
        &[
            "process.user.additionalGids",
            "cannot set any additional groups in a rootless container",
        ],
    );
}

#[test]
fn ranges_that_are_not_the_users_are_refused() {
    let Some(user) = User::new("foreign ranges") else {
        return;
    };
    let foreign = |bundle: &mut Bundle| {
        bundle.set(
            "/linux/uidMappings",
            json!([
                {"containerID": 0, "hostID": user.uid, "size": 1},
                {"containerID": 1, "hostID": user.range.0 + user.range.1, "size": 10},
            ]),
        );
    };
    runs(&user, foreign, "true").refused(1, &["linux.uidMappings", "newuidmap", "/etc/subuid"]);
    // The host's root above all.
    let root = |bundle: &mut Bundle| {
        bundle.set(
            "/linux/gidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
        );
    };
    runs(&user, root, "true").refused(1, &["linux.gidMappings", "newgidmap", "/etc/subgid"]);
}

#[test]
fn what_root_alone_can_do_is_refused_by_name() {
    let Some(user) = User::new("refused") else {
        return;
    };
    let check = |edit: &dyn Fn(&mut Bundle), parts: &[&str]| {
        runs(&user, edit, "true").refused(1, parts);
    };
    check(
        &|bundle| _ = bundle.without_namespace("mount"),
        &["linux.namespaces", "mount"],
    );
    check(
        &|bundle| _ = bundle.mount("/data", "bind", &user.env.dir, &["bind", "idmap"]),
        &["mounts[7]", "takes privileges on the host"],
    );
    let network = |bundle: &mut Bundle| _ = bundle.namespace("network", Some("/proc/1/ns/net"));
    check(&network, &["linux.namespaces", "permission denied"]);
    let limit = json!([{"type": "RLIMIT_NOFILE", "soft": 1_000_000_000, "hard": 1_000_000_000}]);
    check(
        &|bundle| _ = bundle.set("/process/rlimits", limit.clone()),
        &["RLIMIT_NOFILE"],
    );
    let unmounted = ["checkpoint", "restore"];
    for verb in unmounted {
        user.orlop(&[verb, "x"])
            .run()
            .refused(1, &[verb, "ordinary user"]);
    }
    user.orlop(&["mounts", "add", "x", "y"])
        .run()
        .refused(1, &["mounts", "ordinary user"]);
}

#[test]
fn mounts_of_the_host_are_bound_with_what_they_have() {
    let Some(user) = User::new("binds") else {
        return;
    };
    let dir = user.env.dir.join("own/data");
    fs::create_dir(&dir).must("a directory");
    fs::write(dir.join("file"), "data\n").must("a file");
    user.give(&dir);
    let bind = |options: &'static [&'static str]| {
        let dir = dir.clone();
        move |bundle: &mut Bundle| _ = bundle.mount("/data", "bind", dir, options)
    };
    runs(
        &user,
        bind(&["bind"]),
        "cat /data/file; echo more > /data/file",
    )
    .ok()
    .prints("data");
    runs(&user, bind(&["bind", "ro"]), "echo no > /data/file").exits(1);
    runs(&user, bind(&["bind", "ro"]), "cat /data/file")
        .ok()
        .prints("more");
    let file = dir.join("file");
    let one = |bundle: &mut Bundle| _ = bundle.mount("/etc/one", "bind", file, &["bind"]);
    runs(&user, one, "cat /etc/one").ok().prints("more");
    // What covers other mounts would uncover them without.
    let sys = |bundle: &mut Bundle| _ = bundle.mount("/tmp", "bind", "/sys", &["bind"]);
    runs(&user, sys, "true").refused(1, &["mounts[7].source", "use rbind"]);
    let gone = |bundle: &mut Bundle| _ = bundle.mount("/tmp", "bind", "/no/such", &["bind"]);
    runs(&user, gone, "true").refused(
        1,
        &["mounts[7].source", "/no/such: no such file or directory"],
    );
}

#[test]
fn devices_are_the_hosts_own() {
    let Some(user) = User::new("devices") else {
        return;
    };
    let script = "for name in null zero full random urandom tty; do test -c /dev/$name || echo no $name; done; echo x > /dev/null; \
        head -c 4 /dev/zero | wc -c; head -c 1 /dev/urandom | wc -c; ls -ld /dev/ptmx /dev/fd | wc -l; mknod /dev/mine c 1 3 || echo no node";
    runs(&user, |_| {}, script).ok().prints("4\n1\n2\nno node");
    let device = json!([{"path": "/dev/net/tun", "type": "c", "major": 1, "minor": 3}]);
    runs(
        &user,
        |bundle| _ = bundle.set("/linux/devices", device),
        "true",
    )
    .refused(1, &["linux.devices[0]"]);
}

#[test]
fn masked_and_read_only_paths_hold() {
    let Some(user) = User::new("covers") else {
        return;
    };
    let cover = |bundle: &mut Bundle| {
        bundle.set(
            "/linux/maskedPaths",
            json!(["/proc/keys", "/proc/scsi", "/tmp/secret", "/home"]),
        );
        bundle.set("/linux/readonlyPaths", json!(["/proc/sys", "/tmp"]));
        fs::write(bundle.rootfs().join("tmp/secret"), "secret").must("a file");
        fs::write(bundle.rootfs().join("home/file"), "secret").must("a file");
    };
    let script = "cat /proc/keys /tmp/secret; ls /home; touch /tmp/new 2>/dev/null || echo read-only; umount /tmp/secret 2>/dev/null || echo locked";
    runs(&user, cover, script).ok().prints("read-only\nlocked");
}

#[test]
fn a_score_can_be_raised_and_not_lowered() {
    let Some(user) = User::new("score") else {
        return;
    };
    let score = |score: i32| {
        move |bundle: &mut Bundle| _ = bundle.set("/process/oomScoreAdj", json!(score))
    };
    let own = fs::read_to_string("/proc/self/oom_score_adj").must("own score");
    let own: i32 = own.trim().parse().must("own score");
    let show = "cat /proc/self/oom_score_adj";
    runs(&user, score(own + 100), show)
        .ok()
        .prints(&(own + 100).to_string());
    let done = runs(&user, score(-1000), show)
        .ok()
        .prints(&own.to_string());
    assert!(
        done.stderr().contains("process.oomScoreAdj: -1000"),
        "{done}"
    );
    // One more process has its own.
    let mut bundle = user.bundle();
    score(own + 50)(&mut bundle);
    bundle.args(&["sleep", "600"]);
    let id = user.start(&bundle);
    user.orlop(&["exec", &id, "sh", "-c", show])
        .run()
        .ok()
        .prints(&(own + 50).to_string());
}

#[test]
fn file_systems_of_the_kernel_show_what_is_the_containers() {
    let Some(user) = User::new("kernel's own") else {
        return;
    };
    let network = |bundle: &mut Bundle| _ = bundle.without_namespace("network");
    let done = runs(
        &user,
        network,
        "ls /sys/class/net | wc -l; touch /sys/x 2>/dev/null || echo read-only",
    )
    .ok();
    assert!(done.stdout().ends_with("read-only\n"), "{done}");
    assert!(done.stderr().contains("mounts[5].type: sysfs"), "{done}");
    let pids = |bundle: &mut Bundle| _ = bundle.without_namespace("pid");
    let done = runs(&user, pids, "test -d /proc/1 && echo $$").ok();
    assert!(done.stderr().contains("mounts[0].type: proc"), "{done}");
    let both = |bundle: &mut Bundle| {
        bundle.set(
            "/linux/sysctl",
            json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}),
        );
    };
    let show = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced; ip link show lo up 2>/dev/null | wc -l";
    let done = runs(&user, both, show);
    assert!(
        done.rc == 0 && done.stdout().starts_with("1\n1\n"),
        "{done}"
    );
}

#[test]
fn clocks_are_set() {
    let Some(user) = User::new("clocks") else {
        return;
    };
    if !std::path::Path::new("/proc/self/ns/time").exists() {
        return orlop_tests::skip("clocks", "this kernel has no time namespaces");
    }
    let ahead = |bundle: &mut Bundle| {
        bundle.namespace("time", None);
        bundle.set(
            "/linux/timeOffsets",
            json!({"boottime": {"secs": 1_000_000}}),
        );
    };
    let uptime = "cut -d. -f1 /proc/uptime";
    let done = runs(&user, ahead, uptime).ok();
    let seconds: u64 = done.stdout().trim().parse().must("a number");
    assert!(seconds > 1_000_000, "{done}");
    let shared = |bundle: &mut Bundle| {
        ahead(bundle);
        bundle.without_namespace("pid");
    };
    runs(&user, shared, uptime).refused(1, &["linux.timeOffsets", "pid"]);
}

#[test]
fn a_filter_and_no_new_privileges_hold_for_exec_too() {
    let Some(user) = User::new("seccomp") else {
        return;
    };
    let mut bundle = user.bundle();
    user.map(&mut bundle, Map::Ranges);
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}));
    bundle.args(&["sleep", "600"]);
    let id = user.start(&bundle);
    let done = user.orlop(&["exec", &id, "mkdir", "/tmp/x"]).run().exits(1);
    assert!(done.stderr().contains("Operation not permitted"), "{done}");
}
