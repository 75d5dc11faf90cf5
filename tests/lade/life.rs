//! The life of a run: a container never outlives whoever attends to it, whatever end he comes to.

use orlop_tests::registry::{Image, Registry};
use orlop_tests::{Cmd, Lade, Must, Pty, complaint, soon};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

/// A program that hears no signal which it may ignore.
const DEAF: &str = "trap '' HUP INT QUIT TERM USR1 USR2; echo ready; while :; do sleep 1000; done";

fn pulled() -> (Lade, Registry, String) {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    lade.ok(&["pull", &name]);
    lade.swept();
    (lade, registry, name)
}

fn run(lade: &Lade, args: &[&str]) -> Cmd {
    lade.cmd(&["run", "--rm", "--network", "none"]).args(args)
}

/// The only container there is.
#[track_caller]
fn container(lade: &Lade) -> String {
    let ids = lade.containers();
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids.concat()
}

/// Waits until the kernel has nothing of the container any more, without another command's help.
#[track_caller]
fn gone(lade: &Lade, id: &str, limit: u64) {
    let mut left = Vec::new();
    soon(Duration::from_secs(limit), || {
        left = lade.left_of(id);
        left.is_empty().then_some(())
    });
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_killed_engine_takes_its_container_along() {
    let (lade, _registry, name) = pulled();
    let before = (lade.files(), lade.env.world());
    for (options, terminal) in [
        (&[] as &[&str], None),
        // One that nobody looks at.
        (&["-t"], None),
        (&["-it"], Some(Pty::open())),
    ] {
        let args = [options, &[name.as_str(), "sh", "-c", DEAF]].concat();
        let (mut running, mut terminal) = match terminal {
            None => (run(&lade, &args).spawn(), None),
            Some(own) => (run(&lade, &args).on(&own).spawn(), Some(own)),
        };
        match &mut terminal {
            None => running.expect("ready"),
            Some(terminal) => drop(terminal.expect("ready")),
        }
        let id = container(&lade);
        assert!(!lade.left_of(&id).is_empty());
        running.child.kill().must("kill");
        running.wait();
        gone(&lade, &id, 10);
        // Its directory is the next command's.
        lade.ok(&["image", "prune", "-f"]);
        lade.swept();
        let new = |path: &std::path::PathBuf| !before.0.contains(path);
        let left: Vec<_> = lade.files().into_iter().filter(new).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    lade.env.as_before(&before.1, "after three kills");
    lade.whole();
}

#[test]
fn a_signal_that_waits_already_does_not_hide_the_end_of_the_engine() {
    let (lade, _registry, name) = pulled();
    let mut running = run(&lade, &[&name, "sh", "-c", DEAF]).spawn();
    running.expect("ready");
    let id = container(&lade);
    let engine = running.pid();
    // Any of its threads may have begun it.
    let threads = fs::read_dir(format!("/proc/{engine}/task")).must("the engine's threads");
    let children = threads
        .flatten()
        .map(|thread| fs::read_to_string(thread.path().join("children")).must("its children"));
    let children: String = children.collect();
    let runtime: i32 = children.trim().parse().must("one child, the runtime");
    let signal = |pid, signal| orlop_tests::sys::kill(pid, signal).must("a signal");
    // One of each kind waits at a time: what the kernel sends for the engine's end is none more.
    signal(runtime, libc::SIGSTOP);
    signal(runtime, libc::SIGTERM);
    running.child.kill().must("kill");
    running.wait();
    signal(runtime, libc::SIGCONT);
    gone(&lade, &id, 10);
    lade.ok(&["image", "prune", "-f"]);
    lade.whole();
}

#[test]
fn a_container_whose_engine_and_runtime_were_killed_ends_with_the_next_command() {
    let (lade, _registry, name) = pulled();
    let before = (lade.files(), lade.env.world());
    let mut running = run(&lade, &[&name, "sh", "-c", DEAF]).spawn();
    running.expect("ready");
    let id = container(&lade);
    let runtime = Lade::children(running.pid());
    // Stopped, so that it cannot take its container along.
    for pid in &runtime {
        orlop_tests::sys::kill(*pid, libc::SIGSTOP).must("stop the runtime");
    }
    running.child.kill().must("kill");
    running.wait();
    for pid in &runtime {
        orlop_tests::sys::kill(*pid, libc::SIGKILL).must("kill the runtime");
    }
    assert!(!lade.left_of(&id).is_empty());
    run(&lade, &[&name, "true"]).run().ok();
    gone(&lade, &id, 5);
    lade.swept();
    let new = |path: &std::path::PathBuf| !before.0.contains(path);
    let left: Vec<_> = lade.files().into_iter().filter(new).collect();
    assert!(left.is_empty(), "{left:?}");
    lade.env.as_before(&before.1, "after a kill");
}

#[test]
fn the_third_signal_ends_what_hears_none() {
    let (lade, _registry, name) = pulled();
    let before = lade.files();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut running = run(&lade, &[&name, "sh", "-c", DEAF]).spawn();
        running.expect("ready");
        let id = container(&lade);
        for _ in 0..2 {
            orlop_tests::sys::kill(running.pid(), signal).must("a signal");
            std::thread::sleep(Duration::from_millis(300));
            assert!(running.child.try_wait().must("a look").is_none());
        }
        orlop_tests::sys::kill(running.pid(), signal).must("the third signal");
        let done = running.wait().exits(137);
        let text = "got 3 SIGTERM/SIGINTs, forcefully exiting";
        assert!(done.stderr().contains(text), "{done}");
        assert!(lade.left_of(&id).is_empty() && lade.containers().is_empty());
    }
    lade.swept();
    assert_eq!(lade.files(), before);
}

#[test]
fn a_closed_terminal_ends_its_container() {
    let (lade, _registry, name) = pulled();
    let told = "trap 'exit 3' HUP; echo ready; while :; do sleep 0.1; done";
    // One that hears it ends at once, and the other one is killed after ten seconds.
    for (script, limit) in [(told, 8), (DEAF, 20)] {
        let line = format!(
            "exec {} --data-root {} --run-root {} --runtime {} run -it --network none {name} sh -c \"{script}\"",
            orlop_tests::lade().display(),
            lade.data.display(),
            lade.run.display(),
            orlop_tests::orlop().display(),
        );
        // script(1) is the terminal.
        let mut terminal = lade
            .other("script")
            .args(["-qfc", &line, "/dev/null"])
            .spawn();
        terminal.expect("ready");
        let id = container(&lade);
        terminal.child.kill().must("close the terminal");
        terminal.wait();
        gone(&lade, &id, limit);
        let removed = || lade.containers().is_empty().then_some(());
        soon(Duration::from_secs(5), removed).must("the engine cleans up");
    }
}

#[test]
fn what_has_not_that_network_or_annotation_is_refused() {
    let (lade, _registry, name) = pulled();
    for (args, parts) in [
        (
            &["--network", "bridge", &name, "true"] as &[&str],
            &["network bridge is not there yet", "none"] as &[&str],
        ),
        (
            &["--net", "default", &name, "true"],
            &["network default is not there yet", "host"],
        ),
        (
            &["--net", "own", &name, "true"],
            &["network own not found", "host and none"],
        ),
        (
            &["--annotation", "x", &name, "true"],
            &["--annotation", "\"x\" is not KEY=VALUE"],
        ),
    ] {
        let done = lade.cmd(&["run"]).args(args).run();
        assert_eq!(complaint(&done, &[125], parts), None, "{done}");
    }
    let done = lade
        .cmd(&["run", "--net", "none", &name, "ls", "/sys/class/net"])
        .run();
    done.ok().prints("lo");
}

#[test]
fn a_quiet_run_says_nothing_of_its_pull() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    let done = run(&lade, &["-q", &name, "echo", "here"]).run().ok();
    assert_eq!(
        (done.stdout().as_str(), done.stderr().as_str()),
        ("here\n", "")
    );
}

#[test]
fn the_runtime_is_told_the_annotations() {
    let (lade, _registry, name) = pulled();
    let script = "echo ready; read line";
    let args = ["-i", "--annotation", "a.b=c=d", &name, "sh", "-c", script];
    let mut running = run(&lade, &args)
        .with(|command| {
            command.stdin(std::process::Stdio::piped());
        })
        .spawn();
    running.expect("ready");
    let bundle = lade
        .data
        .join("containers")
        .join(container(&lade))
        .join("bundle");
    let text = fs::read(bundle.join("config.json")).must("config.json");
    let spec: serde_json::Value = serde_json::from_slice(&text).must("JSON");
    assert_eq!(spec["annotations"], serde_json::json!({ "a.b": "c=d" }));
    drop(running.child.stdin.take());
    running.wait();
}

#[test]
fn the_run_root_is_for_its_owner() {
    let (lade, _registry, name) = pulled();
    run(&lade, &[&name, "true"]).run().ok();
    for path in [lade.run.clone(), lade.run.join("runtime")] {
        let found = fs::metadata(&path).must(path.display());
        assert_eq!(found.mode() & 0o777, 0o700, "{}", path.display());
    }
}

#[test]
fn the_runtime_beside_the_engine_counts_before_those_of_path() {
    let (lade, _registry, name) = pulled();
    let (own, path) = (lade.env.dir.join("own"), lade.env.dir.join("path"));
    let stub = |dir: &Path| {
        fs::create_dir(dir).must(dir.display());
        let program = dir.join("orlop");
        let text = format!("#!/bin/sh\necho of {}\n", dir.display());
        fs::write(&program, text).must(program.display());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).must(program.display());
    };
    stub(&own);
    stub(&path);
    orlop_tests::copy_program(&orlop_tests::lade(), &own.join("lade"));
    let says = |program: &Path| {
        let args = ["run", "--network", "none", &name, "true"];
        let cmd = lade.other(&program.display().to_string());
        let cmd = cmd.with(|command| {
            command.env_remove("LADE_RUNTIME");
        });
        let cmd = cmd.env("PATH", format!("{}:/usr/bin:/bin", path.display()));
        let cmd = cmd.arg("--data-root").arg(&lade.data);
        let done = cmd.arg("--run-root").arg(&lade.run).args(args).run();
        done.stdout()
    };
    assert_eq!(says(&own.join("lade")), format!("of {}\n", own.display()));
    fs::remove_file(own.join("orlop")).must("remove");
    assert_eq!(says(&own.join("lade")), format!("of {}\n", path.display()));
}
