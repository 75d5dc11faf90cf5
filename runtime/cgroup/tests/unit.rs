//! What systemd is told about a container, from resources and annotations as callers write them.

use std::path::PathBuf;

use cgroup::{Address, Hierarchy, Layout, Plan, Refusal, Systemd, Wanted, plan_unit};

fn hierarchy(name: &str, controllers: &str) -> Hierarchy {
    Hierarchy {
        name: name.to_owned(),
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        mount: PathBuf::from("/c").join(name),
        own: PathBuf::from("own"),
    }
}

fn v1() -> Layout {
    let names = ["cpu", "cpuset", "memory", "devices", "blkio", "pids"];
    let mut list: Vec<_> = names.iter().map(|name| hierarchy(name, name)).collect();
    list.push(hierarchy("name=systemd", ""));
    Layout {
        v1: list,
        unified: None,
    }
}

fn v2() -> Layout {
    Layout {
        v1: Vec::new(),
        unified: Some(hierarchy("unified", "cpuset cpu io memory hugetlb pids")),
    }
}

fn planned(
    layout: &Layout,
    user: Option<u32>,
    resources: &str,
    annotations: &[(&str, &str)],
) -> Result<Plan, Refusal> {
    let systemd = Systemd {
        addresses: Address::system(),
        prefix: "orlop".to_owned(),
        user,
    };
    let resources = serde_json::from_str(resources).unwrap_or_else(|e| panic!("{resources}: {e}"));
    let wanted = Wanted {
        id: "x",
        cgroups_path: None,
        annotations: annotations.to_vec(),
        resources: Some(&resources),
    };
    plan_unit(layout, &systemd, &wanted)
}

/// The properties, without those that every scope has.
fn properties(layout: &Layout, resources: &str, annotations: &[(&str, &str)]) -> Vec<String> {
    let everything = r#"{"devices":[{"allow":true,"access":"rwm"}],"#;
    let resources = resources.replacen('{', everything, 1).replace(",}", "}");
    let plan = planned(layout, None, &resources, annotations).expect("a plan");
    let always = [
        "Description",
        "Slice",
        "Delegate",
        "CollectMode",
        "DefaultDependencies",
        "DevicePolicy",
        "DeviceAllow",
    ];
    let list = plan.unit.expect("a unit").properties;
    let other = list
        .iter()
        .filter(|p| !always.contains(&p.name.as_str()) && !p.name.ends_with("Accounting"));
    other.map(ToString::to_string).collect()
}

#[test]
fn limits_of_version_1() {
    let check = |resources: &str, want: &[&str]| {
        assert_eq!(properties(&v1(), resources, &[]), want, "{resources}");
    };
    check("{}", &[]);
    check(
        r#"{"memory":{"limit":1048576,"swap":-1},"pids":{"limit":0}}"#,
        &[
            "MemoryLimit=uint64 1048576",
            "TasksMax=uint64 18446744073709551615",
        ],
    );
    check(
        r#"{"cpu":{"shares":512,"quota":25000,"period":50000},"blockIO":{"weight":300}}"#,
        &[
            "CPUShares=uint64 512",
            "BlockIOWeight=uint64 300",
            "CPUQuotaPeriodUSec=uint64 50000",
            "CPUQuotaPerSecUSec=uint64 500000",
        ],
    );
    // A whole percentage, and never less than was asked for.
    check(
        r#"{"cpu":{"quota":33333}}"#,
        &["CPUQuotaPerSecUSec=uint64 340000"],
    );
    check(
        r#"{"cpu":{"quota":-1}}"#,
        &["CPUQuotaPerSecUSec=uint64 18446744073709551615"],
    );
}

#[test]
fn limits_of_version_2() {
    let check = |resources: &str, want: &[&str]| {
        assert_eq!(properties(&v2(), resources, &[]), want, "{resources}");
    };
    check("{}", &[]);
    check(
        r#"{"unified":{"memory.max":"max","memory.high":"4096","memory.min":"8192","cpu.weight":"321","cpu.max":"max 50000"}}"#,
        &[
            "CPUWeight=uint64 321",
            "MemoryHigh=uint64 4096",
            "MemoryMax=uint64 18446744073709551615",
            "MemoryMin=uint64 8192",
            "CPUQuotaPeriodUSec=uint64 50000",
            "CPUQuotaPerSecUSec=uint64 18446744073709551615",
        ],
    );
    check(r#"{"cpu":{"idle":1}}"#, &["CPUWeight=uint64 0"]);
    check(
        r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
        &[
            "AllowedCPUs=[byte 7, byte 2]",
            "AllowedMemoryNodes=[byte 1]",
        ],
    );
}

#[test]
fn annotations_come_last_and_win() {
    let check = |key: &str, value: &str, want: &str| {
        let list = properties(&v1(), r#"{"pids":{"limit":9}}"#, &[(key, value)]);
        assert_eq!(list.last().map(String::as_str), Some(want), "{key}={value}");
    };
    let at = |name: &str| format!("org.systemd.property.{name}");
    check(&at("TasksMax"), "uint64 5", "TasksMax=uint64 5");
    check(
        &at("TimeoutStopSec"),
        "uint64 7",
        "TimeoutStopUSec=uint64 7000000",
    );
    check(
        &at("TimeoutStopSec"),
        "0.5",
        "TimeoutStopUSec=uint64 500000",
    );
    // Not a span of time: no small letter before it.
    check(&at("FOOSec"), "7", "FOOSec=7");
    check(&at("After"), "['a.service']", "After=['a.service']");
    check("org.systemd.other", "nonsense", "TasksMax=uint64 9");
    let refuse = |name: &str, value: &str, why: &str| {
        let at = at(name);
        let refusal = planned(&v1(), None, "{}", &[(&at, value)]).expect_err(name);
        assert_eq!(refusal.json_path, format!("annotations.{at}"));
        assert!(refusal.message.contains(why), "{refusal}");
    };
    refuse("TimeoutStopSec", "-1", "not a number of seconds");
    refuse(
        "TimeoutStopSec",
        "uint64 18446744073709551614",
        "not a number of seconds",
    );
    refuse("X", "1", "not the name of a property");
    refuse("Foo.Bar", "1", "not the name of a property");
    refuse("PIDs", "[uint32 1]", "for the runtime to say");
    refuse("MemoryMax", "5G", "not a number");
}

#[test]
fn a_users_manager_lies_below_the_users_slice() {
    let plan = planned(&v2(), Some(1000), "{}", &[]).expect("a plan");
    assert_eq!(
        plan.dirs[0].relative.to_str(),
        Some("user.slice/user-1000.slice/user@1000.service/user.slice/orlop-x.scope")
    );
    let refusal = planned(&v1(), Some(1000), "{}", &[]).expect_err("version 1");
    assert!(refusal.message.contains("version 2 only"), "{refusal}");
}
