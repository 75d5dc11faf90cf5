//! From making a cgroup to its end.

use std::time::{Duration, Instant};

use cgroup::{Cgroup, Error, Kind, Layout};

use crate::{Case, left, make, planned, read, skip};

#[test]
fn a_process_is_in_every_hierarchy_and_gone_afterwards() {
    let Some(case) = Case::new("life", "{}") else {
        return;
    };
    if !case.only_v2() {
        let cpuset = case.dir("cpuset");
        assert_eq!(
            read(&cpuset.join("cpuset.cpus")),
            read(&cpuset.parent().expect("inner").join("cpuset.cpus"))
        );
        assert_ne!(case.read("cpuset", "cpuset.mems"), "");
    }

    let mut child = case.shell("exec sleep 100");
    let membership =
        std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("alive");
    for dir in &case.cgroup.dirs {
        let suffix = format!(":/{}", dir.relative.display());
        let name = if dir.is_unified() {
            "0::"
        } else {
            &dir.hierarchy
        };
        let line = membership
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{name}: {membership}"));
        assert!(line.ends_with(&suffix), "{line} is not {suffix}");
    }
    assert_eq!(
        case.cgroup.pids().expect("pids"),
        [i32::try_from(child.id()).expect("a pid")]
    );

    let plan = planned("life", "{}").expect("as before");
    let error = Cgroup::create(&plan)
        .expect_err("the cgroup is taken")
        .to_string();
    assert!(
        error.ends_with("container's cgroup is not empty: 1 process(es) found"),
        "{error}"
    );

    case.cgroup.kill_all(9).expect("kill");
    assert_eq!(child.wait().expect("ours").code(), None);
    let recorded = serde_json::to_string(&case.cgroup).expect("plain data");
    let found: Cgroup = serde_json::from_str(&recorded).expect("the same");
    assert!(found.exists());
    found.remove().expect("empty now");
    assert!(!found.exists());
    assert_eq!(left("life"), Vec::<std::path::PathBuf>::new());
    found.remove().expect("gone already");
    assert!(found.pids().expect("gone").is_empty());
}

#[test]
fn a_thread_moves_itself() {
    let Some(case) = Case::new("enter", "{}") else {
        return;
    };
    let entry = case.cgroup.entry().expect("open");
    let unified = case.cgroup.dirs.iter().any(cgroup::Dir::is_unified);
    assert_eq!(entry.door().is_some(), unified);
    let membership = std::thread::spawn(move || {
        entry.enter().expect("enter");
        std::fs::read_to_string("/proc/thread-self/cgroup").expect("proc")
    });
    let membership = membership.join().expect("no panic");
    for dir in case.cgroup.dirs.iter().filter(|dir| !dir.is_unified()) {
        let line = format!(":{}:/{}", dir.hierarchy, dir.relative.display());
        assert!(
            membership.lines().any(|l| l.ends_with(&line)),
            "{line} is not in {membership}"
        );
    }
}

#[test]
fn an_empty_cgroup_is_used_and_a_frozen_one_refused() {
    let Some(case) = Case::new("again", r#"{"pids":{"limit":10}}"#) else {
        return;
    };
    let plan = planned("again", r#"{"pids":{"limit":20}}"#).expect("as before");
    let again = make(&plan).expect("nobody is in it");
    assert_eq!(again.parents, Vec::<std::path::PathBuf>::new());
    assert_eq!(case.read("pids", "pids.max"), "20");
    case.cgroup.freeze().expect("freeze");
    assert!(matches!(Cgroup::create(&plan), Err(Error::Frozen { .. })));
    case.cgroup.thaw().expect("thaw");
    Cgroup::create(&plan).expect("thawed");
}

#[test]
fn nothing_is_left_when_a_limit_is_refused() {
    for resources in [
        r#"{"cpu":{"cpus":"4000"}}"#,
        r#"{"unified":{"cgroup.no-such-file":"1"}}"#,
    ] {
        if resources.contains("unified") && Layout::probe().expect("proc").kind() == Kind::V1 {
            // Refused before anything is made.
            return skip::<()>("refused", "there is no cgroup v2 here").unwrap_or_default();
        }
        let Some(plan) = planned("refused", resources) else {
            return;
        };
        let error = make(&plan).expect_err(resources).to_string();
        let field = if resources.contains("cpus") {
            "(linux.resources.cpu.cpus)"
        } else {
            "no-such-file)"
        };
        assert!(
            error.starts_with("write \"") && error.ends_with(field),
            "{error}"
        );
        assert_eq!(left("refused"), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn frozen_means_that_nothing_happens() {
    let Some(case) = Case::new("freeze", "{}") else {
        return;
    };
    let mut child = case.shell("while :; do /bin/true; done");
    for _ in 0..20 {
        case.cgroup.freeze().expect("a loop that forks");
        assert!(case.cgroup.is_frozen().expect("state"));
        case.cgroup.thaw().expect("thaw");
        assert!(!case.cgroup.is_frozen().expect("state"));
    }
    case.cgroup.freeze().expect("freeze");
    let pids = case.cgroup.pids().expect("pids");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(case.cgroup.pids().expect("pids"), pids);
    case.cgroup.kill_all(15).expect("a signal that waits");
    assert!(case.cgroup.is_frozen().expect("a pause outlasts a signal"));
    case.cgroup.kill_all(9).expect("kill");
    child.wait().expect("ours");
}

#[test]
fn sub_cgroups_are_seen_killed_and_removed() {
    let Some(case) = Case::new("nested", "{}") else {
        return;
    };
    let mut child = case.shell("sleep 100 & sleep 100 & wait");
    let deadline = Instant::now() + Duration::from_secs(5);
    while case.cgroup.pids().expect("pids").len() < 3 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pids = case.cgroup.pids().expect("pids");
    for dir in &case.cgroup.dirs {
        let below = dir.path.join("a/b");
        std::fs::create_dir_all(&below).expect("mkdir");
        if !dir.hierarchy.contains("cpuset") {
            std::fs::write(below.join("cgroup.procs"), pids[1].to_string()).expect("move");
        }
    }
    assert_eq!(case.cgroup.pids().expect("pids"), pids);
    case.cgroup.kill_all(15).expect("terminate");
    child.wait().expect("ours");
}

#[test]
fn a_kill_for_lack_of_memory_is_counted() {
    let Some(case) = Case::new("oom", r#"{"memory":{"limit":16777216,"swap":16777216}}"#) else {
        return;
    };
    assert_eq!(case.cgroup.oom_kill_count().expect("count"), Some(0));
    // tail keeps all of its input while it looks for an end of line.
    let mut child = case.shell("head -c 200000000 /dev/zero | tail -n 1");
    child.wait().expect("ours");
    assert_eq!(case.cgroup.oom_kill_count().expect("count"), Some(1));
}

#[test]
fn devices_that_are_not_listed_cannot_be_opened() {
    let rules = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":4,"access":"m"}]}"#;
    let Some(case) = Case::new("devices", rules) else {
        return;
    };
    if !case.only_v2() {
        let listed = case.read("devices", "devices.list");
        assert!(
            listed.starts_with("c 1:4 m\nc *:* m\nb *:* m\nc 1:3 rwm"),
            "{listed}"
        );
    }
    if !std::path::Path::new("/dev/kmsg").exists() {
        return skip::<()>("devices", "no /dev/kmsg").unwrap_or_default();
    }
    let child = case.shell("head -c 1 /dev/zero | wc -c; head -c 1 /dev/kmsg");
    let output = child.wait_with_output().expect("ours");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("Operation not permitted"), "{stderr}");
}

#[test]
fn deeper_than_any_path_is_long() {
    let Some(case) = Case::new("deep", "{}") else {
        return;
    };
    let mut child = case.shell("exec sleep 100");
    let pid = i32::try_from(child.id()).expect("a pid");
    let name = "x".repeat(200);
    for dir in &case.cgroup.dirs {
        let mut at = sys::fs::open_path(&dir.path).expect("open");
        for _ in 0..25 {
            let mode = sys::fs::Mode::from_bits_truncate(0o755);
            sys::fs::mkdirat(&at, name.as_str(), mode).expect("mkdir");
            let flags = sys::fs::OFlag::O_PATH | sys::fs::OFlag::O_CLOEXEC;
            at = sys::fs::openat(&at, name.as_str(), flags, mode).expect("open");
        }
        if dir.controllers.iter().any(|c| c == "freezer") || case.only_v2() {
            let flags = sys::fs::OFlag::O_WRONLY | sys::fs::OFlag::O_CLOEXEC;
            let procs = sys::fs::openat(&at, "cgroup.procs", flags, sys::fs::Mode::empty());
            sys::fs::write(procs.expect("open"), pid.to_string().as_bytes()).expect("move");
        }
    }
    assert_eq!(case.cgroup.pids().expect("pids"), [pid]);
    case.cgroup.kill_all(9).expect("kill");
    child.wait().expect("ours");
    // What is left is looked for when the case ends.
}
