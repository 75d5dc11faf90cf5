//! Cgroups below the container's: what `exec --cgroup` joins, where exec goes when the container has moved, and what a mount shows.

use orlop_tests::{Bundle, Env, Must, cgroup_of, skip};
use std::fs;
use std::path::PathBuf;

/// Every controller of cgroup v1 that is mounted here, with the container's directory; then cgroup v2's, under the empty name.
fn directories(pid: i32) -> Vec<(String, PathBuf)> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).must("the cgroups of a process");
    let names = table.lines().filter_map(|line| line.split(':').nth(1));
    let first = names.map(|names| names.split(',').next().unwrap_or_default().to_owned());
    first
        .filter_map(|name| cgroup_of(pid, &name).map(|dir| (name, dir)))
        .collect()
}

/// Starts a container with a cgroup `sub` below its own in every hierarchy.
fn with_sub(env: &Env) -> String {
    let id = env.start(env.bundle().args(&["sleep", "100"]));
    for (controller, dir) in directories(env.pid(&id)) {
        let sub = dir.join("sub");
        fs::create_dir(&sub).must(sub.display());
        if controller == "cpuset" {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::copy(dir.join(file), sub.join(file)).must(file);
            }
        }
    }
    id
}

/// Runs a process with `--cgroup` and returns its own view of its cgroups.
fn table(env: &Env, id: &str, options: &[&str]) -> String {
    let command = env.orlop(&["exec"]).args(options).arg(id);
    command
        .args(["cat", "/proc/self/cgroup"])
        .run()
        .ok()
        .stdout()
}

#[test]
fn exec_joins_a_cgroup_below() {
    let env = Env::new();
    let before = env.world();
    let id = with_sub(&env);
    let mounted = directories(env.pid(&id));
    for path in ["sub", "/sub", "/./sub/"] {
        let table = table(&env, &id, &["--cgroup", path]);
        let inside = table.lines().filter(|line| line.ends_with("/sub")).count();
        assert_eq!(inside, mounted.len(), "{path}: all hierarchies\n{table}");
    }
    let outside = table(&env, &id, &["--cgroup", "/"]);
    assert!(
        !outside.contains("/sub"),
        "/ is the container's own\n{outside}"
    );
    env.orlop(&["delete", "--force", &id]).run().ok();
    env.as_before(&before, "delete with cgroups below the container's");
}

#[test]
fn exec_joins_a_cgroup_of_one_controller() {
    let env = Env::new();
    let id = with_sub(&env);
    let table = table(&env, &id, &["--cgroup", "pids:sub"]);
    for line in table.lines() {
        let names: Vec<&str> = line.split(':').nth(1).must("names").split(',').collect();
        let v2 = names == [""] && cgroup_of(env.pid(&id), "pids").is_none();
        let wanted = v2 || names.contains(&"pids");
        assert_eq!(line.ends_with("/sub"), wanted, "{line}");
    }
}

#[test]
fn exec_does_not_leave_the_containers_cgroup() {
    let env = Env::new();
    let id = with_sub(&env);
    for (options, words) in [
        (
            &["--cgroup", ".."][..],
            &["--cgroup", "bad sub cgroup path"][..],
        ),
        (&["--cgroup", "sub/../../x"], &["bad sub cgroup path"]),
        (&["--cgroup", "pids:/../x"], &["bad sub cgroup path"]),
        (
            &["--cgroup", "none"],
            &["--cgroup: open /", "/none", "no such file or directory"],
        ),
        (&["--cgroup", ":sub"], &["empty controller"]),
        (
            &["--cgroup", "nonsense:sub"],
            &["no cgroup with the controller nonsense"],
        ),
        (
            &["--cgroup", "sub", "--cgroup", "pids:sub"],
            &["\"sub\" is for every hierarchy"],
        ),
        (
            &["--cgroup", "pids:sub", "--cgroup", "pids:sub"],
            &["names pids for the second time"],
        ),
    ] {
        let command = env.orlop(&["exec"]).args(options).arg(&id);
        command.args(["true"]).run().refused(255, words);
    }
}

/// Mounts the container's cgroup of version 2 at `/cg`, writable.
fn with_cgroup2(bundle: &mut Bundle) -> &mut Bundle {
    bundle
        .namespace("cgroup", None)
        .mount("/cg", "cgroup2", "cgroup", &["rw", "nosuid"])
}

#[test]
fn exec_follows_a_system_that_has_moved_down() {
    if cgroup_of(1, "").is_none() {
        return skip("/cg", "no cgroup v2 here");
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    with_cgroup2(&mut bundle).sh("mkdir /cg/init && echo 1 > /cg/init/cgroup.procs
        for c in $(cat /cg/cgroup.controllers); do echo +$c > /cg/cgroup.subtree_control; done
        cat /cg/cgroup.subtree_control > /dev/shm/moved; exec sleep 100");
    let id = env.start(&bundle);
    // A look by exec would put a process where none may be while controllers are handed down.
    let moved = format!("/proc/{}/root/dev/shm/moved", env.pid(&id));
    orlop_tests::until("the move", || {
        std::path::Path::new(&moved).exists().then_some(())
    });
    let handed_down = env.exec(&id, &["cat", "/dev/shm/moved"]).stdout();
    if handed_down.trim().is_empty() {
        return skip(
            "exec beside a moved init",
            "cgroup v2 has no controllers for containers here",
        );
    }
    let table = env.exec(&id, &["cat", "/proc/self/cgroup"]).ok().stdout();
    assert!(table.contains("0::/init\n"), "{table}");
}

#[test]
fn a_mount_of_version_2_shows_the_containers_own() {
    let env = Env::new();
    let mut bundle = env.bundle();
    if cgroup_of(1, "").is_none() {
        return skip("cgroup2", "no cgroup v2 here");
    }
    with_cgroup2(&mut bundle).sh("grep -x 1 /cg/cgroup.procs && mkdir /cg/x && echo made");
    env.run(&bundle).prints("1\nmade\n");
}

/// CVE-2023-25809.
#[test]
fn without_a_cgroup_namespace_a_user_namespace_may_only_look() {
    let env = Env::new();
    if cgroup_of(1, "").is_none() {
        return skip("cgroup2", "no cgroup v2 here");
    }
    let mut bundle = env.bundle();
    let map = serde_json::json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    bundle
        .without_namespace("cgroup")
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .mount("/cg", "cgroup2", "cgroup", &["rw"])
        .sh(&format!(
            "cat /cg/cgroup.procs > /dev/null && echo seen; mkdir /cg/{}",
            env.tag
        ));
    let done = env.run(&bundle);
    assert!(done.stdout().contains("seen"), "{done}");
    assert!(done.stderr().contains("Read-only file system"), "{done}");
}

#[test]
fn the_cgroup_is_lent_to_the_user_that_the_container_runs_as() {
    let env = Env::new();
    if cgroup_of(1, "").is_none() {
        return skip("cgroup2", "no cgroup v2 here");
    }
    let owners = |option: &str, user: u32| {
        let mut bundle = env.bundle();
        let map = serde_json::json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        let tree = serde_json::json!({"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": [option]});
        bundle
            .namespace("cgroup", None)
            .namespace("user", None)
            .set("/linux/uidMappings", map.clone())
            .set("/linux/gidMappings", map)
            .set("/mounts/6", tree)
            .set("/process/user/uid", serde_json::json!(user))
            .args(&["sleep", "100"]);
        let id = env.start(&bundle);
        let dir = cgroup_of(env.pid(&id), "").must("its cgroup");
        ["", "cgroup.procs", "cgroup.max.depth"].map(|name| {
            let found = std::fs::metadata(dir.join(name)).must(name);
            std::os::unix::fs::MetadataExt::uid(&found)
        })
    };
    // Its limits stay ours.
    assert_eq!(owners("rw", 0), [100_000, 100_000, 0]);
    assert_eq!(owners("rw", 7), [100_007, 100_007, 0]);
    assert_eq!(owners("ro", 0), [0, 0, 0]);
}
