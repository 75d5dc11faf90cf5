//! `linux.resources.devices`: what can be opened, on either version of cgroups.

use orlop_tests::{Env, Must, cgroup_of};
use serde_json::json;
use std::fs;

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
    bundle.sh("mknod /tmp/loop b 7 0 && echo loop; mknod /tmp/other b 9 0 && cat /tmp/other 2>&1; mknod /tmp/kmsg c 1 11 && echo kmsg; (echo x > /tmp/kmsg) 2>&1; mknod /tmp/block b 10 229 && cat /tmp/block 2>&1; echo x > /dev/null; exec sleep 100");
    let (id, running) = env.spawn(&bundle);
    running.expect("loop\ncat: can't open '/tmp/other': Operation not permitted\nkmsg\nsh: can't create /tmp/kmsg: Operation not permitted\ncat: can't open '/tmp/block': Operation not permitted\n");
    if let Some(dir) = cgroup_of(env.pid(&id), "devices") {
        let list = fs::read_to_string(dir.join("devices.list")).must("devices.list");
        for wanted in [
            "c 10:229 rw",
            "b 7:* m",
            "c 1:11 rm",
            "c 1:3 rwm",
            "c 136:* rwm",
        ] {
            let found = list.lines().any(|line| line == wanted);
            assert!(found, "{wanted} is missing:\n{list}");
        }
    }
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}

#[test]
fn everything_is_allowed_where_the_rule_says_so() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .capabilities(&["CAP_MKNOD"])
        .set("/root/readonly", json!(false))
        .set(
            "/linux/resources/devices",
            json!([{"allow": true, "access": "rwm"}]),
        )
        .sh("mknod /tmp/kmsg c 1 11 && true > /tmp/kmsg && echo open");
    env.run(&bundle).prints("open\n");
    bundle.args(&["sleep", "100"]);
    let id = env.create(&bundle);
    if let Some(dir) = cgroup_of(env.pid(&id), "devices") {
        let list = fs::read_to_string(dir.join("devices.list")).must("devices.list");
        assert_eq!(list.trim(), "a *:* rwm");
    }
}
