//! Hooks: which run when and where, what they are told, and what happens when one fails or hangs.

use orlop_tests::{Bundle, Env, Must, patient, until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const KINDS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// Where the hooks of `bundle` write; inside its root file system, which is the one place that all six kinds can reach.
fn log(bundle: &Bundle) -> PathBuf {
    bundle.rootfs().join("tmp/log")
}

/// Adds a hook that runs a shell script with `$LOG`, a path that is right in the hook's namespace.
fn hook(bundle: &mut Bundle, kind: &str, script: &str) {
    let inside = kind == "startContainer";
    let path = if inside {
        PathBuf::from("/tmp/log")
    } else {
        log(bundle)
    };
    let entry = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", format!("LOG={}", path.display())]});
    bundle.set(&format!("/hooks/{kind}/-"), entry);
}

fn bundle(env: &Env) -> Bundle {
    let mut bundle = env.bundle();
    bundle.set("/root/readonly", json!(false));
    bundle
}

#[test]
fn six_kinds_run_in_order() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    for kind in KINDS {
        hook(&mut bundle, kind, &format!("echo {kind} 1 >> $LOG"));
        hook(&mut bundle, kind, &format!("echo {kind} 2 >> $LOG"));
    }
    bundle.sh("echo program >> /tmp/log; sleep 100");
    let lines = || fs::read_to_string(log(&bundle)).unwrap_or_default();
    let both = |kinds: &[&str]| -> String {
        kinds
            .iter()
            .map(|kind| format!("{kind} 1\n{kind} 2\n"))
            .collect()
    };

    let id = env.create(&bundle);
    assert_eq!(lines(), both(&KINDS[..3]), "after create");
    env.orlop(&["start", &id]).run().ok();
    until("the program's line", || {
        lines().contains("program\n").then_some(())
    });
    // Whether the program's first line or the poststart hooks come first, once it has been started, is chance.
    let text = lines();
    assert!(
        text.starts_with(&both(&KINDS[..4])),
        "startContainer hooks run before the program:\n{text}"
    );
    assert_eq!(
        text.replace("program\n", ""),
        both(&KINDS[..5]),
        "after start"
    );
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert!(
        lines().ends_with(&both(&KINDS[5..])),
        "poststop after delete:\n{}",
        lines()
    );
}

#[test]
fn run_calls_all_of_them() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    for kind in KINDS {
        hook(&mut bundle, kind, &format!("echo {kind} >> $LOG"));
    }
    // A poststart hook runs beside the program.
    bundle.sh("until grep -q poststart /tmp/log; do sleep 0.02; done; echo program >> /tmp/log");
    env.run(&bundle).ok();
    let text = fs::read_to_string(log(&bundle)).must("the log");
    assert_eq!(
        text,
        "prestart\ncreateRuntime\ncreateContainer\nstartContainer\npoststart\nprogram\npoststop\n"
    );
}

#[test]
fn each_is_told_the_state() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    for kind in KINDS {
        hook(&mut bundle, kind, "cat >> $LOG; echo >> $LOG");
    }
    bundle
        .set("/annotations", json!({"k": "a/b"}))
        .args(&["sleep", "100"]);
    let id = env.start(&bundle);
    let pid = env.pid(&id);
    env.orlop(&["delete", "-f", &id]).run().ok();
    let text = fs::read_to_string(log(&bundle)).must("the log");
    let states: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).must(line))
        .collect();
    assert_eq!(states.len(), 6, "{text}");
    for (kind, state) in KINDS.iter().zip(&states) {
        let status = match *kind {
            "poststart" => "running",
            "poststop" => "stopped",
            _ => "created",
        };
        assert_eq!(state["status"], status, "{kind}: {state}");
        assert_eq!(state["id"], id, "{kind}");
        assert_eq!(state["bundle"], json!(bundle.dir), "{kind}");
        assert_eq!(state["annotations"], json!({"k": "a/b"}), "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}: {state}");
        // In the container's pid namespace its own init has the pid that it sees: 1.
        let wanted = match *kind {
            "poststop" => vec![json!(0), Value::Null],
            "createContainer" | "startContainer" => vec![json!(pid), json!(1)],
            _ => vec![json!(pid)],
        };
        assert!(
            wanted.contains(&state["pid"]),
            "{kind}: pid {} is none of {wanted:?}",
            state["pid"]
        );
    }
    assert!(!text.contains("\\/"), "slashes are written plainly: {text}");
}

#[test]
fn each_runs_in_its_namespaces() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    for kind in KINDS {
        hook(
            &mut bundle,
            kind,
            "echo $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/uts) >> $LOG",
        );
    }
    bundle.args(&["sleep", "100"]);
    let id = env.start(&bundle);
    let of = |pid: &str, ns: &str| {
        fs::read_link(format!("/proc/{pid}/ns/{ns}"))
            .must("a namespace")
            .display()
            .to_string()
    };
    let pid = env.pid(&id).to_string();
    let host = format!("{} {}", of("thread-self", "mnt"), of("self", "uts"));
    let inside = format!("{} {}", of(&pid, "mnt"), of(&pid, "uts"));
    env.orlop(&["delete", "-f", &id]).run().ok();
    let text = fs::read_to_string(log(&bundle)).must("the log");
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [&host, &host, &inside, &inside, &host, &host]
    );
}

#[test]
fn each_gets_its_arguments_and_environment_and_no_fd() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    for kind in KINDS {
        // The fourth fd is the directory that ls reads.
        hook(
            &mut bundle,
            kind,
            "echo $0 $(ls /proc/self/fd) $(env | grep -v -E '^(LOG|PWD|SHLVL|OLDPWD|_)=') >> $LOG",
        );
    }
    bundle.args(&["true"]);
    let file = fs::File::open("/dev/null").must("/dev/null");
    bundle.write();
    let command = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    command
        .with(|command| orlop_tests::sys::give_fd(command, file, 9))
        .run()
        .ok();
    let text = fs::read_to_string(log(&bundle)).must("the log");
    assert_eq!(text, "sh 0 1 2 3 PATH=/bin:/usr/bin\n".repeat(6));
}

#[test]
fn a_failing_hook_stops_create_and_start() {
    for kind in &KINDS[..4] {
        let env = Env::new();
        let world = env.world();
        let mut bundle = bundle(&env);
        hook(&mut bundle, kind, "echo the reason >&2; exit 33");
        bundle.sh("echo program >> /tmp/log");
        env.run(&bundle)
            .refused(1, &[&format!("hooks.{kind}[0]"), "33"]);
        env.as_before(&world, kind);
        assert!(!log(&bundle).exists(), "{kind}: the program has run");
    }
}

#[test]
fn a_failing_poststop_hook_does_not_stop_the_deletion() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = bundle(&env);
    hook(&mut bundle, "poststop", "exit 1");
    hook(&mut bundle, "poststop", "echo second >> $LOG");
    bundle.args(&["true"]);
    let id = env.start(&bundle);
    env.reaches(&id, "stopped");
    env.orlop(&["delete", &id]).run();
    env.as_before(&world, "delete with a failing poststop hook");
    assert_eq!(
        fs::read_to_string(log(&bundle)).must("the log"),
        "second\n",
        "the remaining hooks run"
    );
}

#[test]
fn a_hanging_hook_is_ended_by_its_timeout() {
    for kind in &KINDS[..4] {
        let env = Env::new();
        let world = env.world();
        let mut bundle = bundle(&env);
        hook(&mut bundle, kind, "exec sleep 1000");
        bundle
            .set(&format!("/hooks/{kind}/0/timeout"), json!(1))
            .args(&["true"]);
        let begin = Instant::now();
        env.run(&bundle)
            .refused(1, &[&format!("hooks.{kind}[0]"), "1"]);
        let took = begin.elapsed();
        assert!(
            (Duration::from_secs(1)..patient(Duration::from_secs(5))).contains(&took),
            "{kind}: took {took:?}"
        );
        env.as_before(&world, kind);
    }
    // Too late for a refusal, and in time for those who wait.
    let env = Env::new();
    let mut bundle = bundle(&env);
    for kind in &KINDS[4..] {
        hook(&mut bundle, kind, "exec sleep 1000");
        bundle.set(&format!("/hooks/{kind}/0/timeout"), json!(1));
    }
    let id = env.create(bundle.args(&["sleep", "100"]));
    for (args, kind) in [
        (&["start", &*id][..], KINDS[4]),
        (&["delete", "--force", &id], KINDS[5]),
    ] {
        let begin = Instant::now();
        let done = env.orlop(args).run();
        assert!(begin.elapsed() < patient(Duration::from_secs(5)), "{done}");
        assert!(
            done.stderr().contains(&format!("hooks.{kind}[0]")),
            "{done}"
        );
    }
}

#[test]
fn a_hook_that_writes_much_or_reads_nothing_holds_nobody_up() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    // More than a pipe holds, in both directions.
    bundle.set("/annotations/long", json!("x".repeat(200_000)));
    hook(&mut bundle, "createRuntime", "head -c 300000 /dev/zero >&2");
    bundle.args(&["true"]);
    let begin = Instant::now();
    env.run(&bundle).ok();
    assert!(begin.elapsed() < patient(Duration::from_secs(5)));
}

#[test]
fn poststop_hooks_end_a_creation_that_fails_after_others_have_run() {
    let env = Env::new();
    let check = |edit: &dyn Fn(&mut Bundle), options: &[&str], wanted: &[&str], error: &str| {
        let before = env.world();
        let mut bundle = bundle(&env);
        bundle.args(&["nosuch"]);
        hook(&mut bundle, "createRuntime", "echo createRuntime >> $LOG");
        hook(
            &mut bundle,
            "poststop",
            "echo poststop $(grep -o stopped) >> $LOG",
        );
        edit(&mut bundle);
        bundle.write();
        for verb in ["create", "run"] {
            fs::write(log(&bundle), "").must("an empty log");
            let line = env.orlop(&[verb, "--bundle"]).arg(&bundle.dir);
            let done = line.args(options).arg(env.id()).run();
            assert!(done.rc == 1 && done.stderr().contains(error), "{done}");
            let text = fs::read_to_string(log(&bundle)).must("the log");
            assert_eq!(text.lines().collect::<Vec<_>>(), wanted, "{done}");
            // Nothing of the container is there any more, and nothing was left by those that failed.
            env.as_before(&before, error);
        }
    };
    let both = &["createRuntime", "poststop stopped"];
    check(&|_| {}, &[], both, "executable file not found");
    let fails = |kind: &'static str| move |bundle: &mut Bundle| hook(bundle, kind, "exit 5");
    check(&fails("createRuntime"), &[], both, "hooks.createRuntime[1]");
    check(
        &fails("createContainer"),
        &[],
        both,
        "hooks.createContainer[0]",
    );
    check(
        &fails("prestart"),
        &[],
        &["poststop stopped"],
        "hooks.prestart[0]",
    );
    // One that fails is said beside the error, and the others run.
    let first = |bundle: &mut Bundle| {
        let poststop = json!({"path": "/bin/false", "args": ["false"]});
        bundle.set("/hooks/poststop/-", poststop);
        hook(bundle, "poststop", "echo last >> $LOG");
    };
    let all = &["createRuntime", "poststop stopped", "last"];
    check(&first, &[], all, "warning: config.json: hooks.poststop[1]");
    // Before any hook there is nothing for them to undo.
    let missing = |bundle: &mut Bundle| {
        bundle.mount("/tmp", "bind", "/no/such", &["bind"]);
    };
    check(&missing, &[], &[], "/no/such");
    check(&|_| {}, &["--pid-file", "/no/such/pid"], &[], "pid file");
}
