//! Terminals: the foreground run in a user's terminal, and the console socket of a detached one.

use orlop_tests::{ConsoleSocket, Env, Must, Pty, Running, orlop, patient, sys, until};
use serde_json::json;
use std::fs::File;
use std::process::Command;

#[test]
fn run_gives_the_callers_terminal_and_restores_it() {
    let env = Env::new();
    for (end, rc) in [("exit 3", 3), ("kill -9 $$", 128 + 9)] {
        let mut bundle = env.bundle();
        bundle
            .set("/process/terminal", json!(true))
            .without_namespace("pid");
        bundle.sh(&format!("test -t 0 && test -t 1 && test -t 2 && echo is a tty; tty; stty size; read line; echo got $line; {end}"));
        bundle.write();
        let mut pty = Pty::open();
        let before = sys::terminal_flags(&pty.master).must("the settings");
        let running = env
            .orlop(&["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .on(&pty)
            .spawn();
        pty.expect("is a tty");
        pty.expect("/dev/pts/0");
        pty.expect("24 80");
        assert_ne!(
            sys::terminal_flags(&pty.master).must("the settings"),
            before,
            "the outer terminal is raw meanwhile"
        );
        pty.send("hello\n");
        pty.expect("got hello");
        running.wait().exits(rc);
        assert_eq!(
            sys::terminal_flags(&pty.master).must("the settings"),
            before,
            "the terminal is not restored after {end}"
        );
    }
}

#[test]
fn the_terminal_is_restored_when_the_runtime_is_told_to_end() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/terminal", json!(true))
        .sh("trap 'exit 5' TERM; echo ready; while :; do sleep 0.02; done");
    bundle.write();
    let mut pty = Pty::open();
    let before = sys::terminal_flags(&pty.master).must("the settings");
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .on(&pty)
        .spawn();
    pty.expect("ready");
    sys::kill(running.pid(), libc::SIGTERM).must("signal the runtime");
    running.wait().exits(5);
    assert_eq!(
        sys::terminal_flags(&pty.master).must("the settings"),
        before,
        "the terminal is not restored"
    );
}

#[test]
fn a_refused_run_leaves_the_terminal_alone() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/terminal", json!(true))
        .args(&["nosuch"]);
    bundle.write();
    let pty = Pty::open();
    let before = sys::terminal_flags(&pty.master).must("the settings");
    env.orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .on(&pty)
        .run()
        .exits(1);
    assert_eq!(
        sys::terminal_flags(&pty.master).must("the settings"),
        before,
        "the terminal is not restored"
    );
}

#[test]
fn without_a_terminal_nothing_waits_for_what_nobody_types() {
    let env = Env::new();
    let mut bundle = env.bundle();
    let id = env.start(&bundle);
    bundle.set("/process/terminal", json!(true)).args(&["cat"]);
    bundle.write();
    let world = env.world();
    // Away from the terminal that the tests may be run on.
    let alone = || {
        env.cmd("setsid")
            .arg("--wait")
            .arg(orlop())
            .arg("--root")
            .arg(&env.root)
    };
    let run = alone()
        .args(["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    let exec = alone().args(["exec", "--tty", &id, "cat"]);
    for (command, rc) in [(run, 1), (exec, 255)] {
        command
            .run()
            .refused(rc, &["there is no terminal here", "--console-socket"]);
    }
    env.as_before(&world, "a terminal that is not there");
}

#[test]
fn the_window_size_is_followed() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/terminal", json!(true))
        .sh("trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done");
    bundle.write();
    let mut pty = Pty::open();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .on(&pty)
        .spawn();
    pty.expect("ready");
    sys::set_window(&pty.master, (41, 123)).must("resize");
    pty.expect("41 123");
    sys::kill(running.pid(), libc::SIGKILL).must("kill the runtime");
}

#[test]
fn keys_reach_the_container_and_not_the_runtime() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/terminal", json!(true))
        .sh("trap 'echo interrupted; exit 8' INT; echo ready; while :; do sleep 0.02; done");
    bundle.write();
    let mut pty = Pty::open();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .on(&pty)
        .spawn();
    pty.expect("ready");
    pty.send("\u{3}");
    pty.expect("interrupted");
    running.wait().exits(8);
}

#[test]
fn all_output_arrives_before_run_returns() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/terminal", json!(true))
        .sh("seq 1 20000; echo the end");
    bundle.write();
    let mut pty = Pty::open();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .on(&pty)
        .spawn();
    let text = pty.expect("the end");
    assert!(text.contains("\n20000\r\n"), "the last number is missing");
    running.wait().exits(0);
}

#[test]
fn exec_gives_the_callers_terminal() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let mut pty = Pty::open();
    let before = sys::terminal_flags(&pty.master).must("the settings");
    let script = "trap 'stty size' WINCH; tty; stty size; read x; echo got $x; exit 6";
    let running = env
        .orlop(&["exec", "-t", &id, "sh", "-c", script])
        .on(&pty)
        .spawn();
    pty.expect("/dev/pts/");
    pty.expect("24 80");
    pty.send("word\n");
    pty.expect("got word");
    running.wait().exits(6);
    assert_eq!(
        sys::terminal_flags(&pty.master).must("the settings"),
        before,
        "the terminal is not restored"
    );
}

#[test]
fn create_sends_the_master_through_the_console_socket() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/terminal", json!(true))
        .set("/process/consoleSize", json!({"height": 10, "width": 66}));
    bundle.sh("tty; stty size; ls -l /dev/console; echo to console > /dev/console; read line; echo got $line");
    bundle.write();
    let socket = ConsoleSocket::listen(env.dir.join("console"));
    let id = env.id();
    env.orlop(&["create", "--console-socket"])
        .arg(&socket.path)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&id)
        .run()
        .ok();
    let (_, master) = socket.receive();
    env.orlop(&["start", &id]).run().ok();
    let mut pty = Pty::of_master(File::from(master));
    pty.expect("/dev/pts/0");
    pty.expect("10 66");
    pty.expect("/dev/console");
    pty.expect("to console");
    pty.send("typed\n");
    pty.expect("got typed");
    env.reaches(&id, "stopped");
}

#[test]
fn the_terminal_belongs_to_the_user() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/terminal", json!(true))
        .set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.sh("stat -c 'owner %u' $(tty); echo write > $(tty)");
    bundle.write();
    let mut pty = Pty::open();
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .on(&pty)
        .spawn();
    pty.expect("owner 1000");
    pty.expect("write");
    running.wait().exits(0);
}

#[test]
fn wrong_combinations_of_terminal_and_socket_are_refused() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    bundle.set("/process/terminal", json!(true)).write();
    let create = |flags: &[&str]| {
        env.orlop(flags)
            .arg("--bundle")
            .arg(&bundle.dir)
            .arg(env.id())
            .run()
    };
    create(&["create"]).refused(
        1,
        &[
            "cannot allocate tty if ",
            "will detach without setting console socket",
        ],
    );
    create(&["run", "--detach"]).refused(
        1,
        &[
            "cannot allocate tty if ",
            "will detach without setting console socket",
        ],
    );
    create(&["create", "--console-socket", "nosuch"]).refused(1, &["nosuch"]);
    env.as_before(&world, "a terminal without a socket");

    let _socket = ConsoleSocket::listen(env.dir.join("console"));
    create(&["run", "--console-socket", "console"]).refused(1, &["console socket"]);
    let mut bundle = env.bundle();
    bundle.set("/process/terminal", json!(false)).write();
    let create = env
        .orlop(&["create", "--console-socket", "console", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    create.run().refused(1, &["console socket"]);
    env.as_before(&world, "a socket without a terminal");
}

/// Fills its terminal until nobody takes any more, and ends by a signal with a code of its own.
const FLOOD: &str = "trap 'kill -9 $!; exit 7' TERM; while :; do echo 0123456789; done & echo $! > /dev/null; \
    while :; do sleep 0.02; done";

/// Waits until something has been written, and no more comes.
fn stalls(written: impl Fn() -> u64) {
    let mut before = 0;
    until("a reader's lack", || {
        std::thread::sleep(patient(std::time::Duration::from_millis(200)));
        let now = written();
        let same = now > 0 && now == before;
        before = now;
        same.then_some(())
    });
}

/// Returns how much waits in a pipe or a socket.
fn waits(reader: &impl std::os::fd::AsFd) -> u64 {
    let bytes = sys::unread(reader.as_fd()).must("what is there to read");
    u64::try_from(bytes).must("a number of bytes")
}

/// Returns how much a process has written. What lies on the way to a terminal's reader is in several places, of which the last alone
/// tells how much it has: the writer is asked.
fn wrote(running: &Running) -> u64 {
    let path = format!("/proc/{}/io", running.pid());
    let io = std::fs::read_to_string(path).must("io of the runtime");
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    let bytes: u64 = written.must("wchar").parse().must("a number");
    // A little it writes before the container's output, into files.
    bytes.saturating_sub(4096)
}

/// Gives a command whose output goes elsewhere a terminal to read from, where nobody types.
fn at_a_terminal(command: &mut Command) {
    let (master, slave) = sys::open_pty().must("a terminal");
    command.stdin(slave);
    // Its end would be an end of input.
    std::mem::forget(master);
}

#[test]
fn signals_are_passed_on_while_nobody_reads_the_output() {
    let env = Env::new();
    for case in ["run", "exec"] {
        let mut bundle = env.bundle();
        bundle.set("/process/terminal", json!(case == "run"));
        if case == "run" {
            bundle.sh(FLOOD);
        } else {
            bundle.args(&["sleep", "1000"]);
        }
        bundle.write();
        let id = env.id();
        let command = if case == "run" {
            env.orlop(&["run", "--bundle"]).arg(&bundle.dir).arg(&id)
        } else {
            let id = env.start(&bundle);
            env.orlop(&["exec", "-t", &id, "sh", "-c", FLOOD])
        };
        let (reader, writer) = std::io::pipe().must("a pipe");
        let running = command.with(at_a_terminal).to(writer).spawn();
        stalls(|| waits(&reader));
        sys::kill(running.pid(), libc::SIGTERM).must("signal the runtime");
        // Its program has ended; what it has written waits for somebody to read it, or for somebody who does not want it.
        std::thread::sleep(std::time::Duration::from_millis(300));
        if case == "run" {
            env.reaches(&id, "stopped");
        }
        sys::kill(running.pid(), libc::SIGTERM).must("signal the runtime again");
        running.wait().exits(7);
        drop(reader);
    }
}

#[test]
fn what_a_stalled_reader_has_not_read_is_still_there_for_it() {
    let env = Env::new();
    let run = |stdout: std::os::fd::OwnedFd, reader: std::os::fd::OwnedFd| {
        let mut bundle = env.bundle();
        bundle
            .set("/process/terminal", json!(true))
            .sh("seq 1 60000; echo the end; exit 3");
        bundle.write();
        let running = env
            .orlop(&["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .with(at_a_terminal)
            .to(stdout)
            .spawn();
        stalls(|| waits(&reader));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut File::from(reader), &mut text).must("the output");
        running.wait().exits(3);
        let numbers: Vec<&str> = text.lines().collect();
        assert_eq!(numbers.len(), 60001, "lines");
        assert_eq!((numbers[59999], numbers[60000]), ("60000", "the end"));
    };
    let (reader, writer) = std::io::pipe().must("a pipe");
    run(writer.into(), reader.into());
    let (reader, writer) = std::os::unix::net::UnixStream::pair().must("a socket");
    run(writer.into(), reader.into());
}

#[test]
fn a_stalled_terminal_of_the_callers_holds_up_no_signal() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.set("/process/terminal", json!(true)).sh(FLOOD);
    bundle.write();
    let id = env.id();
    let (master, slave) = sys::open_pty().must("a terminal that nobody reads");
    let running = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .to(slave)
        .spawn();
    stalls(|| wrote(&running));
    sys::kill(running.pid(), libc::SIGTERM).must("signal the runtime");
    env.reaches(&id, "stopped");
    sys::kill(running.pid(), libc::SIGTERM).must("signal the runtime again");
    running.wait().exits(7);
    drop(master);
}
