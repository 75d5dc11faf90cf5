//! `root` and `mounts`: what is where, with which options, and how it propagates.

use crate::check;
use orlop_tests::{Bundle, Env, Must, only_v2, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// Prints the options of the topmost mount at `point`: the mount's own, those of the file system, its type.
fn options(point: &str) -> String {
    format!("grep ' {point} ' /proc/self/mountinfo | tail -n 1 | sed 's|^.* {point} ||'")
}

/// A directory on the host with a file and a directory in it.
fn source(env: &Env) -> PathBuf {
    let dir = env.dir.join("source");
    fs::create_dir_all(dir.join("sub")).must("a directory");
    fs::write(dir.join("file"), "content\n").must("a file");
    dir
}

#[test]
fn root() {
    let touch = "touch /new 2>&1; touch /tmp/new 2>&1; ls /new 2>/dev/null; true";
    check(
        |b| b.config["root"]["readonly"] = json!(true),
        touch,
        "touch: /new: Read-only file system\ntouch: /tmp/new: Read-only file system",
    );
    check(
        |b| b.config["root"]["readonly"] = json!(false),
        touch,
        "/new",
    );
    check(
        |b| b.config["root"] = json!({"path": "rootfs"}),
        touch,
        "/new",
    );
    check(
        |b| b.config["root"]["path"] = json!(b.rootfs()),
        "echo absolute",
        "absolute",
    );
    check(
        |b| b.config["root"]["path"] = json!("./rootfs/../rootfs/."),
        "echo dots",
        "dots",
    );
    let link = |b: &mut Bundle| {
        symlink("rootfs", b.dir.join("link")).must("a link");
        b.config["root"]["path"] = json!("link");
    };
    check(link, "echo link", "link");
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn bind_mounts() {
    let env = Env::new();
    let dir = source(&env);
    let run = |edit: &dyn Fn(&mut Bundle), script: &str, wanted: &str| {
        let mut bundle = env.bundle();
        bundle.sh(script);
        edit(&mut bundle);
        env.run(&bundle).ok().prints(wanted);
    };
    run(
        &|b| {
            b.mount("/data", "bind", &dir, &["bind"]);
        },
        "cat /data/file; touch /data/sub/new; ls /data/sub",
        "content\nnew",
    );
    assert!(
        dir.join("sub/new").exists(),
        "the container's file is on the host"
    );
    run(
        &|b| {
            b.mount("/data", "bind", &dir, &["rbind", "ro"]);
        },
        "cat /data/file; touch /data/x 2>&1; true",
        "content\ntouch: /data/x: Read-only file system",
    );
    run(
        &|b| {
            b.mount("/data", "", &dir, &["bind"]);
        },
        "cat /data/file",
        "content",
    );
    run(
        &|b| {
            b.mount("/data", "none", &dir, &["bind"]);
        },
        "cat /data/file",
        "content",
    );
    run(
        &|b| {
            b.mount("/etc/one", "bind", dir.join("file"), &["bind"]);
        },
        "cat /etc/one",
        "content",
    );
    run(
        &|b| {
            b.mount("/deep/new/path", "bind", &dir, &["bind"]);
        },
        "cat /deep/new/path/file",
        "content",
    );
    run(
        &|b| {
            fs::write(b.dir.join("beside"), "relative\n").must("a file");
            b.mount("/etc/one", "bind", "beside", &["bind"]);
        },
        "cat /etc/one",
        "relative",
    );
    run(
        &|b| {
            symlink("/real", b.rootfs().join("link")).must("a link");
            b.mount("/link/x", "bind", &dir, &["bind"]);
        },
        "cat /real/x/file",
        "content",
    );
    run(
        &|b| {
            b.mount("/tmp", "tmpfs", "tmpfs", &[])
                .mount("/tmp/../tmp/x", "bind", &dir, &["bind"]);
        },
        "cat /tmp/x/file",
        "content",
    );
}

#[test]
fn a_recursive_bind_carries_what_is_mounted_below() {
    let env = Env::new();
    let dir = source(&env);
    sys::mount("tmpfs", dir.join("sub"), "tmpfs", 0, "").must("mount");
    fs::write(dir.join("sub/below"), "below\n").must("a file");
    for (option, wanted) in [("rbind", "below"), ("bind", "")] {
        let mut bundle = env.bundle();
        bundle
            .mount("/data", "bind", &dir, &[option])
            .args(&["ls", "/data/sub"]);
        env.run(&bundle).ok().prints(wanted);
    }
    sys::umount(dir.join("sub")).must("unmount");
}

#[test]
fn flags() {
    let env = Env::new();
    let dir = source(&env);
    for (kind, options_given) in [("tmpfs", &[][..]), ("bind", &["bind"])] {
        for (given, wanted) in [
            (&["ro"][..], "ro"),
            (&["nosuid", "nodev", "noexec"], "rw,nosuid,nodev,noexec"),
            (&["nosuid", "suid"], "rw"),
            (&["noatime"], "rw,noatime"),
            (&["nodiratime"], "rw,nodiratime"),
            (&["strictatime"], "rw"),
            (&["ro", "rw"], "rw"),
            (&["nosymfollow"], "rw,nosymfollow"),
        ] {
            let mut bundle = env.bundle();
            let all = [options_given, given].concat();
            bundle
                .mount("/data", kind, &dir, &all)
                .sh(&options("/data"));
            let text = env.run(&bundle).ok().stdout();
            let shown: Vec<&str> = text
                .split(' ')
                .next()
                .must("options")
                .split(',')
                // What the kernel does where nothing is said; strictatime has no name there.
                .filter(|flag| *flag != "relatime" || given.contains(&"strictatime"))
                .collect();
            assert_eq!(shown.join(","), wanted, "{kind} with {given:?}");
        }
    }
}

#[test]
fn data_of_file_systems() {
    check(
        |b| {
            b.mount(
                "/tmp",
                "tmpfs",
                "tmpfs",
                &["mode=1751", "size=64k", "uid=5", "gid=6"],
            );
        },
        "stat -c '%a %u %g' /tmp; df -k /tmp | tail -n 1 | awk '{print $2}'",
        "1751 5 6\n64",
    );
    check(
        |_| (),
        // A kernel may number files with 64 bits and say so.
        &(options("/dev/shm") + " | sed s/,inode64//"),
        "rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k",
    );
    check(
        |_| (),
        "stat -c '%a %t' /dev/pts/ptmx; ls -l /dev/ptmx | awk '{print $NF}'",
        "666 5\npts/ptmx",
    );
    check(
        |_| (),
        "mount | grep -c ' /dev/mqueue type mqueue (rw,nosuid,nodev,noexec'",
        "1",
    );
    check(
        |_| (),
        "mount | grep -c ' /sys type sysfs (ro,nosuid,nodev,noexec'",
        "1",
    );
}

#[test]
fn overlay() {
    let env = Env::new();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(env.dir.join(name)).must(name);
    }
    fs::write(env.dir.join("lower/file"), "below\n").must("a file");
    let mut bundle = env.bundle();
    let of = |name: &str| env.dir.join(name).display().to_string();
    let data = [
        format!("lowerdir={}", of("lower")),
        format!("upperdir={}", of("upper")),
        format!("workdir={}", of("work")),
    ];
    bundle
        .mount(
            "/data",
            "overlay",
            "overlay",
            &data.each_ref().map(String::as_str),
        )
        .sh("cat /data/file; echo above > /data/file");
    env.run(&bundle).ok().prints("below");
    assert_eq!(
        fs::read_to_string(env.dir.join("upper/file")).must("the upper file"),
        "above\n"
    );
}

#[test]
fn tmpcopyup() {
    let fill = |b: &mut Bundle, options: &[&str]| {
        let dir = b.rootfs().join("srv/sub");
        fs::create_dir_all(&dir).must("a directory");
        fs::write(dir.join("file"), "copied\n").must("a file");
        symlink("sub/file", b.rootfs().join("srv/link")).must("a link");
        std::os::unix::fs::chown(dir.join("file"), Some(3), Some(4)).must("an owner");
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o710))
            .must("a mode");
        b.mount("/srv", "tmpfs", "tmpfs", options);
    };
    let look = "cat /srv/link; stat -c '%u %g' /srv/sub/file; stat -c %a /srv/sub; touch /srv/new; stat -f -c %T /srv";
    check(|b| fill(b, &["tmpcopyup"]), look, "copied\n3 4\n710\ntmpfs");
    check(
        |b| fill(b, &["ro", "tmpcopyup"]),
        "cat /srv/link; touch /srv/new 2>&1; true",
        "copied\ntouch: /srv/new: Read-only file system",
    );
    check(|b| fill(b, &[]), "ls /srv", "");
}

#[test]
fn propagation_of_a_mount() {
    let env = Env::new();
    let dir = source(&env);
    sys::mount("tmpfs", &dir, "tmpfs", 0, "").must("mount");
    sys::mount("", &dir, "", libc::MS_SHARED, "").must("share");
    // A slave of a shared mount that is shared itself shows both.
    for (option, wanted) in [
        ("private", ""),
        ("rprivate", ""),
        ("slave", "master:"),
        ("rslave", "master:"),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
    ] {
        let mut bundle = env.bundle();
        bundle
            .mount("/data", "bind", &dir, &["rbind", option])
            .set("/linux/rootfsPropagation", json!("rshared"));
        bundle.sh("grep ' /data ' /proc/self/mountinfo | sed 's/ - .*//' | cut -d' ' -f7- | sed 's/[0-9]//g'");
        let text = env.run(&bundle).ok().stdout();
        assert!(
            if wanted.is_empty() {
                text.trim().is_empty()
            } else {
                text.contains(wanted)
            },
            "{option}: {text:?}"
        );
    }
    sys::umount(&dir).must("unmount");
}

#[test]
fn what_nobody_shares_is_shared_as_far_as_the_option_says() {
    let env = Env::new();
    let dir = source(&env);
    sys::mount("tmpfs", &dir, "tmpfs", 0, "").must("mount");
    fs::create_dir(dir.join("sub")).must("a directory");
    sys::mount("tmpfs", dir.join("sub"), "tmpfs", 0, "").must("mount");
    for (option, wanted) in [
        ("private", ""),
        ("shared", "/data"),
        ("rshared", "/data\n/data/sub"),
    ] {
        let mut bundle = env.bundle();
        bundle
            .mount("/data", "bind", &dir, &["rbind", option])
            .sh("grep ' /data.* shared:' /proc/self/mountinfo | cut -d' ' -f5");
        env.run(&bundle).ok().prints(wanted);
    }
    sys::umount(dir.join("sub")).must("unmount");
    sys::umount(&dir).must("unmount");
}

#[test]
fn events_follow_the_propagation() {
    let env = Env::new();
    let dir = env.dir.join("volume");
    fs::create_dir(&dir).must("a directory");
    sys::mount("tmpfs", &dir, "tmpfs", 0, "").must("mount");
    sys::mount("", &dir, "", libc::MS_SHARED, "").must("share");
    fs::create_dir_all(dir.join("sub")).must("a directory");
    fs::create_dir_all(dir.join("own")).must("a directory");
    for (option, host_to_container, container_to_host) in [
        ("rprivate", false, false),
        ("rslave", true, false),
        ("rshared", true, true),
    ] {
        let mut bundle = env.bundle();
        bundle
            .capabilities(&["CAP_SYS_ADMIN"])
            .mount("/volume", "bind", &dir, &["rbind", option])
            .set("/linux/rootfsPropagation", json!("rshared"));
        bundle.sh("mount -t tmpfs inside /volume/own; echo mounted; while :; do ls /volume/sub; sleep 0.02; done");
        let (id, running) = env.spawn(&bundle);
        running.expect("mounted");
        let table = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
        assert_eq!(
            table.contains(" - tmpfs inside "),
            container_to_host,
            "{option}: a mount of the container on the host"
        );
        sys::mount("tmpfs", dir.join("sub"), "tmpfs", 0, "").must("mount");
        fs::write(dir.join("sub").join(format!("seen-{option}")), "").must("a file");
        let seen = || {
            running
                .stdout()
                .contains(&format!("seen-{option}"))
                .then_some(())
        };
        assert_eq!(
            orlop_tests::soon(std::time::Duration::from_millis(400), seen).is_some(),
            host_to_container,
            "{option}: a mount of the host in the container"
        );
        env.orlop(&["delete", "--force", &id]).run().ok();
        running.wait();
        for name in ["sub", "own"] {
            // The second one exists only where the container's mount came through.
            sys::umount(dir.join(name)).unwrap_or_default();
        }
    }
    sys::umount(&dir).must("unmount");
}

#[test]
fn root_propagation() {
    let shown = "grep ' / / ' /proc/self/mountinfo; cut -d' ' -f5- /proc/self/mountinfo | grep '^/ ' | sed 's/ - .*//' | cut -d' ' -f3- | sed 's/[0-9]//g'";
    for (value, wanted) in [
        ("private", ""),
        ("rprivate", ""),
        ("slave", ""),
        ("rslave", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("unbindable", "unbindable"),
    ] {
        let env = Env::new();
        let mut bundle = env.bundle();
        bundle
            .set("/linux/rootfsPropagation", json!(value))
            .sh(shown);
        let text = env.run(&bundle).ok().stdout();
        assert!(text.contains(wanted), "{value}: {text:?}");
        if wanted.is_empty() {
            assert!(
                !text.contains("shared:") && !text.contains("unbindable"),
                "{value}: {text:?}"
            );
        }
    }
}

#[test]
fn data_options_on_a_bind_mount_are_a_warning() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .mount(
            "/data",
            "bind",
            source(&env),
            &["bind", "mode=755", "size=10m"],
        )
        .args(&["cat", "/data/file"]);
    let done = env.run(&bundle).ok().prints("content");
    assert!(
        done.stderr().contains("mounts[7]"),
        "the warning names the mount\n{done}"
    );
}

#[test]
fn the_cgroup_mount_shows_the_containers_own_hierarchies() {
    if only_v2() {
        return check(
            |b| {
                b.namespace("cgroup", None);
            },
            "cd /sys/fs/cgroup; head -n 1 cgroup.procs; grep ^0: /proc/self/cgroup; mkdir x 2>&1; true",
            "1\n0::/\nmkdir: can't create directory 'x': Read-only file system",
        );
    }
    let list = "cd /sys/fs/cgroup; for c in memory pids devices; do test -d $c && echo $c; done; mkdir pids/x 2>&1; true";
    check(
        |b| {
            b.namespace("cgroup", None);
        },
        list,
        "memory\npids\ndevices\nmkdir: can't create directory 'pids/x': Read-only file system",
    );
    check(
        |b| {
            b.namespace("cgroup", None);
        },
        "cut -d: -f3 /proc/self/cgroup | sort -u; cat /sys/fs/cgroup/pids/cgroup.procs | head -n 1",
        "/\n1",
    );
    // Without a cgroup namespace the mount still shows the container's own part, not the host's.
    check(|_| (), "head -n 1 /sys/fs/cgroup/pids/cgroup.procs", "1");
}

#[test]
fn mounts_are_made_in_order() {
    check(
        |b| {
            b.mount("/a", "tmpfs", "first", &[])
                .mount("/a/b", "tmpfs", "second", &[])
                .mount("/a", "tmpfs", "third", &[]);
        },
        "ls /a; mount | grep -c ' /a'",
        "3",
    );
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted_on_the_host() {
    let env = Env::new();
    let before = env.world();
    let mut bundle = env.bundle();
    bundle.without_namespace("mount").args(&["true"]);
    let done = env.run(&bundle);
    // Mounts, masks and a root of its own need the namespace: either way the host keeps its table.
    assert!(
        done.rc == 0 || done.stderr().to_lowercase().contains("namespace"),
        "{done}"
    );
    env.as_before(&before, "a config without a mount namespace");
}
