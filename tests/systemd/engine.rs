//! An engine that lets systemd own its cgroups.

use crate::{is_v2, property, runs};
use orlop_tests::{Cmd, Env, orlop, skip};
use std::path::Path;

#[test]
fn podman_runs_containers_in_scopes() {
    if !runs("podman") {
        return;
    }
    if !Path::new("/usr/bin/podman").exists() {
        return skip("podman", "podman is not installed");
    }
    let env = Env::new();
    let bundle = env.bundle();
    let place = env.dir.join("podman");
    let podman = |args: &[&str]| -> Cmd {
        let mut podman = env.cmd("podman");
        for (option, name) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            podman = podman.arg(option).arg(place.join(name));
        }
        let rest = [
            "--storage-driver",
            "vfs",
            "--events-backend",
            "file",
            "--cgroup-manager",
            "systemd",
            "--runtime",
        ];
        podman.args(rest).arg(orlop()).args(args)
    };
    let run = |flags: &[&str], program: &[&str]| {
        let run = podman(&[
            "run",
            "--network",
            "none",
            "--memory",
            "64m",
            "--ulimit",
            "host",
        ]);
        run.args(flags)
            .arg("--rootfs")
            .arg(bundle.rootfs())
            .args(program)
    };
    let file = if is_v2() {
        "/sys/fs/cgroup/memory.max"
    } else {
        "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    };
    run(&["--rm"], &["cat", file]).run().ok().prints("67108864");
    let id = run(&["--detach"], &["sleep", "600"]).run().ok().stdout();
    let unit = format!("libpod-{}.scope", id.trim());
    assert_eq!(property(&env, &unit, "ActiveState"), "active");
    podman(&["exec", id.trim(), "true"]).run().ok();
    podman(&["rm", "--force", "--time", "0", id.trim()])
        .run()
        .ok();
    assert_eq!(property(&env, &unit, "LoadState"), "not-found");
}
