//! cgroup v2 by itself: device programs, controllers, threads, freezer.

use cgroup::{Cgroup, CgroupPath, Kind, Layout, device_program, plan, update};
use sys::bpf;

use crate::private::HUGETLB;
use crate::{Case, make, read, skip};

/// Opens devices in a cgroup with rules and returns what the shell says.
fn opened(case: &Case, script: &str) -> (String, String) {
    let output = case.shell(script).wait_with_output().expect("ours");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn devices_that_are_not_listed_cannot_be_opened() {
    let rules = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"w"}]}"#;
    let Some(mut case) = Case::unified("bpf", rules) else {
        return;
    };
    if !std::path::Path::new("/dev/kmsg").exists() {
        return skip::<()>("devices", "no /dev/kmsg").unwrap_or_default();
    }
    let script = "head -c 1 /dev/zero | wc -c; true > /dev/kmsg && echo written; true < /dev/kmsg";
    let (out, err) = opened(&case, script);
    assert_eq!(out, "1\nwritten");
    assert!(err.contains("Operation not permitted"), "{err}");

    // Other rules take the place of these, and no program is left behind.
    let count = |case: &Case| {
        let dir = sys::fs::open_path(&case.dir("unified")).expect("open");
        bpf::attached(&dir).expect("query")
    };
    let before = count(&case);
    assert_eq!(before.len(), 1);
    let mut layout = Layout::probe().expect("proc");
    layout.v1.clear();
    let resources = serde_json::from_str(
        r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}]}"#,
    );
    let path = format!("/{}", case.cgroup.dirs[0].relative.display());
    let path = CgroupPath::parse(Some(&path), "id").expect("plain");
    let next = plan(&layout, &path, Some(&resources.expect("plain"))).expect("plain");
    case.cgroup.restrict_devices(&next).expect("other rules");
    let after = count(&case);
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    let (out, err) = opened(&case, "true < /dev/kmsg && echo read; true > /dev/kmsg");
    assert_eq!(out, "read");
    assert!(err.contains("Operation not permitted"), "{err}");
}

#[test]
fn the_kernel_takes_every_program() {
    if Case::unified("verifier", "{}").is_none() {
        return;
    }
    for rules in [
        "",
        r#"{"allow":true,"type":"c","access":"rwm"},{"allow":true,"type":"b","access":"rwm"}"#,
        r#"{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"w"}"#,
        r#"{"allow":true,"type":"a","major":5,"access":"r"},{"allow":false,"type":"a","minor":5,"access":"m"}"#,
        r#"{"allow":true,"type":"c","major":4294967295,"minor":4294967295,"access":"rw"}"#,
        &vec![r#"{"allow":true,"type":"c","major":9,"minor":1,"access":"rm"}"#; 400].join(","),
    ] {
        let mut layout = Layout::probe().expect("proc");
        layout.v1.clear();
        let path = CgroupPath::parse(Some("/x"), "id").expect("plain");
        let resources = serde_json::from_str(&format!(r#"{{"devices":[{rules}]}}"#)).expect(rules);
        let plan = plan(&layout, &path, Some(&resources)).expect(rules);
        let program = device_program(&plan.devices.expect("rules").rules);
        bpf::load_cgroup_device(&program, "orlop_test").unwrap_or_else(|e| panic!("{rules}: {e}"));
    }
}

#[test]
fn in_a_threaded_subtree() {
    let _alone = HUGETLB.lock().expect("no panic before");
    let Some(case) = Case::unified("threads", "{}") else {
        return;
    };
    let dir = case.dir("unified");
    std::fs::create_dir(dir.join("threads")).expect("mkdir");
    std::fs::write(dir.join("threads/cgroup.type"), "threaded").expect("threaded");
    let mut layout = Layout::probe().expect("proc");
    layout.v1.clear();
    let relative = case.cgroup.dirs[0].relative.display();
    let path = CgroupPath::parse(Some(&format!("/{relative}/threads/inner")), "id").expect("plain");
    let below = plan(&layout, &path, None).expect("no limits");
    let made = make(&below).expect("a threaded cgroup takes a process that is not limited");
    assert_eq!(read(&made.dirs[0].path.join("cgroup.type")), "threaded");
    assert!(made.pids().expect("threads are listed").is_empty());
    made.remove().expect("empty");

    let Some(name) = layout
        .unified
        .and_then(|u| u.controllers.iter().find(|c| *c == "hugetlb").cloned())
    else {
        return;
    };
    let mut layout = Layout::probe().expect("proc");
    layout.v1.clear();
    let limited = serde_json::from_str(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#)
        .expect("plain");
    let plan = plan(&layout, &path, Some(&limited)).expect("plain");
    let error = Cgroup::create(&plan)
        .expect_err("no domain controllers")
        .to_string();
    assert!(
        error.contains(&format!("threaded subtree, which has no {name} controller")),
        "{error}"
    );
    assert!(!dir.join("threads/inner").exists());
}

/// Changes the limits of a container on cgroup v2 and compares files.
fn check_update(case: &mut Case, resources: &str, expected: &[(&str, &str)]) {
    let parsed = serde_json::from_str(resources).expect(resources);
    let before = serde_json::from_str(r#"{"memory":{"limit":67108864}}"#).expect("plain");
    let plan = update(&case.cgroup.dirs, &before, &parsed).expect(resources);
    let updated = case.cgroup.update(&plan);
    updated.unwrap_or_else(|error| panic!("{resources}: {error}"));
    for (file, value) in expected {
        let text = case.read("unified", file);
        let found = text.lines().any(|line| line == *value);
        assert!(found, "{resources}: {file} is {text:?}, wanted {value:?}");
    }
}

#[test]
fn values_arrive_and_change() {
    let layout = Layout::probe().expect("proc");
    if layout.kind() != Kind::V2 {
        return skip::<()>("unified", "controllers are on cgroup v1 here").unwrap_or_default();
    }
    let resources = r#"{"memory":{"limit":67108864},"cpu":{"shares":512,"quota":20000,"period":50000},"pids":{"limit":33}}"#;
    let Some(mut case) = Case::new("values", resources) else {
        return;
    };
    for (change, expected) in [
        (
            "{}",
            &[
                ("memory.max", "67108864"),
                ("cpu.weight", "59"),
                ("cpu.max", "20000 50000"),
                ("pids.max", "33"),
            ][..],
        ),
        (r#"{"cpu":{"quota":30000}}"#, &[("cpu.max", "30000 50000")]),
        (r#"{"cpu":{"period":60000}}"#, &[("cpu.max", "30000 60000")]),
        (
            r#"{"cpu":{"burst":70000,"quota":80000}}"#,
            &[("cpu.max", "80000 60000"), ("cpu.max.burst", "70000")],
        ),
        (
            r#"{"cpu":{"quota":5000,"burst":1000}}"#,
            &[("cpu.max", "5000 60000"), ("cpu.max.burst", "1000")],
        ),
        (r#"{"cpu":{"idle":1}}"#, &[("cpu.idle", "1")]),
        (
            r#"{"cpu":{"idle":0,"shares":1024}}"#,
            &[("cpu.idle", "0"), ("cpu.weight", "100")],
        ),
        (
            r#"{"memory":{"swap":134217728}}"#,
            &[("memory.swap.max", "67108864"), ("memory.max", "67108864")],
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            &[("memory.swap.max", "max"), ("memory.max", "max")],
        ),
        (r#"{"pids":{"limit":-1}}"#, &[("pids.max", "max")]),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            &[
                ("hugetlb.2MB.max", "4194304"),
                ("hugetlb.2MB.rsvd.max", "4194304"),
            ],
        ),
    ] {
        check_update(&mut case, change, expected);
    }
}

#[test]
fn memory_in_use_is_not_taken_away_where_that_is_asked() {
    if Layout::probe().expect("proc").kind() != Kind::V2 {
        return skip::<()>("unified", "controllers are on cgroup v1 here").unwrap_or_default();
    }
    let Some(mut case) = Case::new("used", r#"{"memory":{"limit":67108864}}"#) else {
        return;
    };
    let mut shell = case.shell("x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 100");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while case
        .read("unified", "memory.current")
        .parse::<u64>()
        .expect("number")
        < 20_000_000
    {
        assert!(
            std::time::Instant::now() < deadline,
            "the shell never filled its memory"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let lower = r#"{"memory":{"limit":4194304,"checkBeforeUpdate":true}}"#;
    let lower = serde_json::from_str(lower).expect("plain");
    let before = serde_json::from_str("{}").expect("plain");
    let plan = update(&case.cgroup.dirs, &before, &lower).expect("plain");
    let error = case
        .cgroup
        .update(&plan)
        .expect_err("it would kill")
        .to_string();
    assert!(
        error.contains("bytes are in use, and a limit below that kills"),
        "{error}"
    );
    assert_eq!(case.read("unified", "memory.max"), "67108864");
    case.cgroup.kill_all(9).expect("kill");
    shell.wait().expect("ours");
}

#[test]
fn processes_begin_in_a_delegated_cgroup() {
    let _alone = HUGETLB.lock().expect("no panic before");
    let Some(case) = Case::unified("delegate", "{}") else {
        return;
    };
    let mut layout = Layout::probe().expect("proc");
    layout.v1.clear();
    let relative = case.cgroup.dirs[0].relative.display();
    let path = CgroupPath::parse(Some(&format!("/{relative}/own")), "id").expect("plain");
    let mut plan = plan(&layout, &path, None).expect("no limits");
    plan.delegate("/a/b", "at").expect("v2 alone");
    plan.owner = Some(4711);
    let mut made = make(&plan).expect("free");
    made.lend(&plan).expect("a new owner");
    let (own, home) = (made.dirs[0].path.clone(), made.dirs[0].path.join("a/b"));

    let owner = |path: &std::path::Path| {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(path).expect("it is there");
        meta.uid()
    };
    assert_eq!(owner(&home), 4711);
    assert_eq!(owner(&home.join("cgroup.procs")), 4711);
    assert_eq!(owner(&own), 0, "limits are not the container's");
    assert_eq!(owner(&home.join("cgroup.freeze")), 0);
    let controllers = |path: &std::path::Path| read(&path.join("cgroup.controllers"));
    assert_eq!(controllers(&home), controllers(&own), "all are handed down");

    let mut sleeper = std::process::Command::new("sleep")
        .arg("100")
        .spawn()
        .expect("sleep");
    let pid = i32::try_from(sleeper.id()).expect("a pid");
    made.join(pid).expect("a cgroup without others below");
    assert_eq!(read(&home.join("cgroup.procs")), pid.to_string());
    assert_eq!(made.pids().expect("from above"), [pid]);
    made.kill_all(9).expect("from above");
    sleeper.wait().expect("killed");
    made.remove().expect("all of it");
    assert!(!own.exists());
}
