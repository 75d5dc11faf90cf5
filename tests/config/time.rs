//! `linux.timeOffsets`: the clocks of a container, of what is executed in it later, and of nobody else.

use crate::user_namespace;
use orlop_tests::{Bundle, Env, Must};
use serde_json::{Value, json};
use std::fs;

/// Later than any machine has run.
const AHEAD: u64 = 1_000_000_000;

fn clocks(bundle: &mut Bundle) -> &mut Bundle {
    bundle.namespace("time", None).set(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 86400, "nanosecs": 7}, "boottime": {"secs": AHEAD}}),
    )
}

/// What the kernel shows of them.
const SHOWN: &str = "monotonic 86400 7\nboottime 1000000000 0\n";

fn shown(text: &str) -> String {
    let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n";
    text.lines().map(line).collect()
}

fn uptime(text: &str) -> u64 {
    let whole = text.split('.').next().must("seconds");
    whole.parse().must(text)
}

#[test]
fn clocks_are_set_for_the_container_and_for_exec() {
    let env = Env::new();
    let mut bundle = env.bundle();
    clocks(&mut bundle).sh("cat /proc/self/timens_offsets /proc/uptime; exec sleep 100");
    let (id, running) = env.spawn(&bundle);
    running.expect(".");
    let text = running.stdout();
    let (offsets, rest) = text.split_at(text.rfind("boottime").must("boottime"));
    let (boottime, seconds) = rest.split_once('\n').must("two lines");
    assert_eq!(shown(&format!("{offsets}{boottime}")), SHOWN);
    assert!(uptime(seconds) >= AHEAD, "{text}");

    let text = env.exec(&id, &["cat", "/proc/uptime"]).ok().stdout();
    assert!(uptime(&text) >= AHEAD, "exec: {text}");
    let text = env
        .exec(&id, &["cat", "/proc/self/timens_offsets"])
        .stdout();
    assert_eq!(shown(&text), SHOWN, "exec");
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();

    let text = fs::read_to_string("/proc/uptime").must("uptime");
    assert!(uptime(&text) < AHEAD, "the host's clock is its own: {text}");
}

#[test]
fn a_created_container_is_in_its_time_already() {
    let env = Env::new();
    let mut bundle = env.bundle();
    clocks(&mut bundle).args(&["true"]);
    let id = env.create(&bundle);
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/time")).must("a time namespace");
    assert_ne!(of(&env.pid(&id).to_string()), of("self"));
    let text = env.exec(&id, &["cat", "/proc/uptime"]).ok().stdout();
    assert!(uptime(&text) >= AHEAD, "{text}");
}

#[test]
fn clocks_are_set_in_a_user_namespace_and_beside_joined_ones() {
    let env = Env::new();
    let script = "cat /proc/self/timens_offsets";
    let mut bundle = env.bundle();
    user_namespace(&mut bundle);
    clocks(&mut bundle).sh(script);
    assert_eq!(shown(&env.run(&bundle).ok().stdout()), SHOWN, "new");

    let mut holder = env.bundle();
    user_namespace(&mut holder);
    holder.args(&["sleep", "1000"]);
    let pid = env.pid(&env.start(&holder));
    let mut bundle = env.bundle();
    clocks(&mut bundle).sh(script);
    for (kind, file) in [("user", "user"), ("pid", "pid"), ("network", "net")] {
        bundle.namespace(kind, Some(&format!("/proc/{pid}/ns/{file}")));
    }
    assert_eq!(shown(&env.run(&bundle).ok().stdout()), SHOWN, "joined");
}

#[test]
fn hooks_find_the_clocks_set() {
    let env = Env::new();
    for kind in ["createRuntime", "createContainer"] {
        let mut bundle = env.bundle();
        let log = bundle.dir.join("log");
        let script = match kind {
            "createRuntime" => {
                "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); cat /proc/$pid/timens_offsets"
            }
            _ => "cat /proc/self/timens_offsets",
        };
        let script = format!("{script} > {}", log.display());
        clocks(&mut bundle).args(&["true"]).set(
            &format!("/hooks/{kind}"),
            json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]),
        );
        env.run(&bundle).ok();
        let text = fs::read_to_string(&log).must("the hook's output");
        assert_eq!(shown(&text), SHOWN, "{kind}");
    }
}

#[test]
fn clocks_may_go_back_and_absent_parts_are_zero() {
    let env = Env::new();
    let check = |offsets: Value, wanted: &str| {
        let mut bundle = env.bundle();
        bundle
            .namespace("time", None)
            .set("/linux/timeOffsets", offsets.clone())
            .sh("cat /proc/self/timens_offsets");
        let text = env.run(&bundle).ok().stdout();
        assert_eq!(shown(&text), wanted, "{offsets}");
    };
    check(
        json!({"boottime": {"secs": -1, "nanosecs": 999_999_999}}),
        "monotonic 0 0\nboottime -1 999999999\n",
    );
    check(
        json!({"monotonic": {"nanosecs": 5}}),
        "monotonic 0 5\nboottime 0 0\n",
    );
    check(json!({"monotonic": {}}), "monotonic 0 0\nboottime 0 0\n");
}
