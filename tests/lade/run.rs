//! `lade run`: what the container is, what comes out of it, and that nothing is left.

use orlop_tests::registry::{Debian, DebianOptions, Image, Layer, Registry, Tar};
use orlop_tests::{Cmd, Done, Lade, Must, Pty};
use std::fs;

/// An engine with busybox, whose config `edit` has changed.
fn with(edit: impl FnOnce(&mut serde_json::Value)) -> (Lade, Registry, String) {
    let (lade, registry) = (Lade::new(), Registry::new());
    let own = Layer::gzip(
        Tar::new()
            .dir("work/", 0o755)
            .file("work/own", 0o644, "of the image\n"),
    );
    let image = Image::with(vec![Layer::busybox(), own], edit);
    let name = registry.serve("box:one", &image);
    lade.ok(&["pull", &name]);
    (lade, registry, name)
}

fn plain() -> (Lade, Registry, String) {
    with(|_| ())
}

fn run(lade: &Lade, args: &[&str]) -> Cmd {
    lade.cmd(&["run", "--rm", "--network", "none"]).args(args)
}

#[track_caller]
fn said(done: Done) -> String {
    done.ok().stdout().trim_end().to_owned()
}

#[test]
fn output_and_exit_codes_are_passed_on() {
    let (lade, _registry, name) = plain();
    let done = run(
        &lade,
        &[&name, "sh", "-c", "echo out; echo err >&2; exit 7"],
    )
    .run()
    .exits(7);
    assert_eq!(
        (done.stdout().as_str(), done.stderr().as_str()),
        ("out\n", "err\n")
    );
    run(&lade, &[&name, "true"]).run().ok();
    run(&lade, &[&name, "false"]).run().exits(1);
    run(&lade, &[&name, "sh", "-c", "sh -c 'kill -9 $$'; exit $?"])
        .run()
        .exits(137);
    run(&lade, &[&name, "nosuchprogram"])
        .run()
        .refused(127, &["nosuchprogram"]);
    run(&lade, &[&name, "/etc/passwd"])
        .run()
        .refused(126, &["/etc/passwd"]);
    let text = run(&lade, &["-i", &name, "cat"]).stdin("through\n").run();
    assert_eq!(said(text), "through");
}

#[test]
fn much_output_arrives_whole() {
    let (lade, _registry, name) = plain();
    let done = run(&lade, &[&name, "head", "-c", "3000000", "/dev/zero"])
        .run()
        .ok();
    assert_eq!(done.stdout().len(), 3_000_000);
}

#[test]
fn the_images_config_is_kept_to() {
    let (lade, _registry, name) = with(|config| {
        config["config"] = serde_json::json!({
            "Env": ["PATH=/bin", "COLOUR=red", "SIZE=large"],
            "Entrypoint": ["echo", "entered"],
            "Cmd": ["by", "default"],
            "WorkingDir": "/work",
            "User": "ann",
        });
    });
    assert_eq!(said(run(&lade, &[&name]).run()), "entered by default");
    assert_eq!(
        said(run(&lade, &[&name, "otherwise"]).run()),
        "entered otherwise"
    );
    let sh = |options: &[&str], script: &str| {
        let mut args = options.to_vec();
        args.extend(["--entrypoint", "sh", &name, "-c", script]);
        said(run(&lade, &args).run())
    };
    assert_eq!(sh(&[], "pwd; cat own"), "/work\nof the image");
    assert_eq!(sh(&["-w", "/tmp"], "pwd"), "/tmp");
    assert_eq!(sh(&["-w", "/made/here"], "pwd"), "/made/here");
    assert_eq!(
        sh(&[], "id"),
        "uid=1000(ann) gid=1000(ann) groups=1000(ann),2000(more)"
    );
    assert_eq!(sh(&["-u", "0"], "id -u; id -g"), "0\n0");
    assert_eq!(sh(&["-u", "4242:77"], "id -u; id -g"), "4242\n77");
    assert_eq!(sh(&[], "echo $COLOUR $SIZE $HOME"), "red large /home/ann");
    assert_eq!(
        sh(&["-e", "COLOUR=blue", "-e", "NEW=x y"], "echo $COLOUR $NEW"),
        "blue x y"
    );
    let given = run(
        &lade,
        &[
            "-e",
            "GIVEN",
            "--entrypoint",
            "sh",
            &name,
            "-c",
            "echo $GIVEN",
        ],
    );
    assert_eq!(
        said(given.env("GIVEN", "by the caller").run()),
        "by the caller"
    );
    run(&lade, &["-u", "nobodyhere", &name])
        .run()
        .refused(125, &["nobodyhere"]);
}

#[test]
fn without_a_command_an_image_does_not_run() {
    let (lade, _registry, name) = with(|config| config["config"] = serde_json::json!({}));
    run(&lade, &[&name]).run().refused(125, &["command"]);
}

#[test]
fn networks() {
    let (lade, _registry, name) = plain();
    let links = said(run(&lade, &[&name, "ls", "/sys/class/net"]).run());
    assert_eq!(links, "lo");
    let host = lade
        .cmd(&[
            "run",
            "--rm",
            "--network",
            "host",
            &name,
            "ls",
            "/sys/class/net",
        ])
        .run();
    let mut here: Vec<String> = fs::read_dir("/sys/class/net")
        .must("links")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    here.sort();
    let host = said(host);
    let mut there: Vec<&str> = host.split_whitespace().collect();
    there.sort_unstable();
    assert_eq!(there, here);
    run(&lade, &["--network", "nosuch", &name, "true"])
        .run()
        .refused(125, &["nosuch"]);
}

/// The mount tables of all processes there are.
fn mount_tables() -> String {
    let processes = fs::read_dir("/proc").must("/proc").flatten();
    let tables = processes.map(|process| fs::read_to_string(process.path().join("mountinfo")));
    tables.map(Result::unwrap_or_default).collect()
}

#[test]
fn with_rm_or_without_nothing_outlives_a_run() {
    let (lade, _registry, name) = plain();
    lade.swept();
    let before = lade.files();
    let script = "echo x > /written; cat /proc/self/mountinfo; echo ready; sleep 1";
    // As there is no command for a container that has ended, --rm says only that what is written need not be on the disk.
    for (rm, volatile) in [(&["--rm"][..], true), (&[], false)] {
        let args = [
            &["run"],
            rm,
            &["--network", "none", &name, "sh", "-c", script],
        ]
        .concat();
        let running = lade.cmd(&args).spawn();
        running.expect("ready");
        let id = lade.containers().concat();
        let own = lade.data.join("containers").join(&id);
        assert!(own.join("upper/written").is_file(), "{rm:?}");
        assert!(!lade.left_of(&id).is_empty(), "{rm:?}");
        assert!(mount_tables().contains(&id), "{rm:?}");
        let done = running.wait().ok();
        let said = done.stdout();
        let root = said
            .lines()
            .find(|line| line.split(' ').nth(4) == Some("/"));
        let found = root.must(&said).contains("volatile");
        assert_eq!(found, volatile, "{rm:?}\n{said}");
        assert_eq!(lade.containers(), [""; 0], "{rm:?}");
        assert_eq!(lade.left_of(&id), [""; 0], "{rm:?}");
        assert!(!mount_tables().contains(&id), "{rm:?}");
        lade.swept();
        assert_eq!(lade.files(), before, "{rm:?}");
    }
}

#[test]
fn a_missing_image_is_pulled() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    let done = run(&lade, &[&name, "echo", "here"]).run().ok();
    assert_eq!(done.stdout(), "here\n", "the pull says nothing on stdout");
    registry.forget();
    run(&lade, &[&name, "true"]).run().ok();
    assert!(registry.seen().is_empty(), "what is here is not asked for");
    let done = run(&lade, &[&registry.name("nosuch:one"), "true"]).run();
    assert_eq!(
        orlop_tests::complaint(&done, &[125], &["nosuch:one"]),
        None,
        "{done}"
    );
}

#[test]
fn an_image_for_another_machine_is_said_once() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let arm = Image::with(vec![Layer::busybox()], |config| {
        config["architecture"] = "arm64".into();
    });
    let (arm, own) = (
        registry.serve("box:arm", &arm),
        registry.serve("box:own", &Image::busybox()),
    );
    // The programs in it are this machine's, so it runs.
    for (args, warnings) in [
        (&[&*arm, "true"] as &[&str], 1),
        (&["--platform", "linux/arm64", &arm, "true"], 0),
        (&[&own, "true"], 0),
    ] {
        if args.len() == 2 {
            lade.ok(&[
                "pull",
                "-q",
                "--platform",
                if warnings == 1 {
                    "linux/arm64"
                } else {
                    "linux/amd64"
                },
                args[0],
            ]);
        }
        let said = run(&lade, args).run().ok().stderr();
        let begin = "WARNING: The requested image's platform (linux/arm64";
        let found = said.lines().filter(|line| {
            line.starts_with(begin)
                && line.contains("does not match the detected host platform (linux/amd64)")
                && line.ends_with("no specific platform was requested")
        });
        assert_eq!(found.count(), warnings, "{args:?}: {said}");
    }
}

#[test]
fn an_image_of_another_platform_than_was_asked_for_is_never_run() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    lade.ok(&["pull", "-q", &name]);
    let id = lade.inspect(&name, "{{.Id}}");
    let arm = Image::with(vec![Layer::busybox()], |config| {
        config["architecture"] = "arm64".into();
    });
    registry.serve("box:one", &arm);
    registry.forget();
    let short = &id["sha256:".len()..][..12];
    for args in [["never", &name], ["never", short], ["missing", short]] {
        let [when, image] = args;
        let args = ["--platform", "linux/arm64", "--pull", when, image, "true"];
        let done = run(&lade, &args).run();
        let parts = [&*format!(
            "{image} is here for linux/amd64, not linux/arm64"
        )];
        let complaint = orlop_tests::complaint(&done, &[125], &parts);
        assert_eq!(complaint, None, "{done}");
        assert!(registry.seen().is_empty(), "{:?}", registry.seen());
    }
    let args = ["--platform", "linux/arm64", &name, "true"];
    let said = run(&lade, &args).run().ok().stderr();
    let line = format!("{name} is here for linux/amd64, not linux/arm64: pulling\n");
    assert!(said.starts_with(&line), "{said}");
    // And now it is here for that one.
    let args = [["--pull", "never"].as_slice(), &args].concat();
    assert_eq!(run(&lade, &args).run().ok().stderr(), "");
}

#[test]
fn what_is_no_runtime_is_told_from_a_container_that_has_ended() {
    let (lade, _registry, name) = plain();
    for program in ["/bin/true", "/bin/false"] {
        let done = run(&lade, &["--runtime", program, &name, "true"]).run();
        let text = format!("runtime {program} ended without having started a container");
        let parts = [text.as_str(), "hint: is it an OCI runtime?"];
        let complaint = orlop_tests::complaint(&done, &[125], &parts);
        assert_eq!(complaint, None, "{done}");
    }
    run(&lade, &[&name, "false"]).run().exits(1);
}

#[test]
fn nothing_is_left() {
    let (lade, _registry, name) = plain();
    lade.swept();
    let before = (lade.files(), lade.env.world());
    run(
        &lade,
        &[
            &name,
            "sh",
            "-c",
            "echo x >/work/own; mkdir -p /a/b; echo y >/a/b/c",
        ],
    )
    .run()
    .ok();
    run(&lade, &[&name, "nosuchprogram"]).run().exits(127);
    run(&lade, &[&name, "sh", "-c", "sh -c 'kill -9 $$'; exit $?"])
        .run()
        .exits(137);
    lade.swept();
    let left: Vec<_> = lade
        .files()
        .into_iter()
        .filter(|path| !before.0.contains(path))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    lade.env.as_before(&before.1, "after three containers");
    // What one of them wrote the next does not see, and the image is what it was.
    assert_eq!(
        said(run(&lade, &[&name, "cat", "/work/own"]).run()),
        "of the image"
    );
    lade.whole();
}

#[test]
fn signals_are_passed_on() {
    let (lade, _registry, name) = plain();
    let script = "trap 'echo ended; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let running = run(&lade, &[&name, "sh", "-c", script]).spawn();
    running.expect("ready");
    orlop_tests::sys::kill(running.pid(), libc::SIGTERM).must("SIGTERM");
    let done = running.wait().exits(3);
    assert!(done.stdout().contains("ended"), "{done}");
}

#[test]
fn a_terminal_with_job_control() {
    let (lade, _registry, name) = plain();
    let mut terminal = Pty::open();
    let args = ["run", "--rm", "-it", "--network", "none", &name, "sh"];
    let running = lade.cmd(&args).on(&terminal).spawn();
    terminal.expect("#");
    terminal.send("tty; stty size\r");
    terminal.expect("/dev/");
    terminal.expect("24 80");
    terminal.send("sleep 100 &\r");
    terminal.expect("#");
    terminal.send("sleep 200\r");
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("\x1a");
    terminal.expect("Stopped");
    // The shell tells of it with the command after the one in which it hears.
    terminal.send("kill -9 %1 %2; sleep 0.3; jobs\r");
    terminal.expect("Killed");
    // The first one may be told that a job has only just ended.
    terminal.send("exit 5\r");
    std::thread::sleep(std::time::Duration::from_millis(300));
    terminal.send("exit 5\r");
    running.wait().exits(5);
}

#[test]
fn where_there_is_no_terminal_a_container_is_given_one_all_the_same() {
    let (lade, _registry, name) = plain();
    let before = lade.env.world();
    // Away from the terminal that the tests may be run on.
    let alone = |args: &[&str]| {
        let args = [&["run", "--rm", "--network", "none", "-t", &name], args].concat();
        lade.cmd(&args).before("setsid", &["--fork", "--wait"])
    };
    // Both streams are the terminal; nothing comes in, what is left behind is ended, and all that was written comes out.
    let script = "trap '' HUP; test -t 0 && tty && echo err >&2; seq 20000; sleep 1000 & exit 7";
    let done = alone(&["sh", "-c", script]).run().exits(7);
    let numbers = (1..=20000).map(|number| format!("{number}\r\n"));
    let wanted = format!("/dev/pts/0\r\nerr\r\n{}", numbers.collect::<String>());
    assert!(done.stdout() == wanted, "{} bytes", done.stdout().len());
    assert_eq!(done.stderr(), "");
    alone(&["nosuchprogram"])
        .run()
        .refused(127, &["nosuchprogram"]);
    let script = "trap 'echo ended; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    let running = alone(&["sh", "-c", script]).spawn();
    running.expect("ready");
    let engine = Lade::children(running.pid());
    orlop_tests::sys::kill(engine[0], libc::SIGTERM).must("SIGTERM");
    let done = running.wait().exits(3);
    assert!(done.stdout().contains("ended\r\n"), "{done}");
    // What is our standard input alone is not the runtime's without -i.
    let terminal = Pty::open();
    let args = ["run", "--rm", "--network", "none", "-t", &name, "tty"];
    let apart = "setsid --fork --wait \"$0\" \"$@\" >shown 2>&1";
    let run = lade.cmd(&args).before("sh", &["-c", apart]);
    run.on(&terminal).spawn().wait().ok();
    let shown = fs::read_to_string(lade.env.dir.join("shown")).must("what was shown");
    assert_eq!(shown, "/dev/pts/0\r\n");
    drop(terminal);
    lade.swept();
    lade.env
        .as_before(&before, "after containers with terminals");
}

#[test]
fn a_run_of_another_data_root_is_left_alone() {
    let (lade, _registry, name) = plain();
    let running = run(
        &lade,
        &[&name, "sh", "-c", "echo ready; sleep 3; echo ended"],
    )
    .spawn();
    running.expect("ready");
    // They have the run root in common.
    let other = lade.env.dir.join("other");
    for args in [
        &["run", "--rm", "--network", "none", &name, "true"] as &[&str],
        &["image", "prune", "-f"],
        &["rmi", &name],
        &["system", "check", "--repair"],
    ] {
        lade.at(&other, args).run().ok();
    }
    running.wait().ok().prints("ready\nended");
}

#[test]
fn from_debians_registry_to_a_container() {
    let (lade, source) = (Lade::new(), Registry::new());
    let registry = Debian::start(&lade.env, DebianOptions::default());
    let name = source.serve("box:one", &Image::busybox());
    lade.ok(&["pull", &name]);
    let target = registry.name("box:one");
    lade.ok(&["tag", &name, &target]);
    lade.ok(&["push", &target]);
    lade.ok(&["image", "prune", "-a", "-f"]);
    assert_eq!(said(run(&lade, &[&target, "uname", "-s"]).run()), "Linux");
}
