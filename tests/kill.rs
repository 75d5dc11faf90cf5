//! Killed at every step: whatever process of a command dies at whatever system call, what is left is known and can be deleted.
//!
//! A point is (process in order of birth, k-th system call of that process). All points of a command are tried up to a
//! number, beyond it a sample, with everything around clone, mount, rename and rmdir in it; ORLOP_LONG=1 tries all.
//! ORLOP_SEED repeats a sample.
//!
//! What may be left, until `delete --force`:
//! - the state directory with files of the runtime's own (`state::FILES`),
//! - cgroups named after the container,
//! - the container's process and its network namespace, if the container was committed: `state` knows it then.
//!
//! Never a mount, never a process of a container that does not exist, never a file elsewhere.

use orlop_tests::{Bundle, Env, Must, orlop, soon};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

/// How many points of one command are tried in the default lane; ORLOP_POINTS is another number.
const SAMPLE: usize = 300;

/// What killpoint exits with when the command did not come to the point.
const NOT_REACHED: i32 = 99;

/// The files that a state directory may hold, by the start of their names.
const FILES: [&str; 6] = [
    "intent.json",
    "state.json",
    ".state.json",
    "exec.fifo",
    "seccomp.bpf",
    "notify",
];

/// The calls around which a sample is dense.
const DENSE: [&str; 14] = [
    "clone",
    "fork",
    "mount",
    "move_mount",
    "open_tree",
    "fsmount",
    "pivot_root",
    "rename",
    "rmdir",
    "mkdir",
    "unlink",
    "execve",
    "setns",
    "unshare",
];

/// An update that writes into several hierarchies.
const UPDATE: [&str; 8] = [
    "update",
    "--memory",
    "256m",
    "--pids-limit",
    "99",
    "--cpu-share",
    "500",
    "ID",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Start,
    Exec,
    Delete,
    Run,
    Update,
}

impl Verb {
    /// Brings container `id` to where the verb begins.
    fn prepare(self, env: &Env, bundle: &Bundle, id: &str) {
        if matches!(self, Self::Start | Self::Exec | Self::Delete | Self::Update) {
            env.orlop(&["create", "--bundle"])
                .arg(&bundle.dir)
                .arg(id)
                .run()
                .ok();
        }
        if matches!(self, Self::Exec | Self::Delete | Self::Update) {
            env.orlop(&["start", id]).run().ok();
        }
    }

    fn args(self, bundle: &Bundle, id: &str) -> Vec<String> {
        let dir = bundle.dir.display().to_string();
        let words: &[&str] = match self {
            Self::Create => &["create", "--bundle", &dir, id],
            Self::Start => &["start", id],
            Self::Exec => &["exec", id, "true"],
            Self::Delete => &["delete", "--force", id],
            Self::Run => &["run", "--detach", "--bundle", &dir, id],
            Self::Update => &UPDATE.map(|word| if word == "ID" { id } else { word }),
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}

fn bundle(env: &Env) -> Bundle {
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]);
    bundle.write();
    bundle
}

/// Runs the verb on `id` under killpoint; returns its result.
fn killpoint(
    env: &Env,
    flags: &[&str],
    verb: Verb,
    bundle: &Bundle,
    id: &str,
) -> orlop_tests::Done {
    let command = env
        .cmd(env!("CARGO_BIN_EXE_killpoint"))
        .args(flags)
        .arg(orlop())
        .arg("--root")
        .arg(&env.root);
    command.args(verb.args(bundle, id)).run()
}

/// Lists the points of a verb: the point and the call's name.
fn points(verb: Verb) -> Vec<(String, String)> {
    let env = Env::new();
    let (bundle, id) = (bundle(&env), env.id());
    verb.prepare(&env, &bundle, &id);
    let done = killpoint(&env, &["--list"], verb, &bundle, &id).ok();
    let split = |line: &str| {
        line.split_once(' ')
            .map(|(point, name)| (point.to_owned(), name.to_owned()))
    };
    let points: Vec<_> = done.stdout().lines().filter_map(split).collect();
    assert!(points.len() > 20, "killpoint lists too little\n{done}");
    points
}

/// Chooses points: all, or those next to the dense calls and a random part of the rest.
fn choose(points: &[(String, String)], limit: usize, seed: u64) -> BTreeSet<usize> {
    if points.len() <= limit {
        return (0..points.len()).collect();
    }
    let dense = |index: &usize| {
        let near = index.saturating_sub(1)..(index + 2).min(points.len());
        near.into_iter()
            .any(|index| DENSE.iter().any(|name| points[index].1.starts_with(name)))
    };
    let mut chosen: BTreeSet<usize> = (0..points.len()).filter(dense).collect();
    let mut state = seed | 1;
    let mut random = || {
        // xorshift: a sample that its seed repeats is all that is needed.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % points.len() as u64).must("an index")
    };
    while chosen.len() > limit {
        chosen.remove(&random());
    }
    while chosen.len() < limit {
        chosen.insert(random());
    }
    chosen
}

/// Kills at one point; returns whether the command came to it, and what is wrong afterwards.
fn attempt(env: &Env, bundle: &Bundle, verb: Verb, point: &str) -> (bool, Vec<String>) {
    let id = env.id();
    let clean = env.world();
    verb.prepare(env, bundle, &id);
    let done = killpoint(env, &["--at", point], verb, bundle, &id);
    let mut wrong = Vec::new();

    let unexpected = || -> Vec<String> {
        let exists = env.orlop(&["state", &id]).run().rc == 0;
        clean
            .diff(&env.world())
            .into_iter()
            .filter(|line| !may_be_left(line, &id, exists))
            .collect()
    };
    // A child of a killed runtime notices by its socket, which takes a moment.
    let mut left = unexpected();
    soon(Duration::from_secs(1), || {
        left = unexpected();
        left.is_empty().then_some(())
    });
    wrong.extend(left.into_iter().map(|line| format!("left: {line}")));
    wrong.extend(lives_on(env, bundle, verb, &id));

    let delete = env.orlop(&["delete", "--force", &id]).run();
    if delete.rc != 0 {
        wrong.push(format!("delete --force: {}", delete.stderr().trim()));
    }
    wrong.extend(
        env.left_since(&clean)
            .into_iter()
            .map(|line| format!("left after delete --force: {line}")),
    );
    let again = env
        .orlop(&["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .run();
    if again.rc != 0 {
        wrong.push(format!("the next create: {}", again.stderr().trim()));
    }
    let delete = env.orlop(&["delete", "--force", &id]).run();
    if delete.rc != 0 {
        wrong.push(format!(
            "delete of the next one: {}",
            delete.stderr().trim()
        ));
    }
    if !wrong.is_empty() {
        wrong.push(format!(
            "the killed command: rc {} {}",
            done.rc,
            done.stderr().trim()
        ));
    }
    (done.rc != NOT_REACHED, wrong)
}

/// Returns what is wrong with a container that a killed command worked on.
fn lives_on(env: &Env, bundle: &Bundle, verb: Verb, id: &str) -> Option<String> {
    if matches!(verb, Verb::Exec | Verb::Update) && env.exec(id, &["true"]).rc != 0 {
        return Some(format!(
            "the container does not run on after a killed {verb:?}"
        ));
    }
    if verb == Verb::Start {
        return starts(env, id);
    }
    if verb != Verb::Update {
        return None;
    }
    let again = env.orlop(&[]).args(verb.args(bundle, id)).run();
    (again.rc != 0).then(|| format!("the next update: {}", again.stderr().trim()))
}

/// Returns what is wrong with a container whose start was killed: what it is called is what it is, and one that waits can be started.
fn starts(env: &Env, id: &str) -> Option<String> {
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
        Some("created") if !runs => {
            let again = env.orlop(&["start", id]).run();
            (again.rc != 0).then(|| format!("the next start: {}", again.stderr().trim()))
        }
        _ => Some(format!("its status is {told:?}, its program runs: {runs}")),
    }
}

/// Reports whether a line of difference is in the written list.
fn may_be_left(line: &str, id: &str, exists: bool) -> bool {
    let Some((kind, object)) = line
        .strip_prefix("+ ")
        .and_then(|line| line.split_once(' '))
    else {
        return false;
    };
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
        "cgroup" => Path::new(object)
            .components()
            .any(|part| part.as_os_str() == id),
        "process" | "netns" => exists,
        _ => false,
    }
}

/// Tries the points of a verb on two processors and fails with all that went wrong.
fn sweep(verb: Verb) {
    let all = points(verb);
    let long = std::env::var_os("ORLOP_LONG").is_some();
    let sample =
        std::env::var("ORLOP_POINTS").map_or(SAMPLE, |number| number.parse().must("ORLOP_POINTS"));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .must("the time")
        .as_secs();
    let seed = std::env::var("ORLOP_SEED").map_or(now, |seed| seed.parse().must("ORLOP_SEED"));
    let chosen: Vec<usize> = choose(&all, if long { usize::MAX } else { sample }, seed)
        .into_iter()
        .collect();
    let (next, missed, failures) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        Mutex::new(Vec::new()),
    );
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let env = Env::new();
                let bundle = bundle(&env);
                while let Some(index) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (point, name) = &all[*index];
                    let (reached, wrong) = attempt(&env, &bundle, verb, point);
                    missed.fetch_add(usize::from(!reached), Ordering::Relaxed);
                    if !wrong.is_empty() {
                        failures.lock().must("the list").push(format!(
                            "{verb:?} killed at {point} ({name}):\n  {}",
                            wrong.join("\n  ")
                        ));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().must("the list");
    // The last calls of a process differ from run to run; more would mean that the sweep does not kill where it says.
    let missed = missed.into_inner();
    assert!(
        missed * 10 <= chosen.len(),
        "{missed} of {} points of {verb:?} were not reached",
        chosen.len()
    );
    let shown = failures
        .iter()
        .take(20)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        failures.is_empty(),
        "{} of {} points of {} (ORLOP_SEED={seed}):\n{shown}",
        failures.len(),
        chosen.len(),
        all.len()
    );
}

#[test]
fn create() {
    sweep(Verb::Create);
}

#[test]
fn start() {
    sweep(Verb::Start);
}

#[test]
fn exec() {
    sweep(Verb::Exec);
}

#[test]
fn delete() {
    sweep(Verb::Delete);
}

#[test]
fn run_detached() {
    sweep(Verb::Run);
}

#[test]
fn update() {
    sweep(Verb::Update);
}

#[test]
fn killpoint_kills_exactly_one_process() {
    let env = Env::new();
    let program = env!("CARGO_BIN_EXE_killpoint");
    let script = "sh -c 'echo child; true'; echo child rc $?; (exit 7)";
    let list = env
        .cmd(program)
        .args(["--list", "/bin/busybox", "sh", "-c", script])
        .run()
        .exits(7)
        .stdout();
    let writes: Vec<&str> = list
        .lines()
        .filter(|line| line.ends_with(" write"))
        .collect();
    let child = writes
        .iter()
        .find(|line| line.starts_with("1:"))
        .must(format!("a write of the child in\n{list}"));
    let point = child.split(' ').next().must("a point");
    let done = env
        .cmd(program)
        .args(["--at", point, "/bin/busybox", "sh", "-c", script])
        .run()
        .exits(7);
    assert!(
        done.stdout().contains("child rc 137") && !done.stdout().contains("child\n"),
        "{done}"
    );
    let root = writes
        .iter()
        .find(|line| line.starts_with("0:"))
        .must("a write of the root");
    let point = root.split(' ').next().must("a point");
    let done = env
        .cmd(program)
        .args(["--at", point, "/bin/busybox", "sh", "-c", script])
        .run()
        .exits(137);
    assert_eq!(done.stdout(), "child\n", "{done}");
    env.cmd(program)
        .args(["--at", "0:99999", "/bin/busybox", "true"])
        .run()
        .exits(99);
}
