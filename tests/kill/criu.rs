//! What holds after a checkpoint or a restore that was killed.

use crate::after::failure;
use crate::case::Scene;
use orlop_tests::{Must, soon};
use std::fs;
use std::time::Duration;

/// How long criu may take to give a container back: it notices at its next message.
const NOTICES: Duration = Duration::from_secs(5);

/// Returns what is wrong with a container whose checkpoint was killed: it runs on, or it is stopped and its image is whole.
pub(crate) fn lives_on(scene: &Scene, id: &str, turn: usize) -> Option<String> {
    let env = &scene.env;
    let status = || env.state(id)["status"].as_str().map(str::to_owned);
    if turn % 3 == 1 {
        // At once: it waits for the one that nobody listens to.
        let again = scene.checkpoint(id, &scene.images(&format!("{id}-again")), true);
        let why = failure("the next checkpoint", again);
        if status().as_deref() != Some("stopped") {
            return why.or_else(|| failure("exec", env.orlop(&["exec", id, "true"])));
        }
    }
    let settled = soon(NOTICES, || {
        let status = status().filter(|status| status != "paused")?;
        left(scene).is_none().then_some(status)
    });
    match settled.as_deref() {
        Some("running") => {
            let exec = failure("exec", env.orlop(&["exec", id, "true"]));
            exec.or_else(|| failure("kill", env.orlop(&["kill", id, "KILL"])))
        }
        Some("stopped") => {
            let deleted = failure("delete", env.orlop(&["delete", id]));
            let images = scene.images(id);
            let restore = scene.orlop(&["restore", "--detach", "--bundle"]);
            let restore = restore.arg(&scene.bundle.dir).arg("--image-path");
            deleted.or_else(|| failure("restore of what was saved", restore.arg(images).arg(id)))
        }
        _ => Some(format!(
            "its status is {:?} after {NOTICES:?}, {:?}",
            status(),
            left(scene)
        )),
    }
}

/// Returns what processes of criu's are there: nobody but this thread and what it has started is in its mount namespace.
pub(crate) fn left(scene: &Scene) -> Option<String> {
    if !scene.case.verb.is_criu() {
        return None;
    }
    let own = fs::read_link("/proc/thread-self/ns/mnt").must("a namespace");
    let me = std::process::id();
    let look = || {
        let entries = fs::read_dir("/proc").must("/proc").flatten();
        let here = |entry: &fs::DirEntry| {
            let name = entry.file_name();
            let number = name.to_string_lossy().parse::<u32>();
            let namespace = fs::read_link(entry.path().join("ns/mnt"));
            number.is_ok_and(|number| number != me) && namespace.is_ok_and(|found| found == own)
        };
        let tell = |entry: fs::DirEntry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
            let line = line.replace('\0', " ");
            // One that has ended is nobody's any more.
            (!line.is_empty()).then(|| format!("{line}: {}", stat.trim()))
        };
        let found: Vec<_> = entries.filter(here).filter_map(tell).collect();
        (!found.is_empty()).then(|| format!("left: {}", found.join("; ")))
    };
    soon(Duration::from_millis(500), || {
        look().is_none().then_some(())
    });
    look()
}
