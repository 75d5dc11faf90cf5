//! Options of mounts: every one that `features` names, recursive ones, those about symlinks.

use crate::check;
use orlop_tests::{Env, Must, hidden, sys};
use std::fs;
use std::os::unix::fs::symlink;

/// Prints the flags of the mounts at `point` and at `point/sub`, without the access-time mode that the kernel chooses itself.
fn flags(point: &str) -> String {
    format!(
        "for p in {point} {point}/sub; do grep \" $p \" /proc/self/mountinfo | tail -n 1 | cut -d' ' -f6 | sed 's/,relatime//'; done"
    )
}

#[test]
fn recursive_attributes_reach_the_mounts_below() {
    let env = Env::new();
    let dir = env.dir.join("source");
    fs::create_dir_all(dir.join("sub")).must("a directory");
    sys::mount("tmpfs", dir.join("sub"), "tmpfs", 0, "").must("mount");
    let all = libc::MS_RDONLY
        | libc::MS_NOSUID
        | libc::MS_NODEV
        | libc::MS_NOEXEC
        | libc::MS_NOATIME
        | libc::MS_NODIRATIME;
    for (below, given, wanted) in [
        (0, &["rro"][..], "ro\nro"),
        (0, &["ro"], "ro\nrw"),
        (
            0,
            &["rnosuid", "rnodev", "rnoexec"],
            "rw,nosuid,nodev,noexec\nrw,nosuid,nodev,noexec",
        ),
        (0, &["rnoatime"], "rw,noatime\nrw,noatime"),
        (0, &["rnoatime", "rrelatime"], "rw\nrw"),
        (0, &["rnodiratime"], "rw,nodiratime\nrw,nodiratime"),
        (0, &["rnosymfollow"], "rw,nosymfollow\nrw,nosymfollow"),
        (0, &["nosymfollow", "rsymfollow"], "rw\nrw"),
        (0, &["ro", "rrw"], "rw\nrw"),
        // From here on without relatime, which a remount does not give back.
        (libc::MS_NOATIME, &["rstrictatime"], "rw\nrw"),
        (
            all,
            &["rrw", "rsuid", "rdev", "rexec", "rdiratime", "ratime"],
            "rw\nrw",
        ),
        (
            all,
            &["rw", "rnostrictatime", "rnorelatime"],
            "rw\nro,nosuid,nodev,noexec,nodiratime",
        ),
    ] {
        if given.contains(&"rro") && hidden("rro", "mount_setattr") {
            continue;
        }
        let remount = libc::MS_REMOUNT | libc::MS_BIND;
        sys::mount("", dir.join("sub"), "", remount | below, "").must("remount");
        let mut bundle = env.bundle();
        let options = [&["rbind"], given].concat();
        bundle
            .mount("/data", "bind", &dir, &options)
            .sh(&flags("/data"));
        let done = env.run(&bundle).ok();
        assert_eq!(done.stdout().trim(), wanted, "{given:?}\n{done}");
    }
    sys::umount(dir.join("sub")).must("unmount");
}

#[test]
fn a_remount_is_recursive_too() {
    if hidden("rro", "mount_setattr") {
        return;
    }
    check(
        |b| {
            b.mount("/tmp", "tmpfs", "tmpfs", &[])
                .mount("/tmp/sub", "tmpfs", "tmpfs", &[])
                .mount("/tmp", "", "", &["remount", "rro"]);
        },
        &flags("/tmp"),
        "ro\nro",
    );
}

#[test]
fn every_option_of_features_is_taken() {
    let env = Env::new();
    let features = env.orlop(&["features"]).run().ok().json();
    let options = features["mountOptions"].as_array().must("mountOptions");
    // These need something beside them, and have tests of their own.
    let own = [
        "idmap",
        "ridmap",
        "remount",
        "bind",
        "rbind",
        "copy-symlink",
    ];
    let options = options.iter().filter_map(|option| option.as_str());
    for option in options.filter(|option| !own.contains(option)) {
        if option == "rro" && hidden(option, "mount_setattr") {
            continue;
        }
        for kind in ["tmpfs", "bind"] {
            if (kind, option) == ("bind", "tmpcopyup") {
                continue;
            }
            let mut bundle = env.bundle();
            bundle.mount("/data", kind, &env.dir, &[option]);
            bundle.sh("grep -c ' /data ' /proc/self/mountinfo");
            let done = env.run(&bundle).ok().prints("1");
            // Those of a file system mean nothing for a bind mount, and that is said.
            let of_fs = ["sync", "dirsync", "lazytime", "mand"].contains(&option);
            let warned = done.stderr().contains(option);
            assert_eq!(
                warned,
                of_fs && kind == "bind",
                "{option} on {kind}\n{done}"
            );
        }
    }
}

#[test]
fn options_of_file_systems_reach_them() {
    for (option, wanted) in [
        ("sync", "rw,sync"),
        ("dirsync", "rw,dirsync"),
        ("lazytime", "rw,lazytime"),
    ] {
        check(
            |b| {
                b.mount("/data", "tmpfs", "tmpfs", &[option, "size=4k"]);
            },
            "grep ' /data ' /proc/self/mountinfo | sed 's/.* - tmpfs tmpfs //; s/,size.*//'",
            wanted,
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn symlinks_at_source_and_target() {
    let env = Env::new();
    fs::create_dir(env.dir.join("real")).must("a directory");
    fs::write(env.dir.join("real/file"), "content\n").must("a file");
    symlink("real", env.dir.join("link")).must("a link");
    symlink("/nowhere", env.dir.join("dangling")).must("a link");
    for (source, target, options, script, wanted) in [
        ("link", "/data", &["bind"][..], "cat /data/file", "content"),
        // The link itself is mounted: over a link, since a mount and its place must be of one sort.
        (
            "link",
            "/old",
            &["bind", "src-nofollow", "dest-nofollow"],
            "readlink /old",
            "real",
        ),
        (
            "dangling",
            "/old",
            &["bind", "src-nofollow", "dest-nofollow"],
            "readlink /old",
            "/nowhere",
        ),
        (
            "real",
            "/data",
            &["bind", "src-nofollow", "dest-nofollow"],
            "cat /data/file",
            "content",
        ),
        (
            "link",
            "/data",
            &["bind", "copy-symlink"],
            "readlink /data",
            "real",
        ),
        (
            "dangling",
            "/deep/er",
            &["bind", "copy-symlink"],
            "readlink /deep/er",
            "/nowhere",
        ),
        (
            "real",
            "/data",
            &["bind", "copy-symlink"],
            "cat /data/file",
            "content",
        ),
        ("real", "/old", &["bind"], "cat /etc/file", "content"),
    ] {
        let mut bundle = env.bundle();
        symlink("/etc", bundle.rootfs().join("old")).must("a link in the root");
        bundle
            .mount(target, "bind", env.dir.join(source), options)
            .sh(script);
        env.run(&bundle).ok().prints(wanted);
    }
    let mut bundle = env.bundle();
    symlink("/etc", bundle.rootfs().join("old")).must("a link in the root");
    bundle
        .mount(
            "/old",
            "bind",
            env.dir.join("real"),
            &["bind", "dest-nofollow"],
        )
        .args(&["true"]);
    env.run(&bundle).refused(1, &["mounts[7]", "/old"]);
    let mut bundle = env.bundle();
    fs::write(bundle.rootfs().join("data"), "").must("a file in the way");
    bundle
        .mount(
            "/data",
            "bind",
            env.dir.join("link"),
            &["bind", "copy-symlink"],
        )
        .args(&["true"]);
    env.run(&bundle).refused(1, &["mounts[7]", "/data"]);
}
