//! `linux.cgroupsPath` and `linux.resources`, read on the host.

use orlop_tests::{Bundle, Env, Must, cgroup_of, skip, sys};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// The paths in `/proc/PID/cgroup` of those hierarchies that are mounted here; a hierarchy may be mounted only elsewhere.
fn paths(table: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
    let mounted = |names: &str| {
        mounts
            .lines()
            .filter_map(|line| line.split_once(" - "))
            .any(|(_, kind)| match names {
                "" => kind.starts_with("cgroup2 "),
                names => {
                    kind.starts_with("cgroup ")
                        && names
                            .split(',')
                            .all(|name| kind.split([' ', ',']).any(|word| word == name))
                }
            })
    };
    let split = table
        .lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'));
    split
        .filter(|(names, _)| mounted(names))
        .map(|(_, path)| path.to_owned())
        .collect()
}

/// Starts a container with these resources and demands what `file` of `controller` holds.
#[track_caller]
fn check(resources: Value, controller: &str, file: &str, wanted: &str) {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    for (key, value) in resources.as_object().must("an object") {
        bundle.set(&format!("/linux/resources/{key}"), value.clone());
    }
    let id = env.create(&bundle);
    let Some(dir) = cgroup_of(env.pid(&id), controller) else {
        return skip(
            &resources.to_string(),
            &format!("no hierarchy with {controller} here"),
        );
    };
    if !dir.join(file).exists() {
        return skip(
            &resources.to_string(),
            &format!("this kernel has no {file}"),
        );
    }
    let text = fs::read_to_string(dir.join(file)).must(file);
    let found = text.trim() == wanted || text.lines().any(|line| line.trim() == wanted);
    assert!(found, "{resources}: {file} is {text:?}, wanted {wanted:?}");
}

#[test]
fn memory() {
    check(
        json!({"memory": {"limit": 33_554_432}}),
        "memory",
        "memory.limit_in_bytes",
        "33554432",
    );
    check(
        json!({"memory": {"reservation": 16_777_216}}),
        "memory",
        "memory.soft_limit_in_bytes",
        "16777216",
    );
    check(
        json!({"memory": {"limit": 33_554_432, "swap": 67_108_864}}),
        "memory",
        "memory.memsw.limit_in_bytes",
        "67108864",
    );
    check(
        json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}}),
        "memory",
        "memory.memsw.limit_in_bytes",
        "33554432",
    );
    check(
        json!({"memory": {"swappiness": 17}}),
        "memory",
        "memory.swappiness",
        "17",
    );
    check(
        json!({"memory": {"disableOOMKiller": true}}),
        "memory",
        "memory.oom_control",
        "oom_kill_disable 1",
    );
    check(
        json!({"memory": {"kernelTCP": 8_388_608}}),
        "memory",
        "memory.kmem.tcp.limit_in_bytes",
        "8388608",
    );
    check(
        json!({"memory": {"useHierarchy": true}}),
        "memory",
        "memory.use_hierarchy",
        "1",
    );
    check(
        json!({"memory": {"limit": -1}}),
        "memory",
        "memory.limit_in_bytes",
        "9223372036854771712",
    );
    check(
        json!({"memory": {"limit": 33_554_432, "kernel": 16_777_216}}),
        "memory",
        "memory.limit_in_bytes",
        "33554432",
    );
}

#[test]
fn cpu() {
    check(json!({"cpu": {"shares": 333}}), "cpu", "cpu.shares", "333");
    check(
        json!({"cpu": {"quota": 25_000, "period": 50_000}}),
        "cpu",
        "cpu.cfs_quota_us",
        "25000",
    );
    check(
        json!({"cpu": {"quota": 25_000, "period": 50_000}}),
        "cpu",
        "cpu.cfs_period_us",
        "50000",
    );
    check(
        json!({"cpu": {"quota": 2_000_000, "period": 1_000_000}}),
        "cpu",
        "cpu.cfs_period_us",
        "1000000",
    );
    check(
        json!({"cpu": {"quota": -1}}),
        "cpu",
        "cpu.cfs_quota_us",
        "-1",
    );
    check(
        json!({"cpu": {"quota": 25_000, "period": 50_000, "burst": 10_000}}),
        "cpu",
        "cpu.cfs_burst_us",
        "10000",
    );
    check(json!({"cpu": {"idle": 1}}), "cpu", "cpu.idle", "1");
    check(
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        "cpuset",
        "cpuset.cpus",
        "0",
    );
    check(
        json!({"cpu": {"cpus": "0", "mems": "0"}}),
        "cpuset",
        "cpuset.mems",
        "0",
    );
    let all = fs::read_to_string("/sys/fs/cgroup/cpuset/cpuset.cpus").unwrap_or_default();
    check(json!({}), "cpuset", "cpuset.cpus", all.trim());
}

#[test]
fn processes() {
    check(json!({"pids": {"limit": 44}}), "pids", "pids.max", "44");
    check(json!({"pids": {"limit": -1}}), "pids", "pids.max", "max");
    check(json!({"pids": {"limit": 0}}), "pids", "pids.max", "max");
}

#[test]
fn block_devices() {
    let table = fs::read_dir("/sys/block").must("/sys/block").flatten();
    let number = |name: String| fs::read_to_string(format!("/sys/block/{name}/dev")).ok();
    let Some(device) = table
        .filter_map(|entry| number(entry.file_name().to_string_lossy().into_owned()))
        .next()
    else {
        return skip("blockIO", "this machine has no block device");
    };
    let (major, minor) = device.trim().split_once(':').must("major:minor");
    let (major, minor): (u32, u32) = (major.parse().must("major"), minor.parse().must("minor"));
    for (field, file) in [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
        (
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
        ),
    ] {
        let value = json!([{"major": major, "minor": minor, "rate": 123_456}]);
        check(
            json!({"blockIO": {field: value}}),
            "blkio",
            file,
            &format!("{major}:{minor} 123456"),
        );
    }
    check(json!({"blockIO": {"weight": 0}}), "pids", "pids.max", "max");
}

#[test]
fn weights_of_block_devices() {
    let file = ["blkio.weight", "blkio.bfq.weight"]
        .into_iter()
        .find(|file| PathBuf::from("/sys/fs/cgroup/blkio").join(file).exists());
    match file {
        Some(file) => check(json!({"blockIO": {"weight": 321}}), "blkio", file, "321"),
        None => skip(
            "blockIO.weight",
            "this kernel has neither blkio.weight nor blkio.bfq.weight",
        ),
    }
}

#[test]
fn huge_pages() {
    let limit = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]});
    let on_v2 = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers")
        .unwrap_or_default()
        .contains("hugetlb");
    let on_v1 = fs::read_to_string("/proc/thread-self/mountinfo")
        .must("mountinfo")
        .lines()
        .any(|line| line.ends_with(",hugetlb"));
    match (on_v1, on_v2) {
        (true, _) => check(limit, "hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304"),
        (_, true) => check(limit, "", "hugetlb.2MB.max", "4194304"),
        _ => skip(
            "hugepageLimits",
            "hugetlb is on no hierarchy that is mounted here",
        ),
    }
}

#[test]
fn unified_is_set_in_the_v2_part() {
    check(
        json!({"unified": {"cgroup.max.descendants": "7"}}),
        "",
        "cgroup.max.descendants",
        "7",
    );
}

#[test]
fn network() {
    let env = Env::new();
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
fn device_rules_keep_their_order() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .capabilities(&["CAP_MKNOD"])
        .set("/root/readonly", json!(false));
    bundle.set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": true, "type": "b", "major": 7, "access": "m"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
            {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "w"},
        ]),
    );
    bundle.sh("mknod /tmp/loop b 7 0 && echo loop; mknod /tmp/other b 9 0 && cat /tmp/other 2>&1; mknod /tmp/kmsg c 1 11 && echo kmsg; (echo x > /tmp/kmsg) 2>&1; echo x > /dev/null; exec sleep 100");
    bundle.write();
    let id = env.id();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    running.expect("loop\ncat: can't open '/tmp/other': Operation not permitted\nkmsg\nsh: can't create /tmp/kmsg: Operation not permitted\n");
    let list = fs::read_to_string(
        cgroup_of(env.pid(&id), "devices")
            .must("devices")
            .join("devices.list"),
    )
    .must("devices.list");
    for wanted in [
        "c 10:229 rw",
        "b 7:* m",
        "c 1:11 rm",
        "c 1:3 rwm",
        "c 136:* rwm",
    ] {
        assert!(
            list.lines().any(|line| line == wanted),
            "{wanted} is missing:\n{list}"
        );
    }
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}

#[test]
fn everything_is_allowed_where_the_rule_says_so() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set(
            "/linux/resources/devices",
            json!([{"allow": true, "access": "rwm"}]),
        )
        .args(&["sleep", "100"]);
    let id = env.create(&bundle);
    let list = fs::read_to_string(
        cgroup_of(env.pid(&id), "devices")
            .must("devices")
            .join("devices.list"),
    )
    .must("devices.list");
    assert_eq!(list.trim(), "a *:* rwm");
}

#[test]
fn the_path() {
    let env = Env::new();
    let suffix = |bundle: &mut Bundle| -> Vec<String> {
        bundle.args(&["sleep", "100"]);
        let id = env.create(bundle);
        let table =
            fs::read_to_string(format!("/proc/{}/cgroup", env.pid(&id))).must("the cgroups");
        env.orlop(&["delete", &id]).run().ok();
        paths(&table)
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
    let table = fs::read_to_string(format!("/proc/{}/cgroup", env.pid(&id))).must("the cgroups");
    let path = format!("/{}-all", env.tag);
    assert!(
        paths(&table).iter().all(|found| *found == path),
        "v1, name=systemd and v2 alike:\n{table}"
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
