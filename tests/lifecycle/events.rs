//! `events`: what a container uses, in the form that readers of runc's events parse.

use orlop_tests::{Bundle, Env, Must, cgroup_of, skip};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Uses processor, memory and a disk, says so, and waits.
const BUSY: &str = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
    dd if=/dev/zero of=/tmp/x bs=1M count=8 2>/dev/null; x=$(head -c 9000000 /dev/zero | tr '\\0' x); echo busy; \
    while [ ! -e /tmp/end ]; do sleep 0.05; done";

fn busy(env: &Env) -> Bundle {
    let mut bundle = env.bundle();
    bundle.sh(BUSY).set("/root/readonly", json!(false));
    bundle.set("/linux/resources/pids", json!({"limit": 50}));
    bundle.set("/linux/resources/memory", json!({"limit": 134_217_728}));
    bundle.set(
        "/linux/resources/cpu",
        json!({"quota": 90_000, "period": 100_000}),
    );
    bundle.write();
    bundle
}

/// Runs a container in the background until it has been busy.
fn start(env: &Env, bundle: &Bundle) -> (String, orlop_tests::Running) {
    let id = env.id();
    let command = env.orlop(&["run", "--bundle"]).arg(&bundle.dir).arg(&id);
    let running = command.spawn();
    running.expect("busy");
    (id, running)
}

/// Lets a busy container end: from outside, since it takes with it what is executed in it.
fn end(bundle: &Bundle) {
    fs::write(bundle.rootfs().join("tmp/end"), "").must("tmp/end");
}

#[test]
fn stats_are_what_the_container_uses() {
    let env = Env::new();
    let bundle = busy(&env);
    let (id, running) = start(&env, &bundle);
    let done = env.orlop(&["events", "--stats", &id]).run().ok();
    assert_eq!(done.stdout().lines().count(), 1, "{done}");
    let event = done.json();
    assert_eq!(
        (&event["type"], &event["id"]),
        (&json!("stats"), &json!(id))
    );
    let at = |pointer: &str| {
        event["data"]
            .pointer(pointer)
            .and_then(Value::as_u64)
            .must(pointer)
    };
    assert!(at("/cpu/usage/total") > 1_000_000, "nanoseconds: {event}");
    assert!(
        at("/cpu/usage/user") + at("/cpu/usage/kernel") > 0,
        "{event}"
    );
    assert!(
        (9_000_000..134_217_728).contains(&at("/memory/usage/usage")),
        "{event}"
    );
    assert!(
        at("/memory/usage/max") >= at("/memory/usage/usage"),
        "{event}"
    );
    assert_eq!(at("/memory/usage/limit"), 134_217_728);
    assert!(at("/memory/cache") > 1_000_000, "the file: {event}");
    assert_eq!(at("/pids/limit"), 50);
    assert!((1..=3).contains(&at("/pids/current")), "{event}");
    assert!(
        !event["data"]["memory"]["raw"]
            .as_object()
            .must("memory.stat")
            .is_empty()
    );
    assert!(
        !event["data"]["cpuset"]["cpus"]
            .as_array()
            .must("processors")
            .is_empty()
    );
    end(&bundle);
    running.wait().ok();
}

#[test]
fn disks_and_pressure_are_counted() {
    let env = Env::new();
    let disk = fs::metadata(&env.dir).must("the directory").dev();
    let (major, minor) = (libc::major(disk), libc::minor(disk));
    let mut bundle = busy(&env);
    let script = "dd if=/dev/zero of=/tmp/y bs=4k count=16 oflag=direct 2>/dev/null; ";
    bundle.sh(&format!("{script}{BUSY}"));
    // Version 1 counts, since Linux 6.10, what goes to a disk with a limit.
    if Path::new(&format!("/sys/dev/block/{major}:{minor}/queue")).exists() {
        let limit = json!([{"major": major, "minor": minor, "rate": 1_000_000_000}]);
        bundle.set("/linux/resources/blockIO/throttleWriteBpsDevice", limit);
    }
    bundle.write();
    let (id, running) = start(&env, &bundle);
    let event = env.orlop(&["events", "--stats", &id]).run().ok().json();
    let data = &event["data"];
    let cgroup = |controller: &str, file: &str| {
        let dir = cgroup_of(env.pid(&id), controller)?;
        fs::read_to_string(dir.join(file)).ok()
    };
    let counted = |text: String| text.contains(&format!("{major}:{minor} "));
    let files = [
        ("blkio", "blkio.throttle.io_serviced_recursive"),
        ("", "io.stat"),
    ];
    if files
        .into_iter()
        .filter_map(|(controller, file)| cgroup(controller, file))
        .any(counted)
    {
        for list in ["ioServicedRecursive", "ioServiceBytesRecursive"] {
            let rows = data["blkio"][list].as_array().must(list);
            let written = rows.iter().any(|row| {
                let number = |key: &str| row[key].as_u64().unwrap_or_default();
                (number("major"), number("minor")) == (u64::from(major), u64::from(minor))
                    && row["op"] == "Write"
                    && number("value") >= 16
            });
            assert!(written, "{list}: {event}");
        }
    } else {
        skip("blkio", "this kernel does not count what goes to this disk");
    }
    // As in runc, which knows only of networks that it made itself.
    assert_eq!(data.get("network_interfaces"), Some(&Value::Null));
    // Beside v1 hierarchies the v2 mount has the pressure.
    for (controller, file) in [
        ("cpu", "cpu.pressure"),
        ("memory", "memory.pressure"),
        ("blkio", "io.pressure"),
    ] {
        match cgroup("", file) {
            Some(_) => assert!(
                data[controller]["psi"]["some"]["avg10"].is_number(),
                "{event}"
            ),
            None => skip(file, "this kernel counts no pressure"),
        }
    }
    end(&bundle);
    running.wait().ok();
}

/// Collects the paths of all values, those of a list under one name, with their types.
fn shape(value: &Value, path: &str, into: &mut Vec<(String, &'static str)>) {
    let kind = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(list) => {
            list.iter()
                .for_each(|value| shape(value, &format!("{path}[]"), into));
            "list"
        }
        Value::Object(object) => {
            object
                .iter()
                .for_each(|(key, value)| shape(value, &format!("{path}.{key}"), into));
            "object"
        }
    };
    into.push((path.to_owned(), kind));
}

#[test]
fn the_form_is_runcs() {
    let runc = Path::new("/usr/sbin/runc");
    if !runc.exists() {
        return skip("events", "runc is not installed");
    }
    let env = Env::new();
    let mut bundle = busy(&env);
    // Where the container shares the host's cgroup namespace, runc mounts cgroup v2 in a way that takes the host's mount its options.
    bundle.namespace("cgroup", None).write();
    let (id, running) = start(&env, &bundle);
    let ours = env.orlop(&["events", "--stats", &id]).run().ok().json();
    let root = env.dir.join("runc");
    let other = env.id();
    let command = |args: &[&str]| env.cmd(runc).arg("--root").arg(&root).args(args);
    fs::remove_file(bundle.rootfs().join("tmp/end")).unwrap_or_default();
    let started = command(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&other)
        .spawn();
    started.expect("busy");
    let theirs = command(&["events", "--stats", &other]).run();
    end(&bundle);
    running.wait().ok();
    started.wait();
    command(&["delete", "--force", &other]).run();
    let theirs = theirs.ok().json();
    let (mut have, mut wanted) = (Vec::new(), Vec::new());
    shape(&ours, "", &mut have);
    shape(&theirs, "", &mut wanted);
    // A zero is left out, and whether these are zero differs from run to run.
    let may_be_zero = [
        "throttle",
        "blkio",
        "current",
        ".cache",
        "network_interfaces",
    ];
    let missing: Vec<_> = wanted
        .iter()
        .filter(|entry| {
            !have.contains(entry) && !may_be_zero.iter().any(|part| entry.0.contains(part))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "runc has, and orlop lacks: {missing:?}\n{ours}\n{theirs}"
    );
    for name in ["limit", "swap", "kernelTCP"] {
        assert_eq!(
            ours["data"]["memory"][name]["limit"], theirs["data"]["memory"][name]["limit"],
            "{name}"
        );
    }
    assert_eq!(
        ours["data"]["pids"]["limit"],
        theirs["data"]["pids"]["limit"]
    );
    // On cgroup v2 runc leaves out which processors and nodes there are.
    for (name, value) in theirs["data"]["cpuset"].as_object().must("cpuset") {
        assert_eq!(ours["data"]["cpuset"][name], *value, "{name}");
    }
}

#[test]
fn lines_come_until_the_container_ends() {
    let env = Env::new();
    let bundle = busy(&env);
    let (id, running) = start(&env, &bundle);
    let events = env.orlop(&["events", "--interval=50ms", &id]).spawn();
    events.expect("}\n{");
    end(&bundle);
    running.wait().ok();
    let done = events.wait().ok();
    for line in done.stdout().lines() {
        let event: Value = serde_json::from_str(line).must(line);
        assert_eq!(event["type"], "stats");
    }
    let bundle = busy(&env);
    let (id, running) = start(&env, &bundle);
    let quiet = env.orlop(&["events", "--interval", "1h", &id]).spawn();
    end(&bundle);
    running.wait().ok();
    quiet.wait().ok().prints("");
}

#[test]
fn the_end_of_memory_is_told() {
    let env = Env::new();
    let mut bundle = env.bundle();
    let script = "while [ ! -e /tmp/go ]; do sleep 0.02; done; (head -c 90000000 /dev/zero | tail) ; while [ ! -e /tmp/end ]; do sleep 0.02; done";
    bundle.sh(script).set("/root/readonly", json!(false));
    bundle.set(
        "/linux/resources/memory",
        json!({"limit": 16_777_216, "swap": 16_777_216}),
    );
    let id = env.start(&bundle);
    let events = env.orlop(&["events", "--interval=1h", &id]).spawn();
    // A listener that has begun is seen by its descriptor. What $ORLOP names may have started the runtime as a child.
    let children = format!("/proc/{0}/task/{0}/children", events.pid());
    orlop_tests::until("the listener", || {
        let child = fs::read_to_string(&children).unwrap_or_default();
        let pids = [events.pid().to_string(), child];
        let dirs = pids.map(|pid| fs::read_dir(format!("/proc/{}/fd", pid.trim())));
        let mut fds = dirs.into_iter().flatten().flatten().flatten();
        let listens = |fd: fs::DirEntry| {
            let name = fs::read_link(fd.path()).unwrap_or_default();
            let name = name.to_string_lossy();
            name.contains("eventfd") || name.ends_with("memory.events")
        };
        fds.any(listens).then_some(())
    });
    fs::write(bundle.rootfs().join("tmp/go"), "").must("go");
    events.expect(&format!("{{\"type\":\"oom\",\"id\":\"{id}\"}}\n"));
    fs::write(bundle.rootfs().join("tmp/end"), "").must("end");
    events.wait().ok();
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let env = Env::new();
    let mut bundle = env.bundle();
    let id = env.start(bundle.args(&["true"]));
    env.reaches(&id, "stopped");
    let refused = |args: &[&str], text: &str| {
        env.orlop(&["events"]).args(args).run().refused(1, &[text]);
    };
    refused(
        &["--stats", &id],
        &format!("container with id {id} is not running"),
    );
    refused(&[&id], "is not running");
    refused(&["nosuch"], "container does not exist");
    refused(
        &["--interval", "0", &id],
        "duration interval must be greater than 0",
    );
    refused(&["--interval", "5", &id], "\"5\" is not a duration");
}
