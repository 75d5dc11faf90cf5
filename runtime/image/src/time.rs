//! Moments, as documents write them (RFC 3339).

use std::fmt;
use std::str::FromStr;

use crate::{Malformed, quoted};

/// A moment: seconds since 1970 in UTC, and nanoseconds. Parses any RFC 3339 text and displays as one in UTC, with no more digits of
/// a second than it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since the beginning of 1970, before it negative; within the years 0 to 9999.
    seconds: i64,
    nanoseconds: u32,
}

const DAY: i64 = 86_400;
/// The first second of the year 0 and the last of the year 9999.
const SPAN: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl Time {
    /// Returns the moment this many seconds and nanoseconds after the beginning of 1970; what is beyond the years 0 to 9999, or
    /// beyond a second, becomes the nearest that is not.
    pub fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds: seconds.clamp(*SPAN.start(), *SPAN.end()),
            nanoseconds: nanoseconds.min(999_999_999),
        }
    }

    /// Returns the seconds since the beginning of 1970.
    pub fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds after that second.
    pub fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

/// Returns the number of days from 1970-01-01 to this one (of the Gregorian calendar, also before it began). The year is taken to
/// begin in March: the leap day is its last then.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leaps + of_year - 719_468
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, second) = (self.seconds.div_euclid(DAY), self.seconds.rem_euclid(DAY));
        // A guess that is never too late, and at most some twenty years too early.
        let mut year = 1970 + day.div_euclid(if day < 0 { 365 } else { 366 });
        while days(year + 1, 1, 1) <= day {
            year += 1;
        }
        let mut month = 1;
        while month < 12 && days(year, month + 1, 1) <= day {
            month += 1;
        }
        let of_month = day - days(year, month, 1) + 1;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{of_month:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanoseconds != 0 {
            let digits = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Time {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        parse(text.as_bytes()).ok_or_else(|| {
            let text = quoted(text);
            Malformed(format!(
                "time {text} is not as RFC 3339 wants it, which looks like 2026-01-31T23:59:59Z"
            ))
        })
    }
}

fn parse(text: &[u8]) -> Option<Time> {
    let (head, rest) = text.split_at_checked(19)?;
    let form = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    };
    if !head.iter().zip(form).all(fits) {
        return None;
    }
    let (year, month, day) = (
        number(&head[..4])?,
        number(&head[5..7])?,
        number(&head[8..10])?,
    );
    let (hour, minute) = (number(&head[11..13])?, number(&head[14..16])?);
    let second = number(&head[17..])?;
    let in_year = (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day);
    if !in_year || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanoseconds, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset(rest)?;
    SPAN.contains(&seconds).then_some(Time {
        seconds,
        nanoseconds,
    })
}

/// Reads a few decimal digits; the caller has counted them.
fn number(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads the digits after the dot; those after the ninth are dropped.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(count);
    if digits.is_empty() {
        return None;
    }
    let nine = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanoseconds = nine.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some((nanoseconds, rest))
}

/// Reads `Z` or `+01:30` as seconds east of Greenwich.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [a, b, b':', c, d] = rest else {
        return None;
    };
    if ![a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = (number(&[*a, *b])?, number(&[*c, *d])?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, seconds, shown) in [
            ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
            ("2000-02-29T12:34:56Z", 951_827_696, "2000-02-29T12:34:56Z"),
            (
                "2026-11-22T15:51:41.120Z",
                1_795_362_701,
                "2026-11-22T15:51:41.12Z",
            ),
            (
                "2026-11-22T16:51:41+01:00",
                1_795_362_701,
                "2026-11-22T15:51:41Z",
            ),
            (
                "2026-11-22T10:21:41-05:30",
                1_795_362_701,
                "2026-11-22T15:51:41Z",
            ),
            (
                "0001-01-01T00:00:00Z",
                -62_135_596_800,
                "0001-01-01T00:00:00Z",
            ),
            (
                "0000-01-01T00:00:00Z",
                -62_167_219_200,
                "0000-01-01T00:00:00Z",
            ),
            (
                "9999-12-31T23:59:59.9999999999Z",
                253_402_300_799,
                "9999-12-31T23:59:59.999999999Z",
            ),
            ("1969-12-31T23:59:59Z", -1, "1969-12-31T23:59:59Z"),
            (
                "2023-12-31T23:59:59Z",
                1_704_067_199,
                "2023-12-31T23:59:59Z",
            ),
        ] {
            let time: Time = text.parse().unwrap();
            assert_eq!(
                (time.seconds(), time.to_string().as_str()),
                (seconds, shown),
                "{text}"
            );
        }
        let far = Time::new(i64::MAX, u32::MAX);
        assert_eq!(far.to_string(), "9999-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "now",
            "2026-11-22",
            "2026-11-22T15:51:41",
            "2026-11-22 15:51:41Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+01:60",
            "2026-01-01T00:00:00ZZ",
            "+026-01-01T00:00:00Z",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-01-01T00:00:0\u{e9}Z",
        ] {
            let error = text.parse::<Time>().unwrap_err().to_string();
            assert!(error.contains("RFC 3339"), "{text}: {error}");
        }
    }
}
