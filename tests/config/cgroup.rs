//! `linux.cgroupsPath` and `linux.resources`, read on the host.

use orlop_tests::{Bundle, Env, Must, cgroup_of, cgroup_paths, hierarchies, only_v2, skip, sys};
use serde_json::{Value, json};
use std::fs;

/// Starts a container with these resources and demands what a file holds: `v1` is the file and the value on cgroup v1, `v2` on v2.
#[track_caller]
fn check(resources: Value, controller: &str, v1: (&str, &str), v2: (&str, &str)) {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    for (key, value) in resources.as_object().must("an object") {
        bundle.set(&format!("/linux/resources/{key}"), value.clone());
    }
    let id = env.create(&bundle);
    let case = resources.to_string();
    let on_v1 = cgroup_of(env.pid(&id), controller).filter(|_| !controller.is_empty());
    let (place, (file, wanted)) = match (on_v1, cgroup_of(env.pid(&id), "")) {
        (Some(place), _) => (place, v1),
        (None, Some(place)) => (place, v2),
        (None, None) => return skip(&case, &format!("no hierarchy with {controller} here")),
    };
    if file.is_empty() {
        return skip(&case, "this version of cgroups has no such limit");
    }
    if !place.join(file).exists() {
        return skip(&case, &format!("this kernel has no {file}"));
    }
    let text = fs::read_to_string(place.join(file)).must(file);
    let found = text.trim() == wanted || text.lines().any(|line| line.trim() == wanted);
    assert!(found, "{case}: {file} is {text:?}, wanted {wanted:?}");
}

const NONE: (&str, &str) = ("", "");

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn memory() {
    let limit = "33554432";
    check(
        json!({"memory": {"limit": 33_554_432}}),
        "memory",
        ("memory.limit_in_bytes", limit),
        ("memory.max", limit),
    );
    check(
        json!({"memory": {"reservation": 16_777_216}}),
        "memory",
        ("memory.soft_limit_in_bytes", "16777216"),
        ("memory.low", "16777216"),
    );
    check(
        json!({"memory": {"limit": 33_554_432, "swap": 67_108_864}}),
        "memory",
        ("memory.memsw.limit_in_bytes", "67108864"),
        ("memory.swap.max", limit),
    );
    check(
        json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}}),
        "memory",
        ("memory.memsw.limit_in_bytes", limit),
        ("memory.swap.max", "0"),
    );
    check(
        json!({"memory": {"limit": 33_554_432, "swap": -1}}),
        "memory",
        ("memory.limit_in_bytes", limit),
        ("memory.swap.max", "max"),
    );
    check(
        json!({"memory": {"limit": 33_554_432, "checkBeforeUpdate": true}}),
        "memory",
        ("memory.limit_in_bytes", limit),
        ("memory.max", limit),
    );
    check(
        json!({"memory": {"swappiness": 17}}),
        "memory",
        ("memory.swappiness", "17"),
        NONE,
    );
    check(
        json!({"memory": {"disableOOMKiller": true}}),
        "memory",
        ("memory.oom_control", "oom_kill_disable 1"),
        NONE,
    );
    check(
        json!({"memory": {"kernelTCP": 8_388_608}}),
        "memory",
        ("memory.kmem.tcp.limit_in_bytes", "8388608"),
        NONE,
    );
    check(
        json!({"memory": {"useHierarchy": true}}),
        "memory",
        ("memory.use_hierarchy", "1"),
        NONE,
    );
    check(
        json!({"memory": {"limit": -1}}),
        "memory",
        ("memory.limit_in_bytes", "9223372036854771712"),
        ("memory.max", "max"),
    );
    check(
        json!({"memory": {"limit": 33_554_432, "kernel": 16_777_216}}),
        "memory",
        ("memory.limit_in_bytes", limit),
        ("memory.max", limit),
    );
}

#[test]
fn cpu() {
    for (shares, weight) in [(2, "1"), (333, "42"), (1024, "100"), (262_144, "10000")] {
        check(
            json!({"cpu": {"shares": shares}}),
            "cpu",
            ("cpu.shares", &shares.to_string()),
            ("cpu.weight", weight),
        );
    }
    let both = json!({"cpu": {"quota": 25_000, "period": 50_000}});
    check(
        both.clone(),
        "cpu",
        ("cpu.cfs_quota_us", "25000"),
        ("cpu.max", "25000 50000"),
    );
    check(
        both,
        "cpu",
        ("cpu.cfs_period_us", "50000"),
        ("cpu.max", "25000 50000"),
    );
    check(
        json!({"cpu": {"quota": 2_000_000, "period": 1_000_000}}),
        "cpu",
        ("cpu.cfs_period_us", "1000000"),
        ("cpu.max", "2000000 1000000"),
    );
    check(
        json!({"cpu": {"quota": -1}}),
        "cpu",
        ("cpu.cfs_quota_us", "-1"),
        ("cpu.max", "max 100000"),
    );
    check(
        json!({"cpu": {"period": 50_000}}),
        "cpu",
        ("cpu.cfs_period_us", "50000"),
        ("cpu.max", "max 50000"),
    );
    check(
        json!({"cpu": {"quota": 25_000, "period": 50_000, "burst": 10_000}}),
        "cpu",
        ("cpu.cfs_burst_us", "10000"),
        ("cpu.max.burst", "10000"),
    );
    check(
        json!({"cpu": {"idle": 1}}),
        "cpu",
        ("cpu.idle", "1"),
        ("cpu.idle", "1"),
    );
    let places = json!({"cpu": {"cpus": "0", "mems": "0"}});
    for file in ["cpuset.cpus", "cpuset.mems"] {
        check(places.clone(), "cpuset", (file, "0"), (file, "0"));
    }
    let all = fs::read_to_string("/sys/fs/cgroup/cpuset/cpuset.cpus").unwrap_or_default();
    check(json!({}), "cpuset", ("cpuset.cpus", all.trim()), NONE);
}

/// A group gets a runtime only where all above it have one, which the runtime sees to (`cgroup/kernel::realtime_passes_through_new_parents`).
#[test]
fn time_for_real_time_processes() {
    let Some(cpu) = cgroup_of(1, "cpu") else {
        // It is refused: `what_v2_does_not_have_is_refused_by_name`.
        return skip("cpu.rt_runtime_us", "no cgroup v1 with cpu here");
    };
    if !cpu.join("cpu.rt_runtime_us").exists() {
        return skip("cpu.rt_runtime_us", "this kernel has no real-time groups");
    }
    let times = json!({"cpu": {"realtimePeriod": 500_000, "realtimeRuntime": 1000}});
    for (file, wanted) in [
        ("cpu.rt_period_us", "500000"),
        ("cpu.rt_runtime_us", "1000"),
    ] {
        check(times.clone(), "cpu", (file, wanted), NONE);
    }
}

#[test]
fn processes() {
    for (limit, wanted) in [(44, "44"), (-1, "max"), (0, "max")] {
        check(
            json!({"pids": {"limit": limit}}),
            "pids",
            ("pids.max", wanted),
            ("pids.max", wanted),
        );
    }
}

/// Returns the number of a block device that this machine has, for the machines that have one.
fn block_device() -> Option<String> {
    let table = fs::read_dir("/sys/block").must("/sys/block").flatten();
    // Of those with a queue: cgroup v2 takes limits for no others.
    let number = |name: String| fs::read_to_string(format!("/sys/block/{name}/dev")).ok();
    let names = table.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let number = names.filter_map(number).next()?;
    Some(number.trim().to_owned())
}

#[test]
fn block_devices() {
    let Some(device) = block_device() else {
        return skip("blockIO", "this machine has no block device");
    };
    let (major, minor) = device.split_once(':').must("major:minor");
    let (major, minor): (u32, u32) = (major.parse().must("major"), minor.parse().must("minor"));
    for (field, file, v2) in [
        (
            "throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
            "rbps=123456 wbps=max riops=max wiops=max",
        ),
        (
            "throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
            "rbps=max wbps=123456 riops=max wiops=max",
        ),
        (
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            "rbps=max wbps=max riops=123456 wiops=max",
        ),
        (
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "rbps=max wbps=max riops=max wiops=123456",
        ),
    ] {
        let value = json!([{"major": major, "minor": minor, "rate": 123_456}]);
        check(
            json!({"blockIO": {field: value}}),
            "blkio",
            (file, &format!("{device} 123456")),
            ("io.max", &format!("{device} {v2}")),
        );
    }
    let nothing = json!({"blockIO": {"weight": 0}});
    check(nothing, "pids", ("pids.max", "max"), ("pids.max", "max"));
}

#[test]
fn weights_of_block_devices() {
    let weight = json!({"blockIO": {"weight": 321}});
    // Which of two files there is, only a container's own cgroup tells.
    let env = Env::new();
    let mut bundle = env.bundle();
    if only_v2() {
        bundle.set("/linux/resources/blockIO", weight["blockIO"].clone());
        let id = env.create(bundle.args(&["true"]));
        let dir = cgroup_of(env.pid(&id), "").must("cgroup v2");
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        let found = read("io.bfq.weight").contains("default 321");
        assert!(found || read("io.weight").contains("default 3142"));
        return;
    }
    let id = env.create(bundle.args(&["true"]));
    let dir = cgroup_of(env.pid(&id), "blkio").unwrap_or_default();
    let file = ["blkio.weight", "blkio.bfq.weight"]
        .into_iter()
        .find(|file| dir.join(file).exists());
    match file {
        Some(file) => check(weight, "blkio", (file, "321"), NONE),
        None => skip(
            "blockIO.weight",
            "this kernel has neither blkio.weight nor blkio.bfq.weight",
        ),
    }
}

/// Linux 5.0 removed the weights of leaves; those of single devices need a scheduler that has weights.
#[test]
fn weights_of_leaves_and_of_single_devices_are_carried_out_or_named() {
    let device = block_device().unwrap_or_else(|| "7:0".to_owned());
    let (major, minor) = device.split_once(':').must("major:minor");
    let (major, minor): (u32, u32) = (major.parse().must("major"), minor.parse().must("minor"));
    for (field, value, file) in [
        ("leafWeight", json!(300), "blkio.leaf_weight"),
        (
            "weightDevice",
            json!([{"major": major, "minor": minor, "weight": 321}]),
            "blkio.bfq.weight_device",
        ),
    ] {
        let env = Env::new();
        let mut bundle = env.bundle();
        bundle
            .set(&format!("/linux/resources/blockIO/{field}"), value)
            .args(&["sleep", "100"])
            .write();
        let id = env.id();
        let create = env.orlop(&["create", "--bundle"]).arg(&bundle.dir).arg(&id);
        let done = create.run();
        let named = done
            .stderr()
            .contains(&format!("linux.resources.blockIO.{field}"));
        let written = || {
            let dir = cgroup_of(env.pid(&id), "blkio")
                .or_else(|| cgroup_of(env.pid(&id), ""))
                .must("its cgroup");
            let files = [file, "blkio.weight_device", "io.bfq.weight", "io.weight"];
            let text = files.map(|file| fs::read_to_string(dir.join(file)).unwrap_or_default());
            text.concat().contains("3")
        };
        assert!(named || (done.rc == 0 && written()), "{field}\n{done}");
    }
}

#[test]
fn huge_pages() {
    let env = Env::new();
    let mut bundle = env.bundle();
    let limit = json!([{"pageSize": "2MB", "limit": 4_194_304}]);
    bundle
        .set("/linux/resources/hugepageLimits", limit.clone())
        .args(&["true"]);
    if env.run(&bundle).stderr().contains("the hugetlb controller") {
        return skip(
            "hugepageLimits",
            "hugetlb is on no hierarchy that is mounted here",
        );
    }
    for (v1, v2) in [
        ("hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"),
        ("hugetlb.2MB.rsvd.limit_in_bytes", "hugetlb.2MB.rsvd.max"),
    ] {
        check(
            json!({"hugepageLimits": limit}),
            "hugetlb",
            (v1, "4194304"),
            (v2, "4194304"),
        );
    }
}

#[test]
fn unified_is_set_in_the_v2_part() {
    if cgroup_of(1, "").is_none() {
        return skip("unified", "no cgroup v2 here");
    }
    let check_v2 = |resources: Value, file: &str, wanted: &str| {
        check(resources, "", NONE, (file, wanted));
    };
    let descendants = json!({"unified": {"cgroup.max.descendants": "7"}});
    check_v2(descendants, "cgroup.max.descendants", "7");
    if only_v2() {
        let high = json!({"memory": {"limit": 67_108_864}, "unified": {"memory.high": "33554432"}});
        check_v2(high, "memory.high", "33554432");
        let weight = json!({"cpu": {"shares": 2}, "unified": {"cpu.weight": "77"}});
        check_v2(weight, "cpu.weight", "77");
    }
}

/// Runs a container that has no say in what is refused here, and demands the words.
#[track_caller]
fn check_refused_on_v2(resources: Value, words: &[&str]) {
    if !only_v2() {
        return skip(&resources.to_string(), "this host has cgroup v1");
    }
    let env = Env::new();
    let before = env.world();
    let mut bundle = env.bundle();
    for (key, value) in resources.as_object().must("an object") {
        bundle.set(&format!("/linux/resources/{key}"), value.clone());
    }
    bundle.args(&["true"]);
    env.run(&bundle).refused(1, words);
    env.as_before(&before, "a limit that v2 does not have");
}

#[test]
fn what_v2_does_not_have_is_refused_by_name() {
    check_refused_on_v2(
        json!({"cpu": {"realtimeRuntime": 1000}}),
        &["linux.resources.cpu.realtimeRuntime", "cgroup v2"],
    );
    check_refused_on_v2(
        json!({"network": {"classID": 7}}),
        &["linux.resources.network.classID", "net_cls"],
    );
    check_refused_on_v2(
        json!({"unified": {"no/such": "1"}}),
        &["linux.resources.unified.no/such"],
    );
    check_refused_on_v2(
        json!({"unified": {"memory.no-such": "1"}}),
        &["memory.no-such", "linux.resources.unified.memory.no-such"],
    );
}

#[test]
fn a_field_that_v2_passes_over_is_warned_about() {
    if !only_v2() {
        return skip("memory.swappiness", "this host has cgroup v1");
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/linux/resources/memory", json!({"swappiness": 7}))
        .args(&["true"]);
    let done = env.run(&bundle);
    assert_eq!(done.rc, 0, "{done}");
    let warning = "linux.resources.memory.swappiness: cgroup v2 has no such setting; ignored";
    assert!(done.stderr().contains(warning), "{done}");
}

#[test]
fn network() {
    let env = Env::new();
    let _alone = hierarchies();
    let point = env.dir.join("net_cls");
    fs::create_dir(&point).must("a mount point");
    if let Err(why) = sys::mount("cgroup", &point, "cgroup", 0, "net_cls") {
        return skip(
            "network.classID",
            &format!("net_cls cannot be mounted here: {why}"),
        );
    }
    let mut bundle = env.bundle();
    bundle
        .set("/linux/resources/network/classID", json!(1_048_577))
        .args(&["sleep", "100"]);
    let id = env.create(&bundle);
    let text = fs::read_to_string(
        cgroup_of(env.pid(&id), "net_cls")
            .must("the net_cls cgroup")
            .join("net_cls.classid"),
    )
    .must("net_cls.classid");
    assert_eq!(text.trim(), "1048577");
    env.orlop(&["delete", "--force", &id]).run().ok();
    sys::umount(&point).must("unmount net_cls");
}

#[test]
fn a_limit_without_its_controller_is_refused_by_name() {
    let env = Env::new();
    if fs::read_to_string("/proc/thread-self/mountinfo")
        .must("mountinfo")
        .lines()
        .any(|line| line.contains(" - cgroup ") && line.contains("net_prio"))
    {
        return skip("network.priorities", "net_prio is mounted here");
    }
    let before = env.world();
    let mut bundle = env.bundle();
    bundle
        .set(
            "/linux/resources/network",
            json!({"priorities": [{"name": "lo", "priority": 5}]}),
        )
        .args(&["true"]);
    env.run(&bundle)
        .refused(1, &["linux.resources.network.priorities"]);
    env.as_before(&before, "a limit without its controller");
}

#[test]
fn the_path() {
    let env = Env::new();
    let suffix = |bundle: &mut Bundle| -> Vec<String> {
        bundle.args(&["sleep", "100"]);
        let id = env.create(bundle);
        let paths = cgroup_paths(env.pid(&id));
        env.orlop(&["delete", &id]).run().ok();
        paths
    };
    let absolute = format!("/{}-leaf", env.tag);
    let found = suffix(env.bundle().set("/linux/cgroupsPath", json!(absolute)));
    assert!(
        found.iter().all(|path| *path == absolute),
        "an absolute path counts from the hierarchy's root: {found:?}"
    );
    let relative = format!("{}-rel", env.tag);
    let found = suffix(env.bundle().set("/linux/cgroupsPath", json!(relative)));
    assert!(
        found
            .iter()
            .all(|path| path.ends_with(&format!("/{relative}"))),
        "{found:?}"
    );
    let found = suffix(env.bundle().set(
        "/linux/cgroupsPath",
        json!(format!("/../../{}-up", env.tag)),
    ));
    assert!(
        found.iter().all(|path| *path == format!("/{}-up", env.tag)),
        "`..` does not lead out: {found:?}"
    );
    let found = suffix(&mut env.bundle());
    assert!(
        found.iter().all(|path| path.contains(&env.tag)),
        "without a path the id is its name: {found:?}"
    );
}

#[test]
fn every_hierarchy_is_joined_and_left() {
    let env = Env::new();
    let before = env.world();
    let mut bundle = env.bundle();
    bundle
        .set("/linux/cgroupsPath", json!(format!("/{}-all", env.tag)))
        .args(&["sleep", "100"]);
    let id = env.start(&bundle);
    let (paths, path) = (cgroup_paths(env.pid(&id)), format!("/{}-all", env.tag));
    assert!(
        paths.iter().all(|found| *found == path),
        "v1, name=systemd and v2 alike: {paths:?}"
    );
    env.orlop(&["delete", "-f", &id]).run().ok();
    env.as_before(&before, "delete");
}

#[test]
fn a_container_that_came_up_against_a_limit_says_so() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/linux/resources/pids", json!({"limit": 5}));
    bundle.set(
        "/linux/resources/memory",
        json!({"limit": 8_388_608, "swap": 8_388_608}),
    );
    bundle.sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=40; for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait");
    let id = env.create(&bundle);
    assert!(env.state(&id)["annotations"].is_null(), "it has not ended");
    env.orlop(&["start", &id]).run().ok();
    env.reaches(&id, "stopped");
    let annotations = env.state(&id)["annotations"].clone();
    let of = |name: &str| {
        let name = format!("io.github.orlop.limit.{name}");
        annotations[&name].as_str().must(&annotations).to_owned()
    };
    let memory = of("memory");
    assert!(
        memory.starts_with("limit=8388608 peak=8") && memory.contains(" killed="),
        "{memory}"
    );
    assert!(of("pids").starts_with("limit=5 ") && of("pids").contains("refused="));
    let done = env.orlop(&["delete", &id]).run().ok();
    for part in [
        "linux.resources.memory.limit: limit 8388608, peak 8",
        "linux.resources.pids.limit: limit 5",
    ] {
        assert!(done.stderr().contains(part), "{part}\n{done}");
    }
    bundle.args(&["true"]);
    let id = env.start(&bundle);
    env.reaches(&id, "stopped");
    assert!(
        env.state(&id)["annotations"].is_null(),
        "no limit was in its way"
    );
    assert_eq!(env.orlop(&["delete", &id]).run().ok().stderr(), "");
}

#[test]
fn limits_act() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/linux/resources/pids", json!({"limit": 5}))
        .sh("for i in 1 2 3 4 5 6 7 8; do sleep 5 & done 2>&1; true");
    let done = env.run(&bundle);
    assert!(
        (done.stdout() + &done.stderr()).contains("can't fork"),
        "five processes and no more\n{done}"
    );
    let mut bundle = env.bundle();
    bundle.set(
        "/linux/resources/memory",
        json!({"limit": 8_388_608, "swap": 8_388_608}),
    );
    bundle.sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=40; echo $?");
    let done = env.run(&bundle);
    assert!(
        !done.stdout().trim().ends_with('0') || done.rc == 137,
        "40 MB fit into 8\n{done}"
    );
}
