//! `run`: exit codes, signals, orphans, stdio, --detach and --keep.

use orlop_tests::{Env, Must, cgroup_paths, skip, sys, until};
use serde_json::json;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

#[test]
fn the_exit_code_is_the_programs() {
    let env = Env::new();
    let world = env.world();
    for (script, rc) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -9 $$; sleep 1", 0),
        ("exec sleep 0", 0),
    ] {
        let mut bundle = env.bundle();
        // Init of a pid namespace is immune to signals of its own; a child is not.
        bundle.sh(if script.starts_with("kill") {
            "sh -c 'kill -9 $$'; exit 0"
        } else {
            script
        });
        env.run(&bundle).exits(rc);
        env.as_before(&world, script);
    }
    let mut bundle = env.bundle();
    bundle.without_namespace("pid").sh("kill -9 $$");
    env.run(&bundle).exits(128 + 9);
    env.as_before(&world, "killed by itself");
}

#[test]
fn a_program_that_is_not_there_is_refused_at_create() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    fs::write(bundle.rootfs().join("bin/plain"), "text").must("a file that is not executable");
    for (program, text) in [
        (
            "nosuch",
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        ("/bin/nosuch", "no such file or directory"),
        ("/bin/plain", "permission denied"),
        ("/bin", "is a directory"),
        ("/etc/passwd/x", "not a directory"),
    ] {
        bundle.args(&[program]).write();
        let text = text.replace("is a directory", "");
        env.orlop(&["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .run()
            .refused(1, &["create failed: ", program, &text]);
        env.as_before(&world, program);
        env.run(&bundle).refused(1, &[program, &text]);
        env.as_before(&world, program);
    }
}

#[test]
fn signals_are_passed_on() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("trap 'exit 7' TERM; trap 'echo usr' USR1; trap 'echo winch' WINCH; echo ready; while :; do sleep 0.02; done");
    bundle.write();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .spawn();
    running.expect("ready");
    sys::kill(running.pid(), libc::SIGUSR1).must("signal the runtime");
    running.expect("usr");
    sys::kill(running.pid(), libc::SIGTERM).must("signal the runtime");
    running.wait().exits(7);
}

#[test]
fn stdio_is_the_callers() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("cat; echo err >&2");
    bundle.write();
    let text = "line\n".repeat(100_000);
    let done = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .stdin(text.clone())
        .run()
        .ok();
    assert!(
        done.stdout() == text,
        "{} of {} bytes came through",
        done.stdout().len(),
        text.len()
    );
    assert_eq!(done.stderr(), "err\n");
}

#[test]
fn non_blocking_stdio_stays_as_it_is() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("true");
    bundle.write();
    let (read, write) = std::io::pipe().must("a pipe");
    let keep = write.try_clone().must("a second end");
    let command = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .with(|command| {
            command.stdin(read);
            sys::give_fd(command, OwnedFd::from(write), 1);
        });
    command.run().ok();
    let flags = fs::read_to_string(format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(&keep)
    ))
    .must("fdinfo");
    assert!(
        flags.contains("flags:\t02000001"),
        "the pipe's flags have changed: {flags}"
    );
}

#[test]
fn detached_returns_and_leaves_a_pid_file() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("echo from inside; exec sleep 100");
    bundle.write();
    let id = env.id();
    // A relative path counts from the caller's directory, not from the bundle.
    let done = env
        .orlop(&["run", "--detach", "--pid-file", "pid", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .run()
        .ok();
    let pid = fs::read_to_string(env.dir.join("pid")).must("the pid file");
    assert_eq!(
        pid,
        env.pid(&id).to_string(),
        "the pid file holds digits and nothing else"
    );
    until("the container's stdout", || {
        (done.stdout() == "from inside\n").then_some(())
    });
    let names = fs::read_dir(&env.dir).must("the directory");
    let names: Vec<_> = names
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        !names.iter().any(|name| name.starts_with(".pid")),
        "a temporary file is left: {names:?}"
    );
}

#[test]
fn keep_leaves_the_stopped_container() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("exit 4");
    bundle.write();
    let id = env.id();
    env.orlop(&["run", "--keep", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .run()
        .exits(4);
    assert_eq!(env.state(&id)["status"], "stopped");
    env.orlop(&["delete", &id]).run().ok();
}

#[test]
fn orphans_of_a_shared_pid_namespace_end_with_the_container() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    bundle
        .without_namespace("pid")
        .sh("setsid sleep 1000 & exit 6");
    env.run(&bundle).exits(6);
    env.as_before(&world, "a run that left a background process");
}

#[test]
fn the_bundle_is_the_working_directory_by_default() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("echo here");
    bundle.write();
    env.orlop(&["run"])
        .arg(env.id())
        .dir(&bundle.dir)
        .run()
        .ok()
        .prints("here");
    env.orlop(&["run", "--bundle", "."])
        .arg(env.id())
        .dir(&bundle.dir)
        .run()
        .ok()
        .prints("here");
}

#[test]
fn flags_of_engines_are_understood() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("echo ran");
    bundle.write();
    let run = |before: &[&str], after: &[&str]| {
        env.orlop(before)
            .arg("run")
            .args(after)
            .arg("--bundle")
            .arg(&bundle.dir)
            .arg(env.id())
            .run()
            .ok()
            .prints("ran");
    };
    run(&["--debug"], &[]);
    run(&["--log-level", "debug"], &[]);
    run(&["--rootless=true"], &[]);
    run(&["--rootless", "auto"], &[]);
    run(&["-rootless=false"], &[]);
    run(&["--cgroup-manager", "cgroupfs"], &[]);
    run(&["--cgroup-manager=disabled"], &[]);
    run(&["--criu", "/usr/sbin/criu"], &[]);
    run(&[], &["-no-subreaper"]);
    run(&[], &["--no-subreaper"]);
    run(&[], &["--no-new-keyring"]);
    run(&[], &["--no-pivot"]);
    run(&[], &["-no-pivot", "-no-new-keyring", "--preserve-fds=0"]);
}

#[test]
fn bundle_and_configuration_are_named_by_options() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("echo ran").write();
    let dir = bundle.dir.to_str().must("a path").to_owned();
    let other = bundle.dir.join("other.json").display().to_string();
    let both = |flags: &[&str]| {
        let run = env.orlop(&["run"]).args(flags).arg(env.id());
        run.run().ok().prints("ran");
        let id = env.id();
        let create = env.orlop(&["create"]).args(flags);
        create.arg("--no-subreaper").arg(&id).run().ok();
        env.orlop(&["delete", &id]).run().ok();
    };
    both(&["--bundle", &dir]);
    both(&["-b", &dir]);
    both(&[&format!("--bundle={dir}")]);
    fs::rename(bundle.dir.join("config.json"), &other).must("rename config.json");
    both(&["--config", &other, "--bundle", &dir]);
    both(&["-f", &other, "-b", &dir]);
}

/// On a host that runs from an initramfs there is no parent mount to pivot from: pivot_root(2) answers EINVAL.
#[test]
fn without_a_pivot_the_root_changes_by_chroot() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("pwd; ls -d /rootfs 2>&1; true").write();
    let run = |flags: &[&str]| {
        let command = env.orlop(&["run"]).args(flags).arg("--bundle");
        let command = command.arg(&bundle.dir).arg(env.id());
        command
            .with(|command| sys::deny(command, libc::SYS_pivot_root, libc::EINVAL))
            .run()
    };
    run(&[]).refused(1, &["invalid argument"]);
    for flag in ["--no-pivot", "-no-pivot"] {
        run(&[flag])
            .ok()
            .prints("/\nls: /rootfs: No such file or directory");
    }
}

#[test]
fn a_container_has_a_keyring_unless_the_callers_is_kept() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/linux/maskedPaths", json!([]))
        .args(&["cat", "/proc/keys"])
        .write();
    if !Path::new("/proc/keys").exists() {
        return skip("--no-new-keyring", "this kernel has no keys");
    }
    for (flags, own) in [
        (&[][..], true),
        (&["--no-new-keyring"], false),
        (&["-no-new-keyring"], false),
    ] {
        let id = env.id();
        let command = env.orlop(&["run"]).args(flags).arg("--bundle");
        let done = command.arg(&bundle.dir).arg(&id).run().ok();
        let name = format!(" _ses.{id}: ");
        assert_eq!(done.stdout().contains(&name), own, "{flags:?}\n{done}");
    }
}

#[test]
fn cgroups_are_made_by_the_manager_that_is_named() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]).write();
    let start = |manager: &str| {
        let id = env.id();
        env.orlop(&["--cgroup-manager", manager, "run", "-d", "--bundle"])
            .arg(&bundle.dir)
            .arg(&id)
            .run()
            .ok();
        let paths = cgroup_paths(env.pid(&id));
        paths.iter().filter(|path| path.contains(&id)).count()
    };
    assert_ne!(start("cgroupfs"), 0);
    assert_eq!(start("disabled"), 0, "the caller's cgroups are kept");
    if Path::new("/run/systemd/private").exists() {
        return;
    }
    env.orlop(&["--cgroup-manager=systemd", "run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .run()
        .refused(1, &["systemd is not running here"]);
}

/// The line as conmon writes it: its own options first, the bundle, the pid file, switches, the id (conmon's `main`).
#[test]
fn as_conmon_calls() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]).write();
    let dir = bundle.dir.clone();
    let create = |id: &str| {
        let pid_file = env.dir.join("pidfile").display().to_string();
        let log = env.dir.join("oci-log").display().to_string();
        let line = ["--log-format=json", "--log", &log, "create", "--bundle"];
        let line = env.orlop(&line).arg(&dir);
        let line = line.args(["--pid-file", &pid_file, "--no-pivot", "--no-new-keyring"]);
        line.arg(id).run()
    };
    let id = env.id();
    let done = create(&id).ok();
    assert_eq!((done.stdout(), done.stderr()), Default::default());
    let pid = fs::read_to_string(env.dir.join("pidfile")).must("the pid file");
    assert_eq!(pid, env.pid(&id).to_string());
    env.orlop(&["delete", "--force", &id]).run().ok();
    bundle.args(&["nosuch"]).write();
    let done = create(&env.id()).exits(1);
    let said = done.stderr();
    assert_eq!(
        said.lines().count(),
        1,
        "conmon forwards what is there\n{done}"
    );
    assert!(
        said.len() < 8192 && said.contains("executable file not found"),
        "{done}"
    );
    env.as_before(&world, "a create that failed");
}

#[test]
fn an_empty_environment_suffices() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .sh("echo $HOME")
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.write();
    let command = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    let command = command.with(|command| {
        command.env_clear();
    });
    command.run().ok().prints("/home");
}
