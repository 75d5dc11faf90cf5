//! Plans from resources as callers write them, and what is refused.

mod v2;

use std::path::PathBuf;

use cgroup::{CgroupPath, Hierarchy, Layout, Missing, Plan, Write, plan, update};
use oci_spec::runtime::LinuxResources;

fn hierarchy(name: &str, controllers: &str, own: &str) -> Hierarchy {
    Hierarchy {
        name: name.to_owned(),
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        mount: PathBuf::from("/c").join(name),
        own: PathBuf::from(own),
    }
}

/// A host with every controller on v1.
fn v1() -> Layout {
    let names = [
        "cpu,cpuacct",
        "cpuset",
        "memory",
        "devices",
        "blkio",
        "pids",
        "net_cls,net_prio",
        "hugetlb",
        "name=systemd",
    ];
    let controllers = |name: &str| {
        if name.starts_with("name=") {
            String::new()
        } else {
            name.replace(',', " ")
        }
    };
    Layout {
        v1: names
            .map(|name| hierarchy(name, &controllers(name), "own"))
            .into(),
        unified: None,
    }
}

/// A host with hugetlb on cgroup v2, and neither net_cls nor net_prio.
fn hybrid() -> Layout {
    let v1 = ["cpu", "memory", "devices", "freezer"]
        .map(|name| hierarchy(name, name, ""))
        .into();
    Layout {
        v1,
        unified: Some(hierarchy("unified", "hugetlb", "")),
    }
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// Plans with device rules that allow everything, so that only the limits are seen.
fn limits(layout: &Layout, json: &str) -> Result<Plan, String> {
    let json = json
        .replacen('{', r#"{"devices":[{"allow":true,"access":"rwm"}],"#, 1)
        .replace(",}", "}");
    let path = CgroupPath::parse(Some("/a/b"), "id").map_err(|e| e.to_string())?;
    plan(layout, &path, Some(&resources(&json))).map_err(|e| e.to_string())
}

fn show(write: &Write) -> String {
    let mut line = format!("{}={}", write.file, write.value);
    match &write.missing {
        Missing::Fatal => {}
        Missing::Use { file, value } => line += &format!(" or {file}={value}"),
        Missing::Warn(_) => line += " or warn",
        Missing::Ignore => line += " or not",
    }
    if let Some(other) = &write.retry_after {
        line += &format!(" retried after {other}");
    }
    if let Some(other) = &write.above {
        line += &format!(" above {other}");
    }
    if write.keep_first {
        line += " behind the first";
    }
    if write.in_new_parents {
        line += " in parents";
    }
    line
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.writes
        .iter()
        .filter(|w| w.json_path != "linux.resources.devices[0]")
        .map(show)
        .collect()
}

fn check(json: &str, expected: &[&str]) {
    assert_eq!(
        lines(&limits(&v1(), json).unwrap_or_else(|error| panic!("{json}: {error}"))),
        expected,
        "{json}"
    );
}

fn check_update(json: &str, expected: &[&str]) {
    let dirs = limits(&v1(), "{}").expect("no limits").dirs;
    assert_eq!(
        lines(&update(&dirs, &LinuxResources::default(), &resources(json)).expect(json)),
        expected,
        "{json}"
    );
}

fn check_refused(layout: &Layout, json: &str, expected: &str) {
    let error = limits(layout, json).expect_err(json);
    assert!(error.starts_with(expected), "{json}: {error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn memory() {
    check(
        r#"{"memory":{"limit":100,"swap":200,"reservation":50,"swappiness":60,"disableOOMKiller":true}}"#,
        &[
            "memory.limit_in_bytes=100 retried after memory.memsw.limit_in_bytes",
            "memory.memsw.limit_in_bytes=200",
            "memory.soft_limit_in_bytes=50",
            "memory.swappiness=60",
            "memory.oom_control=1",
        ],
    );
    check(
        r#"{"memory":{"kernel":10,"kernelTCP":20,"useHierarchy":true,"checkBeforeUpdate":true}}"#,
        &[
            "memory.kmem.limit_in_bytes=10 or warn",
            "memory.kmem.tcp.limit_in_bytes=20 or warn",
            "memory.use_hierarchy=1 or not",
        ],
    );
    check(r#"{"memory":{"limit":-1}}"#, &["memory.limit_in_bytes=-1"]);
    check_update(
        r#"{"memory":{"limit":-1}}"#,
        &[
            "memory.limit_in_bytes=-1 retried after memory.memsw.limit_in_bytes",
            "memory.memsw.limit_in_bytes=-1 or not",
        ],
    );
    check_update(
        r#"{"memory":{"swap":500}}"#,
        &["memory.memsw.limit_in_bytes=500"],
    );
}

#[test]
fn cpu() {
    check(
        r#"{"cpu":{"shares":512,"quota":5000,"period":10000,"burst":0,"idle":0,"realtimeRuntime":100,"realtimePeriod":1000}}"#,
        &[
            "cpu.shares=512 retried after cpu.idle",
            "cpu.cfs_period_us=10000 retried after cpu.cfs_quota_us",
            "cpu.cfs_burst_us=0 or not retried after cpu.cfs_quota_us",
            "cpu.cfs_quota_us=5000",
            "cpu.idle=0 or not",
            "cpu.rt_period_us=1000 retried after cpu.rt_runtime_us in parents",
            "cpu.rt_runtime_us=100 in parents",
        ],
    );
    check(
        r#"{"cpu":{"cpus":"0-1,3","mems":"0"}}"#,
        &["cpuset.cpus=0-1,3", "cpuset.mems=0"],
    );
}

#[test]
fn pids() {
    check(r#"{"pids":{"limit":7}}"#, &["pids.max=7"]);
    check(r#"{"pids":{"limit":0}}"#, &["pids.max=max"]);
    check(r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]);
    check(r#"{"pids":{}}"#, &["pids.max=max"]);
    check_update(r#"{"pids":{"limit":0}}"#, &[]);
    check_update(r#"{"pids":{"limit":-1}}"#, &["pids.max=max"]);
}

/// Plans a change of device rules, each list as it stands in a config.json.
fn change_of_devices(before: &str, after: &str) -> Result<Vec<String>, String> {
    let dirs = limits(&v1(), "{}").expect("no limits").dirs;
    let list = |list: &str| resources(&format!(r#"{{"devices":{list}}}"#));
    let plan = update(&dirs, &list(before), &list(after)).map_err(|e| e.to_string())?;
    Ok(plan.writes.iter().map(show).collect())
}

#[test]
fn changed_device_rules() {
    let none = r#"[{"allow":false,"access":"rwm"}]"#;
    let fuse = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"}]"#;
    let read = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"r"},
        {"allow":true,"type":"b","major":8,"access":"rm"},{"allow":false,"type":"b","major":8,"access":"m"}]"#;
    let all = r#"[{"allow":true,"access":"rwm"}]"#;
    let check = |before: &str, after: &str, expected: &[&str]| {
        assert_eq!(
            change_of_devices(before, after).expect(after),
            expected,
            "{before} to {after}"
        );
    };
    check(fuse, fuse, &[]);
    check(
        none,
        r#"[{"allow":false,"type":"a","access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"r"}]"#,
        &[],
    );
    check(none, "[]", &[]);
    check(none, fuse, &["devices.allow=c 10:229 rwm"]);
    check(fuse, none, &["devices.deny=c 10:229 rwm"]);
    check(
        fuse,
        read,
        &["devices.allow=b 8:* r", "devices.deny=c 10:229 wm"],
    );
    check(all, all, &[]);
    for (before, after) in [(all, fuse), (fuse, all)] {
        let error = change_of_devices(before, after).expect_err(after);
        assert!(
            error.starts_with("linux.resources.devices: a running container"),
            "{error}"
        );
    }
}

#[test]
fn block_io() {
    check(
        r#"{"blockIO":{"weight":300,"leafWeight":10,"weightDevice":[{"major":8,"minor":0,"weight":500,"leafWeight":20}],
            "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":100}],"throttleWriteBpsDevice":[{"major":8,"minor":1,"rate":200}],
            "throttleReadIOPSDevice":[{"major":8,"minor":2,"rate":0}],"throttleWriteIOPSDevice":[{"major":8,"minor":3,"rate":4}]}}"#,
        &[
            "blkio.weight=300 or blkio.bfq.weight=300",
            "blkio.leaf_weight=10",
            "blkio.weight_device=8:0 500 or blkio.bfq.weight_device=8:0 500",
            "blkio.leaf_weight_device=8:0 20",
            "blkio.throttle.read_bps_device=8:0 100",
            "blkio.throttle.write_bps_device=8:1 200",
            "blkio.throttle.read_iops_device=8:2 0",
            "blkio.throttle.write_iops_device=8:3 4",
        ],
    );
}

#[test]
fn network_and_hugepages() {
    check(
        r#"{"network":{"classID":1048577,"priorities":[{"name":"lo","priority":5}]},"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#,
        &[
            "net_cls.classid=1048577",
            "net_prio.ifpriomap=lo 5",
            "hugetlb.2MB.limit_in_bytes=0",
            "hugetlb.2MB.rsvd.limit_in_bytes=0 or not",
        ],
    );
}

#[test]
fn what_callers_send_without_meaning_it() {
    check(
        r#"{"memory":{"limit":0,"swap":0,"reservation":0,"kernel":0,"kernelTCP":0,"swappiness":18446744073709551615,
            "disableOOMKiller":false,"useHierarchy":false},"cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,
            "realtimePeriod":0,"cpus":"","mems":""},"blockIO":{"weight":0,"leafWeight":0,"weightDevice":[]},
            "network":{"classID":0,"priorities":[]},"hugepageLimits":[],"rdma":{},"unified":{}}"#,
        &[],
    );
    let bare = Layout {
        v1: vec![hierarchy("freezer", "freezer", "")],
        unified: None,
    };
    let nothing = limits(
        &bare,
        r#"{"pids":{"limit":-1},"cpu":{"quota":-1,"burst":0,"idle":0},"blockIO":{"weight":0}}"#,
    );
    assert_eq!(
        lines(&nothing.expect("defaults need no controller")),
        [""; 0]
    );
}

#[test]
fn cgroup_v2_beside_v1() {
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":-1},{"pageSize":"1GB","limit":7}],"unified":{"cgroup.max.depth":"3"}}"#;
    let plan = limits(&hybrid(), json).expect(json);
    assert_eq!(
        lines(&plan),
        [
            "hugetlb.2MB.max=max",
            "hugetlb.2MB.rsvd.max=max or not",
            "hugetlb.1GB.max=7",
            "hugetlb.1GB.rsvd.max=7 or not",
            "cgroup.max.depth=3"
        ]
    );
    let enable = plan.enable.expect("hugetlb is on v2");
    let path = "linux.resources.hugepageLimits[0].limit".to_owned();
    assert_eq!(enable.needed, [("hugetlb".to_owned(), path)].into());
    assert!(
        limits(&hybrid(), r#"{"unified":{"memory.pressure":"x"}}"#)
            .expect("pressure")
            .enable
            .is_none()
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn limits_that_cannot_be() {
    for (json, expected) in [
        (
            r#"{"memory":{"limit":-2}}"#,
            "linux.resources.memory.limit: -2 is not a number of bytes",
        ),
        (
            r#"{"memory":{"limit":9,"swap":5}}"#,
            "linux.resources.memory.swap: 5 is memory plus swap",
        ),
        (
            r#"{"memory":{"swap":5}}"#,
            "linux.resources.memory.swap: needs memory.limit",
        ),
        (
            r#"{"memory":{"limit":-1,"swap":5}}"#,
            "linux.resources.memory.swap: cannot be limited while",
        ),
        (
            r#"{"memory":{"swappiness":101}}"#,
            "linux.resources.memory.swappiness: 101 is outside of 0 to 100",
        ),
        (
            r#"{"cpu":{"shares":1}}"#,
            "linux.resources.cpu.shares: 1: the minimum allowed cpu-shares is 2",
        ),
        (
            r#"{"cpu":{"shares":262145}}"#,
            "linux.resources.cpu.shares: 262145: the maximum allowed cpu-shares is 262144",
        ),
        (
            r#"{"cpu":{"cpus":"one"}}"#,
            "linux.resources.cpu.cpus: \"one\" is not a list",
        ),
        (
            r#"{"blockIO":{"weight":1001}}"#,
            "linux.resources.blockIO.weight: 1001 is outside",
        ),
        (
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":-1,"minor":0,"rate":1}]}}"#,
            "linux.resources.blockIO.throttleReadBpsDevice[0]: -1:0 is not",
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#,
            "linux.resources.hugepageLimits[0].pageSize: \"../x\"",
        ),
        (
            r#"{"network":{"priorities":[{"name":"","priority":1}]}}"#,
            "linux.resources.network.priorities[0].name: \"\"",
        ),
        (
            r#"{"rdma":{"mlx":{"hcaHandles":1}}}"#,
            "linux.resources.rdma.mlx: the rdma controller is not mounted",
        ),
        (
            r#"{"rdma":{"m x":{"hcaHandles":1}}}"#,
            "linux.resources.rdma.m x: \"m x\" is not a device's name",
        ),
        (
            r#"{"unified":{"memory.high":"1"}}"#,
            "linux.resources.unified.memory.high: this host has cgroup v1 only",
        ),
    ] {
        check_refused(&v1(), json, expected);
    }
    for (json, expected) in [
        (
            r#"{"pids":{"limit":5}}"#,
            "linux.resources.pids.limit: the pids controller is not mounted",
        ),
        (
            r#"{"network":{"classID":5}}"#,
            "linux.resources.network.classID: the net_cls controller is not mounted",
        ),
        (
            r#"{"cpu":{"cpus":"0"}}"#,
            "linux.resources.cpu.cpus: the cpuset controller is not mounted",
        ),
        (
            r#"{"unified":{"../x.y":"1"}}"#,
            "linux.resources.unified.../x.y: is not a file name",
        ),
        (
            r#"{"unified":{"memory":"1"}}"#,
            "linux.resources.unified.memory: is not a file name",
        ),
        (
            r#"{"unified":{"memory.high":"1"}}"#,
            "linux.resources.unified.memory.high: the memory controller is not on the cgroup v2 mount (there: hugetlb)",
        ),
    ] {
        check_refused(&hybrid(), json, expected);
    }
}

/// Plans device rules and prints them as `+` (allow) and `-` (deny).
fn device_rules(json: &str) -> Result<Vec<String>, String> {
    let path = CgroupPath::parse(Some("/a"), "id").map_err(|e| e.to_string())?;
    let plan = plan(&hybrid(), &path, Some(&resources(json))).map_err(|e| e.to_string())?;
    let sign = |w: &Write| if w.file == "devices.allow" { "+" } else { "-" };
    Ok(plan
        .writes
        .iter()
        .map(|w| format!("{}{}", sign(w), w.value))
        .collect())
}

const DEFAULT: [&str; 11] = [
    "+c *:* m",
    "+b *:* m",
    "+c 1:3 rwm",
    "+c 1:8 rwm",
    "+c 1:7 rwm",
    "+c 5:0 rwm",
    "+c 1:5 rwm",
    "+c 1:9 rwm",
    "+c 136:* rwm",
    "+c 5:2 rwm",
    "+c 10:200 rwm",
];

#[test]
fn devices_in_the_listed_order_then_the_defaults() {
    let with_default = |rules: &[&'static str]| [rules, &DEFAULT].concat();
    assert_eq!(device_rules("{}").expect("none"), with_default(&["-a"]));
    let runtime_tools = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"},
        {"allow":true,"type":"b","major":8,"access":"rw"},{"allow":false,"type":"c","major":1,"minor":-1,"access":"w"}]}"#;
    assert_eq!(
        device_rules(runtime_tools).expect("listed"),
        with_default(&["-a", "+c 10:229 rwm", "+b 8:* rw", "-c 1:* w"])
    );
    let privileged =
        r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"access":"rwm"}]}"#;
    assert_eq!(device_rules(privileged).expect("all"), ["+a"]);
    let all_but_one = r#"{"devices":[{"allow":true,"type":"a","access":"mwr"},{"allow":false,"type":"c","major":1,"minor":3,"access":"r"}]}"#;
    assert_eq!(
        device_rules(all_but_one).expect("all but one"),
        with_default(&["+a", "-c 1:3 r"])
    );
    let both_kinds = r#"{"devices":[{"allow":true,"type":"a","major":1,"minor":3,"access":"r"}]}"#;
    assert_eq!(
        device_rules(both_kinds).expect("b and c"),
        with_default(&["-a", "+b 1:3 r", "+c 1:3 r"])
    );
    let known = r#"{"devices":[{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]}"#;
    let rules = device_rules(known).expect("known");
    assert_eq!(
        rules.iter().filter(|rule| *rule == "+c 1:3 rwm").count(),
        1,
        "{rules:?}"
    );
    for (json, expected) in [
        (
            r#"{"devices":[{"allow":true}]}"#,
            "linux.resources.devices[0].access: access \"\"",
        ),
        (
            r#"{"devices":[{"allow":true,"access":"rx"}]}"#,
            "linux.resources.devices[0].access: access \"rx\"",
        ),
        (
            r#"{"devices":[{"allow":true,"type":"p","access":"r"}]}"#,
            "linux.resources.devices[0].type: \"p\" is a fifo",
        ),
        (
            r#"{"devices":[{"allow":true,"type":"c","major":-2,"access":"r"}]}"#,
            "linux.resources.devices[0].major: -2",
        ),
    ] {
        let error = device_rules(json).expect_err(json);
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn paths() {
    let long = format!("/{}", "x".repeat(256));
    for (given, expected) in [
        (Some("/a/b"), Ok("a/b")),
        (Some("a//./b/"), Ok("own/a/b")),
        (Some("/../../a/../b"), Ok("b")),
        (Some("../../x"), Ok("own/x")),
        (None, Ok("own/id")),
        (Some(""), Ok("own/id")),
        (Some("/a/x:y:z"), Ok("a/x:y:z")),
        (
            Some("/"),
            Err("linux.cgroupsPath: \"/\" is not below the root"),
        ),
        (
            Some(".."),
            Err("linux.cgroupsPath: \"..\" is not below the root"),
        ),
        (
            Some("system.slice:docker:1"),
            Err("linux.cgroupsPath: \"system.slice:docker:1\" names a systemd slice"),
        ),
        (
            Some("/a\nb"),
            Err("linux.cgroupsPath: \"/a\\nb\" has a newline"),
        ),
        (Some(&*long), Err("linux.cgroupsPath: \"/xxx")),
    ] {
        let planned = CgroupPath::parse(given, "id").and_then(|path| plan(&v1(), &path, None));
        match (planned, expected) {
            (Ok(plan), Ok(relative)) => {
                let memory = plan
                    .dirs
                    .iter()
                    .find(|dir| dir.hierarchy == "memory")
                    .expect("memory");
                assert_eq!(
                    memory.path,
                    PathBuf::from("/c/memory").join(relative),
                    "{given:?}"
                );
                assert_eq!(plan.dirs.len(), v1().v1.len());
            }
            (Err(error), Err(text)) => assert!(error.to_string().starts_with(text), "{error}"),
            (planned, _) => panic!("{given:?}: {planned:?}"),
        }
    }
}

#[test]
fn hosts_that_are_refused() {
    let path = CgroupPath::parse(Some("/a"), "id").expect("plain");
    for (layout, expected) in [
        (
            Layout::default(),
            "linux.cgroupsPath: no cgroup hierarchy is mounted",
        ),
        (
            Layout {
                v1: vec![hierarchy("memory", "memory", "")],
                unified: None,
            },
            "linux.resources.devices: the devices controller",
        ),
    ] {
        let error = plan(&layout, &path, None).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_plan_reads_well_as_data() {
    let plan = limits(&v1(), r#"{"pids":{"limit":7}}"#).expect("pids");
    let json = serde_json::to_value(&plan).expect("plain data");
    let last = json["writes"]
        .as_array()
        .and_then(|w| w.last())
        .expect("a write");
    assert_eq!(
        last.to_string(),
        r#"{"dir":5,"file":"pids.max","value":"7","json_path":"linux.resources.pids.limit"}"#
    );
    assert_eq!(
        json["inherit"].to_string(),
        r#"[{"dir":1,"file":"cpuset.cpus"},{"dir":1,"file":"cpuset.mems"}]"#
    );
    assert_eq!(json["dirs"][1]["path"], "/c/cpuset/a/b");
}
