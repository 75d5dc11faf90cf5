//! Kernels without newer system calls, and filters of container engines that hide them.

use orlop_tests::{Cmd, Env, hidden, orlop};
use serde_json::json;

/// The runtime behind a filter that answers an error to these calls.
fn behind(env: &Env, filter: &[&str], args: &[&str]) -> Cmd {
    let cmd = env.cmd(env!("CARGO_BIN_EXE_enosys")).args(filter);
    cmd.arg(orlop()).arg("--root").arg(&env.root).args(args)
}

#[test]
fn a_container_lives_without_any_newer_call() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.namespace("cgroup", None);
    bundle.args(&["sleep", "100"]).write();
    let before = env.world();
    let id = env.id();
    let run = |args: &[&str]| behind(&env, &["all"], args).run().ok();
    let dir = bundle.dir.display().to_string();
    run(&["create", "--bundle", &dir, &id]);
    run(&["start", &id]);
    env.reaches(&id, "running");
    // The same mounts as ever, and nothing of the way they were made.
    let table = "sed 's/ - .*//; s/^[^/]*//; s/shared:[0-9]* //' /proc/self/mountinfo | sort";
    let twin = env.start(&bundle);
    let wanted = env.exec(&twin, &["sh", "-c", table]).ok().stdout();
    run(&["exec", &id, "sh", "-c", table]).prints(&wanted.replace(&twin, &id));
    run(&["exec", &id, "sh", "-c", "ls /proc/self/fd | wc -l"]).prints("4");
    run(&["kill", &id, "KILL"]);
    env.reaches(&id, "stopped");
    run(&["delete", &id]);
    env.orlop(&["delete", "--force", &twin]).run().ok();
    env.as_before(&before, "without newer system calls");
}

#[test]
fn each_family_may_be_missing_by_itself() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("grep -c /proc/keys /proc/self/mountinfo").write();
    let dir = bundle.dir.display().to_string();
    let before = env.world();
    let families = [
        "open_tree",
        // Linux 5.2 to 5.11.
        "mount_setattr",
        "open_tree,move_mount,fsopen,fsconfig,fsmount",
        "clone3",
        "openat2",
        "close_range",
        "pidfd_open",
        "pidfd_send_signal",
        "pidfd_open,pidfd_send_signal",
    ];
    let all = "open_tree,move_mount,fsopen,fsconfig,fsmount,mount_setattr,clone3,openat2,close_range,pidfd_open,pidfd_send_signal";
    let ways = families.map(|family| vec![family]).into_iter();
    for way in ways.chain([vec!["--eperm", all]]) {
        let id = env.id();
        let done = behind(&env, &way, &["run", "--bundle", &dir, &id]).run();
        done.ok().prints("1");
        env.as_before(&before, &way.join(" "));
    }
}

#[test]
fn the_plan_says_what_is_missing_and_what_it_means() {
    // Nothing is missing to begin with.
    if hidden("plan", "every newer call") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    let source = env.dir.display().to_string();
    bundle.set("/mounts", json!([{"destination": "/data", "type": "bind", "source": source, "options": ["rbind", "rro"]}]));
    bundle.write();
    let dir = bundle.dir.display().to_string();
    let lines = |filter: &[&str]| {
        let done = match filter {
            [] => env.orlop(&["plan", &dir]).run().ok(),
            filter => behind(&env, filter, &["plan", &dir]).run().ok(),
        };
        let told = |line: &&str| line.starts_with("instead ") || line.starts_with("impossible ");
        let lines = done.stdout();
        lines
            .lines()
            .filter(told)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let check = |filter: &[&str], want: &[&str]| {
        let found = lines(filter);
        assert_eq!(found.len(), want.len(), "{filter:?}: {found:#?}");
        for (line, part) in found.iter().zip(want) {
            assert!(line.contains(part), "{filter:?}: {part} is not in {line}");
        }
    };
    check(&[], &[]);
    check(
        &["openat2"],
        &["openat2(2), Linux 5.6 is missing: the path is walked"],
    );
    check(
        &["--eperm", "mount_setattr"],
        &[
            "mount_setattr(2)",
            "mounts[0].options: rro needs mount_setattr(2)",
        ],
    );
    bundle.without_namespace("mount").write();
    check(
        &["open_tree"],
        &[
            "open_tree(2)",
            "linux.namespaces: a container without a mount namespace",
        ],
    );
    assert_eq!(lines(&["all"]).len(), 10);
}
