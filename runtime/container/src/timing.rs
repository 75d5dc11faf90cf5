//! Where the time of a start goes: each step's end is noted by who takes it, the creating process or the container's first one.
//!
//! Noting is off unless it is asked for, and costs a comparison then. The result is read as a table or as a trace in the JSON
//! form that Chrome's tracing page and Perfetto take.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use sys::timeline::Timeline;

/// Who takes a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The process that was called.
    Parent,
    /// The process that becomes the container's program.
    Child,
}

macro_rules! phases {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// The steps that are timed, with the words that name them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Phase { $($name),* }
        impl Phase {
            const ALL: &[(Phase, &str)] = &[$((Phase::$name, $text)),*];
        }
    };
}

phases! {
    Begin = "begin",
    Configuration = "read config.json",
    Host = "look at the host",
    Plan = "plan",
    Reserve = "take the id",
    Open = "open sources",
    Cgroups = "make cgroups",
    Clone = "clone",
    Network = "network namespace",
    Adopt = "write id maps, oom score",
    Unit = "wait for systemd",
    Record = "write the record",
    Limits = "set limits",
    Wait = "wait for the other",
    Hooks = "run hooks",
    Devices = "set device rules",
    Commit = "commit the record",
    Program = "let the program start",
    Attend = "attend to the program",
    RemoveCgroups = "remove cgroups",
    RemoveState = "remove the state",
    Born = "be born",
    Join = "join cgroups and namespaces",
    Close = "close descriptors",
    Identity = "become root, keyring",
    Namespaces = "set up namespaces",
    Root = "attach the root",
    Mount = "mount",
    Dev = "make devices",
    Clocks = "set clocks",
    Terminal = "open the terminal",
    Pivot = "change the root",
    Cover = "sysctl, read-only and masked paths",
    Privileges = "become the user",
    Last = "seccomp, signals",
}

/// Notes the ends of steps, or does not.
#[derive(Debug, Default)]
pub struct Timing(Option<Timeline>);

impl Timing {
    /// Notes nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Notes from now on.
    pub fn on() -> sys::Result<Self> {
        let timing = Self(Some(Timeline::new()?));
        timing.parent(Phase::Begin);
        Ok(timing)
    }

    /// Notes that the parent has ended a step.
    pub fn parent(&self, phase: Phase) {
        self.mark(Who::Parent, phase, 0);
    }

    /// Notes that the child has ended a step.
    pub fn child(&self, phase: Phase) {
        self.mark(Who::Child, phase, 0);
    }

    /// Notes that the child has made a mount.
    pub fn mounted(&self, index: usize) {
        self.mark(Who::Child, Phase::Mount, index + 1);
    }

    fn mark(&self, who: Who, phase: Phase, object: usize) {
        if let Some(line) = &self.0 {
            line.mark((object as u64) << 16 | (phase as u64) << 1 | who as u64);
        }
    }

    /// Returns what was noted; `mounts` are the targets of the plan's mounts.
    #[must_use]
    pub fn steps(&self, mounts: &[&Path]) -> Vec<Step> {
        let moments = self.0.as_ref().map(Timeline::moments).unwrap_or_default();
        steps(&moments, mounts)
    }
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub who: Who,
    pub name: String,
    /// Since the first moment, in nanoseconds.
    pub begin: u64,
    pub end: u64,
}

fn steps(moments: &[(u64, u64)], mounts: &[&Path]) -> Vec<Step> {
    let Some((first, _)) = moments.first() else {
        return Vec::new();
    };
    let mut last = [0, 0];
    let mut steps = Vec::new();
    for (at, tag) in moments {
        let who = if tag & 1 == 0 {
            Who::Parent
        } else {
            Who::Child
        };
        let phase = usize::try_from(tag >> 1 & 0x7fff).unwrap_or(usize::MAX);
        let Some((phase, name)) = Phase::ALL.get(phase) else {
            continue;
        };
        let object = usize::try_from(tag >> 16)
            .ok()
            .and_then(|n| mounts.get(n.checked_sub(1)?));
        let end = at - first;
        let begin = std::mem::replace(&mut last[who as usize], end);
        match phase {
            Phase::Begin => continue,
            // A child that begins to speak has no time before.
            Phase::Born => continue,
            _ => {}
        }
        let object = object.map_or_else(String::new, |path| format!(" {}", path.display()));
        let name = format!("{name}{object}");
        steps.push(Step {
            who,
            name,
            begin,
            end,
        });
    }
    steps
}

/// Prints steps as a table: when each began, how long it took, in microseconds, parent and child in columns of their own.
#[must_use]
pub fn table(steps: &[Step]) -> String {
    let mut text = format!(
        "{:>9}  {:>9} {:>9}  step\n",
        "begin us", "parent us", "child us"
    );
    let mut ordered: Vec<&Step> = steps.iter().collect();
    ordered.sort_by_key(|step| step.begin);
    for step in ordered {
        let took = format!("{:.1}", us(step.end - step.begin));
        let (parent, child) = match step.who {
            Who::Parent => (took.as_str(), ""),
            Who::Child => ("", took.as_str()),
        };
        let begin = us(step.begin);
        // Writing to a string does not fail.
        writeln!(text, "{begin:>9.1}  {parent:>9} {child:>9}  {}", step.name).ok();
    }
    let total = steps.iter().map(|step| step.end).max().unwrap_or(0);
    writeln!(text, "{:>9.1}  all", us(total)).ok();
    text
}

#[expect(clippy::cast_precision_loss, reason = "for people, 2^52 ns is 52 days")]
fn us(ns: u64) -> f64 {
    ns as f64 / 1000.0
}

/// One event of the Trace Event Format: a complete slice, times in microseconds.
#[derive(Debug, Serialize)]
struct Slice<'a> {
    name: &'a str,
    ph: &'static str,
    pid: u32,
    tid: &'static str,
    ts: f64,
    dur: f64,
}

/// Prints steps as a trace for Chrome's tracing page or Perfetto.
pub fn trace(steps: &[Step]) -> serde_json::Result<String> {
    fn slice(step: &Step) -> Slice<'_> {
        Slice {
            name: &step.name,
            ph: "X",
            pid: 1,
            tid: match step.who {
                Who::Parent => "orlop",
                Who::Child => "container",
            },
            ts: us(step.begin),
            dur: us(step.end - step.begin),
        }
    }
    let events: Vec<Slice<'_>> = steps.iter().map(slice).collect();
    serde_json::to_string(&serde_json::json!({ "traceEvents": events, "displayTimeUnit": "ns" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_has_its_own_clock_hand() {
        let timing = Timing::on().unwrap();
        timing.parent(Phase::Plan);
        timing.child(Phase::Born);
        timing.mounted(0);
        timing.parent(Phase::Clone);
        let steps = timing.steps(&[Path::new("/proc")]);
        let names: Vec<_> = steps.iter().map(|step| (step.who, &*step.name)).collect();
        assert_eq!(
            names,
            [
                (Who::Parent, "plan"),
                (Who::Child, "mount /proc"),
                (Who::Parent, "clone")
            ]
        );
        assert_eq!(steps[2].begin, steps[0].end);
        assert!(steps[1].begin >= steps[0].end);
        assert_eq!(table(&steps).lines().count(), 5);
        let trace: serde_json::Value = serde_json::from_str(&trace(&steps).unwrap()).unwrap();
        assert_eq!(trace["traceEvents"][1]["tid"], "container");
        assert!(Timing::off().steps(&[]).is_empty());
    }
}
