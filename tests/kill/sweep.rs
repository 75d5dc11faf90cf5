//! Which points are tried, and what came of it.

use crate::after::attempt;
use crate::case::{Case, Scene, Verb, With};
use orlop_tests::{CriuDirectories, Must};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::SystemTime;

/// How many points of one command are tried in the default lane; ORLOP_POINTS is another number.
const SAMPLE: usize = 300;
/// Likewise of one with criu, which takes a second for each.
const CRIU_SAMPLE: usize = 40;
/// Likewise of one with a device of its own, which has much in common with others.
const DEVICE_SAMPLE: usize = 60;

/// Taken for writing by those with criu: one criu at a time, because it mounts every controller of cgroup v1 that is mounted nowhere;
/// and it changes the options of cgroup v2, which others would see.
static CRIU: RwLock<()> = RwLock::new(());

/// The calls around which a sample is dense.
const DENSE: [&str; 15] = [
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
    "sendmsg",
];

/// Lists the points of a case: the point and the call's name.
fn points(case: Case) -> Vec<(String, String)> {
    let scene = Scene::new(case);
    let id = scene.env.id();
    scene.prepare(&id);
    let done = scene.killpoint(&["--list"], &id).ok();
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

/// Chooses points of a case by what the environment says; returns the seed, too.
fn choice(case: Case, all: &[(String, String)]) -> (Vec<usize>, u64) {
    let sample = match case {
        Case { verb, .. } if verb.is_criu() => CRIU_SAMPLE,
        Case {
            with: With::Device, ..
        } => DEVICE_SAMPLE,
        _ => SAMPLE,
    };
    let long = std::env::var_os("ORLOP_LONG").map(|_| usize::MAX);
    let given = std::env::var("ORLOP_POINTS").map(|number| number.parse().must("ORLOP_POINTS"));
    let limit = long.unwrap_or_else(|| given.unwrap_or(sample));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .must("the time")
        .as_secs();
    let seed = std::env::var("ORLOP_SEED").map_or(now, |seed| seed.parse().must("ORLOP_SEED"));
    (choose(all, limit, seed).into_iter().collect(), seed)
}

/// Tries the points of a verb, and fails with all that went wrong.
pub(crate) fn sweep(verb: Verb) {
    sweep_with(verb, With::Nothing);
}

pub(crate) fn sweep_with(verb: Verb, with: With) {
    let case = Case { verb, with };
    let criu = verb.is_criu();
    // A sweep that has failed holds up no other.
    let _alone = criu.then(|| CRIU.write().unwrap_or_else(PoisonError::into_inner));
    let _others = (!criu).then(|| CRIU.read().unwrap_or_else(PoisonError::into_inner));
    if !case.possible() {
        return;
    }
    let _own = criu.then(CriuDirectories::note);
    let all = points(case);
    let (chosen, seed) = choice(case, &all);
    let (next, missed, failures) = (
        AtomicUsize::new(0),
        Mutex::new(Vec::new()),
        Mutex::new(Vec::new()),
    );
    std::thread::scope(|scope| {
        for _ in 0..if criu { 1 } else { 3 } {
            scope.spawn(|| {
                let scene = Scene::new(case);
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let Some(index) = chosen.get(turn) else {
                        break;
                    };
                    let (point, name) = &all[*index];
                    let (unreached, wrong) = attempt(&scene, point, turn);
                    missed.lock().must("the list").extend(unreached);
                    if !wrong.is_empty() {
                        failures.lock().must("the list").push(format!(
                            "{case:?} killed at {point} ({name}), turn {turn}:\n  {}",
                            wrong.join("\n  ")
                        ));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().must("the list");
    let shown = |list: &[String]| list[..list.len().min(20)].join("\n");
    assert!(
        failures.is_empty(),
        "{} of {} points of {} (ORLOP_SEED={seed}):\n{}",
        failures.len(),
        chosen.len(),
        all.len(),
        shown(&failures)
    );
    // The last calls of a process differ from run to run; more would mean that the sweep does not kill where it says.
    let missed = missed.into_inner().must("the list");
    assert!(
        missed.len() * 10 <= chosen.len(),
        "{} of {} points of {case:?} were not reached (ORLOP_SEED={seed}, {} calls were listed):\n{}",
        missed.len(),
        chosen.len(),
        all.len(),
        shown(&missed)
    );
}
