//! What the same resources become on a host with nothing but cgroup v2.

use std::path::PathBuf;

use cgroup::{CgroupPath, Layout, Plan, plan, update};
use oci_spec::runtime::LinuxResources;

use crate::{check_refused, hierarchy, limits, lines, resources};

/// A host with nothing but cgroup v2.
fn v2() -> Layout {
    let controllers = "cpuset cpu io memory hugetlb pids rdma misc";
    Layout {
        v1: Vec::new(),
        unified: Some(hierarchy("unified", controllers, "user.slice/shell.scope")),
    }
}

fn check_v2(json: &str, expected: &[&str]) {
    assert_eq!(
        lines(&limits(&v2(), json).unwrap_or_else(|error| panic!("{json}: {error}"))),
        expected,
        "{json}"
    );
}

fn check_v2_update(json: &str, expected: &[&str]) {
    let dirs = limits(&v2(), "{}").expect("no limits").dirs;
    assert_eq!(
        lines(&update(&dirs, &LinuxResources::default(), &resources(json)).expect(json)),
        expected,
        "{json}"
    );
}

#[test]
fn memory_on_v2() {
    check_v2(
        r#"{"memory":{"limit":100,"swap":300,"reservation":50,"checkBeforeUpdate":true,"useHierarchy":true}}"#,
        &[
            "memory.swap.max=200",
            "memory.max=100 above memory.current",
            "memory.low=50",
        ],
    );
    // The same for both: no swap; unlimited memory: unlimited swap.
    check_v2(
        r#"{"memory":{"limit":100,"swap":100}}"#,
        &["memory.swap.max=0 or not", "memory.max=100"],
    );
    check_v2(
        r#"{"memory":{"limit":-1}}"#,
        &["memory.swap.max=max or not", "memory.max=max"],
    );
    check_v2(
        r#"{"memory":{"limit":100,"swap":-1,"reservation":-1}}"#,
        &[
            "memory.swap.max=max or not",
            "memory.max=100",
            "memory.low=max",
        ],
    );
    check_v2(r#"{"memory":{"limit":100}}"#, &["memory.max=100"]);
    let json = r#"{"memory":{"swappiness":9,"disableOOMKiller":true,"kernel":7,"kernelTCP":-1}}"#;
    let plan = limits(&v2(), json).expect(json);
    assert_eq!(lines(&plan), [""; 0]);
    assert_eq!(
        plan.warnings,
        ["swappiness", "disableOOMKiller", "kernel"].map(|field| format!(
            "linux.resources.memory.{field}: cgroup v2 has no such setting; ignored"
        ))
    );
}

#[test]
fn cpu_on_v2() {
    check_v2(
        r#"{"cpu":{"shares":1024,"quota":5000,"period":10000,"burst":7,"idle":0,"cpus":"0-1","mems":"0"}}"#,
        &[
            "cpu.weight=100 retried after cpu.idle",
            "cpu.max.burst=7 or warn retried after cpu.max",
            "cpu.max=5000 10000",
            "cpu.idle=0 or not",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
        ],
    );
    check_v2(r#"{"cpu":{"quota":5000}}"#, &["cpu.max=5000"]);
    check_v2(
        r#"{"cpu":{"quota":-1,"period":10000}}"#,
        &["cpu.max=max 10000"],
    );
    check_v2(r#"{"cpu":{"period":10000}}"#, &["cpu.max=max 10000"]);
    check_v2_update(
        r#"{"cpu":{"period":10000}}"#,
        &["cpu.max=10000 behind the first"],
    );
    check_v2_update(r#"{"cpu":{"quota":-1}}"#, &["cpu.max=max"]);
    check_v2(
        r#"{"cpu":{"shares":2},"unified":{"cpu.weight":"77"}}"#,
        &["cpu.weight=77"],
    );
}

#[test]
fn the_rest_on_v2() {
    check_v2(
        r#"{"blockIO":{"weight":300,"weightDevice":[{"major":8,"minor":0,"weight":1000},{"major":8,"minor":1,"weight":10}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":100}],"throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":200}],
            "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":0}],"throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":4}]}}"#,
        &[
            "io.bfq.weight=300 or io.weight=2930",
            "io.bfq.weight=8:0 1000 or io.weight=8:0 10000",
            "io.bfq.weight=8:1 10 or io.weight=8:1 1",
            "io.max=8:0 rbps=100",
            "io.max=8:1 wbps=200",
            "io.max=8:2 riops=max",
            "io.max=8:3 wiops=4",
        ],
    );
    check_v2(
        r#"{"pids":{"limit":5},"rdma":{"mlx5_1":{"hcaHandles":3,"hcaObjects":10000},"a":{"hcaObjects":1},"none":{}},
            "unified":{"memory.high":"7","io.latency":"8:0 target=1\n8:1 target=2","cgroup.max.depth":""}}"#,
        &[
            "pids.max=5",
            "rdma.max=a hca_object=1",
            "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
            "cgroup.max.depth=",
            "io.latency=8:0 target=1",
            "io.latency=8:1 target=2",
            "memory.high=7",
        ],
    );
    let leaf = r#"{"blockIO":{"leafWeight":300}}"#;
    let warning = "linux.resources.blockIO.leafWeight: cgroup v2 has no weights of leaves; ignored";
    assert_eq!(limits(&v2(), leaf).expect(leaf).warnings, [warning]);
}

#[test]
fn every_controller_of_v2_is_switched_on_and_few_are_needed() {
    let plan = limits(
        &v2(),
        r#"{"pids":{"limit":5},"unified":{"memory.high":"1"}}"#,
    )
    .expect("plain");
    let enable = plan.enable.expect("controllers");
    let all: Vec<&str> = enable.controllers.iter().map(String::as_str).collect();
    let names = [
        "cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma",
    ];
    assert_eq!(all, names);
    let needed: Vec<(&str, &str)> = enable
        .needed
        .iter()
        .map(|(name, path)| (name.as_str(), path.as_str()))
        .collect();
    assert_eq!(
        needed,
        [
            ("memory", "linux.resources.unified.memory.high"),
            ("pids", "linux.resources.pids.limit")
        ]
    );
    let path = CgroupPath::parse(Some("group/name"), "id").expect("plain");
    let plan = plan_of(&v2(), &path);
    assert_eq!(
        plan.dirs[0].path,
        PathBuf::from("/c/unified/user.slice/group/name"),
        "a relative path counts from the cgroup above: ours has processes in it"
    );
}

fn plan_of(layout: &Layout, path: &CgroupPath) -> Plan {
    plan(layout, path, None).expect("no resources")
}

#[test]
fn limits_that_cannot_be() {
    for (json, expected) in [
        (
            r#"{"memory":{"limit":9,"swap":5}}"#,
            "linux.resources.memory.swap: 5 is memory plus swap",
        ),
        (
            r#"{"cpu":{"realtimeRuntime":5}}"#,
            "linux.resources.cpu.realtimeRuntime: cgroup v2 has no budget for real-time",
        ),
        (
            r#"{"network":{"classID":5}}"#,
            "linux.resources.network.classID: this host has cgroup v2 only, which has no net_cls",
        ),
        (
            r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
            "linux.resources.network.priorities[0]: this host has cgroup v2 only, which has no net_prio",
        ),
        (
            r#"{"unified":{"a/memory.high":"1"}}"#,
            "linux.resources.unified.a/memory.high: is not a file name",
        ),
        (
            r#"{"unified":{"dmem.max":"1"}}"#,
            "linux.resources.unified.dmem.max: the dmem controller is not on the cgroup v2 mount (there: cpuset, cpu",
        ),
    ] {
        check_refused(&v2(), json, expected);
    }
    let dirs = limits(&v2(), "{}").expect("no limits").dirs;
    let swap = resources(r#"{"memory":{"swap":5}}"#);
    let error = update(&dirs, &LinuxResources::default(), &swap).expect_err("swap alone");
    assert!(
        error.to_string().contains("needs memory.limit, too"),
        "{error}"
    );
}

#[test]
fn what_can_be_delegated() {
    let path = CgroupPath::parse(Some("/own"), "id").expect("plain");
    let mut plan = plan_of(&v2(), &path);
    for (given, below) in [("payload", "payload"), ("/a//b/", "a/b"), ("a.b", "a.b")] {
        plan.delegate(given, "at").expect(given);
        assert_eq!(
            plan.home(&plan.dirs[0]).path,
            PathBuf::from("/c/unified/own").join(below)
        );
    }
    for wrong in ["", "/", "..", "a/../b", ".a", "a\nb", &"x".repeat(256)] {
        let refusal = plan.delegate(wrong, "at").expect_err(wrong);
        assert!(
            refusal.to_string().starts_with("at: "),
            "{wrong:?}: {refusal}"
        );
    }
    let mut hybrid = v2();
    hybrid.v1.push(hierarchy("pids", "pids", ""));
    let refusal = plan_of(&hybrid, &path).delegate("a", "at");
    let refusal = refusal.expect_err("version 1").to_string();
    assert!(refusal.contains("cgroup v2 alone"), "{refusal}");
}
