//! Mounts that show other owners than their file system holds.

use orlop_tests::{Bundle, Env, Must, hidden, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

fn map(on_disk: u32, shown: u32, size: u32) -> Value {
    json!([{"containerID": on_disk, "hostID": shown, "size": size}])
}

/// A mount with a file of user 5 and group 6, and a mount below it with another. They show directories of the disk: a tmpfs cannot be
/// idmapped before Linux 6.3.
fn source(env: &Env) -> PathBuf {
    let dir = env.dir.join("source");
    for (dir, name) in [(dir.clone(), "file"), (dir.join("sub"), "below")] {
        let shown = env.dir.join(format!("with-{name}"));
        for dir in [&dir, &shown] {
            fs::create_dir_all(dir).must("a directory");
        }
        // Not through the mount: what a process that was born meanwhile has open of it keeps it from becoming read-only.
        fs::write(shown.join(name), "").must("a file");
        chown(shown.join(name), Some(5), Some(6)).must("an owner");
        chown(&shown, Some(5), Some(6)).must("an owner");
        sys::mount(&shown, &dir, "", libc::MS_BIND, "").must("mount");
    }
    dir
}

fn unmount(env: &Env) {
    sys::umount(env.dir.join("source/sub")).must("unmount");
    sys::umount(env.dir.join("source")).must("unmount");
}

/// Gives the container a user namespace whose ids begin at 100000, and the root file system.
fn user_namespace(bundle: &mut Bundle) {
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", map(0, 100_000, 65536))
        .set("/linux/gidMappings", map(0, 100_000, 65536));
    chown(bundle.rootfs(), Some(100_000), Some(100_000)).must("an owner");
}

/// Adds the mount `/data` with mappings, if any.
fn mount(bundle: &mut Bundle, dir: &Path, options: &[&str], maps: Option<(Value, Value)>) {
    bundle.mount("/data", "bind", dir, options);
    if let Some((uid, gid)) = maps {
        bundle.set("/mounts/7/uidMappings", uid);
        bundle.set("/mounts/7/gidMappings", gid);
    }
}

const OWNERS: &str = "stat -c %u:%g /data/file; stat -c %u:%g /data/sub/below 2>/dev/null; true";

#[test]
fn ids_are_mapped_for_any_container() {
    if hidden("an idmapped mount", "mount_setattr") {
        return;
    }
    let env = Env::new();
    let dir = source(&env);
    let own = || Some((map(5, 1000, 1), map(6, 2000, 1)));
    for (options, maps, wanted) in [
        (&["bind"][..], own(), "1000:2000"),
        (&["bind", "idmap"], own(), "1000:2000"),
        (&["rbind", "idmap"], own(), "1000:2000\n5:6"),
        (&["rbind", "ridmap"], own(), "1000:2000\n1000:2000"),
        (&["rbind"], own(), "1000:2000\n5:6"),
        (
            &["bind", "idmap=uids=5-1000-1;gids=0-1-1#6-2000-1"],
            None,
            "1000:2000",
        ),
        (
            &[
                "bind",
                "ro",
                "rnodev",
                "idmap=uids=@5-1000-1;gids=@6-2000-1",
            ],
            None,
            "1000:2000",
        ),
        // Ids without a place are shown as the overflow id.
        (
            &["bind"],
            Some((map(0, 1000, 1), map(0, 1000, 1))),
            "65534:65534",
        ),
    ] {
        let mut bundle = env.bundle();
        mount(&mut bundle, &dir, options, maps);
        bundle.sh(OWNERS);
        let done = env.run(&bundle).ok();
        assert_eq!(done.stdout().trim(), wanted, "{options:?}\n{done}");
    }
    unmount(&env);
}

#[test]
fn what_is_written_through_the_mount_belongs_to_the_mapped_owner() {
    if hidden("an idmapped mount", "mount_setattr") {
        return;
    }
    let env = Env::new();
    let dir = source(&env);
    for with_user_namespace in [false, true] {
        let mut bundle = env.bundle();
        let shown = if with_user_namespace { 100_000 } else { 0 };
        mount(
            &mut bundle,
            &dir,
            &["bind"],
            Some((map(5, shown, 1), map(6, shown, 1))),
        );
        if with_user_namespace {
            user_namespace(&mut bundle);
        }
        bundle.sh("stat -c %u:%g /data/file; touch /data/new; exec rm /data/file");
        env.run(&bundle).ok().prints("0:0");
        let meta = fs::metadata(dir.join("new")).must("the new file");
        assert_eq!((meta.uid(), meta.gid()), (5, 6));
        fs::remove_file(dir.join("new")).must("remove it");
        fs::write(dir.join("file"), "").must("a file");
        chown(dir.join("file"), Some(5), Some(6)).must("an owner");
    }
    unmount(&env);
}

#[test]
fn without_ranges_the_containers_own_are_taken() {
    if hidden("an idmapped mount", "mount_setattr") {
        return;
    }
    let env = Env::new();
    let dir = source(&env);
    let holder = {
        let mut holder = env.bundle();
        user_namespace(&mut holder);
        holder.args(&["sleep", "1000"]);
        env.pid(&env.start(&holder))
    };
    for joined in [false, true] {
        for (options, wanted) in [
            (&["rbind"][..], "65534:65534\n65534:65534"),
            (&["rbind", "idmap"], "5:6\n65534:65534"),
            (&["rbind", "ridmap"], "5:6\n5:6"),
            (&["rbind", "ridmap", "rro"], "5:6\n5:6"),
            (&["bind", "idmap=uids=@5-7-1;gids=6-100008-1"], "7:8"),
        ] {
            let mut bundle = env.bundle();
            user_namespace(&mut bundle);
            if joined {
                bundle.namespace("user", Some(&format!("/proc/{holder}/ns/user")));
            }
            mount(&mut bundle, &dir, options, None);
            bundle.sh(OWNERS);
            let done = env.run(&bundle).ok();
            assert_eq!(
                done.stdout().trim(),
                wanted,
                "{options:?}, joined: {joined}\n{done}"
            );
        }
    }
    unmount(&env);
}

/// An idmapped mount of a container with a user namespace keeps what the host's mount has, whatever its root tries.
#[test]
fn attributes_of_the_host_stay_locked() {
    if hidden("an idmapped mount", "mount_setattr") {
        return;
    }
    let env = Env::new();
    let dir = source(&env);
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID;
    sys::mount("", dir.join("sub"), "", flags, "").must("remount");
    for options in [&["rbind", "ridmap"][..], &["bind", "idmap"]] {
        let mut bundle = env.bundle();
        user_namespace(&mut bundle);
        bundle.capabilities(&["CAP_SYS_ADMIN"]);
        mount(&mut bundle, &dir.join("sub"), options, None);
        bundle.sh("mount -o remount,bind,rw,suid /data 2>/dev/null; grep ' /data ' /proc/self/mountinfo | cut -d' ' -f6; stat -c %u /data/below");
        env.run(&bundle)
            .ok()
            .prints("ro,nosuid,relatime,idmapped\n5");
    }
    unmount(&env);
}

#[test]
fn refused_by_name() {
    if hidden("an idmapped mount", "mount_setattr") {
        return;
    }
    let env = Env::new();
    let one = || map(0, 1000, 1);
    let twice = json!([{"containerID": 0, "hostID": 1, "size": 2}, {"containerID": 1, "hostID": 7, "size": 2}]);
    let mount = |options: &[&str], uid: Value, gid: Value| json!({"destination": "/data", "type": "bind", "source": env.dir, "options": options, "uidMappings": uid, "gidMappings": gid});
    let option = |text: &str| mount(&["bind", text], json!([]), json!([]));
    let other = |kind: &str, source: &str| {
        let mut mount = mount(&[], one(), one());
        mount["type"] = json!(kind);
        mount["source"] = json!(source);
        mount
    };
    let at = "mounts[7].options[1]";
    let uid = "mounts[7].uidMappings";
    let cases: [(Value, &[&str]); 10] = [
        (option("idmap"), &[at, "uidMappings"]),
        (option("idmap=uids=0-1-1"), &[at, "gids="]),
        (option("idmap=x"), &[at]),
        (
            mount(&["bind", "idmap=uids=0-1-1;gids=0-1-1"], one(), one()),
            &[at],
        ),
        (
            mount(&["bind"], map(0, 1, 0), one()),
            &["mounts[7].uidMappings[0]"],
        ),
        (
            mount(&["bind"], one(), json!([])),
            &["mounts[7].gidMappings"],
        ),
        (mount(&["bind"], Value::Null, one()), &[uid]),
        (
            mount(&["bind"], twice.clone(), twice),
            &["mounts[7].uidMappings[1]", "mounts[7].uidMappings[0]"],
        ),
        (other("tmpfs", "tmpfs"), &["mounts[7].type", "bind"]),
        (
            other("bind", "/proc/self"),
            &[uid, "proc, cannot be idmapped"],
        ),
    ];
    for (mount, wants) in cases {
        let mut bundle = env.bundle();
        bundle.args(&["true"]).set("/mounts/-", mount.clone());
        let before = env.world();
        let done = env.run(&bundle);
        if let Some(complaint) = done.complaint(1, wants) {
            panic!("{mount}: {complaint}\n{done}");
        }
        env.as_before(&before, &mount.to_string());
    }
}

#[test]
fn features_say_so() {
    let env = Env::new();
    let features = env.orlop(&["features"]).run().ok().json();
    assert_eq!(
        features["linux"]["mountExtensions"]["idmap"]["enabled"],
        json!(true)
    );
    for option in ["idmap", "ridmap", "rro"] {
        let options = features["mountOptions"].as_array().must("mountOptions");
        assert!(options.contains(&json!(option)), "{option}");
    }
}
