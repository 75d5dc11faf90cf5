//! How fast something goes, and how long it will take.

use std::collections::VecDeque;
use std::time::Duration;

/// What is looked back on: long enough to be calm, short enough to tell the truth.
const WINDOW: Duration = Duration::from_secs(5);
/// Samples that are nearer to each other count as one.
const GRAIN: Duration = Duration::from_millis(100);

/// The last seconds of a count of bytes. What was there at the first sample did not come at any speed.
#[derive(Debug, Default)]
pub(super) struct Rate {
    samples: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Takes the count at a time, which is measured from any fixed point.
    pub(super) fn take(&mut self, at: Duration, count: u64) {
        if self.samples.back().is_some_and(|(_, last)| *last > count) {
            // It was begun again.
            self.samples.clear();
        }
        let recent = self.samples.len() > 1
            && self
                .samples
                .iter()
                .rev()
                .nth(1)
                .is_some_and(|(before, _)| at.saturating_sub(*before) < GRAIN);
        if recent {
            self.samples.pop_back();
        }
        self.samples.push_back((at, count));
        while self.samples.len() > 2 && at.saturating_sub(self.samples[1].0) > WINDOW {
            self.samples.pop_front();
        }
    }

    /// Returns bytes per second, once there is something to tell.
    pub(super) fn speed(&self) -> Option<u64> {
        let ((begin, from), (end, to)) = (self.samples.front()?, self.samples.back()?);
        let millis = end.saturating_sub(*begin).as_millis();
        if millis < GRAIN.as_millis() {
            return None;
        }
        u64::try_from(u128::from(to - from) * 1000 / millis).ok()
    }
}

/// Writes how long so many bytes take: `3s`, `2m05s`, `1h20m`.
pub(super) fn left(bytes: u64, speed: u64) -> Option<String> {
    let seconds = bytes.checked_div(speed)?;
    Some(match seconds {
        ..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..360_000 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: &[(u64, u64)], want: Option<u64>) {
        let mut rate = Rate::default();
        for (millis, count) in samples {
            rate.take(Duration::from_millis(*millis), *count);
        }
        assert_eq!(rate.speed(), want, "{samples:?}");
    }

    #[test]
    fn speeds_are_of_the_last_seconds() {
        check(&[], None);
        check(&[(0, 100)], None);
        check(&[(0, 0), (50, 100)], None);
        check(&[(0, 0), (1000, 500)], Some(500));
        // What was there from an earlier attempt is no speed.
        check(&[(0, 1_000_000), (2000, 1_001_000)], Some(500));
        check(
            &[
                (0, 0),
                (1000, 1_000_000),
                (2000, 1_000_000),
                (6500, 1_000_000),
                (7500, 1_001_000),
            ],
            Some(181),
        );
        check(&[(0, 0), (1000, 900), (2000, 100), (3000, 200)], Some(100));
        let many: Vec<_> = (0..2000).map(|at| (at, at * 10)).collect();
        check(&many, Some(10_000));
    }

    #[test]
    fn times_left_are_short() {
        for (bytes, speed, want) in [
            (100, 0, None),
            (0, 10, Some("0s")),
            (100, 10, Some("10s")),
            (1250, 10, Some("2m05s")),
            (48_000, 10, Some("1h20m")),
            (u64::MAX, 1, None),
        ] {
            assert_eq!(left(bytes, speed).as_deref(), want);
        }
    }
}
