//! `--timings` and `ORLOP_TIMINGS`: where the time of a start went.

use orlop_tests::{Env, Must};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Reads a trace and checks what every trace must hold; returns the names of the steps that a process took.
fn steps(file: &Path, of: &str) -> Vec<String> {
    let text = fs::read_to_string(file).must(file.display());
    let trace: Value = serde_json::from_str(&text).must(&text);
    let events = trace["traceEvents"].as_array().must("events");
    let number = |event: &Value, key: &str| event[key].as_f64().must(key);
    let own: Vec<&Value> = events.iter().filter(|event| event["tid"] == of).collect();
    for pair in own.windows(2) {
        let end = number(pair[0], "ts") + number(pair[0], "dur");
        let gap = number(pair[1], "ts") - end;
        assert!(gap.abs() < 0.01, "{gap} us are in no step: {pair:?}");
    }
    own.iter()
        .map(|event| event["name"].as_str().must("name").to_string())
        .collect()
}

#[test]
fn a_run_tells_where_its_time_went() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    bundle.sh("exit 3");
    bundle.write();
    let (id, file) = (env.id(), env.dir.join("trace.json"));
    let done = env
        .orlop(&["run", "--timings"])
        .args([&file, Path::new("--bundle"), &bundle.dir])
        .arg(&id)
        .run();
    let table = done.exits(3).stderr();
    let ours = steps(&file, "orlop");
    for step in [
        "read config.json",
        "plan",
        "clone",
        "attend to the program",
        "remove the state",
    ] {
        assert!(ours.iter().any(|name| name == step), "{step}: {ours:?}");
        assert!(table.contains(step), "{step}: {table}");
    }
    let theirs = steps(&file, "container");
    for step in ["mount /proc", "change the root", "become the user"] {
        assert!(theirs.iter().any(|name| name == step), "{step}: {theirs:?}");
        assert!(table.contains(step), "{step}: {table}");
    }
    env.as_before(&world, "timings");
}

#[test]
fn engines_ask_by_a_variable() {
    let env = Env::new();
    let dir = env.dir.join("timings");
    let mut bundle = env.bundle();
    bundle.args(&["nosuch"]).write();
    let create = |id: &str| {
        env.orlop(&["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(id)
            .env("ORLOP_TIMINGS", &dir)
            .run()
    };
    create("early").refused(1, &["ORLOP_TIMINGS=", "not a directory"]);
    fs::create_dir(&dir).must("directory");
    // A start that fails tells, too; its own error stays the one line.
    let done = create("failed");
    let error = done.refused(1, &["executable file not found"]).stderr();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(
        steps(&dir.join("failed.json"), "container")
            .iter()
            .any(|name| name == "change the root")
    );
    let table = fs::read_to_string(dir.join("failed.txt")).must("table");
    assert!(table.contains("mount /proc"), "{table}");
}

#[test]
fn files_that_cannot_be_written_end_no_container() {
    let env = Env::new();
    let dir = env.dir.join("timings");
    let marker = env.dir.join("ran");
    let mut bundle = env.bundle();
    bundle.mount("/marks", "bind", &env.dir, &["bind"]);
    bundle.sh("touch /marks/ran; exit 3").write();
    let before = env.world();
    // Known from the start: nothing is made.
    fs::create_dir_all(dir.join("taken.txt")).must("a directory");
    let create = env.orlop(&["create", "--bundle"]).arg(&bundle.dir);
    create
        .arg("taken")
        .env("ORLOP_TIMINGS", &dir)
        .run()
        .refused(1, &["taken.txt", "is a directory"]);
    let run = |file: &str| {
        let run = env.orlop(&["run", "--timings", file, "--bundle"]);
        run.arg(&bundle.dir).arg(env.id()).run()
    };
    run("/nosuch/x").refused(1, &["/nosuch/x", "no such file or directory"]);
    assert!(!marker.exists(), "the program has run");
    env.as_before(&before, "timings that cannot be written");
    // Known too late: the program's exit code is what counts.
    let done = run("/dev/full").exits(3);
    assert!(
        done.stderr().contains("write timings to /dev/full"),
        "{done}"
    );
    assert!(marker.exists(), "the program has not run");
}
