//! `process`: user, environment, capabilities, limits.

use crate::check;
use orlop_tests::{Env, Must, skip};
use serde_json::json;
use std::fs;

#[test]
fn user() {
    check(
        |b| {
            b.set("/process/user", json!({"uid": 7, "gid": 8}));
        },
        "id -u; id -g; id -G",
        "7\n8\n8",
    );
    let user = json!({"uid": 7, "gid": 8, "additionalGids": [20, 30]});
    check(
        |b| {
            b.set("/process/user", user);
        },
        "grep -E 'Uid|Gid|Groups' /proc/self/status",
        "Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t20 30",
    );
    check(
        |b| b.config["process"]["user"]["umask"] = json!(0o27),
        "umask; touch /dev/shm/x; stat -c %a /dev/shm/x",
        "0027\n640",
    );
    check(
        |b| b.config["process"]["user"]["umask"] = json!(0),
        "umask",
        "0000",
    );
    check(|_| (), "umask", "0022");
}

#[test]
fn groups_of_the_caller_do_not_leak() {
    check(|_| (), "grep Groups /proc/self/status", "Groups:");
}

#[test]
fn environment() {
    check(
        |b| b.config["process"]["env"] = json!(["PATH=/bin", "A=b c", "E="]),
        "env | sort",
        "A=b c\nE=\nHOME=/root\nPATH=/bin\nPWD=/\nSHLVL=1",
    );
    check(
        |b| b.config["process"]["user"]["uid"] = json!(1000),
        "echo $HOME",
        "/home",
    );
    check(
        |b| b.config["process"]["user"]["uid"] = json!(4321),
        "echo $HOME",
        "/",
    );
    let home = |b: &mut orlop_tests::Bundle| {
        b.set("/process/env/-", json!("HOME=/elsewhere"));
    };
    check(home, "echo $HOME", "/elsewhere");
}

#[test]
fn working_directory() {
    check(
        |b| b.config["process"]["cwd"] = json!("/tmp"),
        "pwd",
        "/tmp",
    );
    check(
        |b| b.config["process"]["cwd"] = json!("/tmp/new/dir"),
        "pwd",
        "/tmp/new/dir",
    );
}

#[test]
fn a_relative_program_is_found_in_path_and_cwd() {
    check(
        |b| {
            b.args(&["echo", "y"])
                .set("/process/env", json!(["PATH=/nosuch:/bin"]));
        },
        "",
        "y",
    );
    check(
        |b| {
            b.args(&["./bin/echo", "here"]);
        },
        "",
        "here",
    );
}

const KILL: &str = "0000000000000020";

#[test]
fn capabilities() {
    let show = "grep Cap /proc/self/status | tr '\\t' ' '";
    let none = "0000000000000000";
    let sets = |inherited: &str,
                permitted: &str,
                effective: &str,
                bounding: &str,
                ambient: &str| {
        format!(
            "CapInh: {inherited}\nCapPrm: {permitted}\nCapEff: {effective}\nCapBnd: {bounding}\nCapAmb: {ambient}"
        )
    };
    // Root gains its bounding set at exec, unless it may not gain anything.
    for (no_new_privileges, gained) in [(false, "0000000000000021"), (true, KILL)] {
        check(
            |b| {
                b.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
                b.config["process"]["capabilities"] = json!({"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]});
            },
            show,
            &sets(none, gained, gained, "0000000000000021", none),
        );
    }
    // A user keeps what is ambient.
    check(
        |b| {
            b.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            b.capabilities(&["CAP_KILL"]).set(
                "/process/capabilities/bounding",
                json!(["CAP_KILL", "CAP_CHOWN"]),
            );
        },
        show,
        &sets(KILL, KILL, KILL, "0000000000000021", KILL),
    );
    // Without ambient ones a user has none.
    check(
        |b| {
            b.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            b.config["process"]["capabilities"] = json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]});
        },
        show,
        &sets(none, none, none, KILL, none),
    );
    check(
        |b| b.config["process"]["capabilities"] = json!({}),
        show,
        &sets(none, none, none, none, none),
    );
    check(
        |b| {
            b.remove("/process/capabilities");
        },
        show,
        &sets(none, none, none, none, none),
    );
}

#[test]
fn a_capability_that_cannot_be_granted_is_a_warning() {
    let env = Env::new();
    let status = fs::read_to_string("/proc/self/status").must("status");
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:\t"))
        .must("CapBnd");
    if u64::from_str_radix(own, 16).must("CapBnd") & (1 << 24) != 0 {
        return skip(
            "a capability that cannot be granted",
            "CAP_SYS_RESOURCE is in the bounding set here",
        );
    }
    let mut bundle = env.bundle();
    bundle
        .capabilities(&["CAP_KILL", "CAP_SYS_RESOURCE"])
        .sh("grep CapEff /proc/self/status");
    let done = env.run(&bundle).ok().prints(&format!("CapEff:\t{KILL}"));
    assert!(
        done.stderr().contains("CAP_SYS_RESOURCE"),
        "the warning names it\n{done}"
    );
}

#[test]
fn no_new_privileges() {
    check(
        |b| b.config["process"]["noNewPrivileges"] = json!(true),
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    );
    check(
        |b| b.config["process"]["noNewPrivileges"] = json!(false),
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t0",
    );
}

#[test]
fn rlimits() {
    let rows = [
        ("RLIMIT_NOFILE", 10, 20, "Max open files"),
        ("RLIMIT_CORE", 5, 6, "Max core file size"),
        ("RLIMIT_FSIZE", 4096, 8192, "Max file size"),
        ("RLIMIT_STACK", 1 << 20, 1 << 21, "Max stack size"),
        ("RLIMIT_AS", 30 << 20, 40 << 20, "Max address space"),
        ("RLIMIT_CPU", 11, 12, "Max cpu time"),
        ("RLIMIT_DATA", 20 << 20, 21 << 20, "Max data size"),
        ("RLIMIT_NPROC", 500, 600, "Max processes"),
        ("RLIMIT_MEMLOCK", 0, 4096, "Max locked memory"),
        ("RLIMIT_LOCKS", 1, 2, "Max file locks"),
        ("RLIMIT_MSGQUEUE", 1, 2, "Max msgqueue size"),
        ("RLIMIT_NICE", 0, 0, "Max nice priority"),
        ("RLIMIT_RTPRIO", 0, 0, "Max realtime priority"),
        ("RLIMIT_RTTIME", 5, 6, "Max realtime timeout"),
        ("RLIMIT_SIGPENDING", 7, 8, "Max pending signals"),
        ("RLIMIT_RSS", 1 << 20, 1 << 21, "Max resident set"),
    ];
    let env = Env::new();
    let mut bundle = env.bundle();
    let list: Vec<_> = rows
        .iter()
        .map(|(name, soft, hard, _)| json!({"type": name, "soft": soft, "hard": hard}))
        .collect();
    bundle
        .set("/process/rlimits", json!(list))
        .args(&["cat", "/proc/self/limits"]);
    let done = env.run(&bundle).ok();
    for (name, soft, hard, label) in rows {
        let text = done.stdout();
        let line = text
            .lines()
            .find(|line| line.starts_with(label))
            .must(label);
        let values: Vec<&str> = line[label.len()..].split_whitespace().take(2).collect();
        assert_eq!(
            values,
            [soft.to_string(), hard.to_string()],
            "{name}\n{done}"
        );
    }
}

#[test]
fn rlimits_that_are_absent_are_the_callers() {
    let own = fs::read_to_string("/proc/self/limits").must("limits");
    let own = own
        .lines()
        .find(|line| line.starts_with("Max stack size"))
        .must("a line")
        .to_owned();
    check(
        |b| {
            b.remove("/process/rlimits");
        },
        "grep 'Max stack' /proc/self/limits",
        &own,
    );
}

#[test]
fn oom_score() {
    check(
        |b| b.config["process"]["oomScoreAdj"] = json!(567),
        "cat /proc/self/oom_score_adj",
        "567",
    );
    let own = fs::read_to_string("/proc/self/oom_score_adj").must("own score");
    check(|_| (), "cat /proc/self/oom_score_adj", &own);
}
