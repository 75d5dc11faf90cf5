//! `exec`: capabilities beyond the config (CVE-2022-29162), and users that are not what was said (CVE-2026-30892).

use orlop_tests::{Env, Must};
use serde_json::json;
use std::fs;

#[test]
fn cve_2022_29162_nothing_is_inheritable() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let show = "grep -E 'CapInh|CapAmb' /proc/self/status";
    let none = "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000";
    for flags in [
        &[][..],
        &["--cap", "CAP_NET_RAW"],
        &["--cap", "CAP_SYS_ADMIN", "--user", "1000:1000"],
        &["--user", "0"],
    ] {
        env.orlop(&["exec"])
            .args(flags)
            .args([&id, "sh", "-c", show])
            .run()
            .ok()
            .prints(none);
    }
    let of_init =
        fs::read_to_string(format!("/proc/{}/status", env.pid(&id))).must("init's status");
    assert!(of_init.contains("CapInh:\t0000000000000000"), "{of_init}");
}

#[test]
fn a_process_file_without_capabilities_gains_none() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"], "noNewPrivileges": false,
        "args": ["sh", "-c", "grep -E 'CapBnd|CapInh|CapAmb' /proc/self/status | cut -c 8-"]});
    fs::write(env.dir.join("process.json"), process.to_string()).must("process.json");
    let done = env
        .orlop(&["exec", "--process", "process.json", &id])
        .run()
        .ok();
    // None, or the container's own: the caller's never.
    let (none, own) = ("\t0000000000000000", "\t0000000020000420");
    let text = done.stdout();
    let sets: Vec<&str> = text.lines().collect();
    assert!(
        sets[0] == none && sets[2] == none && (sets[1] == none || sets[1] == own),
        "{done}"
    );
}

#[test]
fn cve_2026_30892_a_user_is_a_number_or_refused() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let mut wrong = Vec::new();
    for user in [
        "abc",
        "1000x",
        "x1000",
        "-1",
        "+5",
        "0x10",
        "1e3",
        "1000:",
        ":5",
        "1:2:3",
        "4294967295",
        "4294967296",
        "99999999999999999999",
        "1000:abc",
        "1000:-1",
        "1000:4294967296",
        " 5",
        "5 ",
        "1.5",
        "1,2",
        "\u{661}",
    ] {
        let done = env.orlop(&["exec", "--user", user, &id, "id"]).run();
        let refused = done
            .complaint(255, &["--user"])
            .and(done.complaint(1, &["--user"]));
        if !done.stdout().is_empty() || refused.is_some() {
            wrong.push(done.to_string());
        }
    }
    for group in ["abc", "-1", "4294967296", "7x"] {
        let done = env
            .orlop(&["exec", "--additional-gids", group, &id, "id"])
            .run();
        let refused = done
            .complaint(255, &[group])
            .and(done.complaint(1, &[group]));
        if !done.stdout().is_empty() || refused.is_some() {
            wrong.push(done.to_string());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn bad_values_of_exec_are_refused_in_one_line() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let before = env.world();
    let file = |text: &str| fs::write(env.dir.join("process.json"), text).must("process.json");
    let mut wrong = Vec::new();
    let mut check = |args: &[&str], wanted: &str| {
        let done = env.orlop(args).run();
        if let Some(complaint) = done
            .complaint(255, &[wanted])
            .and(done.complaint(1, &[wanted]))
        {
            wrong.push(format!("{complaint}\n{done}"));
        }
    };
    check(&["exec", "--cap", "CAP_NOSUCH", &id, "true"], "CAP_NOSUCH");
    check(&["exec", "--env", "NOEQUALS", &id, "true"], "NOEQUALS");
    check(&["exec", "--cwd", "relative", &id, "true"], "relative");
    check(&["exec", "--process", "nosuch.json", &id], "nosuch.json");
    check(&["exec", "--preserve-fds", "3", &id, "true"], "preserve");
    for (text, wanted) in [
        ("", "process.json"),
        ("{", "process.json"),
        (
            "{\"args\": \"sh\", \"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}}",
            "args",
        ),
        (
            "{\"args\": [], \"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}}",
            "args",
        ),
        (
            "{\"args\": [\"true\"], \"cwd\": \"tmp\", \"user\": {\"uid\": 0, \"gid\": 0}}",
            "cwd",
        ),
        (
            "{\"args\": [\"true\"], \"cwd\": \"/\", \"user\": {\"uid\": -1, \"gid\": 0}}",
            "uid",
        ),
        (
            "{\"args\": [\"true\"], \"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}, \"rlimits\": [{\"type\": \"RLIMIT_X\", \"soft\": 1, \"hard\": 1}]}",
            "RLIMIT_X",
        ),
        (
            "{\"args\": [\"true\"], \"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}, \"capabilities\": {\"bounding\": [\"CAP_X\"]}}",
            "CAP_X",
        ),
        (
            "{\"args\": [\"true\"], \"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}, \"scheduler\": {\"policy\": \"SCHED_BATCH\", \"priority\": 1}}",
            "scheduler",
        ),
    ] {
        file(text);
        check(&["exec", "--process", "process.json", &id], wanted);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    env.as_before(&before, "bad values of exec");
}
