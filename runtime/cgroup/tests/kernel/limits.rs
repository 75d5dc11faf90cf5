//! Values that arrive in the kernel's files.

use cgroup::update;

use crate::{Case, skip};

/// Makes cgroups with resources and compares files: (controller, file, value).
fn check(name: &str, resources: &str, expected: &[(&str, &str, &str)]) -> Option<Case> {
    let case = Case::new(name, resources)?;
    for (controller, file, value) in expected {
        assert_eq!(
            case.read(controller, file),
            *value,
            "{file} after {resources}"
        );
    }
    Some(case)
}

/// Changes the limits of a case and compares files.
fn check_update(case: &mut Case, resources: &str, expected: &[(&str, &str, &str)]) {
    let parsed =
        serde_json::from_str(resources).unwrap_or_else(|error| panic!("{resources}: {error}"));
    let plan = update(&case.cgroup.dirs, &Default::default(), &parsed)
        .unwrap_or_else(|error| panic!("{resources}: {error}"));
    case.cgroup
        .update(&plan)
        .unwrap_or_else(|error| panic!("{resources}: {error}"));
    for (controller, file, value) in expected {
        assert_eq!(
            case.read(controller, file),
            *value,
            "{file} after {resources}"
        );
    }
}

/// What v2 makes of the same values stands in `unified.rs`.
fn only_v2() -> bool {
    cgroup::Layout::probe().expect("proc").kind() == cgroup::Kind::V2
}

const UNLIMITED: &str = "9223372036854771712";

#[test]
fn memory() {
    if only_v2() {
        return;
    }
    let resources = r#"{"memory":{"limit":50593792,"swap":60593792,"reservation":40960,"swappiness":10,"disableOOMKiller":true,
        "kernel":50593792,"kernelTCP":50593792,"useHierarchy":true}}"#;
    let expected = [
        ("memory", "memory.limit_in_bytes", "50593792"),
        ("memory", "memory.memsw.limit_in_bytes", "60592128"),
        ("memory", "memory.soft_limit_in_bytes", "40960"),
        ("memory", "memory.swappiness", "10"),
        ("memory", "memory.kmem.tcp.limit_in_bytes", "50593792"),
    ];
    let Some(mut case) = check("memory", resources, &expected) else {
        return;
    };
    assert!(
        case.read("memory", "memory.oom_control")
            .starts_with("oom_kill_disable 1")
    );
    if case.read("memory", "memory.kmem.limit_in_bytes") != "50593792" {
        let warning =
            "linux.resources.memory.kernel: this kernel has no such limit any more; ignored";
        assert_eq!(case.cgroup.warnings, [warning]);
    }
    // Above the old swap limit, below the old memory limit, and to no limit at all.
    for (resources, limit, swap) in [
        (
            r#"{"memory":{"limit":104857600,"swap":209715200}}"#,
            "104857600",
            "209715200",
        ),
        (
            r#"{"memory":{"limit":20971520,"swap":20971520}}"#,
            "20971520",
            "20971520",
        ),
        (r#"{"memory":{"limit":10485760}}"#, "10485760", "20971520"),
        (r#"{"memory":{"limit":-1}}"#, UNLIMITED, UNLIMITED),
    ] {
        let expected = [
            ("memory", "memory.limit_in_bytes", limit),
            ("memory", "memory.memsw.limit_in_bytes", swap),
        ];
        check_update(&mut case, resources, &expected);
    }
}

#[test]
fn memory_in_use_is_not_taken_away() {
    if only_v2() {
        return;
    }
    let Some(mut case) = Case::new("in-use", r#"{"memory":{"limit":67108864,"swap":67108864}}"#)
    else {
        return;
    };
    let mut shell =
        case.shell("x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo full; sleep 100");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while case
        .read("memory", "memory.usage_in_bytes")
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
    let resources = serde_json::from_str(r#"{"memory":{"limit":4194304}}"#).expect("plain");
    let plan = update(&case.cgroup.dirs, &Default::default(), &resources).expect("plain");
    let error = case
        .cgroup
        .update(&plan)
        .expect_err("the kernel cannot reclaim it")
        .to_string();
    assert!(
        error.contains("bytes are in use and cannot be reclaimed (linux.resources.memory.limit)"),
        "{error}"
    );
    case.cgroup.kill_all(9).expect("kill");
    shell.wait().expect("ours");
}

#[test]
fn cpu() {
    if only_v2() {
        return;
    }
    let resources = r#"{"cpu":{"shares":512,"period":50000,"quota":20000,"burst":1000,"cpus":"0","mems":"0"},"pids":{"limit":33}}"#;
    let expected = [
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.cfs_burst_us", "1000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.mems", "0"),
        ("pids", "pids.max", "33"),
    ];
    let Some(mut case) = check("cpu", resources, &expected) else {
        return;
    };
    let down = [
        ("cpu", "cpu.cfs_quota_us", "5000"),
        ("cpu", "cpu.cfs_period_us", "10000"),
    ];
    check_update(&mut case, r#"{"cpu":{"quota":5000,"period":10000}}"#, &down);
    let burst = [
        ("cpu", "cpu.cfs_quota_us", "80000"),
        ("cpu", "cpu.cfs_burst_us", "70000"),
    ];
    check_update(
        &mut case,
        r#"{"cpu":{"quota":80000,"period":100000,"burst":70000}}"#,
        &burst,
    );
    check_update(
        &mut case,
        r#"{"cpu":{"idle":1}}"#,
        &[("cpu", "cpu.idle", "1")],
    );
    check_update(
        &mut case,
        r#"{"cpu":{"idle":0,"shares":100},"pids":{"limit":-1}}"#,
        &[("cpu", "cpu.shares", "100"), ("pids", "pids.max", "max")],
    );
}

#[test]
fn realtime_passes_through_new_parents() {
    let resources = r#"{"cpu":{"realtimeRuntime":3000,"realtimePeriod":500000}}"#;
    if !std::path::Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        return skip::<()>("realtime", "no real-time groups in this kernel").unwrap_or_default();
    }
    check(
        "realtime",
        resources,
        &[
            ("cpu", "cpu.rt_runtime_us", "3000"),
            ("cpu", "cpu.rt_period_us", "500000"),
        ],
    );
}

#[test]
fn block_io() {
    if only_v2() {
        return;
    }
    let Some(device) = std::fs::read_dir("/sys/block")
        .ok()
        .and_then(|mut all| all.next())
        .and_then(Result::ok)
    else {
        return skip::<()>("block_io", "no block device").unwrap_or_default();
    };
    let number = crate::read(&device.path().join("dev"));
    let (major, minor) = number.split_once(':').expect("a device number");
    let resources = format!(
        r#"{{"blockIO":{{"weight":300,"throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":1048576}}]}}}}"#
    );
    let line = format!("{number} 1048576");
    let Some(case) = check(
        "block-io",
        &resources,
        &[("blkio", "blkio.throttle.read_bps_device", &line)],
    ) else {
        return;
    };
    let names = ["blkio.weight", "blkio.bfq.weight"];
    let file = names
        .into_iter()
        .find(|name| case.dir("blkio").join(name).exists())
        .expect("one of them was written");
    assert_eq!(case.read("blkio", file), "300");
}
