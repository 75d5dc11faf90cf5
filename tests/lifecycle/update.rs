//! `update`: new limits for a container that runs, read on the host.

use orlop_tests::{Env, Must, cgroup_of, only_v2, skip, until};
use serde_json::{Value, json};
use std::fs;

/// A container that holds some memory, and what it is limited to.
struct Case {
    env: Env,
    id: String,
}

impl Case {
    fn new(resources: Value) -> Self {
        let env = Env::new();
        let mut bundle = env.bundle();
        for (key, value) in resources.as_object().must("an object") {
            bundle.set(&format!("/linux/resources/{key}"), value.clone());
        }
        // The shell stays: what is executed in its place would not hold its memory.
        bundle.sh("x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 1000; echo ${#x}");
        let id = env.start(&bundle);
        Self { env, id }
    }

    /// Reads a file of the container's cgroup: that of a v1 controller, or that of cgroup v2.
    fn read(&self, controller: &str, file: &str, file_v2: &str) -> String {
        let pid = self.env.pid(&self.id);
        let path = cgroup_of(pid, controller).map_or_else(
            || cgroup_of(pid, "").must("cgroup v2").join(file_v2),
            |dir| dir.join(file),
        );
        fs::read_to_string(&path)
            .must(path.display())
            .trim()
            .to_owned()
    }

    fn limit(&self) -> String {
        self.read("memory", "memory.limit_in_bytes", "memory.max")
    }

    fn pids(&self) -> String {
        self.read("pids", "pids.max", "pids.max")
    }

    fn recorded(&self) -> Value {
        let path = self.env.root.join(&self.id).join("state.json");
        let text = fs::read_to_string(&path).must(path.display());
        serde_json::from_str::<Value>(&text).must("state.json")["resources"].clone()
    }

    fn update(&self, args: &[&str]) -> orlop_tests::Done {
        self.env.orlop(&["update"]).args(args).arg(&self.id).run()
    }

    fn update_from_stdin(&self, resources: &Value) -> orlop_tests::Done {
        let command = self.env.orlop(&["update", "--resources=-", &self.id]);
        command.stdin(resources.to_string()).run()
    }
}

/// Updates with these options and demands the values of the files: (controller, file, file of cgroup v2, value, value there).
#[track_caller]
fn check(case: &Case, args: &[&str], wanted: &[(&str, &str, &str, &str, &str)]) {
    case.update(args).ok();
    let pid = case.env.pid(&case.id);
    for (controller, file, file_v2, value, value_v2) in wanted {
        let is_v1 = cgroup_of(pid, controller).is_some();
        let wanted = if is_v1 { value } else { value_v2 };
        assert_eq!(
            case.read(controller, file, file_v2),
            *wanted,
            "{args:?}: {file}"
        );
    }
}

const LIMIT: &str = "memory.limit_in_bytes";
const SWAP: &str = "memory.memsw.limit_in_bytes";
const SOFT: &str = "memory.soft_limit_in_bytes";

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn every_option_arrives() {
    let case = Case::new(json!({}));
    let memory = |file, file_v2, value, value_v2| [("memory", file, file_v2, value, value_v2)];
    check(
        &case,
        &["--memory", "128m"],
        &memory(LIMIT, "memory.max", "134217728", "134217728"),
    );
    check(
        &case,
        &["--memory-reservation=64MiB"],
        &memory(SOFT, "memory.low", "67108864", "67108864"),
    );
    check(
        &case,
        &["--memory-swap", "256m"],
        &memory(SWAP, "memory.swap.max", "268435456", "134217728"),
    );
    check(
        &case,
        &["--pids-limit", "77"],
        &[("pids", "pids.max", "pids.max", "77", "77")],
    );
    check(
        &case,
        &["--pids-limit", "-1"],
        &[("pids", "pids.max", "pids.max", "max", "max")],
    );
    let cpu = |file, value, file_v2, value_v2| [("cpu", file, file_v2, value, value_v2)];
    check(
        &case,
        &["--cpu-share", "512"],
        &cpu("cpu.shares", "512", "cpu.weight", "59"),
    );
    let both = ["--cpu-period=50000", "--cpu-quota=25000"];
    check(
        &case,
        &both,
        &cpu("cpu.cfs_quota_us", "25000", "cpu.max", "25000 50000"),
    );
    check(
        &case,
        &["--cpu-quota", "30000"],
        &cpu("cpu.cfs_period_us", "50000", "cpu.max", "30000 50000"),
    );
    check(
        &case,
        &["--cpu-burst", "10000"],
        &cpu("cpu.cfs_burst_us", "10000", "cpu.max.burst", "10000"),
    );
    check(
        &case,
        &["--cpu-burst", "0"],
        &cpu("cpu.cfs_burst_us", "0", "cpu.max.burst", "0"),
    );
    check(
        &case,
        &["--cpu-quota", "-1"],
        &cpu("cpu.cfs_quota_us", "-1", "cpu.max", "max 50000"),
    );
    check(
        &case,
        &["--cpu-idle", "1"],
        &cpu("cpu.idle", "1", "cpu.idle", "1"),
    );
    check(
        &case,
        &["--cpu-idle", "0"],
        &cpu("cpu.idle", "0", "cpu.idle", "0"),
    );
    let cpuset = [
        ("cpuset", "cpuset.cpus", "cpuset.cpus", "0", "0"),
        ("cpuset", "cpuset.mems", "cpuset.mems", "0", "0"),
    ];
    check(
        &case,
        &["--cpuset-cpus", "0", "--cpuset-mems", "0"],
        &cpuset,
    );
    let recorded = case.recorded();
    assert_eq!(
        recorded["memory"],
        json!({"limit": 134_217_728, "reservation": 67_108_864, "swap": 268_435_456})
    );
    assert_eq!(recorded["pids"]["limit"], -1);
    assert_eq!(recorded["cpu"]["quota"], -1);
    assert_eq!(recorded["cpu"]["cpus"], "0");
    assert_eq!(recorded["cpu"]["mems"], "0");
}

#[test]
fn options_that_this_kernel_may_lack() {
    let case = Case::new(json!({}));
    let dir = |controller| cgroup_of(case.env.pid(&case.id), controller);
    let weight = [
        ("blkio", "blkio.weight", "321"),
        ("blkio", "blkio.bfq.weight", "321"),
        ("", "io.bfq.weight", "default 321"),
        ("", "io.weight", "default 3142"),
    ]
    .into_iter()
    .find(|(controller, file, _)| dir(controller).is_some_and(|dir| dir.join(file).exists()));
    match weight {
        Some((controller, file, value)) => check(
            &case,
            &["--blkio-weight", "321"],
            &[(controller, file, file, value, value)],
        ),
        None => skip(
            "--blkio-weight",
            "this kernel has no I/O scheduler with weights",
        ),
    }
    if dir("cpu").is_none_or(|dir| !dir.join("cpu.rt_runtime_us").exists()) {
        return skip("--cpu-rt-runtime", "this kernel has no real-time groups");
    }
    let args = ["--cpu-rt-period", "500000", "--cpu-rt-runtime", "1000"];
    check(
        &case,
        &args,
        &[
            ("cpu", "cpu.rt_period_us", "", "500000", ""),
            ("cpu", "cpu.rt_runtime_us", "", "1000", ""),
        ],
    );
}

/// What they do where there is resource control, `container/tests/resctrl.rs` shows.
#[test]
fn schemas_want_resource_control() {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
    if table.contains(" - resctrl ") {
        return skip("schemas", "resource control is mounted here");
    }
    let case = Case::new(json!({}));
    for option in ["--l3-cache-schema=L3:0=f", "--mem-bw-schema=MB:0=20"] {
        let parts = ["schemas are not enabled", "mount resctrl"];
        case.update(&[option]).refused(1, &parts);
    }
}

#[test]
fn memory_and_swap_go_up_and_down_together() {
    let case = Case::new(json!({"memory": {"limit": 67_108_864, "swap": 67_108_864}}));
    for (limit, swap, in_v2) in [
        ("100m", "200m", "104857600"),
        ("64m", "64m", "0"),
        ("300m", "-1", "max"),
        ("80m", "90m", "10485760"),
    ] {
        case.update(&["--memory", limit, "--memory-swap", swap])
            .ok();
        let number: u64 = limit.trim_end_matches('m').parse().must(limit);
        assert_eq!(case.limit(), (number << 20).to_string());
        if cgroup_of(case.env.pid(&case.id), "memory").is_none() {
            assert_eq!(case.read("memory", SWAP, "memory.swap.max"), in_v2);
        }
    }
    case.update(&["--memory", "-1"]).ok();
    let unlimited = [case.limit(), case.read("memory", SWAP, "memory.swap.max")];
    let is_unlimited = |text: &String| ["9223372036854771712", "max"].contains(&text.as_str());
    assert!(unlimited.iter().all(is_unlimited), "{unlimited:?}");
}

#[test]
fn resources_come_from_a_file_or_from_stdin() {
    let case = Case::new(json!({}));
    let file = case.env.dir.join("limits.json");
    fs::write(&file, r#"{"pids": {"limit": 55}, "memory": {}, "cpu": {"shares": 0, "cpus": ""}, "blockIO": {"weight": 0}}"#)
        .must("limits.json");
    let file = file.to_str().must("a path");
    case.update(&["-r", file, "--pids-limit", "66", "--memory", "nonsense"])
        .ok();
    assert_eq!(
        case.pids(),
        "55",
        "with --resources the other options are ignored"
    );
    case.update_from_stdin(&json!({"memory": {"limit": 134_217_728}, "pids": {"limit": 0}}))
        .ok();
    assert_eq!(
        (case.pids().as_str(), case.limit().as_str()),
        ("55", "134217728")
    );
    fs::write(file, r#"{"memory": {"limit": "1G"}}"#).must("limits.json");
    case.update(&["-r", file])
        .refused(1, &["limits.json: memory.limit: invalid type"]);
    case.update(&["-r", "/nosuch.json"])
        .refused(1, &["/nosuch.json", "no such file or directory"]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn a_refused_update_changes_nothing() {
    let case = Case::new(
        json!({"memory": {"limit": 134_217_728}, "pids": {"limit": 44}, "cpu": {"shares": 333}}),
    );
    until("the container's memory", || {
        let used = case.read("memory", "memory.usage_in_bytes", "memory.current");
        used.parse::<u64>().ok().filter(|used| *used > 20_000_000)
    });
    let files = || {
        let cpus = case.read("cpuset", "cpuset.cpus", "cpuset.cpus");
        [
            case.limit(),
            case.pids(),
            case.read("cpu", "cpu.shares", "cpu.weight"),
            cpus,
        ]
    };
    let (before, recorded) = (files(), case.recorded());
    let change = |field: &str, value: Value| {
        let mut change = json!({"pids": {"limit": 20}, "memory": {"limit": 167_772_160}, "cpu": {"shares": 400, "cpus": "0"}});
        *change.pointer_mut(field).must(field) = value;
        change
    };
    let mut below = change("/memory/limit", json!(65_536));
    below["memory"]["checkBeforeUpdate"] = json!(true);
    for (change, parts) in [
        (below, ["linux.resources.memory.limit", "in use"]),
        (
            change("/cpu/cpus", json!("999")),
            ["linux.resources.cpu.cpus", "999"],
        ),
        (
            change("/cpu/shares", json!(1)),
            [
                "linux.resources.cpu.shares",
                "minimum allowed cpu-shares is 2",
            ],
        ),
    ] {
        case.update_from_stdin(&change).refused(1, &parts);
        assert_eq!(files(), before, "{change}");
        assert_eq!(case.recorded(), recorded, "{change}");
    }
    for (args, part) in [
        (
            ["--memory", "lots"],
            "invalid value for memory: \"lots\" is not a size",
        ),
        (
            ["--cpu-share", "-5"],
            "invalid value for cpu-share: \"-5\" is not a whole number from 0 to 18446744073709551615",
        ),
        (
            ["--blkio-weight", "70000"],
            "invalid value for blkio-weight: \"70000\" is not a whole number from 0 to 65535",
        ),
        (
            ["--blkio-weight", "5"],
            "linux.resources.blockIO.weight: 5 is outside of 10 to 1000",
        ),
        (["--cpuset-cpus", "all"], "linux.resources.cpu.cpus"),
        (["--cpuset-mems", "999"], "linux.resources.cpu.mems"),
    ] {
        case.update(&args).refused(1, &[part]);
    }
}

/// Without being asked, the kernel takes back what it can, a cache as here, and kills for the rest.
#[test]
fn a_limit_below_what_is_in_use_is_refused_where_that_is_asked() {
    if !only_v2() {
        return skip(
            "checkBeforeUpdate",
            "cgroup v1 refuses what it cannot take back",
        );
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/root/readonly", json!(false))
        .set("/linux/resources/memory", json!({"limit": 134_217_728}))
        .sh("dd if=/dev/zero of=/tmp/cached bs=1M count=40 conv=fsync 2>/dev/null; echo > /tmp/done; exec sleep 1000");
    let id = env.start(&bundle);
    let done = bundle.rootfs().join("tmp/done");
    until("the file", || done.exists().then_some(()));
    let case = Case { env, id };
    let limit = json!({"memory": {"limit": 16_777_216, "checkBeforeUpdate": true}});
    case.update_from_stdin(&limit)
        .refused(1, &["linux.resources.memory.limit", "in use"]);
    assert_eq!(case.limit(), "134217728");
}

#[test]
fn device_rules_change_and_foreign_ones_stay() {
    let case = Case::new(json!({}));
    let may_open = |device: &str| {
        let script = format!("rm -f /dev/mine; mknod /dev/mine c {device} && : < /dev/mine");
        let words = ["exec", "--cap", "CAP_MKNOD", &case.id, "sh", "-c", &script];
        let done = case.env.orlop(&words).run();
        // Whether anything is behind the number, is another matter.
        !done.stderr().contains("Operation not permitted")
    };
    // Version 1 has one list, for other programs too; in version 2 each has a program of its own in the kernel.
    let dir = cgroup_of(case.env.pid(&case.id), "devices");
    let list = dir.map(|dir| {
        fs::write(dir.join("devices.allow"), "c 195:0 rw").must("a rule of another program");
        move || fs::read_to_string(dir.join("devices.list")).must("devices.list")
    });
    let check = |fuse: bool| {
        assert_eq!(may_open("10 229"), fuse, "fuse");
        assert!(may_open("1 3"), "the defaults stay");
        assert!(!may_open("1 1"), "nothing else is allowed");
        let Some(list) = &list else { return };
        let list = list();
        assert_eq!(list.contains("c 10:229 rwm\n"), fuse, "{list}");
        assert!(list.contains("c 195:0 rw\n"), "{list}");
        assert!(list.contains("c 1:3 rwm\n"), "{list}");
    };
    check(false);
    let deny = json!({"allow": false, "access": "rwm"});
    let fuse = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"});
    let update = |resources: Value| case.update_from_stdin(&resources).ok();
    update(json!({"devices": [deny, fuse]}));
    check(true);
    // As containerd's CRI does: the whole list, with every change of any limit.
    update(json!({"devices": [deny, fuse], "pids": {"limit": 9}}));
    check(true);
    update(json!({"devices": [deny]}));
    check(false);
}

#[test]
fn every_living_container_can_be_updated() {
    let case = Case::new(json!({}));
    let (env, id) = (&case.env, &case.id);
    env.orlop(&["pause", id]).run().ok();
    case.update(&["--pids-limit", "50"]).ok();
    env.orlop(&["resume", id]).run().ok();
    assert_eq!(case.pids(), "50");
    let mut bundle = env.bundle();
    let created = env.create(bundle.args(&["true"]));
    env.orlop(&["update", "--pids-limit=60", &created])
        .run()
        .ok();
    env.orlop(&["start", &created]).run().ok();
    env.reaches(&created, "stopped");
    env.orlop(&["update", "--pids-limit=60", &created])
        .run()
        .refused(1, &["container not running"]);
    env.orlop(&["update", "--pids-limit=60", "nosuch"])
        .run()
        .refused(1, &["container does not exist"]);
    env.orlop(&["update"])
        .run()
        .refused(1, &["\"update\" requires exactly 1 argument(s)"]);
    let done = case
        .update(&["--kernel-memory", "1m", "--kernel-memory-tcp=1m"])
        .ok();
    assert!(
        done.stderr().contains("--kernel-memory-tcp is obsolete"),
        "{done}"
    );
}

#[test]
fn resources_that_say_nothing_are_warned_about_or_refused() {
    let case = Case::new(json!({"pids": {"limit": 77}}));
    let id = case.id.as_str();
    let update = |text: &str| {
        let command = case.env.orlop(&["update", "--resources=-", id]);
        command.stdin(text).run()
    };
    for text in ["[]", "[{\"pids\": {\"limit\": 5}}]"] {
        update(text).refused(1, &["--resources -: is a list"]);
    }
    update("{\"pids\": [5]}").refused(1, &["--resources -: pids: is a list"]);
    update("").refused(1, &["--resources -: ", "the text ends"]);
    for text in [
        "{\"bogus\": 1}",
        "{\"linux\": {\"resources\": {\"pids\": {\"limit\": 5}}}}",
    ] {
        let done = update(text).ok();
        let said = done.stderr();
        assert!(
            said.contains("no field of linux.resources") && said.contains("pids"),
            "{done}"
        );
    }
    // Nothing at all is no mistake.
    assert_eq!(update("{}").ok().stderr(), "");
    assert_eq!(case.pids(), "77");
}
