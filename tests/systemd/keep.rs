//! What systemd is told, so that it keeps it: limits and devices outlive a `systemctl daemon-reload`.

use crate::{creation, directory, is_v2, property, runs, sleeper, systemctl, unit};
use orlop_tests::{Env, Must};
use serde_json::json;
use std::fs;

/// A limit in config.json, the property and its value, the file and its value on cgroup v2.
const LIMITS: [(&str, &str, &str, &str, &str, &str); 8] = [
    (
        "memory",
        r#"{"limit": 67108864, "reservation": 33554432, "swap": 134217728}"#,
        "MemoryMax",
        "67108864",
        "memory.max",
        "67108864",
    ),
    (
        "memory",
        "",
        "MemoryLow",
        "33554432",
        "memory.low",
        "33554432",
    ),
    (
        "memory",
        "",
        "MemorySwapMax",
        "67108864",
        "memory.swap.max",
        "67108864",
    ),
    (
        "pids",
        r#"{"limit": 99}"#,
        "TasksMax",
        "99",
        "pids.max",
        "99",
    ),
    (
        "cpu",
        r#"{"quota": 25000, "period": 50000, "cpus": "0"}"#,
        "CPUQuotaPerSecUSec",
        "500ms",
        "cpu.max",
        "25000 50000",
    ),
    (
        "cpu",
        "",
        "CPUQuotaPeriodUSec",
        "50ms",
        "cpu.max",
        "25000 50000",
    ),
    ("cpu", "", "AllowedCPUs", "0", "cpuset.cpus", "0"),
    (
        "unified",
        r#"{"memory.high": "50331648", "cpu.weight": "321"}"#,
        "CPUWeight",
        "321",
        "cpu.weight",
        "321",
    ),
];

#[test]
fn limits_outlive_a_reload() {
    if !runs("limits") || !is_v2() {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    for (field, value, ..) in LIMITS.iter().filter(|(_, value, ..)| !value.is_empty()) {
        let value: serde_json::Value = serde_json::from_str(value).must(field);
        bundle.set(&format!("/linux/resources/{field}"), value);
    }
    let id = sleeper(&env, &mut bundle);
    let dir = directory(env.pid(&id), "");
    let check = |when: &str| {
        for (_, _, name, value, file, content) in LIMITS {
            assert_eq!(property(&env, &unit(&id), name), value, "{when}: {name}");
            let text = fs::read_to_string(dir.join(file)).must(file);
            assert_eq!(text.trim(), content, "{when}: {file}");
        }
    };
    check("at first");
    systemctl(&env, &["daemon-reload"]).ok();
    check("after daemon-reload");
}

#[test]
fn limits_of_version_1_are_told_too() {
    if !runs("limits of v1") || is_v2() {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864}));
    bundle.set(
        "/linux/resources/cpu",
        json!({"shares": 512, "quota": 25000, "period": 50000}),
    );
    bundle.set("/linux/resources/pids", json!({"limit": 99}));
    let id = sleeper(&env, &mut bundle);
    let pid = env.pid(&id);
    let check = |when: &str| {
        for (name, value, controller, file, content) in [
            (
                "MemoryLimit",
                "67108864",
                "memory",
                "memory.limit_in_bytes",
                "67108864",
            ),
            ("CPUShares", "512", "cpu", "cpu.shares", "512"),
            (
                "CPUQuotaPerSecUSec",
                "500ms",
                "cpu",
                "cpu.cfs_quota_us",
                "25000",
            ),
            ("TasksMax", "99", "pids", "pids.max", "99"),
        ] {
            assert_eq!(property(&env, &unit(&id), name), value, "{when}: {name}");
            let text = fs::read_to_string(directory(pid, controller).join(file)).must(file);
            assert_eq!(text.trim(), content, "{when}: {file}");
        }
    };
    check("at first");
    systemctl(&env, &["daemon-reload"]).ok();
    check("after daemon-reload");
}

#[test]
fn devices_outlive_a_reload() {
    if !runs("devices") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/root/readonly", json!(false));
    bundle.capabilities(&["CAP_MKNOD"]);
    bundle.set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 4, "minor": 7, "access": "r"},
            {"allow": true, "type": "c", "major": 13, "access": "rw"},
        ]),
    );
    let id = sleeper(&env, &mut bundle);
    let try_all = "
        mknod /tmp/tty c 4 7; mknod /tmp/mem c 1 1
        for f in /dev/null /dev/zero /dev/urandom /dev/full; do head -c 0 $f && echo $f; done
        (: < /dev/ptmx) && echo ptmx
        (: < /tmp/tty) && echo tty
        (: <> /tmp/tty) 2>/dev/null && echo written; (: < /tmp/mem) 2>/dev/null && echo mem
        rm /tmp/mem /tmp/tty";
    let wanted = "/dev/null\n/dev/zero\n/dev/urandom\n/dev/full\nptmx\ntty";
    env.exec(&id, &["sh", "-c", try_all]).prints(wanted);
    systemctl(&env, &["daemon-reload"]).ok();
    env.exec(&id, &["sh", "-c", try_all]).prints(wanted);
    let shown = systemctl(
        &env,
        &["show", "--property", "DevicePolicy,DeviceAllow", &unit(&id)],
    )
    .ok();
    for part in [
        "DevicePolicy=strict",
        "/dev/char/4:7 r",
        "char-13 rw",
        "/dev/char/10:200 rwm",
        "char-136 rwm",
    ] {
        assert!(shown.stdout().contains(part), "{part}\n{shown}");
    }
}

#[test]
fn an_update_outlives_a_reload() {
    if !runs("update") {
        return;
    }
    let env = Env::new();
    let id = sleeper(&env, &mut env.bundle());
    env.orlop(&["update", "--pids-limit", "55", &id]).run().ok();
    let file = directory(env.pid(&id), "pids").join("pids.max");
    for when in ["at once", "after daemon-reload"] {
        assert_eq!(property(&env, &unit(&id), "TasksMax"), "55", "{when}");
        assert_eq!(fs::read_to_string(&file).must("pids.max"), "55\n", "{when}");
        systemctl(&env, &["daemon-reload"]).ok();
    }
}

#[test]
fn annotations_are_properties() {
    if !runs("annotations") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set(
        "/annotations",
        json!({
            "org.systemd.property.TimeoutStopSec": "uint64 7",
            "org.systemd.property.CollectMode": "'inactive'",
            "org.systemd.property.Description": "'of my own'",
            "org.systemd.property.Documentation": "['man:orlop(1)', 'man:runc(8)']",
        }),
    );
    let id = sleeper(&env, &mut bundle);
    for (name, value) in [
        ("TimeoutStopUSec", "7s"),
        ("CollectMode", "inactive"),
        ("Description", "of my own"),
        ("Documentation", "\"man:orlop(1)\" \"man:runc(8)\""),
    ] {
        assert_eq!(property(&env, &unit(&id), name), value);
    }
    // What systemd refuses is refused, with its reason, and leaves nothing.
    bundle.set(
        "/annotations",
        json!({"org.systemd.property.NoSuchThing": "true"}),
    );
    let (create, id) = creation(&env, &bundle);
    create.run().refused(1, &[&unit(&id), "NoSuchThing"]);
    assert_eq!(property(&env, &unit(&id), "LoadState"), "not-found");
}
