//! Annotations that ask the runtime for something: crun's.

use crate::user_namespace;
use orlop_tests::{Bundle, ConsoleSocket, Env, Must, cgroup_of, hidden, only_v2, orlop, skip, sys};
use serde_json::{Value, json};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

fn annotate<'a>(bundle: &'a mut Bundle, key: &str, value: impl Into<Value>) -> &'a mut Bundle {
    // A slash in a key would be a step of the pointer.
    bundle.set("/annotations", json!({}));
    bundle.config["annotations"][key] = value.into();
    bundle
}

/// Starts the runtime with supplementary groups.
fn with_groups(env: &Env, args: &[&str]) -> orlop_tests::Cmd {
    env.cmd("setpriv")
        .args(["--groups", "4711,4712"])
        .arg(orlop())
        .arg("--root")
        .arg(&env.root)
        .args(args)
}

const KEEP: &str = "run.oci.keep_original_groups";
const SHOW_GROUPS: [&str; 3] = ["grep", "Groups", "/proc/self/status"];

/// Runs a container, and a process in it, for a caller with groups, and demands the groups of both.
#[track_caller]
fn groups(edit: impl FnOnce(&mut Bundle), wanted: &str) -> String {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/root/readonly", json!(false))
        .sh("grep Groups /proc/self/status; exec sleep 100");
    edit(&mut bundle);
    bundle.write();
    let id = env.id();
    let running = with_groups(&env, &["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    running.expect("Groups");
    let text = running.stdout();
    assert_eq!(text.trim(), wanted.trim(), "run");
    let exec = with_groups(&env, &["exec", &id]).args(SHOW_GROUPS);
    exec.run().ok().prints(wanted);
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait().stderr()
}

#[test]
fn groups_of_the_caller_are_kept() {
    let text = groups(
        |b| {
            annotate(b, KEEP, "1").set("/process/user", json!({"uid": 1000, "gid": 1000}));
        },
        "Groups:\t4711 4712",
    );
    assert_eq!(text, "", "nothing to warn of");
    // What has no id there is nobody, and still opens what the group may open on the host.
    groups(
        |b| {
            user_namespace(b);
            annotate(b, KEEP, "true");
        },
        "Groups:\t65534 65534",
    );
    for off in ["0", ""] {
        let edit = |b: &mut Bundle| {
            annotate(b, KEEP, off).set("/process/user/additionalGids", json!([5]));
        };
        groups(edit, "Groups:\t5");
    }
    let text = groups(
        |b| {
            annotate(b, KEEP, "1").set("/process/user/additionalGids", json!([5]));
        },
        "Groups:\t4711 4712",
    );
    assert!(text.contains("process.user.additionalGids"), "{text}");
}

const STDOUT: &str = "run.oci.hooks.stdout";
const STDERR: &str = "run.oci.hooks.stderr";
const KINDS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

fn hook(bundle: &mut Bundle, kind: &str, script: &str) {
    let entry =
        json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]});
    bundle.set(&format!("/hooks/{kind}/-"), entry);
}

#[test]
fn what_hooks_write_is_appended_to_files() {
    let env = Env::new();
    let mut bundle = env.bundle();
    let (out, err) = (env.dir.join("hooks.out"), env.dir.join("hooks.err"));
    fs::write(&err, "before\n").must("a file that is there");
    for kind in KINDS {
        hook(
            &mut bundle,
            kind,
            &format!("echo {kind}; echo no {kind} >&2"),
        );
    }
    bundle
        .set("/annotations", json!({STDOUT: out, STDERR: err}))
        // Its own, and that of the directory which ls reads.
        .sh("ls /proc/self/fd | wc -l");
    env.run(&bundle).ok().prints("4");
    let lines = |prefix: &str| -> String {
        let line = |kind| format!("{prefix}{kind}\n");
        KINDS.map(line).concat()
    };
    assert_eq!(fs::read_to_string(&out).must("stdout"), lines(""));
    let text = fs::read_to_string(&err).must("stderr");
    assert_eq!(text, format!("before\n{}", lines("no ")));
}

#[test]
fn one_file_may_take_both_and_a_failed_hook_names_it() {
    let env = Env::new();
    for (kind, verb) in [
        ("createRuntime", "create"),
        ("startContainer", "start"),
        ("poststart", "start"),
    ] {
        let mut bundle = env.bundle();
        let file = env.dir.join(kind);
        hook(&mut bundle, kind, "echo this; echo that >&2; exit 3");
        bundle
            .set("/annotations", json!({STDOUT: file, STDERR: file}))
            .args(&["sleep", "100"]);
        let name = file.display().to_string();
        let words = [&*format!("hooks.{kind}[0]"), "exit status: 3", &name];
        if verb == "create" {
            env.run(&bundle).refused(1, &words);
        } else {
            let id = env.create(&bundle);
            env.orlop(&["start", &id]).run().refused(1, &words);
            env.orlop(&["delete", "--force", &id]).run().ok();
        }
        let text = fs::read_to_string(&file).must("the file");
        assert_eq!(text, "this\nthat\n", "{kind}");
    }
}

#[test]
fn a_file_for_hooks_that_is_gone_is_a_warning_when_the_container_is() {
    let env = Env::new();
    let mut bundle = env.bundle();
    let dir = env.dir.join("logs");
    fs::create_dir(&dir).must("a directory");
    let ran = env.dir.join("ran");
    hook(
        &mut bundle,
        "poststop",
        &format!("echo > {}", ran.display()),
    );
    bundle
        .set("/annotations", json!({STDERR: dir.join("hooks")}))
        .args(&["sleep", "100"]);
    let id = env.start(&bundle);
    fs::remove_dir_all(&dir).must("the directory");
    let done = env.orlop(&["delete", "--force", &id]).run().ok();
    assert!(done.stderr().contains(STDERR), "{done}");
    assert!(ran.exists(), "the hook runs all the same");
}

#[test]
fn a_receiver_gets_the_containers_pidfd() {
    if hidden("run.oci.pidfd_receiver", "pidfd_open") {
        return;
    }
    let env = Env::new();
    let socket = ConsoleSocket::listen(env.dir.join("receiver"));
    let mut bundle = env.bundle();
    annotate(&mut bundle, "run.oci.pidfd_receiver", json!(socket.path)).args(&["sleep", "100"]);
    let id = env.create(&bundle);
    let (_, pidfd) = socket.receive();
    let fdinfo = format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(&pidfd)
    );
    let text = fs::read_to_string(fdinfo).must("the pidfd's description");
    let wanted = format!("Pid:\t{}\n", env.pid(&id));
    assert!(text.contains(&wanted), "{wanted}{text}");
    assert!(!sys::pidfd_ended(pidfd.as_fd()));
    env.orlop(&["delete", "--force", &id]).run().ok();
    orlop_tests::until("the end", || sys::pidfd_ended(pidfd.as_fd()).then_some(()));
}

#[test]
fn what_is_asked_for_by_an_annotation_and_not_known_is_a_warning() {
    let env = Env::new();
    let check = |key: &str, value: &str, warned: bool| {
        let mut bundle = env.bundle();
        annotate(&mut bundle, key, value).args(&["true"]);
        let text = env.run(&bundle).ok().stderr();
        assert_eq!(text.contains(key), warned, "{key}={value}\n{text}");
        assert!(!warned || text.contains("ignored"), "{text}");
    };
    check("run.oci.handler", "krun", true);
    check("run.oci.handler", "", false);
    check("run.oci.seccomp.plugins", "/x.so", true);
    check("run.oci.timens_offset", "monotonic 1 0", true);
    // Without systemd there is no unit below which it could be.
    check("run.oci.systemd.subgroup", "container", true);
    check("run.oci.mount_context_type", "context", false);
    check("org.example.handler", "krun", false);
}

const DELEGATE: &str = "run.oci.delegate-cgroup";

/// A container that manages a cgroup of its own, shown at `/cg`.
fn delegated(bundle: &mut Bundle) -> &mut Bundle {
    annotate(bundle, DELEGATE, "/own/payload")
        .set("/linux/resources/memory", json!({"limit": 67_108_864}))
        .set("/linux/resources/pids", json!({"limit": 100}))
        .namespace("cgroup", None)
        .mount("/cg", "cgroup2", "cgroup", &["rw", "nosuid"])
}

/// Demands that all verbs find the container, whose processes are in a cgroup below `own`.
fn is_served(env: &Env, id: &str, own: &Path) {
    // Beside the first process, and below the container's own when asked for.
    env.exec(id, &["cat", "/proc/self/cgroup"])
        .ok()
        .prints("0::/a");
    let there = env.orlop(&["exec", "--cgroup", "a", id, "cat", "/proc/self/cgroup"]);
    there.run().ok().prints("0::/a");
    env.orlop(&["update", "--pids-limit", "50", id]).run().ok();
    assert_eq!(
        fs::read_to_string(own.join("pids.max")).must("pids.max"),
        "50\n"
    );
    let stats = env.orlop(&["events", "--stats", id]).run().ok().json();
    assert!(
        stats["data"]["pids"]["current"].as_u64() > Some(0),
        "{stats}"
    );
    env.orlop(&["pause", id]).run().ok();
    assert_eq!(env.state(id)["status"], "paused");
    env.orlop(&["resume", id]).run().ok();
}

#[test]
fn a_container_manages_a_cgroup_below_the_limited_one() {
    if !only_v2() {
        return skip(DELEGATE, "cgroup v1 is in use here");
    }
    let env = Env::new();
    for user in [false, true] {
        let mut bundle = env.bundle();
        if user {
            user_namespace(&mut bundle);
        }
        let script =
            "mkdir /cg/a && echo 1 > /cg/a/cgroup.procs && echo +pids > /cg/cgroup.subtree_control
            cat /proc/self/cgroup /cg/a/pids.max; exec sleep 100";
        delegated(&mut bundle).sh(script);
        let (id, running) = env.spawn(&bundle);
        running.expect("0::/a\nmax\n");
        let place = cgroup_of(env.pid(&id), "").must("its cgroup");
        let own = place.ancestors().nth(3).must("the limited one");
        assert!(
            place.ends_with(Path::new(&id).join("own/payload/a")),
            "{place:?}"
        );
        let read = |file: &str| fs::read_to_string(own.join(file)).must(file);
        assert_eq!(
            (&*read("memory.max"), &*read("pids.max")),
            ("67108864\n", "100\n")
        );
        let limit = fs::read_to_string(own.join("own/payload/pids.max")).must("pids.max");
        assert_eq!(limit, "max\n", "limits stay above");
        let owner = |path: &Path| {
            let meta = fs::metadata(path).must(path.display());
            std::os::unix::fs::MetadataExt::uid(&meta)
        };
        let payload = own.join("own/payload");
        assert_eq!(owner(&payload), if user { 100_000 } else { 0 });
        assert_eq!(owner(&payload.join("cgroup.procs")), owner(&payload));
        assert_eq!((owner(own), owner(&payload.join("pids.max"))), (0, 0));

        is_served(&env, &id, own);
        env.orlop(&["delete", "--force", &id]).run().ok();
        running.wait();
        assert!(!own.exists(), "{own:?}");
    }
}
