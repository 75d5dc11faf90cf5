//! What a stopped container's cgroup tells of its end: the limits that it came up against.

use std::collections::BTreeMap;

use cgroup::Reached;

use crate::state::Record;

/// The start of the names of our annotations.
const PREFIX: &str = "io.github.orlop.limit.";

/// Returns the limits that a container has come up against, as long as its cgroups are there.
///
/// Looks only where a limit was set: a container without limits costs nothing. What cannot be read is not told; this is an
/// explanation, and nothing depends on it.
#[must_use]
pub fn limits(record: &Record) -> Vec<Reached> {
    let (Some(cgroup), Some(resources)) = (&record.cgroup, &record.resources) else {
        return Vec::new();
    };
    let memory = resources
        .memory()
        .as_ref()
        .and_then(|memory| memory.limit());
    let pids = resources.pids().as_ref().map(|pids| pids.limit());
    let memory = memory
        .filter(|limit| *limit > 0)
        .and_then(|_| cgroup.reached_memory().ok().flatten());
    let pids = pids
        .filter(|limit| *limit > 0)
        .and_then(|_| cgroup.reached_pids().ok().flatten());
    memory.into_iter().chain(pids).collect()
}

/// Adds them to the annotations of a state: `io.github.orlop.limit.memory`: `limit=33554432 peak=33554432 killed=1`, and
/// `io.github.orlop.limit.pids`: `limit=5 refused=3`.
pub(crate) fn annotate(annotations: &mut BTreeMap<String, String>, record: &Record) {
    for reached in limits(record) {
        let peak = reached.peak.as_ref().map(|peak| format!(" peak={peak}"));
        let value = format!(
            "limit={}{} {}={}",
            reached.value,
            peak.unwrap_or_default(),
            verb(&reached),
            reached.count
        );
        annotations.insert(format!("{PREFIX}{}", reached.limit), value);
    }
}

/// Says it in a line, for a person.
pub(crate) fn line(id: &str, reached: &Reached) -> String {
    let peak = reached.peak.as_ref().map(|peak| format!(", peak {peak}"));
    format!(
        "container {id} came up against linux.resources.{}.limit: limit {}{}, processes {}: {}",
        reached.limit,
        reached.value,
        peak.unwrap_or_default(),
        verb(reached),
        reached.count
    )
}

fn verb(reached: &Reached) -> &'static str {
    if reached.limit == "memory" {
        "killed"
    } else {
        "refused"
    }
}
