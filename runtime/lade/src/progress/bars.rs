//! A line for each layer on a terminal, written again as the layer gets further.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::{Event, Step};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Place;
use super::rate::{Rate, left};
use crate::sizes;

/// The bar itself, in characters.
const WIDTH: u64 = 24;
/// How often a line is made anew while bytes go by; the terminal gets no more than that.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    layers: Mutex<HashMap<String, Layer>>,
    begin: Instant,
}

#[derive(Debug)]
struct Layer {
    bar: ProgressBar,
    /// The word of its last step.
    word: String,
    rate: Rate,
    drawn: Option<Instant>,
}

impl Bars {
    pub(super) fn new(place: Place) -> Self {
        let target = match place {
            Place::Output => ProgressDrawTarget::stdout(),
            Place::Errors => ProgressDrawTarget::stderr(),
        };
        Self {
            all: MultiProgress::with_draw_target(target),
            layers: Mutex::default(),
            begin: Instant::now(),
        }
    }

    pub(super) fn event(&self, event: Event) {
        match event {
            Event::Start { line } => {
                // The lines so far are another name's: they stay, above this one.
                self.end();
                self.say(&line);
            }
            Event::Note(line) => self.say(&line),
            Event::Layer { id, step } => self.layer(id, &step),
            _ => {}
        }
    }

    fn layer(&self, id: String, step: &Step) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let layer = layers.entry(id.clone()).or_insert_with(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
            Layer {
                bar: self.all.add(bar),
                word: String::new(),
                rate: Rate::default(),
                drawn: None,
            }
        });
        let now = Instant::now();
        let word = step.to_string();
        let same = word == layer.word;
        if !same {
            layer.rate = Rate::default();
            layer.word = word;
        }
        if let Some((have, _)) = bytes(step) {
            layer.rate.take(now - self.begin, have);
            let fresh = layer.drawn.is_some_and(|drawn| now - drawn < PAUSE);
            if same && fresh {
                return;
            }
        }
        layer.drawn = Some(now);
        let text = text(&id, step, layer.rate.speed());
        layer.bar.set_message(text);
    }

    fn say(&self, line: &str) {
        // A terminal that is gone is found out by the command itself.
        drop(self.all.println(line));
    }

    /// Does something to the terminal that is not a bar.
    pub(super) fn aside(&self, act: impl FnOnce()) {
        self.all.suspend(act);
    }

    /// Lets the lines stand as they are.
    pub(super) fn end(&self) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, layer) in layers.drain() {
            layer.bar.abandon();
        }
    }
}

/// Returns how far a step is, and how far it will be.
fn bytes(step: &Step) -> Option<(u64, u64)> {
    match step {
        Step::Fetching { have, size }
        | Step::Unpacking { have, size }
        | Step::Packing { have, size }
        | Step::Pushing { have, size }
        | Step::Loading { have, size } => Some((*have, *size)),
        _ => None,
    }
}

/// Writes a layer's line.
fn text(id: &str, step: &Step, speed: Option<u64>) -> String {
    let Some((have, size)) = bytes(step) else {
        return format!("{id}: {step}");
    };
    let word = step.to_string();
    let mut text = format!("{id}: {word:<11} ");
    // The size of what is packed is a guess.
    match have.min(size).saturating_mul(WIDTH).checked_div(size) {
        None => text.push_str(&sizes::short(have)),
        Some(full) => {
            let full = usize::try_from(full).unwrap_or(0);
            let rest = usize::try_from(WIDTH).unwrap_or(0) - full;
            let head = if rest == 0 { "" } else { ">" };
            text.push_str(&format!(
                "[{}{head}{}] {}/{}",
                "=".repeat(full),
                " ".repeat(rest.saturating_sub(1)),
                sizes::short(have),
                sizes::short(size)
            ));
        }
    }
    if let Some(speed) = speed {
        text.push_str(&format!("  {}/s", sizes::short(speed)));
        if let Some(left) = left(size.saturating_sub(have), speed).filter(|_| size > 0) {
            text.push_str(&format!("  {left}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let check = |step: Step, speed, want: &str| {
            assert_eq!(text("0123456789ab", &step, speed), want);
        };
        check(Step::Waiting, None, "0123456789ab: Waiting");
        check(
            Step::Fetching {
                have: 0,
                size: 1000,
            },
            None,
            "0123456789ab: Downloading [>                       ] 0B/1kB",
        );
        check(
            Step::Fetching {
                have: 12_000_000,
                size: 24_000_000,
            },
            Some(4_000_000),
            "0123456789ab: Downloading [============>           ] 12MB/24MB  4MB/s  3s",
        );
        check(
            Step::Unpacking {
                have: 1000,
                size: 1000,
            },
            Some(0),
            "0123456789ab: Extracting  [========================] 1kB/1kB  0B/s",
        );
        check(
            Step::Pushing { have: 5, size: 0 },
            Some(1),
            "0123456789ab: Pushing     5B  1B/s",
        );
        check(
            Step::Packing { have: 9, size: 5 },
            None,
            "0123456789ab: Pushing     [========================] 9B/5B",
        );
    }
}
