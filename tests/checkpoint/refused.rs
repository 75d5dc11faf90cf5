//! What is refused, and what is left then: nothing but criu's log.

use crate::{Place, counter, passes};
use orlop_tests::{Env, Must, hierarchies, skip, sys};
use std::fs;
use std::time::Duration;

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn lines_that_make_no_sense() {
    let _alone = hierarchies();
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let before = env.world();
    let dir = bundle.dir.display().to_string();
    let check = |line: &[&str], parts: &[&str]| {
        env.orlop(line).run().refused(1, parts);
        env.as_before(&before, &line.join(" "));
    };
    check(&["checkpoint"], &["checkpoint", "exactly 1"]);
    check(&["checkpoint", "no-such"], &["container does not exist"]);
    check(
        &["checkpoint", "--manage-cgroups-mode", "hard", &id],
        &["--manage-cgroups-mode", "hard"],
    );
    check(
        &["checkpoint", "--empty-ns", "pid", &id],
        &["--empty-ns", "pid"],
    );
    check(
        &["checkpoint", "--page-server", "host", &id],
        &["--page-server", "ADDRESS:PORT"],
    );
    check(
        &["checkpoint", "--page-server", "host:0", &id],
        &["--page-server", "ADDRESS:PORT"],
    );
    check(
        &["checkpoint", "--network-lock", "none", &id],
        &["--network-lock", "none"],
    );
    check(
        &["checkpoint", "--parent-path", "/p", &id],
        &["--parent-path", "relative"],
    );
    check(
        &["checkpoint", "--parent-path", "p", &id],
        &["--parent-path"],
    );
    check(
        &["checkpoint", "--status-fd", "77", &id],
        &["--status-fd", "not open"],
    );
    check(
        &["checkpoint", "--status-fd", "0", &id],
        &["--status-fd", "for writing"],
    );
    check(&["restore", "--bundle", &dir], &["restore", "exactly 1"]);
    check(
        &[
            "restore",
            "--bundle",
            &dir,
            "--image-path",
            "/no/such",
            "new",
        ],
        &["--image-path", "/no/such", "no such file"],
    );
    check(
        &["restore", "--bundle", &dir, "--lsm-profile", "x", "new"],
        &["--lsm-profile", "TYPE:NAME"],
    );
    check(&["restore", "--bundle", "/no/such", "new"], &["/no/such"]);
    let missing = env
        .orlop(&["restore", "--lsm-mount-context"])
        .run()
        .exits(1);
    assert!(
        missing.stderr().contains("flag needs an argument"),
        "podman looks for this text\n{missing}"
    );
    for command in ["checkpoint", "restore"] {
        let help = env.orlop(&[command, "--help"]).run().ok().stdout();
        assert!(
            help.contains("--image-path") && help.contains("--tcp-established"),
            "{help}"
        );
    }
}

#[test]
fn containers_that_do_not_run() {
    let env = Env::new();
    let bundle = counter(&env);
    let id = env.create(&bundle);
    env.orlop(&["checkpoint", &id])
        .run()
        .refused(1, &["created"]);
    env.orlop(&["kill", &id, "KILL"]).run().ok();
    env.reaches(&id, "stopped");
    env.orlop(&["checkpoint", &id])
        .run()
        .refused(1, &["container not running"]);
}

#[test]
fn a_device_of_the_host_does_not_come_back() {
    let _alone = hierarchies();
    let env = Env::new();
    let mut bundle = env.bundle();
    let devices = serde_json::json!({"eth7": {"name": "eth0"}});
    bundle.set("/linux/netDevices", devices).write();
    let before = env.world();
    let restore = env.orlop(&["restore", "--bundle"]).arg(&bundle.dir);
    restore
        .arg(env.id())
        .run()
        .refused(1, &["linux.netDevices.eth7", "criu"]);
    env.as_before(&before, "a restore with a device");
}

#[test]
fn a_host_without_criu() {
    let _alone = hierarchies();
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let nothing = env.dir.join("nothing");
    fs::write(&nothing, "").must("nothing");
    let mut hidden = Vec::new();
    for dir in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"] {
        let criu = std::path::Path::new(dir).join("criu");
        if criu.exists() {
            sys::mount(nothing.display().to_string(), &criu, "", libc::MS_BIND, "")
                .must("hide criu");
            hidden.push(criu);
        }
    }
    let images = env.dir.join("images");
    let work = env.dir.join("work");
    // An engine's environment may be empty.
    for path in ["", "/no/such"] {
        env.orlop(&["checkpoint", "--image-path"])
            .arg(&images)
            .arg("--work-path")
            .arg(&work)
            .arg(&id)
            .env("PATH", path)
            .run()
            .refused(1, &["criu not found in PATH; install criu"]);
    }
    assert!(work.join("dump.log").exists(), "containerd copies it");
    assert_eq!(env.state(&id)["status"], "running");
    let before = env.world();
    env.orlop(&["restore", "--image-path"])
        .arg(&images)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(env.id())
        .env("PATH", "")
        .run()
        .refused(1, &["criu not found in PATH; install criu"]);
    env.as_before(&before, "restore without criu");
    for criu in hidden {
        sys::umount(criu).must("show criu");
    }
}

#[test]
fn a_failed_restore_leaves_nothing() {
    let Some(place) = Place::new("a_failed_restore_leaves_nothing") else {
        return;
    };
    let env = &place.env;
    let bundle = counter(env);
    let id = env.start(&bundle);
    passes(&bundle, 1);
    place.checkpoint(&id, &[]).ok();
    assert!(place.images().join("dump.log").exists());
    let before = env.world();
    place
        .restoring(&bundle, &id, &[])
        .run()
        .refused(1, &["already exists"]);
    env.as_before(&before, "an id that is taken");
    env.orlop(&["delete", &id]).run().ok();

    let before = env.world();
    let nowhere = env.dir.join("no/such/pid").display().to_string();
    place
        .restoring(&bundle, &id, &["--pid-file", &nowhere])
        .run()
        .refused(1, &["pid file"]);
    env.as_before(&before, "a pid file without a directory");
    // Late: all processes are there already.
    fs::create_dir(env.dir.join(".late")).must("a directory in its way");
    let late = env.dir.join("late").display().to_string();
    place
        .restoring(&bundle, &id, &["--pid-file", &late])
        .run()
        .refused(1, &["pid file"]);
    env.as_before(&before, "a pid file that cannot be written");
    // In criu.
    fs::remove_file(place.images().join("core-1.img")).must("core-1.img");
    place
        .restoring(&bundle, &id, &[])
        .run()
        .refused(1, &["criu", "restore.log"]);
    env.as_before(&before, "an image that is broken");
    assert!(place.images().join("restore.log").exists());
    // Before criu.
    fs::remove_file(place.images().join("descriptors.json")).must("descriptors.json");
    place.restoring(&bundle, &id, &[]).run().refused(
        1,
        &[
            "/descriptors.json: no such file or directory; name",
            "checkpoint --image-path",
        ],
    );
    env.as_before(&before, "an image that is none");
}

#[test]
fn a_checkpoint_that_is_killed() {
    if std::env::var_os("ORLOP_LONG").is_none() {
        // It would hold up the controllers that other tests mount.
        skip(
            "a_checkpoint_that_is_killed",
            "a criu whose caller was killed may wait for ever; ORLOP_LONG=1 tries it",
        );
        return;
    }
    let Some(place) = Place::new("a_checkpoint_that_is_killed") else {
        return;
    };
    let env = &place.env;
    let bundle = counter(env);
    let clean = env.world();
    let pause = |steps: u64| std::thread::sleep(Duration::from_millis(steps * 40));
    for step in 0..8 {
        let id = env.start(&bundle);
        passes(&bundle, 0);
        let images = place.images().display().to_string();
        let dump = place
            .orlop(&["checkpoint", "--image-path", &images, &id])
            .spawn();
        pause(step);
        // It may have ended already.
        sys::kill(dump.pid(), libc::SIGKILL).unwrap_or_default();
        dump.wait();
        let status = env.state(&id)["status"].clone();
        let alive = status == "running" || status == "paused";
        assert!(alive || status == "stopped", "step {step}: {status}");
        env.orlop(&["delete", "--force", &id]).run().ok();
        env.as_before(&clean, &format!("checkpoint killed at step {step}"));
    }
}

#[test]
fn a_restore_that_is_killed() {
    if std::env::var_os("ORLOP_LONG").is_none() {
        // It would hold up the controllers that other tests mount.
        skip(
            "a_restore_that_is_killed",
            "a criu whose caller was killed may wait for ever; ORLOP_LONG=1 tries it",
        );
        return;
    }
    let Some(place) = Place::new("a_restore_that_is_killed") else {
        return;
    };
    let env = &place.env;
    let bundle = counter(env);
    let clean = env.world();
    let id = env.start(&bundle);
    passes(&bundle, 0);
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    for step in 0..24 {
        let restore = place.restoring(&bundle, &id, &[]).spawn();
        std::thread::sleep(Duration::from_millis(step * 15));
        // It may have ended already.
        sys::kill(restore.pid(), libc::SIGKILL).unwrap_or_default();
        restore.wait();
        env.orlop(&["delete", "--force", &id]).run().ok();
        env.as_before(&clean, &format!("restore killed at step {step}"));
    }
    place.restoring(&bundle, &id, &[]).run().ok();
}
