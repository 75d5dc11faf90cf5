//! What belongs to the host: mounts, namespaces, hooks.

use crate::{Place, count, counter, passes, text, writable};
use orlop_tests::{Must, sys};
use serde_json::json;
use std::fs;
use std::os::unix::ffi::OsStrExt;

#[test]
fn bind_mounts_come_from_the_host_again() {
    let Some(place) = Place::new("bind_mounts_come_from_the_host_again") else {
        return;
    };
    let env = &place.env;
    let volume = env.dir.join("volume");
    fs::create_dir_all(volume.join("below")).must("volume");
    let file = env.dir.join("file");
    fs::write(&file, "one\n").must("file");
    sys::mount("tmpfs", volume.join("below"), "tmpfs", 0, "").must("mount");
    fs::write(volume.join("below/deep"), "deep\n").must("deep");
    let mut bundle = writable(env);
    bundle
        .mount("/var/run/rw", "bind", &volume, &["rbind", "rw"])
        .mount("/ro", "bind", &volume, &["rbind", "ro"])
        .mount("/ro/inside", "tmpfs", "tmpfs", &[])
        .mount("/etc/file", "bind", &file, &["bind", "ro"])
        .sh("echo here > /var/run/rw/here; while :; do cat /etc/file > /var/run/rw/new; mv /var/run/rw/new /var/run/rw/copy; sleep 0.05; done");
    fs::create_dir_all(bundle.rootfs().join("run")).must("run");
    fs::create_dir_all(bundle.rootfs().join("var")).must("var");
    std::os::unix::fs::symlink("../run", bundle.rootfs().join("var/run")).must("symlink");
    fs::create_dir_all(volume.join("inside")).must("inside");
    let id = env.start(&bundle);
    let copy = volume.join("copy");
    orlop_tests::until("the copy", || copy.exists().then_some(()));
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    fs::write(&file, "two\n").must("file");
    place.restoring(&bundle, &id, &[]).run().ok();
    orlop_tests::until("the new content", || (text(&copy) == "two\n").then_some(()));
    env.exec(&id, &["cat", "/var/run/rw/below/deep"])
        .ok()
        .prints("deep");
    env.exec(&id, &["touch", "/var/run/rw/new-one"]).ok();
    for path in ["/ro/x", "/etc/file"] {
        let touch = env.exec(&id, &["touch", path]);
        assert!(
            touch.rc != 0 && touch.stderr().contains("Read-only"),
            "{path}\n{touch}"
        );
    }
    env.orlop(&["delete", "--force", &id]).run().ok();
    sys::umount(volume.join("below")).must("umount");
}

#[test]
fn a_path_that_is_not_utf_8_is_a_path() {
    let Some(place) = Place::new("a_path_that_is_not_utf_8_is_a_path") else {
        return;
    };
    let env = &place.env;
    let volume = env.dir.join("volume");
    let below = volume.join(std::ffi::OsStr::from_bytes(b"caf\xe9 \xff"));
    fs::create_dir_all(&below).must("volume");
    sys::mount("tmpfs", &below, "tmpfs", 0, "").must("mount");
    fs::write(below.join("deep"), "deep\n").must("deep");
    let mut bundle = counter(env);
    bundle.mount("/volume", "bind", &volume, &["rbind"]);
    let id = env.start(&bundle);
    passes(&bundle, 1);
    place.there_and_back(&bundle, &id, &[]);
    env.exec(&id, &["sh", "-c", "cat /volume/*/deep"])
        .ok()
        .prints("deep");
    env.orlop(&["delete", "--force", &id]).run().ok();
    sys::umount(&below).must("umount");
}

#[test]
fn a_joined_network_is_joined_again() {
    let Some(place) = Place::new("a_joined_network_is_joined_again") else {
        return;
    };
    let env = &place.env;
    let mut pod = writable(env);
    pod.args(&["sleep", "1000"]);
    let pod = env.start(&pod);
    let namespace = |kind: &str| format!("/proc/{}/ns/{kind}", env.pid(&pod));
    let mut bundle = counter(env);
    bundle
        .namespace("network", Some(&namespace("net")))
        .namespace("ipc", Some(&namespace("ipc")))
        .namespace("uts", Some(&namespace("uts")))
        .remove("/hostname");
    let id = env.start(&bundle);
    passes(&bundle, 1);
    place.there_and_back(&bundle, &id, &[]);
    passes(&bundle, count(&bundle));
    for kind in ["net", "ipc", "uts"] {
        let of = |path: &str| fs::read_link(path).must(path);
        let own = format!("/proc/{}/ns/{kind}", env.pid(&id));
        assert_eq!(of(&own), of(&namespace(kind)), "{kind}");
    }
}

#[test]
fn hooks_see_the_new_namespaces() {
    let Some(place) = Place::new("hooks_see_the_new_namespaces") else {
        return;
    };
    let env = &place.env;
    let mut bundle = counter(env);
    let said = env.dir.join("said");
    let script = format!("cat > {}; echo >> {}", said.display(), said.display());
    bundle.set(
        "/hooks/createRuntime/-",
        json!({"path": "/bin/sh", "args": ["sh", "-c", script]}),
    );
    let id = env.start(&bundle);
    passes(&bundle, 1);
    fs::remove_file(&said).must("said");
    place.there_and_back(&bundle, &id, &[]);
    let state: serde_json::Value = serde_json::from_str(&text(&said)).must("state");
    assert_eq!(state["id"], json!(id));
    assert_eq!(state["pid"], env.state(&id)["pid"]);
}

/// criu gives the second mount of one thing none of the options of the first.
#[test]
fn masked_files_stay_read_only() {
    let Some(place) = Place::new("masked_files_stay_read_only") else {
        return;
    };
    let env = &place.env;
    let mut bundle = counter(env);
    bundle.set(
        "/linux/maskedPaths",
        json!(["/proc/keys", "/proc/timer_list", "/proc/interrupts"]),
    );
    let id = env.start(&bundle);
    passes(&bundle, 1);
    place.there_and_back(&bundle, &id, &[]);
    let table = env
        .exec(&id, &["cat", "/proc/self/mountinfo"])
        .ok()
        .stdout();
    let masks: Vec<_> = table
        .lines()
        .filter(|line| line.contains(" /null /proc/"))
        .collect();
    assert!(masks.len() > 1, "{table}");
    for mask in masks {
        let options = mask.split(' ').nth(5).unwrap_or_default();
        assert!(options.starts_with("ro,nosuid,noexec"), "{mask}");
    }
}
