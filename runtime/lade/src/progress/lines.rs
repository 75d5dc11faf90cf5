//! A line for each change that lasts: no bytes that go by, which nobody could read.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use engine::{Event, Step};

use super::Place;

#[derive(Debug)]
pub(super) struct Lines {
    place: Place,
    /// The last line of each layer.
    last: Mutex<HashMap<String, String>>,
}

impl Lines {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            last: Mutex::default(),
        }
    }

    pub(super) fn event(&self, event: &Event) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = line(event, &mut last) else {
            return;
        };
        // Under the lock, so that lines are in the order of the events. When nobody reads them the command itself finds out at its end.
        drop(match self.place {
            Place::Output => writeln!(std::io::stdout(), "{line}"),
            Place::Errors => writeln!(std::io::stderr(), "{line}"),
        });
    }
}

fn line(event: &Event, last: &mut HashMap<String, String>) -> Option<String> {
    match event {
        Event::Start { line } => {
            // Another name: its layers are told anew.
            last.clear();
            Some(line.clone())
        }
        Event::Note(line) => Some(line.clone()),
        Event::Layer { id, step } => {
            if passes(step) {
                return None;
            }
            let line = format!("{id}: {step}");
            let before = last.insert(id.clone(), line.clone());
            (before.as_ref() != Some(&line)).then_some(line)
        }
        _ => None,
    }
}

/// Whether a step is one of many that tell only how far something is.
fn passes(step: &Step) -> bool {
    matches!(
        step,
        Step::Fetching { .. }
            | Step::Unpacking { .. }
            | Step::Packing { .. }
            | Step::Pushing { .. }
            | Step::Loading { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_docker_s() {
        let layer = |step| Event::Layer {
            id: "0123456789ab".into(),
            step,
        };
        let start = || Event::Start {
            line: "latest: Pulling from library/x".into(),
        };
        let events = [
            start(),
            layer(Step::Waiting),
            layer(Step::Waiting),
            layer(Step::Fetching { have: 1, size: 9 }),
            layer(Step::Fetched),
            layer(Step::Unpacking { have: 1, size: 9 }),
            layer(Step::Done),
            Event::Note("the registry says hello".into()),
            start(),
            layer(Step::Exists),
        ];
        let mut last = HashMap::new();
        let lines: Vec<_> = events
            .iter()
            .filter_map(|event| line(event, &mut last))
            .collect();
        let want = [
            "latest: Pulling from library/x",
            "0123456789ab: Waiting",
            "0123456789ab: Download complete",
            "0123456789ab: Pull complete",
            "the registry says hello",
            "latest: Pulling from library/x",
            "0123456789ab: Already exists",
        ];
        assert_eq!(lines, want);
    }
}
