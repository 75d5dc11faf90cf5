//! Joining namespaces by path, and a root that is one in a user namespace only, as podman's.

use crate::{Map, User};
use orlop_tests::{Must, orlop};
use serde_json::json;
use std::fs;

#[test]
fn a_pods_namespaces_are_joined() {
    let Some(user) = User::new("joins") else {
        return;
    };
    for map in [Map::Single, Map::Ranges] {
        let mut first = user.bundle();
        user.map(&mut first, map);
        first.args(&["sleep", "600"]);
        let owner = user.start(&first);
        let path = |file: &str| format!("/proc/{}/ns/{file}", user.pid(&owner));
        let mut second = user.bundle();
        for (kind, file) in [
            ("user", "user"),
            ("network", "net"),
            ("ipc", "ipc"),
            ("uts", "uts"),
            ("pid", "pid"),
        ] {
            second.namespace(kind, Some(&path(file)));
        }
        second.remove("/hostname");
        second.sh(
            "for n in user net ipc uts pid; do readlink /proc/self/ns/$n; done; exec sleep 600",
        );
        let id = user.start(&second);
        for file in ["user", "net", "ipc", "uts", "pid"] {
            let link = |pid| fs::read_link(format!("/proc/{pid}/ns/{file}")).must(file);
            assert_eq!(link(user.pid(&id)), link(user.pid(&owner)), "{file}");
        }
        user.orlop(&["exec", &id, "id", "-u"])
            .run()
            .ok()
            .prints("0");
        user.orlop(&["kill", &id, "KILL"]).run().ok();
        user.reaches(&id, "stopped");
        assert_eq!(user.state(&owner)["status"], "running");
    }
}

/// Runs the runtime as root of a user namespace that an ordinary user has made.
fn as_root_inside(user: &User, unshare: &[&str], script: &str) -> orlop_tests::Done {
    user.cmd("unshare")
        .args(unshare)
        .args(["/bin/sh", "-ec", script])
        .run()
}

#[test]
fn root_of_a_user_namespace_needs_none_in_the_configuration() {
    let Some(user) = User::new("podman's way") else {
        return;
    };
    let mut bundle = user.env.bundle();
    user.give(&bundle.dir);
    bundle.config["mounts"][2]["options"] = json!([
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620"
    ]);
    bundle.args(&["sleep", "600"]).write();
    let id = user.env.id();
    let run = user.env.dir.join("own/orlop");
    let script = format!(
        "r={}; $r create -b {} {id}; $r start {id}; $r exec {id} id -u; $r exec {id} cat /proc/self/uid_map; $r exec {id} sh -c 'mkdir /sys/fs/cgroup/x' || echo read-only; \
         $r state {id} | grep -c running; $r kill {id} KILL; until $r state {id} | grep -q stopped; do :; done; $r delete {id}",
        run.display(),
        bundle.dir.display()
    );
    // With mounts of its own, and without.
    for unshare in [&["-Urm"][..], &["-Ur"]] {
        let done = as_root_inside(&user, unshare, &script).ok();
        let words: Vec<String> = done
            .stdout()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(
            words,
            ["0", "0", &user.uid.to_string(), "1", "read-only", "1"],
            "{done}"
        );
        // Its containers are where the user's are.
        assert!(user.state_root().is_dir());
    }
}

#[test]
fn a_namespace_within_a_namespace() {
    let Some(user) = User::new("nested") else {
        return;
    };
    let mut bundle = user.bundle();
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    bundle
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    bundle.sh("id -u").write();
    let script = format!(
        "{}/own/orlop run -b {} {}",
        user.env.dir.display(),
        bundle.dir.display(),
        user.env.id()
    );
    for unshare in [&["-Urm"][..], &["-Ur"]] {
        as_root_inside(&user, unshare, &script).ok().prints("0");
    }
}

#[test]
fn root_itself_is_as_it_was() {
    let Some(user) = User::new("root") else {
        return;
    };
    // XDG_RUNTIME_DIR is of no use to it.
    let run = user.env.dir.join("own/run");
    let done = user
        .env
        .cmd(orlop())
        .arg("list")
        .env("XDG_RUNTIME_DIR", &run)
        .run();
    assert_eq!(done.rc, 0, "{done}");
    assert!(!run.join("orlop").exists());
}
