//! What can be refused without a systemd.

use crate::{creation, orlop_by_systemd};
use orlop_tests::{Env, Must, sys};
use serde_json::json;

#[test]
fn paths_and_annotations_are_refused_by_name() {
    let env = Env::new();
    let check = |pointer: &str, value: serde_json::Value, parts: &[&str]| {
        let mut bundle = env.bundle();
        bundle.set(pointer, value);
        let before = env.world();
        let (create, id) = creation(&env, &bundle);
        create.run().refused(1, parts);
        env.as_before(&before, &id);
    };
    let path = "/linux/cgroupsPath";
    check(
        path,
        json!("/a/b"),
        &["linux.cgroupsPath", "slice:prefix:name", "/a/b"],
    );
    check(
        path,
        json!("a:b:c"),
        &["linux.cgroupsPath", "invalid slice name: \"a\""],
    );
    check(path, json!("a.slice:b:c/d"), &["linux.cgroupsPath", "'/'"]);
    check(
        path,
        json!("a.slice:b:c.slice"),
        &["linux.cgroupsPath", "c.slice does not lie in a.slice"],
    );
    let annotation = |name: &str, value: &str| json!({ name: value });
    let at = "/annotations";
    check(
        at,
        annotation("org.systemd.property.MemoryHigh", "lots"),
        &[
            "annotations.org.systemd.property.MemoryHigh",
            "text stands in quotes",
        ],
    );
    check(
        at,
        annotation("org.systemd.property.TimeoutStopSec", "'soon'"),
        &[
            "annotations.org.systemd.property.TimeoutStopSec",
            "not a number of seconds",
        ],
    );
    check(
        at,
        annotation("org.systemd.property.PIDs", "[uint32 1]"),
        &["PIDs is for the runtime to say"],
    );
    check(
        at,
        annotation("org.systemd.property.a.b", "1"),
        &["not the name of a property"],
    );
    check(
        at,
        annotation("run.oci.systemd.subgroup", "../x"),
        &["not the name of a cgroup"],
    );
}

#[test]
fn without_systemd_the_way_out_is_named() {
    let env = Env::new();
    let dirs = ["/run/systemd", "/run/dbus"];
    let dirs = dirs
        .map(std::path::Path::new)
        .into_iter()
        .filter(|dir| dir.is_dir());
    for dir in dirs.clone() {
        sys::mount("tmpfs", dir, "tmpfs", 0, "").must("cover it");
    }
    let before = env.world();
    let bundle = env.bundle();
    let (create, _) = creation(&env, &bundle);
    create.run().refused(
        1,
        &[
            "systemd is not running here",
            "/run/systemd/private: no such file or directory",
            "--cgroup-manager cgroupfs",
        ],
    );
    env.as_before(&before, "no systemd");
    // As the name of a manager, too; what is named counts more than the switch.
    let create = |manager: &str| {
        let id = env.id();
        let create = orlop_by_systemd(&env, &["--cgroup-manager", manager, "create", "--bundle"]);
        create.arg(&bundle.dir).arg(id).run()
    };
    create("systemd").refused(1, &["systemd is not running here"]);
    create("cgroupfs").ok();
    create("other").refused(1, &["use cgroupfs, systemd or disabled"]);
    for dir in dirs {
        sys::umount(dir).must("uncover it");
    }
}

#[test]
fn the_plan_tells_the_unit() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/linux/resources/pids", json!({"limit": 5}));
    bundle.write();
    let plan = orlop_by_systemd(&env, &["plan", "--id", "x"])
        .arg(&bundle.dir)
        .run()
        .ok();
    for part in [
        "orlop-x.scope",
        "Slice='system.slice'",
        "TasksMax=uint64 5",
        "DevicePolicy='strict'",
    ] {
        assert!(plan.stdout().contains(part), "{part}\n{plan}");
    }
}
