//! What a container of an ordinary user must not give to anybody.

use crate::{Map, User};
use orlop_tests::{Must, sys, until};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// Everything that a configuration can give.
const ALL: [&str; 8] = [
    "CAP_SYS_ADMIN",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_SYS_PTRACE",
];

#[test]
fn groups_that_deny_stay_with_the_own_id_alone() {
    let Some(user) = User::new("setgroups") else {
        return;
    };
    let mut bundle = user.bundle();
    bundle.capabilities(&ALL);
    bundle.sh("cat /proc/self/setgroups; echo allow > /proc/self/setgroups; cat /proc/self/setgroups; unshare -U cat /proc/self/setgroups");
    bundle.set("/process/noNewPrivileges", json!(false));
    let done = user.run(&bundle);
    assert_eq!(done.stdout(), "deny\ndeny\ndeny\n", "{done}");
    bundle.args(&["sleep", "600"]);
    let id = user.start(&bundle);
    user.orlop(&["exec", "-g", "0", &id, "true"])
        .run()
        .refused(255, &["cannot set any additional groups"]);
    user.orlop(&["exec", &id, "cat", "/proc/self/setgroups"])
        .run()
        .ok()
        .prints("deny");
}

#[test]
fn nothing_of_roots_is_reached() {
    let Some(user) = User::new("root's files") else {
        return;
    };
    let dir = user.env.dir.join("roots");
    fs::create_dir(&dir).must("a directory");
    fs::write(dir.join("secret"), "secret").must("a file");
    fs::write(dir.join("plain"), "plain").must("a file");
    fs::set_permissions(dir.join("secret"), Permissions::from_mode(0o600)).must("its mode");
    for map in [Map::Single, Map::Ranges] {
        let mut bundle = user.bundle();
        user.map(&mut bundle, map);
        bundle
            .capabilities(&ALL)
            .mount("/roots", "bind", &dir, &["bind", "rw"]);
        bundle.sh("cat /roots/secret; echo mine > /roots/plain; rm -f /roots/plain; chmod 777 /roots/secret; chown 0 /roots/secret; mknod /tmp/sda b 8 0; kill -9 1 2>/dev/null; echo end");
        let done = user.run(&bundle);
        assert_eq!(done.stdout(), "end\n", "{done}");
        assert_eq!(
            fs::read_to_string(dir.join("plain")).must("the file"),
            "plain",
            "{done}"
        );
        assert_eq!(User::mode(&dir.join("secret")), (0, 0o600), "{done}");
        assert!(!bundle.rootfs().join("tmp/sda").exists(), "{done}");
    }
    // Nor does the runtime itself reach it for the user.
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).must("its mode");
    let mut bundle = user.bundle();
    bundle
        .args(&["true"])
        .mount("/roots", "bind", dir.join("plain"), &["bind"]);
    user.run(&bundle)
        .refused(1, &["mounts[7].source", "permission denied"]);
}

#[test]
fn options_of_the_hosts_mounts_are_locked() {
    let Some(user) = User::new("locked mounts") else {
        return;
    };
    let dir = user.env.dir.join("volume");
    fs::create_dir(&dir).must("a directory");
    sys::mount("tmpfs", &dir, "tmpfs", 0, "mode=777").must("mount");
    fs::write(dir.join("file"), "host").must("a file");
    fs::set_permissions(dir.join("file"), Permissions::from_mode(0o666)).must("its mode");
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID;
    sys::mount("", &dir, "", flags, "").must("remount");
    let mut bundle = user.bundle();
    bundle
        .capabilities(&ALL)
        .mount("/volume", "bind", &dir, &["bind"]);
    bundle.sh("mount -o remount,bind,rw /volume && echo unlocked; umount /volume && echo gone; echo mine > /volume/file");
    let done = user.run(&bundle);
    bundle.config["mounts"][7]["options"] = json!(["bind", "rw"]);
    let asked = user.run(&bundle);
    let text = fs::read_to_string(dir.join("file")).must("the file");
    sys::umount(&dir).must("unmount");
    assert_eq!(text, "host", "{done}");
    assert!(!done.stdout().contains("unlocked"), "{done}");
    asked.refused(1, &["mounts[7]", "operation not permitted"]);
}

#[test]
fn a_state_root_of_another_user_is_refused() {
    let Some(user) = User::new("state root") else {
        return;
    };
    let mut bundle = user.bundle();
    bundle.args(&["sleep", "600"]).write();
    let roots = user.env.dir.join("roots");
    fs::create_dir(&roots).must("a directory");
    fs::set_permissions(&roots, Permissions::from_mode(0o777)).must("its mode");
    let root = roots.to_str().must("a plain path");
    let run = user
        .orlop(&["--root", root, "run", "--bundle"])
        .arg(&bundle.dir);
    run.arg(user.env.id())
        .run()
        .refused(1, &["state root", "belongs to user 0", "--root"]);
    user.orlop(&["--root", root, "list"])
        .run()
        .refused(1, &["belongs to user 0"]);
    // The other way round most of all: a record says which hooks run.
    let id = user.start(&bundle);
    let own = user.state_root();
    for args in [
        &["delete", "--force", &id][..],
        &["state", &id],
        &["list"],
        &["exec", &id, "true"],
    ] {
        let done = user
            .env
            .cmd(orlop_tests::orlop())
            .arg("--root")
            .arg(&own)
            .args(args)
            .run();
        let text = format!("belongs to user {}", user.uid);
        assert!(done.rc != 0 && done.stderr().contains(&text), "{done}");
    }
    assert_eq!(user.state(&id)["status"], "running");
}

#[test]
fn cve_2023_25809_cgroups_are_read_only_without_a_cgroup_namespace() {
    let Some(user) = User::new("CVE-2023-25809") else {
        return;
    };
    // All of the host's tree, as `spec --rootless` shows it, and with what would make it writable.
    let mut bundle = user.bundle();
    bundle.capabilities(&ALL[1..]).without_namespace("network");
    let mounts = bundle.config["mounts"].as_array_mut().must("mounts");
    mounts.truncate(5);
    bundle.mount(
        "/sys",
        "none",
        "/sys",
        &["rbind", "nosuid", "noexec", "nodev", "ro"],
    );
    bundle.sh("grep ' /sys' /proc/self/mountinfo | grep -v ' ro,' ; mount -o remount,bind,rw /sys/fs/cgroup && echo unlocked; echo end");
    let done = user.run(&bundle).ok();
    assert_eq!(done.stdout(), "end\n", "{done}");
}

#[test]
fn cve_2019_5736_the_runtime_is_not_written_through_its_process() {
    let Some(user) = User::new("CVE-2019-5736") else {
        return;
    };
    let program = user.env.dir.join("own/orlop");
    let before = fs::read(&program).must("the runtime");
    let mut bundle = user.bundle();
    bundle.args(&["sleep", "600"]);
    let id = user.start(&bundle);
    // A program that is interpreted by the runtime's own file, which then is /proc/self/exe of a process in the container.
    fs::write(bundle.rootfs().join("tmp/x"), "#!/proc/self/exe\n").must("a script");
    fs::set_permissions(bundle.rootfs().join("tmp/x"), Permissions::from_mode(0o755))
        .must("its mode");
    for _ in 0..5 {
        // It fails in any way; what counts is that nobody could write meanwhile.
        user.orlop(&["exec", &id, "/tmp/x"]).run();
    }
    let script = "for i in 1 2 3 4 5 6 7 8 9; do for p in /proc/[0-9]*; do echo overwritten > $p/exe; done; done 2>/dev/null; true";
    let writer = user.orlop(&["exec", &id, "sh", "-c", script]).spawn();
    for _ in 0..10 {
        user.orlop(&["exec", &id, "true"]).run().ok();
    }
    writer.wait();
    assert!(
        fs::read(&program).must("the runtime") == before,
        "the runtime was written"
    );
}

#[test]
fn cve_2016_9962_what_enters_cannot_be_looked_into() {
    let Some(user) = User::new("CVE-2016-9962") else {
        return;
    };
    let mut bundle = user.bundle();
    user.map(&mut bundle, Map::Ranges);
    bundle.capabilities(&ALL);
    // Looks at the descriptors of every process that comes, all the time.
    let script = "echo ready; while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) ;; *) ls -l $p/fd 2>/dev/null | grep -E 'socket|/own/';; esac; done; done";
    bundle.sh(script).write();
    let id = user.env.id();
    let create = user.orlop(&["create", "--bundle"]);
    let said = create.arg(&bundle.dir).arg(&id).run().ok();
    user.orlop(&["start", &id]).run().ok();
    until("the look-out", || {
        (said.stdout() == "ready\n").then_some(())
    });
    for _ in 0..20 {
        // What enters has its parent's socket until its program begins.
        user.orlop(&["exec", &id, "true"]).run().ok();
    }
    user.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(said.stdout(), "ready\n", "{said}");
}
