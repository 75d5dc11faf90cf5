//! When to try again, and after how long.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::http::{Answer, Call, Patience, is_passing};

/// So often is a server asked again that says nothing.
const SILENCES: u32 = 2;

/// A request that is to be made again.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) why: String,
    pub(crate) wait: Duration,
    /// Which attempt that will be, the first being 1, and how many there are.
    pub(crate) attempt: (u32, u32),
}

/// The attempts that are left for one request.
#[derive(Debug, Clone)]
pub(crate) struct Tries {
    left: u32,
    /// After silence: each of them costs as long as one waits for an answer.
    after_silence: u32,
    next: Duration,
    longest: Duration,
    all: u32,
    first: Duration,
}

impl Tries {
    pub(crate) fn new(patience: &Patience) -> Self {
        Self {
            left: patience.retries,
            after_silence: SILENCES,
            next: patience.backoff,
            longest: patience.longest,
            all: patience.retries,
            first: patience.backoff,
        }
    }

    /// After progress, all attempts are there again.
    pub(crate) fn renew(&mut self) {
        self.left = self.all;
        self.after_silence = SILENCES;
        self.next = self.first;
    }

    /// Returns why and after which pause a request is to be made again, if it is.
    pub(crate) fn after(&mut self, call: &Call, result: &Result<Answer>) -> Option<Again> {
        match result {
            Ok(answer) if is_passing(answer.status()) => {
                let asked = answer
                    .header("retry-after")
                    .and_then(|value| retry_after(value, SystemTime::now()));
                let wait = self.pause(asked)?;
                let why = format!("{}: {}: {}", call.host, call.object, answer.status());
                Some(self.again(why, wait))
            }
            Ok(_) => None,
            Err(error) => self.after_error(error),
        }
    }

    pub(crate) fn after_error(&mut self, error: &Error) -> Option<Again> {
        if !error.is_passing() {
            return None;
        }
        if error.kind() == Kind::Silent {
            self.after_silence = self.after_silence.checked_sub(1)?;
        }
        let wait = self.pause(None)?;
        Some(self.again(error.message().to_string(), wait))
    }

    fn again(&self, why: String, wait: Duration) -> Again {
        let attempt = (self.all - self.left + 1, self.all + 1);
        Again { why, wait, attempt }
    }

    /// Takes one attempt. A server that wants more patience than we have gets none: its answer is the result.
    fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let own = jitter(self.next).min(self.longest);
        self.next = self.next.saturating_mul(2).min(self.longest);
        match asked {
            Some(asked) if asked > self.longest => None,
            Some(asked) => Some(asked.max(own / 2)),
            None => Some(own),
        }
    }
}

/// Half to one and a half: many clients that were refused at once shall not come again at once.
fn jitter(around: Duration) -> Duration {
    // The keys of a new state are random, which is all that is needed here.
    let random = RandomState::new().build_hasher().finish() % 1024;
    let factor = 0.5 + f64::from(u32::try_from(random).unwrap_or(0)) / 1024.0;
    around.mul_f64(factor)
}

/// Reads `Retry-After`: seconds, or a date.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(date(value)?);
    Some(at.duration_since(now).unwrap_or_default())
}

/// Reads a date as HTTP writes it, `Sun, 06 Nov 1994 08:49:37 GMT`, into seconds since 1970.
pub(crate) fn date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut parts = text.split_once(", ")?.1.split(' ');
    let day: u64 = parts
        .next()?
        .parse()
        .ok()
        .filter(|day| (1..=31).contains(day))?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64;
    let year: u64 = parts
        .next()?
        .parse()
        .ok()
        .filter(|year| (1970..=9999).contains(year))?;
    let mut clock = parts
        .next()?
        .split(':')
        .map(|part| part.parse::<u64>().ok().filter(|n| *n < 61));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if parts.next() != Some("GMT") {
        return None;
    }
    // Years are counted from March, so that the odd day is the last one.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // 719468 days are between the first of March of the year 0 and 1970.
    Some((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_given_in_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, want) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            ("Thu, 29 Feb 1996 00:00:00 GMT", Some(41_440_223)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Nov 0000 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
        ] {
            let got = retry_after(value, now);
            assert_eq!(got, want.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn a_silent_server_is_left_sooner_than_one_that_breaks() {
        for (kind, want) in [(Kind::Silent, 2), (Kind::Connect, 5)] {
            let mut tries = Tries::new(&Patience::default());
            let error = Error::new(kind, "x").passing();
            let again = std::iter::from_fn(|| tries.after_error(&error));
            assert_eq!(again.take(10).count(), want, "{kind:?}");
            tries.renew();
            assert!(tries.after_error(&error).is_some());
        }
    }

    #[test]
    fn pauses_grow_and_have_an_end() {
        let patience = Patience {
            retries: 4,
            backoff: Duration::from_secs(8),
            longest: Duration::from_secs(20),
            ..Patience::default()
        };
        let mut tries = Tries::new(&patience);
        for (least, most) in [(4, 12), (8, 20), (10, 20)] {
            let wait = tries.pause(None).unwrap();
            assert!((Duration::from_secs(least)..=Duration::from_secs(most)).contains(&wait));
        }
        assert_eq!(tries.pause(Some(Duration::from_secs(3600))), None);
        tries.renew();
        assert_eq!(
            tries.pause(Some(Duration::from_secs(15))),
            Some(Duration::from_secs(15))
        );
    }
}
