//! With a delegated cgroup of version 2, by its files and by the user's systemd: limits hold.

use crate::User;
use orlop_tests::{Bundle, Must, cgroup_of, until};
use serde_json::json;
use std::fs;

/// The ways to a cgroup.
const WAYS: [&[&str]; 2] = [&[], &["--systemd-cgroup"]];

/// Prepares a bundle with a cgroup namespace, as hosts with cgroup v2 alone have it.
fn bundle(user: &User) -> Bundle {
    let mut bundle = user.bundle();
    bundle.namespace("cgroup", None);
    bundle
}

#[track_caller]
fn start(user: &User, way: &[&str], bundle: &Bundle) -> String {
    bundle.write();
    let id = user.env.id();
    let create = user
        .orlop(way)
        .args(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id);
    let done = create.run().ok();
    assert_eq!(done.stderr(), "", "{done}");
    user.orlop(&["start", &id]).run().ok();
    id
}

#[test]
fn limits_hold() {
    let Some(user) = User::delegated("limits") else {
        return;
    };
    for way in WAYS {
        let mut bundle = bundle(&user);
        bundle.set(
            "/linux/resources/memory",
            json!({"limit": 32 << 20, "swap": 32 << 20}),
        );
        bundle.set("/linux/resources/pids", json!({"limit": 12}));
        bundle.set(
            "/linux/resources/cpu",
            json!({"quota": 50_000, "period": 100_000}),
        );
        bundle.args(&["sleep", "600"]);
        let id = start(&user, way, &bundle);
        let dir = cgroup_of(user.pid(&id), "").must("its cgroup");
        let read = |file: &str| {
            fs::read_to_string(dir.join(file))
                .must(file)
                .trim()
                .to_owned()
        };
        assert_eq!(read("memory.max"), (32 << 20).to_string(), "{way:?}");
        assert_eq!(read("pids.max"), "12", "{way:?}");
        if !way.is_empty() {
            // In a slice of systemd's only systemd keeps the controller on; when it goes off, its limits are lost.
            assert_eq!(read("cpu.max"), "50000 100000", "{way:?}");
        }
        // And are felt: more memory than that ends the process, more processes are not to be had.
        let eats = user
            .orlop(&["exec", &id, "sh", "-c", "head -c 64m /dev/zero | tail"])
            .run();
        assert!(eats.rc != 0, "{eats}");
        // One process or more: the kernel chooses again while the first is still on its way out.
        let events = read("memory.events");
        let killed = events
            .lines()
            .any(|line| line.starts_with("oom_kill ") && line != "oom_kill 0");
        assert!(killed, "{way:?}: {events}");
        let forks = user
            .orlop(&[
                "exec",
                &id,
                "sh",
                "-c",
                "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do sleep 5 & done; wait",
            ])
            .run();
        assert!(forks.rc != 0 && forks.stderr().contains("fork"), "{forks}");
    }
}

#[test]
fn verbs_find_the_cgroup() {
    let Some(user) = User::delegated("verbs") else {
        return;
    };
    for way in WAYS {
        let mut bundle = bundle(&user);
        bundle.args(&["sleep", "600"]);
        let id = start(&user, way, &bundle);
        let dir = cgroup_of(user.pid(&id), "").must("its cgroup");
        let read = |file: &str| {
            let text = fs::read_to_string(dir.join(file)).must(file);
            text.trim().to_owned()
        };
        // Changed while it runs.
        user.orlop(&[
            "update",
            "--memory",
            "64m",
            "--memory-swap",
            "64m",
            "--pids-limit",
            "40",
            &id,
        ])
        .run()
        .ok();
        assert_eq!(read("memory.max"), (64 << 20).to_string());
        assert_eq!(read("pids.max"), "40");
        user.orlop(&["pause", &id]).run().ok();
        user.reaches(&id, "paused");
        user.orlop(&["resume", &id]).run().ok();
        user.reaches(&id, "running");
        let stats = user.orlop(&["events", "--stats", &id]).run().ok().json();
        assert_eq!(stats["data"]["pids"]["limit"], 40, "{stats}");
        user.orlop(&["kill", "--all", &id, "KILL"]).run().ok();
        user.reaches(&id, "stopped");
        user.orlop(&["delete", &id]).run().ok();
        assert!(!dir.exists(), "{}", dir.display());
    }
}

#[test]
fn a_path_that_is_not_delegated_is_refused_or_warned_about() {
    let Some(user) = User::delegated("a foreign path") else {
        return;
    };
    let mut bundle = bundle(&user);
    let path = format!("/{}", user.env.tag);
    bundle
        .set("/linux/cgroupsPath", json!(path))
        .sh("cat /proc/self/cgroup");
    let done = user.run(&bundle).ok();
    assert_eq!(done.stderr().lines().count(), 1, "{done}");
    assert!(
        done.stderr()
            .contains(&format!("mkdir /sys/fs/cgroup{path}: permission denied")),
        "{done}"
    );
    bundle.set("/linux/resources/pids", json!({"limit": 12}));
    user.run(&bundle).refused(
        1,
        &[&path, "pids", "not delegated", "linux.resources.pids.limit"],
    );
    // A controller that is not handed down to the user.
    bundle.remove("/linux/cgroupsPath");
    bundle.set(
        "/linux/resources",
        json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}}),
    );
    let done = user.run(&bundle);
    if done.rc != 0 {
        done.refused(1, &["linux.resources.rdma", "cgroup"]);
    }
}

#[test]
fn from_outside_of_what_is_delegated_nothing_is_entered() {
    let Some(user) = User::delegated("from outside") else {
        return;
    };
    let Some(outside) = User::new("from outside") else {
        return;
    };
    // A cgroup of the user's, wherever it lies.
    let mut sleeper = bundle(&user);
    sleeper.args(&["sleep", "600"]);
    let id = start(&user, &[], &sleeper);
    let dir = cgroup_of(user.pid(&id), "").must("its cgroup");
    let uid = user.uid.to_string();
    let below = dir
        .parent()
        .must("a parent")
        .strip_prefix("/sys/fs/cgroup")
        .must("below")
        .join(&user.env.tag);
    let mut bundle = bundle(&user);
    bundle.set("/linux/cgroupsPath", json!(format!("/{}", below.display())));
    bundle.sh("cat /proc/self/cgroup").write();
    let program = user.env.dir.join("own/orlop");
    let run = |args: &[&str]| {
        let cmd =
            outside
                .env
                .cmd("setpriv")
                .args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
        let runtime = format!("/run/user/{uid}");
        cmd.arg(&program)
            .args(args)
            .env("XDG_RUNTIME_DIR", runtime)
            .run()
    };
    let at = bundle.dir.to_str().must("a plain path");
    let done = run(&["run", "--bundle", at, &user.env.id()]).ok();
    assert!(
        done.stderr().contains("no cgroup of its own") && done.stderr().contains("cgroup.procs"),
        "{done}"
    );
    let done = run(&["exec", &id, "true"]);
    done.refused(255, &["join cgroup", "permission denied"]);
}

#[test]
fn the_containers_own_cgroup_is_lent_to_it() {
    let Some(user) = User::delegated("lent") else {
        return;
    };
    for way in WAYS {
        let mut bundle = bundle(&user);
        bundle.config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        bundle.sh("cat /proc/self/cgroup; cd /sys/fs/cgroup; mkdir mine && echo 1 > mine/cgroup.procs && cat /proc/self/cgroup; echo +pids > cgroup.subtree_control && cat cgroup.subtree_control; exec sleep 600");
        let id = start(&user, way, &bundle);
        let pid = user.pid(&id);
        until("its own cgroup", || {
            let dir = cgroup_of(pid, "").must("its cgroup");
            dir.ends_with("mine").then_some(())
        });
        // One more process goes where the first one is.
        user.orlop(&["exec", &id, "grep", "^0:", "/proc/self/cgroup"])
            .run()
            .ok()
            .prints("0::/mine");
        user.orlop(&["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn without_a_cgroup_namespace_nothing_of_the_tree_can_be_written() {
    let Some(user) = User::delegated("CVE-2023-25809") else {
        return;
    };
    for way in WAYS {
        let mut bundle = user.bundle();
        bundle.capabilities(&["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
        bundle.config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        // Its own cgroup is the user's, and so is the one above.
        bundle.sh("own=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup); test -e $own/cgroup.procs || echo not shown; mkdir $own/x $own/../x && echo made; mount -o remount,bind,rw /sys/fs/cgroup && echo unlocked; echo end");
        let id = start(&user, way, &bundle);
        user.reaches(&id, "stopped");
        user.orlop(&["delete", &id]).run().ok();
        bundle.write();
        let run = user
            .orlop(way)
            .args(["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(user.env.id());
        let done = run.run().ok();
        assert_eq!(done.stdout(), "end\n", "{done}");
    }
}

#[test]
fn a_unit_of_the_users_systemd_comes_and_goes() {
    let Some(user) = User::delegated("unit") else {
        return;
    };
    let mut bundle = bundle(&user);
    bundle.set("/linux/resources/memory", json!({"limit": 64 << 20}));
    bundle.args(&["sleep", "600"]);
    let id = start(&user, &["--systemd-cgroup"], &bundle);
    let unit = format!("orlop-{id}.scope");
    let show = |name: &str| {
        let args = ["--user", "show", "--value", "--property", name, &unit];
        user.cmd("systemctl")
            .args(args)
            .run()
            .ok()
            .stdout()
            .trim()
            .to_owned()
    };
    assert_eq!(show("ActiveState"), "active");
    assert_eq!(show("MemoryMax"), (64 << 20).to_string());
    user.orlop(&["update", "--memory", "96m", &id]).run().ok();
    assert_eq!(show("MemoryMax"), (96 << 20).to_string());
    let dir = cgroup_of(user.pid(&id), "").must("its cgroup");
    assert!(dir.ends_with(&unit), "{}", dir.display());
    user.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(show("LoadState"), "not-found");
    assert!(!dir.exists());
}

#[test]
fn as_podman_calls_its_runtime() {
    let Some(user) = User::delegated("podman's way") else {
        return;
    };
    let mut bundle = user.env.bundle();
    user.give(&bundle.dir);
    bundle.namespace("cgroup", None);
    bundle.config["mounts"][2]["options"] = json!([
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620"
    ]);
    bundle.set("/linux/resources/pids", json!({"limit": 20}));
    bundle.sh("exec sleep 600").write();
    let run = user.env.dir.join("own/orlop");
    for (way, path) in [("", ""), ("--systemd-cgroup", "user.slice:libpod:")] {
        let id = user.env.id();
        if !path.is_empty() {
            bundle
                .set("/linux/cgroupsPath", json!(format!("{path}{id}")))
                .write();
        }
        let pid = user.env.dir.join("own/pid");
        let script = format!(
            "r='{} {way}'; $r create --pid-file {pid} -b {} {id}; $r start {id}; $r exec {id} grep ^0: /proc/self/cgroup; \
             cat /sys/fs/cgroup$(sed -n s/^0:://p /proc/$(cat {pid})/cgroup)/pids.max; $r delete --force {id}",
            run.display(),
            bundle.dir.display(),
            pid = pid.display(),
        );
        let done = user
            .cmd("unshare")
            .args(["-Urm", "/bin/sh", "-ec", &script])
            .run()
            .ok();
        assert_eq!(done.stdout(), "0::/\n20\n", "{way} {done}");
    }
}
