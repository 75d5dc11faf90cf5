//! What a container takes along.

use crate::{Place, count, counter, passes, text, writable};
use orlop_tests::{Must, patient, skip, soon, sys, until};
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn a_counter_goes_on() {
    let Some(place) = Place::new("a_counter_goes_on") else {
        return;
    };
    let (env, bundle) = (&place.env, counter(&place.env));
    let id = env.start(&bundle);
    let before = passes(&bundle, 2);
    let mounts = mounts(&place, &id);
    let pid_file = env.dir.join("pid");
    place.checkpoint(&id, &[]).ok();
    let saved = count(&bundle);
    assert!(saved >= before);
    env.orlop(&["delete", &id]).run().ok();
    place
        .restoring(
            &bundle,
            &id,
            &["--pid-file", &pid_file.display().to_string()],
        )
        .run()
        .ok();
    let after = passes(&bundle, saved);
    assert!(
        after < saved + 100,
        "{saved} became {after}: it began anew or jumped"
    );
    let state = env.state(&id);
    assert_eq!(state["status"], "running");
    assert_eq!(text(&pid_file), state["pid"].to_string());
    assert_eq!(self::mounts(&place, &id), mounts, "mounts have changed");
    // It is a container like any other.
    env.exec(&id, &["cat", "/proc/1/comm"]).ok().prints("sh");
    let pids = env
        .orlop(&["ps", "--format", "json", &id])
        .run()
        .ok()
        .json();
    assert!(pids.as_array().must("pids").contains(&state["pid"]));
    env.orlop(&["pause", &id]).run().ok();
    env.orlop(&["resume", &id]).run().ok();
    env.orlop(&["kill", &id, "KILL"]).run().ok();
    env.reaches(&id, "stopped");
    env.orlop(&["delete", &id]).run().ok();
}

/// The mounts of a container, without the ids and the order.
fn mounts(place: &Place, id: &str) -> BTreeSet<String> {
    let table = place
        .env
        .exec(id, &["cat", "/proc/self/mountinfo"])
        .ok()
        .stdout();
    let fields = |line: &str| {
        let (mount, fs) = line.split_once(" - ").must("a separator");
        // Root, place, options; whose peer a mount is, criu numbers anew.
        let mount: Vec<_> = mount.split(' ').skip(3).take(3).collect();
        format!(
            "{} {}",
            mount.join(" "),
            fs.split(' ').next().unwrap_or_default()
        )
    };
    table.lines().map(fields).collect()
}

#[test]
fn a_saved_container_may_go_on_and_come_back_twice() {
    let Some(place) = Place::new("a_saved_container_may_go_on") else {
        return;
    };
    let (env, bundle) = (&place.env, counter(&place.env));
    let id = env.start(&bundle);
    passes(&bundle, 1);
    place.checkpoint(&id, &["--leave-running"]).ok();
    assert_eq!(env.state(&id)["status"], "running");
    passes(&bundle, count(&bundle));
    // Paused it is saved as well, and its processes are gone then.
    env.orlop(&["pause", &id]).run().ok();
    place.checkpoint(&id, &[]).ok();
    env.reaches(&id, "stopped");
    let saved = count(&bundle);
    env.orlop(&["delete", &id]).run().ok();
    place.restoring(&bundle, &id, &[]).run().ok();
    let second = passes(&bundle, saved);
    place.there_and_back(&bundle, &id, &[]);
    passes(&bundle, second);
}

#[test]
fn processes_pipes_and_open_files_go_on() {
    let Some(place) = Place::new("processes_pipes_and_open_files") else {
        return;
    };
    let env = &place.env;
    let mut bundle = writable(env);
    bundle.sh(
        "exec 5>/tmp/log; rm -f /tmp/log; \
         i=0; (while :; do i=$((i+1)); echo $i; sleep 0.02; done) | while read n; do echo $n >> /tmp/list; echo $n >&5; done",
    );
    let id = env.start(&bundle);
    let file = bundle.rootfs().join("tmp/list");
    let lines = || {
        std::fs::read_to_string(&file)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("ten lines", || (lines() > 10).then_some(()));
    place.there_and_back(&bundle, &id, &["--file-locks"]);
    let saved = lines();
    until("more lines", || (lines() > saved + 10).then_some(()));
    let list = text(&file);
    let numbers: Vec<usize> = list.lines().filter_map(|line| line.parse().ok()).collect();
    let wanted: Vec<usize> = (1..=numbers.len()).collect();
    assert_eq!(numbers, wanted, "no line is lost or doubled");
}

#[test]
fn the_foreground_has_the_exit_code() {
    let Some(place) = Place::new("the_foreground_has_the_exit_code") else {
        return;
    };
    let env = &place.env;
    let before = env.world();
    let mut bundle = writable(env);
    bundle.sh("while [ ! -e /tmp/stop ]; do sleep 0.05; done; exit 7");
    let id = env.start(&bundle);
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    let images = place.images().display().to_string();
    let dir = bundle.dir.display().to_string();
    // As go-runc writes it.
    let line = [
        "restore",
        "--image-path",
        &images,
        "--bundle",
        &dir,
        "-no-subreaper",
        &id,
    ];
    let running = place.orlop(&line).spawn();
    until("the container", || {
        (env.orlop(&["state", &id]).run().rc == 0).then_some(())
    });
    std::fs::write(bundle.rootfs().join("tmp/stop"), "").must("stop");
    running.wait().exits(7);
    env.as_before(&before, "a restored container that has ended");
}

/// A server without connections needs no help of the firewall's.
#[test]
fn a_server_listens_again() {
    let Some(place) = Place::new("a_server_listens_again") else {
        return;
    };
    let env = &place.env;
    let mut bundle = writable(env);
    // One process listens and stays; each connection gets a process of its own.
    bundle.sh("exec nc -ll -p 7001 -e echo hello");
    let id = env.start(&bundle);
    let answers = || {
        let line = "nc 127.0.0.1 7001 < /dev/null";
        let hello = env.exec(&id, &["sh", "-c", line]).stdout();
        hello.contains("hello").then_some(())
    };
    until("an answer of the server", answers);
    let first = place.checkpoint(&id, &["--leave-running"]);
    if first.stderr().contains("1:16 opt: Operation not supported") {
        let why = "this criu asks every socket for SO_PASSCRED, which kernels since 6.16 answer for few families";
        return skip("a_server_listens_again", why);
    }
    first.ok();
    place.there_and_back(&bundle, &id, &[]);
    until("an answer of the restored server", answers);
}

#[test]
fn connections_go_on() {
    let Some(place) = Place::new("connections_go_on") else {
        return;
    };
    let env = &place.env;
    let mut bundle = writable(env);
    bundle.sh(
        "(while :; do echo hello | nc -l -p 7001; done) & sleep 1000 | nc -l -p 7000 > /tmp/got & sleep 0.2; \
         (i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done) | nc 127.0.0.1 7000",
    );
    let id = env.start(&bundle);
    let got = bundle.rootfs().join("tmp/got");
    let lines = || {
        std::fs::read_to_string(&got)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("lines over the connection", || (lines() > 3).then_some(()));
    let refused = place.checkpoint(&id, &[]);
    refused.refused(1, &["criu could not checkpoint the container"]);
    assert_eq!(
        env.state(&id)["status"],
        "running",
        "a checkpoint that fails harms nobody"
    );
    let first = place.checkpoint(&id, &["--tcp-established", "--leave-running"]);
    if first.stderr().contains("Operation not supported") {
        return skip("connections_go_on", first.stderr().trim());
    }
    first.ok();
    place.there_and_back(&bundle, &id, &["--tcp-established"]);
    let saved = lines();
    until("more lines over the connection", || {
        (lines() > saved + 3).then_some(())
    });
    let wanted: Vec<_> = (1..=lines()).map(|number| number.to_string()).collect();
    assert_eq!(
        text(&got).lines().take(wanted.len()).collect::<Vec<_>>(),
        wanted
    );
    // The listener listens again.
    let hello = || {
        env.exec(&id, &["sh", "-c", "nc 127.0.0.1 7001 < /dev/null"])
            .stdout()
    };
    until("an answer of the server", || {
        hello().contains("hello").then_some(())
    });
}

#[test]
fn memory_goes_ahead() {
    let Some(place) = Place::new("memory_goes_ahead") else {
        return;
    };
    let (env, bundle) = (&place.env, counter(&place.env));
    let id = env.start(&bundle);
    passes(&bundle, 1);
    let (images, first) = (place.images(), env.dir.join("first").display().to_string());
    let first_dump = place
        .orlop(&["checkpoint", "--pre-dump", "--image-path", &first, &id])
        .run();
    if first_dump
        .stderr()
        .contains("does not track changes of memory")
    {
        first_dump.refused(1, &["--pre-dump"]);
        assert_eq!(env.state(&id)["status"], "running");
        return skip(
            "memory_goes_ahead",
            "this kernel does not track changes of memory",
        );
    }
    first_dump.ok();
    assert_eq!(env.state(&id)["status"], "running");
    place.there_and_back(&bundle, &id, &[]);
    place
        .checkpoint(&id, &["--parent-path", "/abs"])
        .refused(1, &["--parent-path", "relative"]);
    place
        .checkpoint(&id, &["--parent-path", "../none"])
        .refused(1, &["--parent-path"]);
    std::fs::remove_dir_all(&images).must("remove images");
    place
        .orlop(&[
            "checkpoint",
            "--pre-dump",
            "--image-path",
            &env.dir.join("second").display().to_string(),
            &id,
        ])
        .run()
        .ok();
    place.checkpoint(&id, &["--parent-path", "../second"]).ok();
    assert!(
        images.join("parent").exists(),
        "the image refers to the pre-dump"
    );
    let saved = count(&bundle);
    env.orlop(&["delete", &id]).run().ok();
    place.restoring(&bundle, &id, &[]).run().ok();
    passes(&bundle, saved);
}

#[test]
fn memory_comes_later() {
    let Some(place) = Place::new("memory_comes_later") else {
        return;
    };
    let (env, bundle) = (&place.env, counter(&place.env));
    let id = env.start(&bundle);
    passes(&bundle, 1);
    let work = env.dir.join("work").display().to_string();
    let dump = place.checkpoint(&id, &["--work-path", &work]);
    dump.ok();
    let saved = count(&bundle);
    env.orlop(&["delete", &id]).run().ok();
    let images = place.images().display().to_string();
    let daemon = env
        .cmd("criu")
        .env("PATH", &place.path)
        .args(["lazy-pages", "-D", &images, "-W", &work])
        .spawn();
    let socket = std::path::Path::new(&work).join("lazy-pages.socket");
    if soon(Duration::from_secs(5), || socket.exists().then_some(())).is_none() {
        let done = daemon.wait();
        return skip("memory_comes_later", done.stderr().trim());
    }
    let line = ["--lazy-pages", "--work-path", &work];
    place.restoring(&bundle, &id, &line).run().ok();
    passes(&bundle, saved);
    daemon.wait().ok();
}

#[test]
fn a_page_server_says_when_it_is_ready() {
    let Some(place) = Place::new("a_page_server_says_when_it_is_ready") else {
        return;
    };
    let (env, bundle) = (&place.env, counter(&place.env));
    let id = env.start(&bundle);
    passes(&bundle, 1);
    let images = place.images().display().to_string();
    let (reader, writer) = std::io::pipe().must("pipe");
    let dump = place
        .orlop(&["checkpoint", "--lazy-pages", "--status-fd", "7"])
        .args([
            "--page-server",
            "127.0.0.1:7341",
            "--image-path",
            &images,
            &id,
        ])
        .with(|command| sys::give_fd(command, writer, 7))
        .spawn();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        let read = std::io::Read::read_to_end(&mut &reader, &mut said);
        tell.send(read.map(|_| said))
    });
    let Ok(said) = told.recv_timeout(patient(Duration::from_secs(20))) else {
        // The client that it waits for ends it.
        drop(std::net::TcpStream::connect("127.0.0.1:7341"));
        panic!("nothing comes by --status-fd\n{}", dump.wait());
    };
    let said = said.must("read the status");
    if said.is_empty() {
        let done = dump.wait();
        assert!(done.stderr().contains("--lazy-pages"), "{done}");
        return skip("a_page_server_says_when_it_is_ready", done.stderr().trim());
    }
    assert_eq!(said, [0]);
    drop(std::net::TcpStream::connect("127.0.0.1:7341").must("connect"));
    // criu may take a client that wants nothing for one that has all, or give the container back.
    let (done, status) = (dump.wait(), env.state(&id)["status"].clone());
    let wanted = if done.rc == 0 { "stopped" } else { "running" };
    assert_eq!(status, wanted, "{done}");
}
