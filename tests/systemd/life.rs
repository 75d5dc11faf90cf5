//! From the creation of a unit to its end.

use crate::{
    creation, directory, is_v2, orlop_by_systemd, property, runs, sleeper, systemctl, unit,
};
use orlop_tests::{Env, Must, cgroup_paths, skip, soon, sys};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_container_lives_in_a_scope_and_leaves_none() {
    if !runs("life") {
        return;
    }
    let env = Env::new();
    let id = sleeper(&env, &mut env.bundle());
    let unit = unit(&id);
    assert_eq!(property(&env, &unit, "ActiveState"), "active");
    assert_eq!(property(&env, &unit, "Slice"), "system.slice");
    assert_eq!(property(&env, &unit, "Delegate"), "yes");
    assert_eq!(property(&env, &unit, "DefaultDependencies"), "no");
    assert_eq!(
        property(&env, &unit, "Description"),
        format!("container {id}")
    );
    assert_eq!(
        property(&env, &unit, "ControlGroup"),
        format!("/system.slice/{unit}")
    );
    // In every hierarchy, also in those that systemd leaves alone, and so is what joins later.
    let paths = cgroup_paths(env.pid(&id));
    let path = format!("/system.slice/{unit}");
    assert!(paths.iter().all(|found| *found == path), "{paths:?}");
    let table = fs::read_to_string(format!("/proc/{}/cgroup", env.pid(&id))).must("cgroups");
    let joined = env.exec(&id, &["cat", "/proc/self/cgroup"]).ok().stdout();
    assert_eq!(joined.trim(), table.trim());
    env.orlop(&["pause", &id]).run().ok();
    env.reaches(&id, "paused");
    env.orlop(&["resume", &id]).run().ok();
    env.orlop(&["kill", &id, "KILL"]).run().ok();
    env.reaches(&id, "stopped");
    env.orlop(&["delete", &id]).run().ok();
    assert_eq!(property(&env, &unit, "LoadState"), "not-found");
    assert!(
        !Path::new("/sys/fs/cgroup/system.slice")
            .join(&unit)
            .exists()
    );
}

#[test]
fn run_ends_with_its_program_and_its_unit() {
    if !runs("run") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("cat /proc/self/cgroup; exit 7");
    bundle.write();
    let id = env.id();
    let run = orlop_by_systemd(&env, &["run", "--bundle"]).arg(&bundle.dir);
    let done = run.arg(&id).run().exits(7);
    assert!(done.stdout().contains(&unit(&id)), "{done}");
    assert_eq!(property(&env, &unit(&id), "LoadState"), "not-found");
}

#[test]
fn the_path_names_slice_prefix_and_name() {
    if !runs("cgroupsPath") {
        return;
    }
    let env = Env::new();
    let slice = env.tag.clone();
    let mut bundle = env.bundle();
    bundle.set(
        "/linux/cgroupsPath",
        json!(format!("{slice}-in.slice:pre:{slice}")),
    );
    let id = sleeper(&env, &mut bundle);
    let unit = format!("pre-{slice}.scope");
    assert_eq!(
        property(&env, &unit, "ControlGroup"),
        format!("/{slice}.slice/{slice}-in.slice/{unit}")
    );
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(property(&env, &unit, "LoadState"), "not-found");
    systemctl(&env, &["stop", &format!("{slice}.slice")]).ok();
}

#[test]
fn a_cgroup_namespace_begins_at_the_scope() {
    if !runs("cgroup namespace") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.namespace("cgroup", None).sh("cat /proc/self/cgroup");
    bundle.write();
    let run = orlop_by_systemd(&env, &["run", "--bundle"]).arg(&bundle.dir);
    let done = run.arg(env.id()).run().ok();
    for line in done
        .stdout()
        .lines()
        .filter(|line| !line.contains("misc") && !line.contains("rdma"))
    {
        assert!(line.ends_with(":/"), "{done}");
    }
}

#[test]
fn a_subgroup_holds_the_container_below_its_scope() {
    if !runs("subgroup") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/annotations", json!({"run.oci.systemd.subgroup": "inner"}));
    bundle.set("/linux/resources/pids", json!({"limit": 77}));
    let id = sleeper(&env, &mut bundle);
    let dir = directory(env.pid(&id), "pids");
    assert!(
        dir.ends_with(format!("{}/inner", unit(&id))),
        "{}",
        dir.display()
    );
    assert_eq!(
        fs::read_to_string(dir.join("pids.max")).must("pids.max"),
        "77\n"
    );
    let joined = env.exec(&id, &["cat", "/proc/self/cgroup"]).ok();
    assert!(joined.stdout().contains("/inner"), "{joined}");
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(property(&env, &unit(&id), "LoadState"), "not-found");
}

#[test]
fn a_delegated_cgroup_lies_below_the_unit_or_its_subgroup() {
    if !runs("delegate") {
        return;
    }
    if !is_v2() {
        return skip("delegate", "cgroup v1 is in use here");
    }
    let env = Env::new();
    let (delegate, subgroup) = ("run.oci.delegate-cgroup", "run.oci.systemd.subgroup");
    for (annotations, limited, below) in [
        (json!({delegate: "payload"}), "", "payload"),
        (
            json!({delegate: "payload", subgroup: "inner"}),
            "inner",
            "payload",
        ),
    ] {
        let mut bundle = env.bundle();
        bundle
            .set("/annotations", annotations)
            .set("/linux/resources/pids", json!({"limit": 77}));
        let id = sleeper(&env, &mut bundle);
        let scope = Path::new("/sys/fs/cgroup/system.slice").join(unit(&id));
        let limited = scope.join(limited);
        assert_eq!(directory(env.pid(&id), ""), limited.join(below));
        let read = |path: &Path| fs::read_to_string(path).must(path.display());
        assert_eq!(read(&limited.join("pids.max")), "77\n");
        assert_eq!(read(&limited.join(below).join("pids.max")), "max\n");
        let joined = env.exec(&id, &["cat", "/proc/self/cgroup"]).ok();
        assert!(joined.stdout().ends_with("/payload\n"), "{joined}");
        env.orlop(&["delete", "--force", &id]).run().ok();
        assert_eq!(property(&env, &unit(&id), "LoadState"), "not-found");
    }
}

#[test]
fn a_slice_can_hold_a_container() {
    if !runs("slice") {
        return;
    }
    let env = Env::new();
    let slice = format!("{}.slice", env.tag);
    let mut bundle = env.bundle();
    bundle.set("/linux/cgroupsPath", json!(format!("-.slice::{slice}")));
    let id = sleeper(&env, &mut bundle);
    assert_eq!(property(&env, &slice, "ControlGroup"), format!("/{slice}"));
    assert!(directory(env.pid(&id), "pids").ends_with(&slice));
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(property(&env, &slice, "ActiveState"), "inactive");
}

#[test]
fn what_a_killed_creation_leaves_is_deleted_by_force() {
    if !runs("kill -9") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    let marker = env.dir.join("hook");
    let hook = format!("echo $$ > {}; exec sleep 600", marker.display());
    bundle.set(
        "/hooks/createRuntime",
        json!([{"path": "/bin/sh", "args": ["sh", "-c", hook]}]),
    );
    let (create, id) = creation(&env, &bundle);
    let creator = create.spawn();
    let hook = orlop_tests::until("the hook", || {
        let written = fs::read_to_string(&marker).ok()?;
        written.trim().parse::<i32>().ok()
    });
    let unit = unit(&id);
    assert_eq!(property(&env, &unit, "ActiveState"), "active");
    let intent = fs::read_to_string(env.root.join(&id).join("intent.json")).must("the intent");
    assert!(intent.contains(&unit), "{intent}");
    sys::kill(creator.pid(), libc::SIGKILL).must("kill");
    creator.wait();
    // Hooks go on to their own end.
    sys::kill(hook, libc::SIGKILL).must("end the hook");
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(property(&env, &unit, "LoadState"), "not-found");
    assert!(!env.root.join(&id).exists());
}

#[test]
fn a_creation_that_fails_leaves_no_unit() {
    if !runs("failure") {
        return;
    }
    let env = Env::new();
    let before = env.world();
    let mut bundle = env.bundle();
    bundle.args(&["/nonexistent"]);
    let (create, id) = creation(&env, &bundle);
    create.run().refused(1, &["no such file or directory"]);
    env.as_before(&before, "after a failed creation");
    // systemd forgets a unit in its own time.
    let gone = || (property(&env, &unit(&id), "LoadState") == "not-found").then_some(());
    soon(Duration::from_secs(5), gone).must("no unit");
}

#[test]
fn a_unit_that_runs_is_not_taken_away() {
    if !runs("unit exists") {
        return;
    }
    let env = Env::new();
    let taken = format!("{}.scope", env.tag);
    let holder = env
        .cmd("systemd-run")
        .args(["--scope", "--unit", &taken, "sleep", "600"])
        .spawn();
    orlop_tests::until("the scope", || {
        (property(&env, &taken, "ActiveState") == "active").then_some(())
    });
    let mut bundle = env.bundle();
    bundle.set("/linux/cgroupsPath", json!(format!("::{}", env.tag)));
    let (create, id) = creation(&env, &bundle);
    create.run().refused(1, &[&taken, "already loaded"]);
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(property(&env, &taken, "ActiveState"), "active");
    systemctl(&env, &["stop", &taken]).ok();
    holder.wait();
}

#[test]
fn the_bus_serves_where_the_private_socket_is_hidden() {
    if !runs("system bus") {
        return;
    }
    let env = Env::new();
    // Only for this test, which has a mount namespace of its own.
    let hidden = env.dir.join("hidden");
    fs::write(&hidden, "").must("a file");
    sys::mount(&hidden, "/run/systemd/private", "", libc::MS_BIND, "").must("hide the socket");
    let id = sleeper(&env, &mut env.bundle());
    assert_eq!(property(&env, &unit(&id), "ActiveState"), "active");
    env.orlop(&["delete", "--force", &id]).run().ok();
    sys::umount("/run/systemd/private").must("show it again");
    assert_eq!(property(&env, &unit(&id), "LoadState"), "not-found");
}

#[test]
fn a_container_out_of_memory_leaves_no_failed_unit() {
    if !runs("out of memory") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("exec tail /dev/zero");
    bundle.set(
        "/linux/resources/memory",
        json!({"limit": 16_777_216, "swap": 16_777_216}),
    );
    bundle.write();
    let id = env.id();
    let run = orlop_by_systemd(&env, &["run", "--bundle"]).arg(&bundle.dir);
    run.arg(&id).run().exits(137);
    assert_eq!(property(&env, &unit(&id), "LoadState"), "not-found");
}
