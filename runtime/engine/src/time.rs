//! Points in time as images write them (RFC 3339), and as filters do.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use image::Time;

/// Returns the seconds since 1970 of a time in RFC 3339 (`2024-01-31T12:00:00.5Z`); nothing when it is no such time.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    text.parse().ok().map(Time::seconds)
}

/// Writes seconds since 1970 in RFC 3339, in UTC.
#[must_use]
pub fn rfc3339(seconds: i64) -> String {
    Time::new(seconds, 0).to_string()
}

/// Returns the present second.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or(Duration::ZERO).as_secs()).unwrap_or(i64::MAX)
}

/// Returns the second that a filter means: RFC 3339, a day, seconds since 1970, or how long ago (`24h`, `1h30m`).
#[must_use]
pub fn point(text: &str, now: i64) -> Option<i64> {
    if let Some(ago) = duration(text) {
        return Some(now - ago);
    }
    let seconds = text.split('.').next().and_then(|text| text.parse().ok());
    let naive = || parse(&format!("{text}Z")).or_else(|| parse(&format!("{text}T00:00:00Z")));
    seconds.or_else(|| parse(text)).or_else(naive)
}

/// Returns the whole seconds of a duration.
fn duration(text: &str) -> Option<i64> {
    nanoseconds(text).map(|nanoseconds| nanoseconds / 1_000_000_000)
}

/// Returns the nanoseconds of a duration as Go writes it: `1h30m`, `90s`, `1.5h`.
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    let (mut rest, mut total) = (text, 0.0_f64);
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, behind) = rest.split_at(unit);
        let end = behind.find(|c: char| c.is_ascii_digit());
        let (unit, behind) = behind.split_at(end.unwrap_or(behind.len()));
        let each = match unit {
            "h" => 3600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "us" | "µs" => 1e3,
            "ns" => 1.0,
            _ => return None,
        };
        total += value.parse::<f64>().ok()? * each;
        rest = behind;
    }
    let some = !text.is_empty() && total < 9e18;
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers, below 9e18")]
    some.then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_images() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T12:30:15.123456789Z", Some(1_709_209_815)),
            ("yesterday", None),
        ] {
            assert_eq!(parse(text), seconds, "{text}");
        }
        assert_eq!(rfc3339(1_709_209_815), "2024-02-29T12:30:15Z");
    }

    #[test]
    fn points_of_filters() {
        let now = 1_000_000;
        for (text, seconds) in [
            ("24h", Some(now - 86400)),
            ("1h30m", Some(now - 5400)),
            ("1.5h", Some(now - 5400)),
            ("86400", Some(86400)),
            ("1970-01-02", Some(86400)),
            ("1970-01-02T00:00:00", Some(86400)),
            ("1970-01-02T01:00:00+01:00", Some(86400)),
            ("3 days", None),
            ("", None),
        ] {
            assert_eq!(point(text, now), seconds, "{text}");
        }
    }
}
