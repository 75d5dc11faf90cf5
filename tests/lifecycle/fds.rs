//! What is handed over by number and by socket: preserved fds, LISTEN_FDS, pidfd, NOTIFY_SOCKET, pid files.

use orlop_tests::{Bundle, Cmd, ConsoleSocket, Env, Must, NotifySocket, hidden, sys, until};
use serde_json::json;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

fn file(env: &Env, name: &str) -> File {
    fs::write(env.dir.join(name), name).must(name);
    File::open(env.dir.join(name)).must(name)
}

/// A run of the bundle in a shell, so that LISTEN_PID can name the runtime itself.
fn activated(env: &Env, bundle: &Bundle, count: u32, pid: &str, flags: &str) -> Cmd {
    bundle.write();
    let orlop = orlop_tests::orlop();
    let line = format!(
        "{} --root {} run {flags} -b {} {}",
        orlop.display(),
        env.root.display(),
        bundle.dir.display(),
        env.id()
    );
    env.cmd("/bin/sh").args([
        "-c",
        &format!("LISTEN_FDS={count} LISTEN_PID={pid} exec {line}"),
    ])
}

#[test]
fn no_other_fd_reaches_the_program() {
    let env = Env::new();
    let mut bundle = env.bundle();
    // The 3 is the directory that ls reads.
    bundle.args(&["ls", "/proc/self/fd"]).write();
    let leak = file(&env, "leak");
    let command = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    command
        .with(|command| sys::give_fd(command, leak, 7))
        .run()
        .ok()
        .prints("0\n1\n2\n3");
}

#[test]
fn preserved_fds_keep_their_numbers() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .sh("cat <&3; echo; cat <&4; ls /proc/self/fd | wc -l")
        .write();
    let (a, b, c) = (file(&env, "a"), file(&env, "b"), file(&env, "c"));
    let command = env
        .orlop(&["run", "--preserve-fds", "2", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    let command = command.with(|command| {
        sys::give_fd(command, a, 3);
        sys::give_fd(command, b, 4);
        sys::give_fd(command, c, 5);
    });
    // 0 to 4, and the directory that ls reads.
    command.run().ok().prints("a\nb6");
}

#[test]
fn a_missing_preserved_fd_is_named() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    bundle.args(&["true"]).write();
    let command = env
        .orlop(&["run", "--preserve-fds=2", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    let a = file(&env, "a");
    command
        .with(|command| sys::give_fd(command, a, 3))
        .run()
        .refused(1, &["unable to stat preserved-fd", "(of 2)"]);
    env.as_before(&world, "a missing preserved fd");
}

#[test]
fn listen_fds_are_passed_with_their_variables() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4; ls /proc/self/fd | wc -l");
    let (a, b) = (file(&env, "a"), file(&env, "b"));
    let give = |command: Cmd, fds: [File; 2]| {
        command.with(|command| {
            for (fd, number) in fds.into_iter().zip([3, 4]) {
                sys::give_fd(command, fd, number);
            }
        })
    };
    let clone = |file: &File| file.try_clone().must("a second fd");
    give(
        activated(&env, &bundle, 2, "$$", ""),
        [clone(&a), clone(&b)],
    )
    .run()
    .ok()
    .prints("2 1\nab6");
    // The preserved ones follow after them.
    let mut later = env.bundle();
    later.sh("echo $LISTEN_FDS; ls /proc/self/fd | wc -l");
    give(
        activated(&env, &later, 1, "$$", "--preserve-fds 1"),
        [clone(&a), clone(&b)],
    )
    .run()
    .ok()
    .prints("1\n6");
    // Somebody else's fds are not ours to pass on.
    give(activated(&env, &later, 2, "1", ""), [a, b])
        .run()
        .ok()
        .prints("4");
}

#[test]
fn a_pidfd_is_sent_while_the_container_is_created() {
    if hidden("--pidfd-socket", "pidfd_open") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]).write();
    let socket = ConsoleSocket::listen(env.dir.join("pidfd"));
    let id = env.id();
    env.orlop(&["create", "--pidfd-socket", "pidfd", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .run()
        .ok();
    let (_, pidfd) = socket.receive();
    let info = fs::read_to_string(format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(&pidfd)
    ))
    .must("fdinfo");
    assert!(
        info.contains(&format!("Pid:\t{}\n", env.pid(&id))),
        "not init's pidfd:\n{info}"
    );
    assert!(!sys::pidfd_ended(pidfd.as_fd()));
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert!(sys::pidfd_ended(pidfd.as_fd()), "the pidfd is not init's");
}

#[test]
fn exec_sends_its_pidfd_too() {
    if hidden("--pidfd-socket", "pidfd_open") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    let id = env.start(&bundle);
    let socket = ConsoleSocket::listen(env.dir.join("pidfd"));
    let flags = [
        "exec",
        "--detach",
        "--pidfd-socket",
        "pidfd",
        "--pid-file",
        "pid",
        &id,
        "sleep",
        "100",
    ];
    env.orlop(&flags).run().ok();
    let (_, pidfd) = socket.receive();
    let pid = fs::read_to_string(env.dir.join("pid")).must("the pid file");
    let info = fs::read_to_string(format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(&pidfd)
    ))
    .must("fdinfo");
    assert!(
        info.contains(&format!("Pid:\t{pid}\n")),
        "not the process's pidfd:\n{info}"
    );
}

#[test]
fn the_pid_file_is_digits_only() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]).write();
    for path in [Path::new("pid"), &env.dir.join("sub.pid")] {
        let id = env.id();
        env.orlop(&["create", "--pid-file"])
            .arg(path)
            .arg("--bundle")
            .arg(&bundle.dir)
            .arg(&id)
            .run()
            .ok();
        let text = fs::read_to_string(env.dir.join(path)).must("the pid file");
        assert_eq!(text, env.pid(&id).to_string());
    }
}

#[test]
fn ready_is_forwarded_with_the_main_pid() {
    let env = Env::new();
    let mut bundle = env.bundle();
    // busybox has no program that sends a datagram to a Unix socket by itself; its logger and nc cannot either. The host's
    // python stands in for a service: it enters through the mount of the notify directory.
    bundle.sh("echo $NOTIFY_SOCKET; ls -ld /run/notify; grep ' /run/notify ' /proc/self/mountinfo | cut -d' ' -f6; exec sleep 100");
    fs::create_dir_all(bundle.rootfs().join("run")).must("/run");
    bundle.write();
    let host = NotifySocket::bind(env.dir.join("host.sock"));
    let id = env.id();
    let create = env
        .orlop(&["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .env("NOTIFY_SOCKET", &host.path)
        .run()
        .ok();
    let pid = env.pid(&id);
    let start = env
        .orlop(&["start", &id])
        .env("NOTIFY_SOCKET", &host.path)
        .spawn();
    let inside = env.root.join(&id).join("notify/notify.sock");
    until("the socket of the container", || {
        inside.exists().then_some(())
    });
    until("the program", || {
        create.stdout().contains("nosuid").then_some(())
    });
    let text = create.stdout();
    assert!(text.starts_with("/run/notify/notify.sock\n"), "{text}");
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(
            text.lines()
                .nth(2)
                .must(&text)
                .split(',')
                .any(|word| word == option),
            "{option} is missing: {text}"
        );
    }
    let sender = std::os::unix::net::UnixDatagram::unbound().must("a socket");
    sender
        .send_to(b"STATUS=x\nREADY=1\n", &inside)
        .must("send READY");
    let (ready, _) = host.receive();
    assert!(ready.contains("READY=1"), "{ready}");
    let (main, _) = host.receive();
    assert_eq!(main.trim(), format!("MAINPID={pid}"));
    let (barrier, fds) = host.receive();
    assert_eq!((barrier.trim(), fds.len()), ("BARRIER=1", 1));
    drop(fds);
    start.wait().ok();
}

#[test]
fn without_a_notify_socket_there_is_none_inside() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .sh("echo x${NOTIFY_SOCKET}x; test -e /run/notify || echo none")
        .set("/process/env/-", json!("A=b"));
    env.run(&bundle).ok().prints("xx\nnone");
}
