//! A container that leads mounts which are added to it, or taken from it while it runs, elsewhere.

use crate::Victim;
use orlop_tests::{Bundle, Done, Env, Must, Running, hidden};
use serde_json::{Value, json};
use std::fs;

/// Runs a container that says "armed" before it does what `script` says, for ever.
fn start(env: &Env, bundle: &mut Bundle, script: &str) -> (String, Running) {
    bundle.config["root"]["readonly"] = json!(false);
    bundle.sh(script).write();
    let (id, running) = env.spawn(bundle);
    running.expect("armed");
    (id, running)
}

fn mounts(env: &Env, verb: &str, id: &str, mounts: &Value) -> Done {
    let file = env.dir.join("mounts.json");
    fs::write(&file, mounts.to_string()).must("a file");
    env.orlop(&["mounts", verb, id]).arg(&file).run()
}

/// What was mounted inside of procfs, where it would fake what the runtime reads and writes.
fn in_procfs(env: &Env, id: &str) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", env.pid(id))).must("mountinfo");
    let points = table
        .lines()
        .filter(|line| line.contains(" - tmpfs raced "))
        .filter_map(|line| line.split(' ').nth(4));
    let inside = points.filter(|point| point.starts_with("/proc"));
    inside.map(String::from).collect()
}

/// The target is exchanged for a link into procfs, and for one to the host, while mounts are added.
#[test]
fn a_target_that_changes_while_a_mount_is_added() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let victim = Victim::new(&env);
    let mut bundle = env.bundle();
    let climb = format!("../../../../../../../../..{}", victim.dir.display());
    let script = format!(
        "mkdir -p /race/a/kernel; ln -s /proc/sys /race/b; ln -s {climb} /race/c; echo armed; cd /race; \
         while :; do mv a dir; mv b a; mv a b; mv c a; mv a c; mv dir a; done 2>/dev/null"
    );
    let (id, running) = start(&env, &mut bundle, &script);
    let raced = json!([{"destination": "/race/a/kernel", "type": "tmpfs", "source": "raced"}]);
    let (mut added, mut refused) = (0, 0);
    for _ in 0..150 {
        let done = mounts(&env, "add", &id, &raced);
        if done.rc == 0 {
            added += 1;
        } else {
            refused += 1;
            if let Some(complaint) = done.complaint(1, &["mounts[0]"]) {
                panic!("{complaint}\n{done}");
            }
        }
        let astray = in_procfs(&env, &id);
        assert!(astray.is_empty(), "mounted at {astray:?}\n{done}");
        victim.untouched("a race");
    }
    assert!(
        added > 0 && refused > 0,
        "{added} added, {refused} refused: the race proves nothing"
    );
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}

/// What lies over procfs keeps the container from it; a link must not make a removal take that away.
#[test]
fn a_link_does_not_lead_a_removal_to_a_mask() {
    if hidden("mounts add", "open_tree") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    let script = "mkdir /data; echo armed; while [ ! -d /data/sys ]; do sleep 0.01; done; mv /data /old; ln -s /proc /data; echo moved; sleep 1000";
    let (id, running) = start(&env, &mut bundle, script);
    let data = json!([{"destination": "/data/sys", "type": "tmpfs", "source": "tmpfs"}]);
    mounts(&env, "add", &id, &data).ok();
    running.expect("moved");
    let read_only = || {
        let pid = env.pid(&id);
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).must("mountinfo");
        let line = table.lines().find(|line| line.contains(" /proc/sys "));
        line.is_some_and(|line| line.contains(" ro,"))
    };
    assert!(read_only());
    mounts(&env, "remove", &id, &data).refused(1, &["mounts[0].destination", "symlink"]);
    assert!(read_only(), "the container can write to /proc/sys");
    env.orlop(&["delete", "--force", &id]).run().ok();
    running.wait();
}
