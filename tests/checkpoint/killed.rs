//! Checkpoints and restores that are killed, and criu itself, at moments that its log tells of. `tests/kill` kills our own processes
//! at every system call.

use crate::{Place, count, counter, passes};
use orlop_tests::{Bundle, Cmd, CriuDirectories, Must, Running, patient, soon, sys, until};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What criu's log says when it traces the first process, when it works inside of one, and near the end.
const DUMPING: [&str; 3] = ["Seized task", "Dumping core (", "cg: Dumping value"];
/// Likewise of a restore.
const RESTORING: [&str; 3] = [
    "Forking task with 1 pid",
    "Restoring namespaces",
    "Restoring resources",
];

/// The process that works for a command: its child, and the last one of several.
fn child(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().last()?.parse().ok()
}

/// Starts a command and stops its criu when the log says the word; returns both.
#[track_caller]
fn hold(command: Cmd, log: &Path, word: &str) -> (Running, i32) {
    drop(fs::remove_file(log));
    let running = command.spawn();
    let told = || fs::read_to_string(log).is_ok_and(|text| text.contains(word));
    if soon(Duration::from_secs(10), || told().then_some(())).is_none() {
        let log = fs::read_to_string(log).unwrap_or_default();
        panic!(
            "criu's log does not say {word:?}\n{}\n{log}",
            running.wait()
        );
    }
    let criu = child(running.pid()).must("criu");
    sys::kill(criu, libc::SIGSTOP).must("stop criu");
    (running, criu)
}

fn kill(process: Running) {
    sys::kill(process.pid(), libc::SIGKILL).must("kill");
    process.wait();
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

impl Place {
    fn checkpointing(&self, id: &str) -> Cmd {
        let images = self.images().display().to_string();
        self.orlop(&["checkpoint", "--image-path", &images, id])
    }

    /// Starts a counter and a checkpoint of it, whose criu stands still at a word of its log.
    #[track_caller]
    fn held(&self, word: &str) -> (Bundle, String, Running, i32) {
        let bundle = counter(&self.env);
        let id = self.env.start(&bundle);
        passes(&bundle, 2);
        let log = self.images().join("dump.log");
        let (command, criu) = hold(self.checkpointing(&id), &log, word);
        (bundle, id, command, criu)
    }

    /// Demands that the container runs on or is stopped, that it can be deleted, and that another one can have its name.
    #[track_caller]
    fn runs_on_or_is_stopped(&self, bundle: &Bundle, id: &str, context: &str) {
        let env = &self.env;
        let status = until(&format!("running or stopped, {context}"), || {
            let status = env.state(id)["status"].as_str().must("a status").to_owned();
            ["running", "stopped"].contains(&&*status).then_some(status)
        });
        if status == "running" {
            passes(bundle, count(bundle));
        }
        env.orlop(&["delete", "--force", id]).run().ok();
        let create = env.orlop(&["create", "--bundle"]).arg(&bundle.dir);
        create.arg(id).run().ok();
        env.orlop(&["delete", "--force", id]).run().ok();
    }
}

#[test]
fn criu_gives_the_container_of_a_killed_checkpoint_back() {
    let Some(place) = Place::new("criu_gives_the_container_of_a_killed_checkpoint_back") else {
        return;
    };
    for word in DUMPING {
        let (bundle, id, command, criu) = place.held(word);
        kill(command);
        sys::kill(criu, libc::SIGCONT).must("let criu go on");
        // Whatever it does just now, the next one works: it waits for it.
        place.checkpoint(&id, &["--leave-running"]).ok();
        assert!(!lives(criu), "{word}: the first criu is still there");
        passes(&bundle, count(&bundle));
        place.runs_on_or_is_stopped(&bundle, &id, word);
    }
}

#[test]
fn a_criu_that_hangs_holds_up_no_delete_and_no_kill() {
    let Some(place) = Place::new("a_criu_that_hangs_holds_up_no_delete_and_no_kill") else {
        return;
    };
    let env = &place.env;
    for word in DUMPING {
        // Its checkpoint was killed, or waits for it.
        for orphan in [true, false] {
            let (bundle, id, command, criu) = place.held(word);
            let mut command = Some(command);
            if orphan && let Some(command) = command.take() {
                kill(command);
            }
            let begin = Instant::now();
            let deletes = word != DUMPING[1];
            if deletes {
                env.orlop(&["delete", "--force", &id]).run().ok();
            } else {
                env.orlop(&["kill", &id, "KILL"]).run().ok();
                env.reaches(&id, "stopped");
            }
            let took = begin.elapsed();
            assert!(took < patient(Duration::from_secs(5)), "{word}: {took:?}");
            assert!(!lives(criu), "{word}: criu is still there");
            if let Some(command) = command {
                command.wait().refused(1, &["criu"]);
            }
            if !deletes {
                env.orlop(&["delete", &id]).run().ok();
            }
            place.runs_on_or_is_stopped(&bundle, &env.start(&bundle), word);
        }
    }
}

#[test]
fn a_criu_that_hangs_on_what_is_dead_holds_up_no_delete_and_no_kill() {
    let Some(place) =
        Place::new("a_criu_that_hangs_on_what_is_dead_holds_up_no_delete_and_no_kill")
    else {
        return;
    };
    let env = &place.env;
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    for deletes in [true, false] {
        let id = env.start(&bundle);
        let log = place.images().join("dump.log");
        let (command, criu) = hold(place.checkpointing(&id), &log, DUMPING[1]);
        // A process without others ends, though criu traces it.
        if deletes {
            sys::kill(env.pid(&id), libc::SIGKILL).must("kill the container's process");
            env.reaches(&id, "stopped");
        } else {
            env.orlop(&["kill", &id, "KILL"]).run().ok();
            assert!(!lives(criu), "criu is still there");
        }
        let begin = Instant::now();
        env.orlop(&["delete", "--force", &id]).run().ok();
        let took = begin.elapsed();
        assert!(took < patient(Duration::from_secs(5)), "{took:?}");
        assert!(!lives(criu), "criu is still there");
        command.wait().refused(1, &["criu"]);
    }
}

#[test]
fn the_next_checkpoint_does_not_wait_for_ever() {
    let Some(place) = Place::new("the_next_checkpoint_does_not_wait_for_ever") else {
        return;
    };
    let (bundle, id, command, criu) = place.held(DUMPING[0]);
    kill(command);
    place.checkpoint(&id, &["--leave-running"]).ok();
    assert!(!lives(criu), "the first criu is still there");
    passes(&bundle, count(&bundle));
    place.runs_on_or_is_stopped(&bundle, &id, "checkpoint");
}

#[test]
fn a_killed_criu_leaves_the_container_running_or_stopped() {
    let Some(place) = Place::new("a_killed_criu_leaves_the_container_running_or_stopped") else {
        return;
    };
    let env = &place.env;
    for word in DUMPING {
        let (bundle, id, command, criu) = place.held(word);
        sys::kill(criu, libc::SIGKILL).must("kill criu");
        // Where criu had not read our last word, its socket tells of its end first.
        let ended = "signal 9|connection reset|broken pipe";
        command.wait().refused(1, &["criu", ended]);
        assert_ne!(env.state(&id)["status"], "paused", "{word}");
        place.runs_on_or_is_stopped(&bundle, &id, word);
    }
    // Both at once: nobody is left who could let it go on, until the next one comes.
    let (bundle, id, command, criu) = place.held(DUMPING[0]);
    sys::kill(command.pid(), libc::SIGSTOP).must("stop");
    sys::kill(criu, libc::SIGKILL).must("kill criu");
    kill(command);
    place.checkpoint(&id, &["--leave-running"]).ok();
    place.runs_on_or_is_stopped(&bundle, &id, "both killed");
}

#[test]
fn a_killed_restore_is_deleted_by_force() {
    let Some(place) = Place::new("a_killed_restore_is_deleted_by_force") else {
        return;
    };
    let env = &place.env;
    let bundle = counter(env);
    let id = env.start(&bundle);
    passes(&bundle, 2);
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    let saved = count(&bundle);
    let log = place.images().join("restore.log");
    let _own = CriuDirectories::note();
    for word in RESTORING {
        for stays in [true, false] {
            let before = env.world();
            let (command, criu) = hold(place.restoring(&bundle, &id, &[]), &log, word);
            if !stays {
                sys::kill(criu, libc::SIGCONT).must("let criu go on");
            }
            kill(command);
            env.orlop(&["delete", "--force", &id]).run().ok();
            assert!(!lives(criu), "{word}: criu is still there");
            env.as_before(&before, word);
        }
    }
    // The image is as good as before.
    place.restoring(&bundle, &id, &[]).run().ok();
    passes(&bundle, saved);
    place.runs_on_or_is_stopped(&bundle, &id, "restored");
}
