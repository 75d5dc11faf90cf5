//! `events`.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use container::ContainerId;
use container::verbs::events::{self, Event};
use serde_json::json;

use super::{Done, Failure, exactly, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Line {
    /// Time between two lines, such as 5s, 500ms or 1m30s
    #[arg(long, value_name = "TIME", default_value = "5s")]
    interval: String,
    /// Print what the container uses now, and end
    #[arg(long)]
    stats: bool,
    /// Id of the container
    #[arg(value_name = "ID")]
    id: Vec<String>,
}

pub(super) fn events(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |line: Line| {
        let [id] = exactly(&line.id)?;
        let id = ContainerId::parse(id)?;
        let (root, _) = invocation.root()?;
        let interval = match duration(&line.interval) {
            Some(Duration::ZERO) => bail!("duration interval must be greater than 0"),
            Some(interval) => interval,
            None => bail!(
                "--interval: {:?} is not a duration; use one such as 5s, 500ms or 1m30s",
                line.interval
            ),
        };
        if line.stats {
            let stats = events::stats(&root, &id)?;
            return Ok(Done::output(text(&id, &Event::Stats(Box::new(stats)))?));
        }
        events::watch(&root, &id, interval, |event| {
            let text = text(&id, &event)?;
            // Now, and not at the end, as other commands print.
            std::io::stdout()
                .write_all(text.as_bytes())
                .context("write to standard output")
        })?;
        Ok(Done::default())
    })
}

/// Writes an event as one line.
fn text(id: &ContainerId, event: &Event) -> Result<String> {
    let event = serde_json::to_value(event).context("write the event as JSON")?;
    let mut line = json!({"type": event["type"], "id": id.as_str()});
    if let Some(data) = event.get("data") {
        line["data"] = data.clone();
    }
    Ok(line.to_string() + "\n")
}

/// Parses a duration as Go's time.ParseDuration does: numbers with units, none of them negative, and at most what 63 bits of
/// nanoseconds hold.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * unit;
        rest = after;
    }
    if text.is_empty() {
        return None;
    }
    let longest = Duration::from_nanos(i64::MAX.unsigned_abs());
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| *duration <= longest)
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_as_go_writes_them() {
        let check = |text: &str, millis: Option<u64>| {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}")
        };
        check("5s", Some(5000));
        check("1m30s", Some(90_000));
        check("1.5h", Some(5_400_000));
        check("250ms", Some(250));
        check("0", Some(0));
        check("0s", Some(0));
        check("2562047h", Some(2_562_047 * 3_600_000));
        for wrong in ["", "5", "-1s", "s", "1x", "1s2", "1 s", "2562048h"] {
            check(wrong, None);
        }
    }
}
