//! `linux.namespaces`, the id mappings, names and sysctl.

use crate::{check, user_namespace};
use orlop_tests::{Env, Must};
use serde_json::json;
use std::fs;

const KINDS: [(&str, &str); 7] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("mount", "mnt"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn of(pid: &str, ns: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{ns}"))
        .must(ns)
        .display()
        .to_string()
}

#[test]
fn new_ones_differ_from_the_hosts() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set(
            "/linux/namespaces",
            json!(KINDS.map(|(kind, _)| json!({"type": kind}))),
        )
        .args(&["sleep", "100"]);
    let id = env.start(&bundle);
    let pid = env.pid(&id).to_string();
    for (kind, ns) in KINDS {
        assert_ne!(of(&pid, ns), of("thread-self", ns), "{kind}");
    }
    assert_eq!(of(&pid, "user"), of("self", "user"));
}

#[test]
fn absent_ones_are_the_hosts() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/linux/namespaces", json!([{"type": "mount"}]))
        .remove("/hostname")
        .args(&["sleep", "100"]);
    // A fresh sysfs needs a network namespace of the own user namespace; the host's will do, as root.
    let id = env.start(&bundle);
    let pid = env.pid(&id).to_string();
    for (kind, ns) in KINDS.iter().filter(|(kind, _)| *kind != "mount") {
        assert_eq!(of(&pid, ns), of("thread-self", ns), "{kind}");
    }
}

#[test]
fn joined_by_path() {
    let env = Env::new();
    let mut holder = env.bundle();
    holder
        .namespace("cgroup", None)
        .namespace("time", None)
        .args(&["sleep", "1000"])
        .set("/hostname", json!("holder"));
    let holder = env.pid(&env.start(&holder)).to_string();
    for (kind, ns) in KINDS {
        let mut bundle = env.bundle();
        bundle
            .namespace(kind, Some(&format!("/proc/{holder}/ns/{ns}")))
            .args(&["sleep", "1000"]);
        if kind == "uts" {
            bundle.remove("/hostname");
        }
        // What there is to be seen is in the bundle's root, which that of a container is not: see below.
        if kind == "mount" {
            continue;
        }
        let id = env.start(&bundle);
        assert_eq!(of(&env.pid(&id).to_string(), ns), of(&holder, ns), "{kind}");
        if kind == "uts" {
            env.exec(&id, &["hostname"]).ok().prints("holder");
        }
        if kind == "pid" {
            let text = env.exec(&id, &["cat", "/proc/1/cmdline"]).ok().stdout();
            assert_eq!(
                text, "sleep\u{0}1000\u{0}",
                "the /proc of the joined namespace"
            );
        }
        env.orlop(&["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn a_mount_namespace_is_joined_by_path() {
    let env = Env::new();
    let mut holder = env.cmd("unshare").args(["-m", "sleep", "1000"]).spawn();
    let pid = holder.pid().to_string();
    orlop_tests::until("a mount namespace", || {
        (of(&pid, "mnt") != of("thread-self", "mnt")).then_some(())
    });
    let wanted = of(&pid, "mnt");
    let mut bundle = env.bundle();
    bundle
        .namespace("mount", Some(&format!("/proc/{pid}/ns/mnt")))
        .args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    assert_eq!(of(&env.pid(&id).to_string(), "mnt"), wanted);
    env.orlop(&["delete", "--force", &id]).run().ok();
    holder.child.kill().must("kill the holder");
    holder.wait();
}

#[test]
fn the_name_of_a_joined_uts_namespace_can_be_set() {
    let env = Env::new();
    let mut holder = env.bundle();
    holder
        .args(&["sleep", "1000"])
        .set("/hostname", json!("before"));
    let holder_id = env.start(&holder);
    let mut bundle = env.bundle();
    bundle
        .namespace(
            "uts",
            Some(&format!("/proc/{}/ns/uts", env.pid(&holder_id))),
        )
        .args(&["true"])
        .set("/hostname", json!("after"));
    env.run(&bundle).ok();
    env.exec(&holder_id, &["hostname"]).ok().prints("after");
}

#[test]
fn names() {
    check(
        |b| {
            b.set("/hostname", json!("my.name"))
                .set("/domainname", json!("my.domain"));
        },
        "hostname; cat /proc/sys/kernel/domainname",
        "my.name\nmy.domain",
    );
    let own = fs::read_to_string("/proc/sys/kernel/hostname").must("hostname");
    check(
        |b| {
            b.remove("/hostname");
        },
        "hostname",
        &own,
    );
}

#[test]
fn sysctl() {
    let values = json!({"net.ipv4.ip_forward": "1", "kernel.shmmax": "123456789", "kernel.msgmax": "4096", "net/ipv4/ip_default_ttl": "33", "fs.mqueue.msg_max": "7"});
    let show = "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax kernel/msgmax net/ipv4/ip_default_ttl fs/mqueue/msg_max";
    check(
        |b| {
            b.set("/linux/sysctl", values);
        },
        show,
        "1\n123456789\n4096\n33\n7",
    );
}

#[test]
fn user_namespaces_map_ids() {
    let env = Env::new();
    let mut bundle = env.bundle();
    user_namespace(&mut bundle);
    bundle.set("/root/readonly", json!(false)).set(
        "/process/user",
        json!({"uid": 0, "gid": 0, "additionalGids": [5]}),
    );
    bundle.sh("id -u; id -G; echo $(cat /proc/self/uid_map) / $(cat /proc/self/gid_map); touch /new; echo x > /dev/null; stat -c %t:%T /dev/null; exec sleep 100");
    let id = env.id();
    bundle.write();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    running.expect("0\n0 5\n0 100000 65536 / 0 200000 65536\n1:3\n");
    let status = fs::read_to_string(format!("/proc/{}/status", env.pid(&id))).must("status");
    assert!(
        status.contains("Uid:\t100000\t") && status.contains("Gid:\t200000\t"),
        "{status}"
    );
    let meta = fs::metadata(bundle.rootfs().join("new")).must("the new file");
    assert_eq!(
        (
            std::os::unix::fs::MetadataExt::uid(&meta),
            std::os::unix::fs::MetadataExt::gid(&meta)
        ),
        (100_000, 200_000)
    );
    env.exec(&id, &["sh", "-c", "id -u; readlink /proc/self/ns/user"])
        .ok()
        .prints(&format!("0\n{}", of(&env.pid(&id).to_string(), "user")));
    env.orlop(&["exec", "-u", "7:8", &id, "id", "-u"])
        .run()
        .ok()
        .prints("7");
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}

#[test]
fn several_ranges() {
    let env = Env::new();
    let mut bundle = env.bundle();
    user_namespace(&mut bundle);
    let ranges = json!([{"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 10, "hostID": 5000, "size": 1}, {"containerID": 11, "hostID": 300_000, "size": 100}]);
    bundle
        .set("/linux/uidMappings", ranges)
        .set("/process/user/uid", json!(10))
        .sh("id -u; exec sleep 100");
    let id = env.start(&bundle);
    let status = fs::read_to_string(format!("/proc/{}/status", env.pid(&id))).must("status");
    assert!(status.contains("Uid:\t5000\t"), "{status}");
}

#[test]
fn a_user_namespace_is_joined_by_path_with_its_network() {
    let env = Env::new();
    let mut holder = env.bundle();
    user_namespace(&mut holder);
    holder.args(&["sleep", "1000"]);
    let pid = env.pid(&env.start(&holder));
    let mut bundle = env.bundle();
    user_namespace(&mut bundle);
    bundle
        .remove("/linux/uidMappings")
        .remove("/linux/gidMappings");
    for (kind, ns) in [("user", "user"), ("network", "net")] {
        bundle.namespace(kind, Some(&format!("/proc/{pid}/ns/{ns}")));
    }
    bundle.sh("readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u");
    let pid = pid.to_string();
    env.run(&bundle)
        .ok()
        .prints(&format!("{}\n{}\n0", of(&pid, "user"), of(&pid, "net")));
}
