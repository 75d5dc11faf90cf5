//! What holds after a kill.

use crate::case::{Case, Scene, Verb, With};
use crate::criu;
use orlop_tests::{Done, soon};
use std::path::Path;
use std::time::Duration;

/// What killpoint exits with when the command did not come to the point.
const NOT_REACHED: i32 = 99;

/// The files that a state directory may hold, by the start of their names.
const FILES: [&str; 8] = [
    "intent.json",
    "state.json",
    ".state.json",
    "exec.fifo",
    "seccomp.bpf",
    "notify",
    "criu-root",
    "criu.json",
];

/// Kills at one point; returns what the command said if it did not come to it, and what is wrong afterwards. `turn` says which of
/// several things is done then.
pub(crate) fn attempt(scene: &Scene, point: &str, turn: usize) -> (Option<String>, Vec<String>) {
    let (env, case) = (&scene.env, scene.case);
    let id = env.id();
    let clean = env.world();
    scene.prepare(&id);
    let done = scene.killpoint(&["--at", point], &id);
    let mut wrong = Vec::new();

    // Every third time nobody waits until criu has noticed.
    if !(case.verb.is_criu() && turn.is_multiple_of(3)) {
        let unexpected = || -> Vec<String> {
            let exists = env.orlop(&["state", &id]).run().rc == 0;
            let lines = clean.diff(&env.world()).into_iter();
            lines
                .filter(|line| !may_be_left(case, line, &id, exists))
                .collect()
        };
        // A child of a killed runtime notices by its socket, which takes a moment.
        let mut left = unexpected();
        soon(Duration::from_secs(1), || {
            left = unexpected();
            left.is_empty().then_some(())
        });
        wrong.extend(left.into_iter().map(|line| format!("left: {line}")));
        wrong.extend(lives_on(scene, &id, turn));
    }
    let device = || scene.device.as_ref().and_then(|device| device.lost(env));
    wrong.extend(device());

    wrong.extend(failure(
        "delete --force",
        env.orlop(&["delete", "--force", &id]),
    ));
    let left = env.left_since(&clean);
    wrong.extend(
        left.into_iter()
            .map(|line| format!("left after delete --force: {line}")),
    );
    wrong.extend(device());
    wrong.extend(unit(scene, &id));
    wrong.extend(criu::left(scene));
    if let Some(device) = &scene.device {
        device.renew(env);
    }
    wrong.extend(failure("the next create", scene.create(&id)));
    wrong.extend(failure(
        "delete of the next one",
        env.orlop(&["delete", "--force", &id]),
    ));
    if !wrong.is_empty() {
        wrong.push(told("the killed command", &done));
    }
    let missed = (done.rc == NOT_REACHED).then(|| told(point, &done));
    (missed, wrong)
}

/// Runs a command that has to succeed.
pub(crate) fn failure(what: &str, command: orlop_tests::Cmd) -> Option<String> {
    let done = command.run();
    (done.rc != 0).then(|| told(what, &done))
}

fn told(what: &str, done: &Done) -> String {
    format!("{what}: rc {} {}", done.rc, done.stderr().trim())
}

/// Returns what is wrong with a container that a killed command worked on.
fn lives_on(scene: &Scene, id: &str, turn: usize) -> Option<String> {
    let (env, verb) = (&scene.env, scene.case.verb);
    if matches!(verb, Verb::Exec | Verb::Update) && env.exec(id, &["true"]).rc != 0 {
        return Some(format!(
            "the container does not run on after a killed {verb:?}"
        ));
    }
    match verb {
        Verb::Start => starts(scene, id),
        Verb::Update => failure("the next update", env.orlop(&[]).args(scene.args(id))),
        Verb::Checkpoint => criu::lives_on(scene, id, turn),
        _ => None,
    }
}

/// Returns what is wrong with a container whose start was killed: what it is called is what it is, and one that waits can be started.
fn starts(scene: &Scene, id: &str) -> Option<String> {
    let env = &scene.env;
    let status = || env.state(id)["status"].as_str().map(str::to_owned);
    let program = format!("/proc/{}/cmdline", env.pid(id));
    let runs = || std::fs::read(&program).is_ok_and(|line| line.starts_with(b"sleep"));
    // One that was let go comes to its program in a moment.
    let late = Duration::from_millis(200);
    soon(late, || {
        (status().as_deref() == Some("running")).then_some(())
    });
    let (told, runs) = (status(), runs());
    match told.as_deref() {
        Some("running") if runs => None,
        Some("created") if !runs => failure("the next start", env.orlop(&["start", id])),
        _ => Some(format!("its status is {told:?}, its program runs: {runs}")),
    }
}

/// Returns what is wrong with the unit of a container that was deleted: systemd does not know it any more.
fn unit(scene: &Scene, id: &str) -> Option<String> {
    if scene.case.with != With::Unit {
        return None;
    }
    // systemd forgets a unit in its own time.
    let file = Path::new("/run/systemd/transient").join(format!("orlop-{id}.scope"));
    let gone = soon(Duration::from_secs(5), || (!file.exists()).then_some(()));
    let shown = || {
        let unit = format!("orlop-{id}.scope");
        let told = scene.env.cmd("systemctl").args(["status", &unit]).run();
        format!("left after delete --force: the unit:\n{}", told.stdout())
    };
    gone.is_none().then(shown)
}

/// Reports whether a line of difference is in the written list.
fn may_be_left(case: Case, line: &str, id: &str, exists: bool) -> bool {
    let Some((sign, (kind, object))) = line
        .split_once(' ')
        .and_then(|(sign, line)| Some((sign, line.split_once(' ')?)))
    else {
        return false;
    };
    if case.verb.is_criu() && kind == "mount" {
        // Its options, which criu changes.
        return object.contains(" - cgroup2 ");
    }
    if sign != "+" {
        return false;
    }
    match kind {
        "state" => {
            let inside = Path::new(object)
                .strip_prefix(id)
                .ok()
                .and_then(Path::to_str);
            inside.is_some_and(|file| {
                file.is_empty() || FILES.iter().any(|known| file.starts_with(known))
            })
        }
        "cgroup" if case.with == With::Unit => object.contains(id),
        "cgroup" => Path::new(object)
            .components()
            .any(|part| part.as_os_str() == id),
        // criu's, too: they do not end by themselves.
        "process" | "netns" => exists || case.verb == Verb::Restore,
        _ => false,
    }
}
