//! `process.scheduler`, `ioPriority`, `execCPUAffinity`, `linux.memoryPolicy` and `linux.personality`.

use crate::check;
use orlop_tests::{Bundle, Env, Must, skip, sys};
use serde_json::{Value, json};
use std::fs;

/// Nice value, real-time priority and policy of the shell (fields 19, 40 and 41 of proc_pid_stat(5)).
const SHOW: &str = "cut -d' ' -f19,40,41 /proc/$$/stat";

fn scheduler(value: Value) -> impl FnOnce(&mut Bundle) {
    move |bundle| {
        bundle.set("/process/scheduler", value);
    }
}

#[test]
fn policies_that_share_the_processor() {
    for (policy, nice, wanted) in [
        ("SCHED_OTHER", json!(5), "5 0 0"),
        ("SCHED_OTHER", json!(-20), "-20 0 0"),
        ("SCHED_BATCH", json!(19), "19 0 3"),
        ("SCHED_IDLE", Value::Null, "0 0 5"),
    ] {
        check(
            scheduler(json!({"policy": policy, "nice": nice})),
            SHOW,
            wanted,
        );
    }
}

#[test]
fn real_time_policies() {
    for (policy, wanted) in [("SCHED_FIFO", "0 7 1"), ("SCHED_RR", "0 7 2")] {
        let env = Env::new();
        let mut bundle = env.bundle();
        bundle.sh(SHOW).set(
            "/process/scheduler",
            json!({"policy": policy, "priority": 7}),
        );
        let done = env.run(&bundle);
        if done.rc == 0 {
            done.prints(wanted);
            continue;
        }
        done.refused(
            1,
            &[
                "process.scheduler",
                policy,
                "linux.resources.cpu.realtimeRuntime",
            ],
        );
        // The cgroup of the caller has such time where that of the container has none.
        bundle.write();
        env.orlop(&["--cgroup-manager", "disabled", "run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .run()
            .ok()
            .prints(wanted);
    }
}

#[test]
fn a_deadline() {
    let value = json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 20_000_000, "period": 30_000_000, "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]});
    check(scheduler(value.clone()), SHOW, "0 0 6");
    let env = Env::new();
    let mut bundle = env.bundle();
    scheduler(value)(bundle.args(&["sleep", "100"]));
    let id = env.start(&bundle);
    let found = sys::deadline(env.pid(&id)).must("the deadline");
    assert_eq!(found, [1_000_000, 20_000_000, 30_000_000]);
}

#[test]
fn flags_of_a_policy() {
    // A child of the shell does not inherit a nice value below zero.
    let value = json!({"policy": "SCHED_BATCH", "nice": -3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    check(
        scheduler(value),
        "cut -d' ' -f19,41 /proc/$$/stat; cut -d' ' -f19,41 /proc/self/stat; true",
        "-3 3\n0 3",
    );
}

#[test]
fn a_policy_reaches_into_a_user_namespace() {
    check(
        |b| {
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
            b.namespace("user", None)
                .set("/linux/uidMappings", map.clone())
                .set("/linux/gidMappings", map)
                .set(
                    "/process/scheduler",
                    json!({"policy": "SCHED_BATCH", "nice": -5}),
                )
                .set(
                    "/process/ioPriority",
                    json!({"class": "IOPRIO_CLASS_RT", "priority": 1}),
                );
        },
        &format!("{SHOW}; busybox ionice"),
        "-5 0 3\nrealtime: prio 1",
    );
}

#[test]
fn disk_priority() {
    for (class, level, wanted) in [
        ("IOPRIO_CLASS_RT", 3, "realtime: prio 3"),
        ("IOPRIO_CLASS_BE", 7, "best-effort: prio 7"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        check(
            |b| {
                b.set(
                    "/process/ioPriority",
                    json!({"class": class, "priority": level}),
                );
            },
            "busybox ionice",
            wanted,
        );
    }
}

#[test]
fn a_filter_or_a_user_without_privileges_does_not_hinder() {
    check(
        |b| {
            let names = [
                "sched_setattr",
                "ioprio_set",
                "set_mempolicy",
                "personality",
                "sched_setaffinity",
            ];
            let rule = json!({"names": names, "action": "SCMP_ACT_KILL_PROCESS"});
            b.set(
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}),
            )
            .set("/process/user", json!({"uid": 1000, "gid": 1000}))
            .set("/process/capabilities", json!({}))
            .set(
                "/process/scheduler",
                json!({"policy": "SCHED_OTHER", "nice": -2}),
            )
            .set(
                "/process/ioPriority",
                json!({"class": "IOPRIO_CLASS_RT", "priority": 2}),
            )
            .set(
                "/linux/memoryPolicy",
                json!({"mode": "MPOL_BIND", "nodes": "0"}),
            )
            .set("/linux/personality", json!({"domain": "LINUX32"}));
        },
        &format!(
            "{SHOW}; busybox ionice; uname -m; grep -c bind:0 /proc/self/numa_maps | grep -v '^0$' >/dev/null && echo bound"
        ),
        "-2 0 0\nrealtime: prio 2\ni686\nbound",
    );
}

#[test]
fn memory_policy() {
    for (value, wanted) in [
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "bind=static:0",
        ),
        (
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
            "bind=balancing:0",
        ),
        (
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-0", "flags": ["MPOL_F_RELATIVE_NODES"]}),
            "interleave=relative:0",
        ),
        (
            json!({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}),
            "weighted interleave:0",
        ),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer:0"),
        (
            json!({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}),
            "prefer (many):0",
        ),
        (json!({"mode": "MPOL_PREFERRED"}), "local"),
        (json!({"mode": "MPOL_LOCAL", "nodes": ""}), "local"),
        (json!({"mode": "MPOL_DEFAULT"}), "default"),
    ] {
        let weights = "/sys/kernel/mm/mempolicy/weighted_interleave";
        if wanted.starts_with("weighted") && !std::path::Path::new(weights).exists() {
            skip("MPOL_WEIGHTED_INTERLEAVE", "it came with Linux 6.9");
            continue;
        }
        check(
            |b| {
                b.set("/linux/memoryPolicy", value);
            },
            "sed -n '/stack/s/^[0-9a-f]* \\(.*\\) stack.*/\\1/p' /proc/self/numa_maps",
            wanted,
        );
    }
}

#[test]
fn personality() {
    let (native, other) = (fs::read_to_string("/proc/sys/kernel/arch"), "i686");
    let native = native.unwrap_or_else(|_| "x86_64".into());
    for (domain, wanted) in [("LINUX", native.trim()), ("LINUX32", other)] {
        check(
            |b| {
                b.set("/linux/personality", json!({"domain": domain, "flags": []}));
            },
            "uname -m",
            wanted,
        );
    }
}

/// A container with everything, in which the tests of `exec` look around.
fn all(env: &Env) -> String {
    let mut bundle = env.bundle();
    bundle
        .args(&["sleep", "1000"])
        .set(
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 4}),
        )
        .set(
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
        )
        .set(
            "/process/execCPUAffinity",
            json!({"initial": "0", "final": "1"}),
        )
        .set(
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0"}),
        )
        .set("/linux/personality", json!({"domain": "LINUX32"}));
    env.start(&bundle)
}

const LOOK: &str = "cut -d' ' -f19,41 /proc/$$/stat; busybox ionice; uname -m; sed -n '/stack/s/^[0-9a-f]* \\(.*\\) stack.*/\\1/p' /proc/self/numa_maps; grep Cpus_allowed_list /proc/self/status | cut -f2";

/// Whether there are two processors to choose from.
fn two_processors() -> bool {
    let own = fs::read_to_string("/proc/self/status").must("own status");
    let list = own
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"))
        .must("a list");
    if list.contains("0-") {
        return true;
    }
    skip("execCPUAffinity", "this machine has one processor");
    false
}

#[test]
fn exec_takes_over_what_the_container_has() {
    if !two_processors() {
        return;
    }
    let env = Env::new();
    let id = all(&env);
    let wanted = "4 3\nbest-effort: prio 6\ni686\nbind:0\n1";
    env.exec(&id, &["sh", "-c", LOOK]).ok().prints(wanted);
    let process = json!({"args": ["sh", "-c", LOOK], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}});
    let file = env.dir.join("process.json");
    fs::write(&file, process.to_string()).must("process.json");
    let run = || env.orlop(&["exec", "--process"]).arg(&file).arg(&id).run();
    run().ok().prints(wanted);
    // What the file says counts; what belongs to the container as a whole stays.
    let mut process = process;
    process["scheduler"] =
        json!({"policy": "SCHED_OTHER", "nice": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE"});
    process["execCPUAffinity"] = json!({"final": "0-1", "initial": ""});
    fs::write(&file, process.to_string()).must("process.json");
    run().ok().prints("7 0\nidle\ni686\nbind:0\n0-1");
}

#[test]
fn the_first_process_has_no_affinity_of_its_own() {
    if !two_processors() {
        return;
    }
    let env = Env::new();
    let id = all(&env);
    let status = fs::read_to_string(format!("/proc/{}/status", env.pid(&id))).must("status");
    assert!(status.contains("Cpus_allowed_list:\t0-1\n"), "{status}");
}

#[test]
fn the_initial_affinity_lasts_until_a_cpuset_says_otherwise() {
    if !two_processors() {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let look = [
        "sh",
        "-c",
        "grep Cpus_allowed_list /proc/self/status | cut -f2",
    ];
    let process = |affinity: Value| {
        let process = json!({"args": look, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, "execCPUAffinity": affinity});
        let file = env.dir.join("process.json");
        fs::write(&file, process.to_string()).must("process.json");
        env.orlop(&["exec", "--process"]).arg(&file).arg(&id).run()
    };
    process(json!({"initial": "0", "final": "0-1"}))
        .ok()
        .prints("0-1");
    process(json!({"initial": "5000"})).refused(255, &["process.execCPUAffinity.initial", "5000"]);
    process(json!({"final": "5000"})).refused(255, &["process.execCPUAffinity.final", "5000"]);
    process(json!({"final": "1,x"})).refused(255, &["execCPUAffinity.final"]);
    // Where no cgroup is joined nothing but the list decides.
    let id = env.id();
    bundle.write();
    let disabled = [
        "--cgroup-manager",
        "disabled",
        "run",
        "--detach",
        "--bundle",
    ];
    env.orlop(&disabled).arg(&bundle.dir).arg(&id).run().ok();
    let file = env.dir.join("process.json");
    let process = json!({"args": look, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, "execCPUAffinity": {"initial": "1"}});
    fs::write(&file, process.to_string()).must("process.json");
    env.orlop(&["exec", "--process"])
        .arg(&file)
        .arg(&id)
        .run()
        .ok()
        .prints("1");
}
