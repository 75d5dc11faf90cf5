//! `mounts add` and `mounts remove`.

use orlop_tests::{Bundle, Done, Env, Must, hidden, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

/// Calls `mounts VERB ID` with a file that holds `mounts`.
fn mounts(env: &Env, verb: &str, id: &str, mounts: &Value) -> Done {
    let file = env.dir.join("mounts.json");
    fs::write(&file, mounts.to_string()).must("a file");
    env.orlop(&["mounts", verb, id]).arg(&file).run()
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}

fn tmpfs(target: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// A directory with a file of user 5.
fn source(env: &Env) -> std::path::PathBuf {
    let dir = env.dir.join("source");
    fs::create_dir_all(&dir).must("a directory");
    fs::write(dir.join("file"), "content\n").must("a file");
    chown(dir.join("file"), Some(5), Some(6)).must("an owner");
    dir
}

fn sleeper(env: &Env) -> Bundle {
    let mut bundle = env.bundle();
    bundle.config["root"]["readonly"] = json!(false);
    bundle.args(&["sleep", "1000"]);
    bundle
}

fn user_namespace(bundle: &mut Bundle) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map);
    chown(bundle.rootfs(), Some(100_000), Some(100_000)).must("an owner");
}

fn table(env: &Env, id: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{}/mountinfo", env.pid(id))).must("mountinfo");
    let mut points: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(String::from)
        .collect();
    points.sort();
    points
}

#[test]
fn a_running_process_sees_what_is_added_and_removed() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let dir = source(&env);
    for with_user_namespace in [false, true] {
        let mut bundle = sleeper(&env);
        if with_user_namespace {
            user_namespace(&mut bundle);
            // Where its root makes a mount point.
            chown(bundle.rootfs().join("etc"), Some(100_000), Some(100_000)).must("an owner");
        }
        fs::create_dir(bundle.rootfs().join("kept")).must("a directory");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(bundle.rootfs().join("kept"), mode).must("a mode");
        fs::write(bundle.dir.join("beside"), "relative\n").must("a file");
        let id = env.start(&bundle);
        let before = (table(&env, &id), env.world());
        let all = json!([
            bind(&dir, "/data", &["rbind", "ro"]),
            tmpfs("/kept", &["size=64k", "nosuid"]),
            bind(&dir, "/kept/sub", &["bind"]),
            bind(Path::new("beside"), "/etc/one", &["bind"]),
            json!({"destination": "/procfs", "type": "proc", "source": "proc"}),
            json!({"destination": "/queues", "type": "mqueue", "source": "mqueue", "options": ["nodev"]}),
        ]);
        mounts(&env, "add", &id, &all).ok().prints("");
        let script = "cat /data/file /kept/sub/file /etc/one; touch /data/x 2>&1; stat -c %a:%u /kept; cat /procfs/1/comm; stat -f -c %T /queues; touch /kept/new && ls /kept";
        let wanted = "content\ncontent\nrelative\ntouch: /data/x: Read-only file system\n1777:0\nsleep\nUNKNOWN\nnew\nsub";
        env.exec(&id, &["sh", "-c", script]).ok().prints(wanted);
        env.as_before(&before.1, "mounts of the host");
        mounts(&env, "remove", &id, &all).ok().prints("");
        assert_eq!(
            table(&env, &id),
            before.0,
            "user namespace: {with_user_namespace}"
        );
        env.orlop(&["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn the_file_is_a_list_or_the_section_of_a_configuration() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let id = env.start(&sleeper(&env));
    let section = json!({"ociVersion": "1.2.0", "mounts": [tmpfs("/data", &[])]});
    mounts(&env, "add", &id, &section).ok();
    mounts(&env, "remove", &id, &json!([{"destination": "/data"}])).ok();
    mounts(&env, "remove", &id, &json!([])).ok();
    mounts(&env, "remove", &id, &json!({})).refused(1, &["mounts.json", "mounts"]);
    mounts(&env, "add", &id, &json!([{"type": "tmpfs"}]))
        .refused(1, &["mounts.json", "[0].destination"]);
}

#[test]
fn attributes_and_ids() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let dir = source(&env);
    sys::mount(&dir, &dir, "", libc::MS_BIND, "").must("mount");
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_NOSUID;
    sys::mount("", &dir, "", flags, "").must("remount");
    let shown = "grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6; stat -c %u:%g /data/file";
    for (with_user_namespace, options, wanted) in [
        (
            false,
            &["bind", "nodev", "noexec"][..],
            "rw,nosuid,nodev,noexec,relatime\n5:6",
        ),
        (false, &["rbind", "rro", "suid"], "ro,relatime\n5:6"),
        (
            false,
            &["bind", "idmap=uids=5-8-1;gids=6-9-1"],
            "rw,nosuid,relatime,idmapped\n8:9",
        ),
        (true, &["bind"], "rw,nosuid,relatime\n65534:65534"),
        (true, &["bind", "ro"], "ro,nosuid,relatime\n65534:65534"),
        (true, &["bind", "idmap"], "rw,nosuid,relatime,idmapped\n5:6"),
        (
            true,
            &["rbind", "ridmap=uids=@5-7-1;gids=@6-8-1"],
            "rw,nosuid,relatime,idmapped\n7:8",
        ),
    ] {
        let mut bundle = sleeper(&env);
        bundle.capabilities(&["CAP_SYS_ADMIN"]);
        if with_user_namespace {
            user_namespace(&mut bundle);
        }
        let id = env.start(&bundle);
        mounts(&env, "add", &id, &json!([bind(&dir, "/data", options)])).ok();
        env.exec(&id, &["sh", "-c", shown]).ok().prints(wanted);
        if with_user_namespace {
            // What the host's mount has stays, whatever the container's root tries.
            env.exec(&id, &["mount", "-o", "remount,bind,suid", "/data"]);
            env.exec(&id, &["sh", "-c", shown]).ok().prints(wanted);
        }
        env.orlop(&["delete", "--force", &id]).run().ok();
    }
    sys::umount(&dir).must("unmount");
}

#[test]
#[expect(clippy::too_many_lines, reason = "tables")]
fn all_or_nothing() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let dir = source(&env);
    let bundle = sleeper(&env);
    symlink("/proc/sys", bundle.rootfs().join("to-proc")).must("a link");
    fs::write(bundle.rootfs().join("plain"), "").must("a file");
    let id = env.start(&bundle);
    let before = table(&env, &id);
    let good = || {
        [
            bind(&dir, "/data", &["bind"]),
            tmpfs("/data/sub", &[]),
            bind(&dir.join("file"), "/etc/one", &["bind"]),
        ]
    };
    fs::create_dir(dir.join("sub")).must("a directory");
    for (bad, wants) in [
        (
            bind(&dir, "/plain", &["bind"]),
            &["mounts[3].destination", "/plain"][..],
        ),
        (
            bind(&dir, "/to-proc/x", &["bind"]),
            &["mounts[3]", "/to-proc/x"],
        ),
        (
            bind(&dir, "/to-proc", &["bind"]),
            &["mounts[3]", "leads into /proc"],
        ),
        (tmpfs("/data2", &["size=wrong"]), &["mounts[3]", "size"]),
        (
            bind(Path::new("/no/such"), "/data2", &["bind"]),
            &["mounts[3].source", "/no/such"],
        ),
        (
            json!({"destination": "/data2", "type": "nosuchfs"}),
            &["mounts[3]", "nosuchfs"],
        ),
    ] {
        let all: Vec<Value> = good().into_iter().chain([bad.clone()]).collect();
        mounts(&env, "add", &id, &json!(all)).refused(1, wants);
        assert_eq!(table(&env, &id), before, "{bad}");
    }
    mounts(&env, "add", &id, &json!(good())).ok();
    let with_mounts = table(&env, &id);
    for (bad, wants) in [
        ("/etc", "nothing is mounted there"),
        ("/no/such", "no such file"),
        ("/data", "named twice"),
        ("/to-proc/x", "symlink"),
        ("/proc/sys", "inside /proc"),
        ("/", "whole root"),
    ] {
        let mut all: Vec<Value> = good().into();
        all.push(json!({"destination": bad}));
        mounts(&env, "remove", &id, &json!(all)).refused(1, &["mounts[3].destination", wants]);
        assert_eq!(table(&env, &id), with_mounts, "{bad}");
    }
    mounts(&env, "remove", &id, &json!(good())).ok();
    assert_eq!(table(&env, &id), before);
}

#[test]
fn what_cannot_be_added_is_refused_by_name() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let id = env.start(&sleeper(&env));
    for (mount, wants) in [
        (
            json!({"destination": "/x", "type": "cgroup"}),
            &["mounts[0].type"][..],
        ),
        (
            tmpfs("/x", &["tmpcopyup"]),
            &["mounts[0].options", "tmpcopyup"],
        ),
        (
            tmpfs("/tmp", &["remount", "ro"]),
            &["mounts[0].options", "remount"],
        ),
        (
            bind(&env.dir, "/x", &["bind", "copy-symlink"]),
            &["mounts[0].options", "copy-symlink"],
        ),
        (tmpfs("/proc/sys", &[]), &["mounts[0].destination", "/proc"]),
        (tmpfs("/", &[]), &["mounts[0].destination"]),
        (
            bind(&env.dir, "/x", &["bind", "idmap"]),
            &["mounts[0].options[1]"],
        ),
    ] {
        mounts(&env, "add", &id, &json!([mount])).refused(1, wants);
    }
    env.orlop(&["mounts", "list", &id, "x"])
        .run()
        .refused(1, &["list", "add nor remove"]);
    env.orlop(&["mounts", "add", &id])
        .run()
        .refused(1, &["exactly 3"]);
    env.orlop(&["mounts", "add", &id, "/no/such"])
        .run()
        .refused(1, &["/no/such"]);
    env.orlop(&["mounts", "add", "nobody", "/no/such"])
        .run()
        .exits(1);
}

#[test]
fn by_status() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let list = json!([tmpfs("/data", &[])]);
    let id = env.create(&sleeper(&env));
    mounts(&env, "add", &id, &list).ok();
    env.orlop(&["start", &id]).run().ok();
    env.exec(&id, &["grep", "-c", " /data ", "/proc/self/mountinfo"])
        .ok()
        .prints("1");
    env.orlop(&["pause", &id]).run().ok();
    // A frozen container is changed as any other; it sees the change when it goes on.
    mounts(&env, "remove", &id, &list).ok();
    mounts(&env, "add", &id, &list).ok();
    env.orlop(&["resume", &id]).run().ok();
    env.orlop(&["kill", &id, "KILL"]).run().ok();
    env.reaches(&id, "stopped");
    for verb in ["add", "remove"] {
        mounts(&env, verb, &id, &list).refused(1, &["container not running"]);
        mounts(&env, verb, "nobody", &list).refused(1, &["container does not exist"]);
    }
    let mut bundle = sleeper(&env);
    bundle.without_namespace("mount");
    bundle.write();
    let id = env.id();
    let created = env
        .orlop(&["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .run();
    // Before Linux 6.15 there is no such container.
    if created.rc == 0 {
        mounts(&env, "add", &id, &list).refused(1, &["mount namespace"]);
    }
}

#[test]
fn a_relative_destination_is_taken_below_the_root_with_a_warning() {
    let env = Env::new();
    let mut bundle = sleeper(&env);
    let wanted = |at: &str| format!("{at}.destination: \"tmp/here\" is not an absolute path");
    bundle.mount("tmp/here", "tmpfs", "tmpfs", &[]);
    bundle.args(&["true"]);
    let done = env.run(&bundle).ok();
    assert!(done.stderr().contains(&wanted("mounts[7]")), "{done}");
    if hidden("mounts add", "open_tree") {
        return;
    }
    let id = env.start(&sleeper(&env));
    let done = mounts(&env, "add", &id, &json!([tmpfs("tmp/here", &[])])).ok();
    assert!(done.stderr().contains(&wanted("mounts[0]")), "{done}");
    assert!(table(&env, &id).contains(&"/tmp/here".to_owned()));
}
