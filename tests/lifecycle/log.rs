//! The log file, the one line on stderr, and usage errors.

use orlop_tests::{Env, Must};
use serde_json::{Value, json};
use std::fs;

#[test]
fn an_error_is_one_json_object_with_an_rfc3339_time() {
    let env = Env::new();
    for format in [vec!["--log-format", "json"], vec!["--log-format=json"]] {
        env.orlop(&["--log", "log.json"])
            .args(format)
            .args(["state", "nosuch"])
            .run()
            .refused(1, &["container does not exist"]);
    }
    let text = fs::read_to_string(env.dir.join("log.json")).must("the log");
    assert_eq!(
        text.lines().count(),
        2,
        "one line for each error, appended: {text}"
    );
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).must(line);
        assert_eq!(entry["level"], "error", "{line}");
        assert!(
            entry["msg"]
                .as_str()
                .must("msg")
                .contains("container does not exist"),
            "{line}"
        );
        assert_rfc3339(entry["time"].as_str().must("time"));
    }
}

#[test]
fn json_is_for_standard_error_where_no_file_is_named() {
    let env = Env::new();
    let done = env
        .orlop(&["--log-format", "json", "state", "nosuch"])
        .run();
    let entry: Value = serde_json::from_str(&done.stderr()).must("one object");
    assert_eq!(
        (&entry["level"], &entry["msg"]),
        (&json!("error"), &json!("container does not exist: nosuch"))
    );
    assert_rfc3339(entry["time"].as_str().must("time"));
}

fn assert_rfc3339(time: &str) {
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let (date, rest) = shape.split_at(19.min(shape.len()));
    assert_eq!(date, "0000-00-00T00:00:00", "{time}");
    let zone = rest.trim_start_matches(['.', '0']);
    let zone = if rest.ends_with("+00:00") || rest.ends_with("-00:00") {
        "Z"
    } else {
        zone
    };
    assert!(zone == "Z" || zone.starts_with(['+', '-']), "{time}");
}

#[test]
fn a_text_log_names_level_and_message() {
    let env = Env::new();
    env.orlop(&["--log", "log", "state", "nosuch"])
        .run()
        .refused(1, &["container does not exist"]);
    let text = fs::read_to_string(env.dir.join("log")).must("the log");
    assert!(
        text.contains("level=error") && text.contains("container does not exist"),
        "{text}"
    );
}

#[test]
fn a_warning_goes_to_the_log_only_when_the_command_succeeds() {
    let env = Env::new();
    let mut bundle = env.bundle();
    // A label cannot be set where SELinux is off: ignored with a warning.
    bundle
        .mount(
            "/tmp",
            "tmpfs",
            "tmpfs",
            &["context=system_u:object_r:container_file_t:s0"],
        )
        .args(&["true"])
        .write();
    let run = |log: &str| {
        env.orlop(&["--log", log, "--log-format", "json", "run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .run()
    };
    let done = run("good.json").ok();
    assert_eq!(
        done.stderr(),
        "",
        "with --log the warning belongs into the file\n{done}"
    );
    let text = fs::read_to_string(env.dir.join("good.json")).must("the log");
    assert!(
        text.contains("\"level\":\"warning\"") && text.contains("context"),
        "{text}"
    );

    let mut bundle = bundle;
    bundle.args(&["nosuch"]).write();
    let run = |log: &str| {
        env.orlop(&["--log", log, "--log-format", "json", "run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .run()
    };
    run("bad.json").exits(1);
    let text = fs::read_to_string(env.dir.join("bad.json")).must("the log");
    let entry: Value = serde_json::from_str(&text).must(format!("podman reads one object: {text}"));
    assert_eq!(entry["level"], "error", "{text}");
}

#[test]
fn debug_adds_lines_but_no_error() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]).write();
    let flags = [
        "--debug",
        "--log",
        "log",
        "--log-format",
        "json",
        "run",
        "--bundle",
    ];
    env.orlop(&flags).arg(&bundle.dir).arg(env.id()).run().ok();
    let text = fs::read_to_string(env.dir.join("log")).must("the log");
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).must(line);
        assert_eq!(entry["level"], "debug", "{line}");
    }
    assert!(text.contains("hostname orlop"), "the plan's steps: {text}");
    let done = env.orlop(&["run", "--bundle"]).arg(&bundle.dir);
    assert_eq!(done.arg(env.id()).run().ok().stderr(), "");
}

#[test]
fn the_level_says_what_is_worth_a_line() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/annotations", json!({"run.oci.handler": "krun"}))
        .args(&["true"])
        .write();
    for (level, debug, warning) in [
        ("error", false, false),
        ("warning", false, true),
        ("debug", true, true),
    ] {
        let run = env.orlop(&["--log-level", level, "run", "--bundle"]);
        let said = run.arg(&bundle.dir).arg(env.id()).run().ok().stderr();
        assert_eq!(said.contains("run.oci.handler"), warning, "{level}: {said}");
        assert_eq!(said.contains("hostname orlop"), debug, "{level}: {said}");
    }
}

#[test]
fn usage_errors_are_one_line() {
    let env = Env::new();
    for (args, parts) in [
        (
            vec!["delete"],
            vec!["\"delete\" requires exactly 1 argument"],
        ),
        (vec!["state"], vec!["\"state\" requires exactly 1 argument"]),
        (
            vec!["state", "a", "b"],
            vec!["\"state\" requires exactly 1 argument"],
        ),
        (
            vec!["create"],
            vec!["\"create\" requires exactly 1 argument"],
        ),
        (vec!["exec"], vec!["\"exec\" requires"]),
        (vec!["kill"], vec!["\"kill\" requires"]),
        (vec!["nosuch"], vec!["nosuch"]),
        (vec!["state", "--nosuch", "a"], vec!["nosuch"]),
        (vec!["--nosuch", "state", "a"], vec!["nosuch"]),
        (
            vec!["--log-format", "xml", "state", "a"],
            vec!["invalid log-format: xml"],
        ),
        (vec!["list", "--format", "xml"], vec!["xml"]),
        (
            vec!["create", "--preserve-fds", "x", "a"],
            vec!["preserve-fds", "x"],
        ),
        (vec!["create", "--bundle"], vec!["bundle"]),
        // What only youki has.
        (vec!["--systemd-log", "list"], vec!["--systemd-log"]),
        (vec!["info"], vec!["\"info\" is no command"]),
        (
            vec!["completion", "bash"],
            vec!["\"completion\" is no command"],
        ),
    ] {
        env.orlop(&args).run().refused(1, &parts);
    }
    env.cmd(orlop_tests::orlop())
        .args(["--root", "/", "state", "a"])
        .run()
        .refused(1, &["root"]);
}
