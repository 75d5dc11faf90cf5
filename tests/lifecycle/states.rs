//! create, start, state, kill, pause, resume and delete, and what each says in the wrong moment.

use orlop_tests::{Env, Must, sys, until};
use serde_json::json;
use std::fs;

#[test]
fn created_waits_for_start() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/root/readonly", json!(false))
        .sh("echo up > /tmp/up; sleep 100");
    let id = env.create(&bundle);
    let state = env.state(&id);
    assert_eq!(state["status"], "created");
    assert!(
        sys::kill(env.pid(&id), 0).is_ok(),
        "the init process is there: {state}"
    );
    assert!(
        !bundle.rootfs().join("tmp/up").exists(),
        "the program runs before start"
    );

    env.orlop(&["start", &id]).run().ok();
    assert_eq!(env.state(&id)["status"], "running");
    until("the program's file", || {
        bundle.rootfs().join("tmp/up").exists().then_some(())
    });
    env.orlop(&["start", &id]).run().refused(1, &[]);
}

/// Lets a created container go as `start` does, and is gone before it takes the fifo away.
fn let_go(env: &Env, id: &str) {
    let fifo = env.root.join(id).join("exec.fifo");
    let mut byte = [0];
    let mut fifo = fs::File::open(&fifo).must(fifo.display());
    std::io::Read::read_exact(&mut fifo, &mut byte).must("the container's word");
}

#[test]
fn a_killed_start_does_not_make_a_running_container_look_created() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    let id = env.create(&bundle);
    let_go(&env, &id);
    env.reaches(&id, "running");
    assert!(env.root.join(&id).join("exec.fifo").exists());
    let list = env.orlop(&["list", "--format", "json"]).run().ok().json();
    assert_eq!(list[0]["status"], "running", "{list}");
    env.orlop(&["start", &id])
        .run()
        .refused(1, &["already running"]);
    env.orlop(&["delete", &id])
        .run()
        .refused(1, &["that is not stopped: running"]);
    env.exec(&id, &["true"]).ok();
    env.orlop(&["delete", "--force", &id]).run().ok();
}

#[test]
fn a_start_after_a_killed_one_does_not_wait_for_the_end() {
    let env = Env::new();
    for (program, words) in [
        ("sleep", "already running"),
        ("nosuch", "hooks.startContainer[0]"),
    ] {
        let mut bundle = env.bundle();
        let gate = bundle.rootfs().join("tmp/gate");
        let script = "until test -e /tmp/gate; do sleep 0.01; done; test -x /bin/$1";
        let args = json!(["sh", "-c", script, "sh", program]);
        let hook = json!([{"path": "/bin/sh", "args": args, "env": ["PATH=/bin"]}]);
        bundle
            .set("/hooks/startContainer", hook)
            .args(&["sleep", "100"]);
        let id = env.create(&bundle);
        let_go(&env, &id);
        assert_eq!(env.state(&id)["status"], "created", "its hook runs");
        let second = env.orlop(&["start", &id]).spawn();
        // Long enough for it to wait at the fifo.
        std::thread::sleep(std::time::Duration::from_millis(100));
        fs::write(&gate, "").must("the gate");
        second.wait().refused(1, &[words]);
        env.orlop(&["delete", "--force", &id]).run().ok();
    }
}

#[test]
fn state_has_every_field() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .args(&["sleep", "100"])
        .set("/annotations", json!({"org.example.a": "b"}));
    let id = env.start(&bundle);
    let done = env.orlop(&["state", &id]).run().ok();
    assert!(
        done.stdout().starts_with("{\n  \"ociVersion\": \""),
        "two blanks of indent, ociVersion first\n{done}"
    );
    let state = done.json();
    for (key, wanted) in [
        ("id", json!(id)),
        ("status", json!("running")),
        ("bundle", json!(bundle.dir)),
        ("rootfs", json!(bundle.rootfs())),
        ("annotations", json!({"org.example.a": "b"})),
    ] {
        assert_eq!(state[key], wanted, "{key}\n{done}");
    }
    assert!(
        state["ociVersion"].is_string() && state["owner"].is_string(),
        "{done}"
    );
    let name = fs::read_to_string(format!("/proc/{}/comm", state["pid"])).must("its process");
    assert_eq!(name, "sleep\n", "{done}");
    let created = state["created"].as_str().must("created");
    assert!(
        created.len() > 20 && created.as_bytes()[10] == b'T' && created.ends_with('Z'),
        "RFC 3339 with a fraction: {created}"
    );
}

#[test]
fn a_stopped_container_has_no_pid() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]);
    let id = env.start(&bundle);
    env.reaches(&id, "stopped");
    assert_eq!(env.state(&id)["pid"], 0);
    env.orlop(&["kill", &id, "KILL"])
        .run()
        .refused(1, &["container not running"]);
    env.orlop(&["kill", "--all", &id, "KILL"]).run().ok();
    env.orlop(&["pause", &id]).run().refused(1, &[]);
    env.exec(&id, &["true"])
        .refused(255, &["cannot exec in a stopped container"]);
    env.orlop(&["start", &id]).run().refused(1, &[]);
    env.orlop(&["delete", &id]).run().ok();
}

#[test]
fn kill_takes_numbers_and_names_in_any_case() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/root/readonly", json!(false));
    bundle.sh("for s in HUP INT TERM USR1; do trap \"echo $s\" $s; done; echo ready; while :; do sleep 0.05; done");
    let id = env.id();
    bundle.write();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    running.expect("ready");
    for (arg, name) in [
        ("1", "HUP"),
        ("SIGINT", "INT"),
        ("usr1", "USR1"),
        ("sigterm", "TERM"),
    ] {
        env.orlop(&["kill", &id, arg]).run().ok();
        running.expect(name);
    }
    let terms = || running.stdout().matches("TERM").count();
    env.orlop(&["kill", &id]).run().ok();
    until("a second TERM: the default signal", || {
        (terms() == 2).then_some(())
    });
    env.orlop(&["kill", &id, "NOSUCH"])
        .run()
        .refused(1, &["NOSUCH"]);
    env.orlop(&["kill", &id, "9"]).run().ok();
    running.wait().exits(128 + 9);
}

#[test]
fn kill_reaches_every_process_where_the_pid_namespace_is_shared() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .without_namespace("pid")
        .sh("sleep 1000 & sleep 1000 & wait");
    let id = env.start(&bundle);
    // A stopped container has no processes, or is refused as one that is not running.
    let ps = || env.orlop(&["ps", "--format", "json", &id]).run();
    let count = || {
        Some(ps())
            .filter(|done| done.rc == 0)
            .and_then(|done| done.json().as_array().map(Vec::len))
            .unwrap_or(0)
    };
    until("three processes", || (count() == 3).then_some(()));
    env.orlop(&["kill", "--all", &id, "KILL"]).run().ok();
    env.reaches(&id, "stopped");
    until("no process", || (count() == 0).then_some(()));
}

#[test]
fn pause_freezes_and_resume_thaws() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/root/readonly", json!(false))
        .sh("while :; do echo x >> /tmp/beat; sleep 0.01; done");
    let id = env.start(&bundle);
    let beat = || fs::metadata(bundle.rootfs().join("tmp/beat")).map_or(0, |meta| meta.len());
    until("a beat", || (beat() > 4).then_some(()));
    env.orlop(&["resume", &id])
        .run()
        .refused(1, &["container not paused"]);

    env.orlop(&["pause", &id]).run().ok();
    assert_eq!(env.state(&id)["status"], "paused");
    env.orlop(&["pause", &id])
        .run()
        .refused(1, &["container paused"]);
    let frozen = beat();
    std::thread::sleep(std::time::Duration::from_millis(150));
    assert_eq!(beat(), frozen, "a paused container writes");
    env.exec(&id, &["true"]).refused(
        255,
        &["cannot exec in a paused container (use --ignore-paused to override)"],
    );
    env.orlop(&["delete", &id]).run().refused(
        1,
        &["cannot delete container", "that is not stopped: paused"],
    );

    env.orlop(&["resume", &id]).run().ok();
    assert_eq!(env.state(&id)["status"], "running");
    until("another beat", || (beat() > frozen).then_some(()));
}

#[test]
fn exec_ignore_paused_waits_for_resume() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    let id = env.start(&bundle);
    env.orlop(&["pause", &id]).run().ok();
    let exec = env
        .orlop(&["exec", "--ignore-paused", &id, "echo", "late"])
        .spawn();
    std::thread::sleep(std::time::Duration::from_millis(100));
    env.orlop(&["resume", &id]).run().ok();
    exec.wait().ok().prints("late");
}

#[test]
fn delete_knows_the_states() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    let world = env.world();

    let created = env.create(&bundle);
    env.orlop(&["delete", &created]).run().ok();
    env.as_before(
        &world,
        "delete of a created container, as containerd calls it",
    );

    let running = env.start(&bundle);
    let text = format!("cannot delete container {running} that is not stopped: running");
    env.orlop(&["delete", &running]).run().refused(1, &[&text]);
    assert_eq!(
        env.state(&running)["status"],
        "running",
        "a refused delete changes nothing"
    );
    env.orlop(&["delete", "--force", &running]).run().ok();
    env.as_before(&world, "delete --force of a running container");

    let paused = env.start(&bundle);
    env.orlop(&["pause", &paused]).run().ok();
    env.orlop(&["delete", "-f", &paused]).run().ok();
    env.as_before(&world, "delete --force of a paused container");

    env.orlop(&["delete", "--force", &paused]).run().ok();
    env.orlop(&["delete", &paused])
        .run()
        .refused(1, &["container does not exist"]);
}

#[test]
fn many_are_named_by_an_expression() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    let ids = [(); 4].map(|()| env.start(&bundle));
    let these = |range: &str| format!("^{}-[{range}]$", env.tag);
    let serial = |id: &String| id.rsplit('-').next().must("a number").to_owned();
    let [a, b, c, d] = ids.each_ref().map(serial);
    let status = || ids.each_ref().map(|id| env.state(id)["status"].clone());
    env.orlop(&["kill", "--regex", &these(&format!("{a}{b}")), "KILL"])
        .run()
        .ok();
    env.reaches(&ids[0], "stopped");
    env.reaches(&ids[1], "stopped");
    assert_eq!(status()[2..], ["running", "running"]);
    env.orlop(&["kill", "-r", &these(&c), "KILL"]).run().ok();
    env.reaches(&ids[2], "stopped");
    env.orlop(&["delete", "--regex", &these(&format!("{a}{b}"))])
        .run()
        .ok();
    env.orlop(&["delete", "-r", &these(&c)]).run().ok();
    let left = env.orlop(&["list", "-q"]).run().ok();
    left.prints(&ids[3]);
    assert_eq!(env.state(&ids[3])["status"], "running", "{d}");
    env.orlop(&["delete", "-f", "-r", &these(&d)]).run().ok();
    env.orlop(&["list", "--quiet"]).run().ok().prints("");
}

#[test]
fn delete_removes_a_directory_without_a_record() {
    let env = Env::new();
    let id = env.id();
    fs::create_dir_all(env.root.join(&id)).must("an empty state directory");
    env.orlop(&["state", &id])
        .run()
        .refused(1, &["container does not exist"]);
    env.orlop(&["delete", &id]).run();
    assert!(!env.root.join(&id).exists(), "the directory is left");
}

#[test]
fn an_id_is_taken_until_delete() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]);
    let id = env.create(&bundle);
    let again = || {
        env.orlop(&["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(&id)
            .run()
    };
    again().refused(1, &["container with given ID already exists"]);
    assert_eq!(
        env.state(&id)["status"],
        "created",
        "the first container is untouched"
    );
    env.orlop(&["start", &id]).run().ok();
    env.reaches(&id, "stopped");
    again().refused(1, &["container with given ID already exists"]);
    env.orlop(&["delete", &id]).run().ok();
    again().ok();
}

#[test]
fn unknown_ids_do_not_exist() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]);
    env.create(&bundle);
    let id = env.id();
    for (args, rc) in [
        (vec!["state", &id], 1),
        (vec!["start", &id], 1),
        (vec!["kill", &id], 1),
        (vec!["kill", "--all", &id, "KILL"], 1),
        (vec!["delete", &id], 1),
        (vec!["pause", &id], 1),
        (vec!["resume", &id], 1),
        (vec!["ps", &id], 1),
        (vec!["exec", &id, "true"], 255),
    ] {
        env.orlop(&args)
            .run()
            .refused(rc, &["container does not exist"]);
    }
}

#[test]
fn a_foreign_record_is_refused_by_name() {
    let env = Env::new();
    let id = env.id();
    fs::create_dir_all(env.root.join(&id)).must("a state directory");
    let record = env.root.join(&id).join("state.json");
    for text in [
        "{\"id\":\"x\",\"init_process_pid\":1,\"config\":{}}",
        "{",
        "",
    ] {
        fs::write(&record, text).must("a foreign record");
        env.orlop(&["state", &id]).run().refused(1, &["state.json"]);
        env.orlop(&["kill", &id, "KILL"])
            .run()
            .refused(1, &["state.json"]);
        env.orlop(&["start", &id]).run().refused(1, &["state.json"]);
    }
    fs::remove_dir_all(env.root.join(&id)).must("remove the foreign record");
}

#[test]
fn without_a_process_there_is_a_container_and_nothing_to_start() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.remove("/process");
    let id = env.create(&bundle);
    assert_eq!(env.state(&id)["status"], "created");
    let why = "the configuration has no process";
    env.orlop(&["start", &id]).run().refused(1, &[why]);
    env.reaches(&id, "stopped");
    env.run(&bundle).refused(1, &[why]);
}

#[test]
fn what_ends_a_program_ends_a_container_that_waits_for_its_start() {
    let env = Env::new();
    let bundle = env.bundle();
    for signal in ["TERM", "HUP", "INT", "QUIT"] {
        let id = env.create(&bundle);
        env.orlop(&["kill", &id, signal]).run().ok();
        env.reaches(&id, "stopped");
    }
    let id = env.create(&bundle);
    env.orlop(&["kill", &id, "USR1"]).run().ok();
    assert_eq!(env.state(&id)["status"], "created");
}

#[test]
fn twenty_at_once() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sh", "-c", "exit 5"]);
    bundle.write();
    let world = env.world();
    let start = || {
        env.orlop(&["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .spawn()
    };
    let all: Vec<_> = (0..20).map(|_| start()).collect();
    for one in all {
        one.wait().exits(5);
    }
    env.as_before(&world, "twenty runs at once");
}
