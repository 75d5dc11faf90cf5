//! Standard streams and terminals.

use crate::{Place, text, writable};
use orlop_tests::{Bundle, ConsoleSocket, Env, Must, sys, until};
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};

#[test]
fn a_terminal_gets_a_new_master() {
    let Some(place) = Place::new("a_terminal_gets_a_new_master") else {
        return;
    };
    let env = &place.env;
    let mut bundle = writable(env);
    bundle.set("/process/terminal", json!(true)).sh(
        "stty -echo; echo ready; n=0; while read line; do n=$((n+1)); echo $n $line $(tty); done",
    );
    bundle.write();
    let id = env.id();
    let first = ConsoleSocket::listen(env.dir.join("first"));
    let dir = bundle.dir.display().to_string();
    let socket = first.path.display().to_string();
    env.orlop(&[
        "run",
        "--detach",
        "--bundle",
        &dir,
        "--console-socket",
        &socket,
        &id,
    ])
    .run()
    .ok();
    let master = File::from(first.receive().1);
    let mut lines = BufReader::new(master.try_clone().must("master"));
    let mut line = String::new();
    lines.read_line(&mut line).must("ready");
    let ask = |mut master: &File, lines: &mut BufReader<File>, text: &str| {
        writeln!(master, "{text}").must("write");
        let mut line = String::new();
        lines.read_line(&mut line).must("answer");
        line.trim().to_owned()
    };
    let answer = ask(&master, &mut lines, "a");
    assert!(answer.starts_with("1 a /dev/"), "{answer}");
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    drop((master, lines));
    place
        .restoring(&bundle, &id, &[])
        .run()
        .refused(1, &["console socket"]);
    let second = ConsoleSocket::listen(env.dir.join("second"));
    let socket = second.path.display().to_string();
    place
        .restoring(&bundle, &id, &["--console-socket", &socket])
        .run()
        .ok();
    let master = File::from(second.receive().1);
    let mut lines = BufReader::new(master.try_clone().must("master"));
    let answer = ask(&master, &mut lines, "b");
    assert!(answer.starts_with("2 b /dev/"), "{answer}");
}

#[test]
fn pipes_are_the_new_callers() {
    let Some(place) = Place::new("pipes_are_the_new_callers") else {
        return;
    };
    let env = &place.env;
    let mut bundle = writable(env);
    bundle.sh("n=0; while read line; do n=$((n+1)); echo $n $line; done; echo end > /tmp/end");
    bundle.write();
    let (dir, id) = (bundle.dir.display().to_string(), env.id());
    let pipe = || std::io::pipe().must("pipe");
    let (input, output) = (pipe(), pipe());
    env.orlop(&["run", "--detach", "--bundle", &dir, &id])
        .with(|command| {
            sys::give_fd(command, input.0, 0);
            sys::give_fd(command, output.1, 1);
        })
        .run()
        .ok();
    let mut lines = BufReader::new(output.0).lines();
    let (mut writer, mut next) = (input.1, || lines.next().must("a line").must("a line"));
    writeln!(writer, "a").must("write");
    assert_eq!(next(), "1 a");
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    let (input, output) = (pipe(), pipe());
    place
        .restoring(&bundle, &id, &[])
        .with(|command| {
            sys::give_fd(command, input.0, 0);
            sys::give_fd(command, output.1, 1);
        })
        .run()
        .ok();
    let mut writer = input.1;
    writeln!(writer, "b").must("write");
    let mut lines = BufReader::new(output.0).lines();
    assert_eq!(lines.next().must("a line").must("a line"), "2 b");
    drop(writer);
    let end = bundle.rootfs().join("tmp/end");
    until("the end of the input", || {
        (fs::exists(&end).must("end") && text(&end) == "end\n").then_some(())
    });
    env.reaches(&id, "stopped");
}

/// A container that counts into the standard output which it has put aside, as a shell does for each command with a redirection.
fn counts_aside(env: &Env) -> Bundle {
    let mut bundle = writable(env);
    bundle.sh("exec 5>&1 >/tmp/inside; i=0; while :; do i=$((i+1)); echo $i >&5; sleep 0.05; done");
    bundle.write();
    bundle
}

#[test]
fn a_stream_that_is_put_aside_is_still_the_callers() {
    let Some(place) = Place::new("a_stream_that_is_put_aside_is_still_the_callers") else {
        return;
    };
    let env = &place.env;
    let bundle = counts_aside(env);
    let number = |lines: &str| {
        lines
            .lines()
            .last()
            .and_then(|line| line.parse::<u64>().ok())
    };
    let dir = bundle.dir.display().to_string();
    let id = env.id();
    let run = || env.orlop(&["run", "--detach", "--bundle", &dir, &id]);
    let first = run().run().ok();
    until("a number", || number(&first.stdout()));
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    let saved = number(&first.stdout()).must("a number");
    let second = place.restoring(&bundle, &id, &[]).run().ok();
    until("a higher number in the new file", || {
        number(&second.stdout()).filter(|number| *number > saved)
    });
    env.orlop(&["delete", "--force", &id]).run().ok();
}

#[test]
fn a_pipe_that_is_put_aside_is_still_the_callers() {
    let Some(place) = Place::new("a_pipe_that_is_put_aside_is_still_the_callers") else {
        return;
    };
    let env = &place.env;
    let bundle = counts_aside(env);
    let dir = bundle.dir.display().to_string();
    let id = env.id();
    let run = env.orlop(&["run", "--detach", "--bundle", &dir, &id]);
    let (output, input) = std::io::pipe().must("pipe");
    let to_pipe = run.with(|command| sys::give_fd(command, input, 1));
    to_pipe.run().ok();
    let mut lines = BufReader::new(output).lines();
    lines.next().must("a line").must("a line");
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    let saved: u64 = lines
        .map(|line| line.must("a line").parse().must("a number"))
        .last()
        .must("a line");
    let (output, input) = std::io::pipe().must("pipe");
    let restore = place.restoring(&bundle, &id, &[]);
    restore
        .with(|command| sys::give_fd(command, input, 1))
        .run()
        .ok();
    let mut lines = BufReader::new(output).lines();
    let next: u64 = lines
        .next()
        .must("a line")
        .must("a line")
        .parse()
        .must("a number");
    assert!(next > saved, "{next} after {saved}");
}
