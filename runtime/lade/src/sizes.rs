//! Sizes and times as docker writes them for people.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Writes a size with four significant digits, in powers of 1000: `1.234MB`. Docker has it in `system df` and after prune.
pub(crate) fn human(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 4)
}

/// Writes a size with three significant digits, in powers of 1000: `1.23MB`. Docker has it in `images` and `history`.
pub(crate) fn short(bytes: u64) -> String {
    scaled(bytes, 1000.0, &DECIMAL, 3)
}

/// Writes a size in powers of 1024: `1.5GiB`. Docker has it in `info`, for memory.
pub(crate) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &BINARY, 4)
}

fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits of it are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    format!("{}{}", significant(size, digits), units[unit])
}

/// Writes a number as C's `%.*g`: so many significant digits, no zeros at the end, with an exponent where it has more digits before the point.
fn significant(number: f64, digits: usize) -> String {
    let scientific = format!("{number:.*e}", digits - 1);
    // The exponent after rounding: 999.96 has four digits before the point once it is rounded to four.
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: usize = exponent.parse().unwrap_or(0);
    if exponent >= digits {
        return format!("{}e+{exponent:02}", trimmed(mantissa));
    }
    trimmed(&format!("{number:.*}", digits - 1 - exponent)).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// Writes how long something took or has been, as docker does: `About a minute`, `3 weeks`.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    let days = hours / 24;
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if days < 14 => format!("{days} days"),
        _ if days < 60 => format!("{} weeks", days / 7),
        _ if days < 730 => format!("{} months", days / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Writes how long ago a moment was, both as seconds since 1970: `2 hours ago`.
pub(crate) fn ago(moment: i64, now: i64) -> String {
    format!("{} ago", duration(now.saturating_sub(moment)))
}

/// Writes a moment as docker shows it for `{{.CreatedAt}}` of images: `2024-02-29 12:00:00 +0000 UTC`.
pub(crate) fn moment(seconds: i64) -> String {
    let rfc = engine::time::rfc3339(seconds);
    let plain = rfc.trim_end_matches('Z').replacen('T', " ", 1);
    format!("{plain} +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_docker_s() {
        let table: &[(u64, &str, &str, &str)] = &[
            (0, "0B", "0B", "0B"),
            (1, "1B", "1B", "1B"),
            (999, "999B", "999B", "999B"),
            (1000, "1kB", "1kB", "1000B"),
            (1023, "1.023kB", "1.02kB", "1023B"),
            (1024, "1.024kB", "1.02kB", "1KiB"),
            (1_234_567, "1.235MB", "1.23MB", "1.177MiB"),
            (4_860_000, "4.86MB", "4.86MB", "4.635MiB"),
            (124_089_129, "124.1MB", "124MB", "118.3MiB"),
            (999_960, "1000kB", "1e+03kB", "976.5KiB"),
            (25_283_000_000, "25.28GB", "25.3GB", "23.55GiB"),
            (u64::MAX, "18.45EB", "18.4EB", "16EiB"),
        ];
        for (bytes, four, three, two) in table {
            assert_eq!(human(*bytes), *four, "{bytes}");
            assert_eq!(short(*bytes), *three, "{bytes}");
            assert_eq!(binary(*bytes), *two, "{bytes}");
        }
    }

    #[test]
    fn times_are_docker_s() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        let table: &[(i64, &str)] = &[
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (180, "3 minutes"),
            (59 * 60 + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR + 1799, "About an hour"),
            (HOUR + 1800, "2 hours"),
            (35 * HOUR, "35 hours"),
            (47 * HOUR + 1799, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (730 * DAY, "2 years"),
            (3 * 365 * DAY, "3 years"),
        ];
        for (seconds, text) in table {
            assert_eq!(duration(*seconds), *text, "{seconds}");
        }
        assert_eq!(ago(100, 100 + 2 * HOUR), "2 hours ago");
        assert_eq!(moment(1_709_208_000), "2024-02-29 12:00:00 +0000 UTC");
    }
}
