//! Go's types, as far as docker's documents have them: what a document leaves out has a value all the same, and prints as one.

use serde_json::Value;

use super::print::plain;

/// The type that docker's code has for a value.
#[derive(Debug)]
pub enum Shape {
    /// A text.
    Text,
    /// True or false.
    Truth,
    /// A number.
    Number,
    /// A time that passes, in nanoseconds.
    Duration,
    /// A point in time; its text is RFC 3339.
    Time,
    /// A list of such.
    List(&'static Shape),
    /// Such, by names that anybody may choose.
    Map(&'static Shape),
    /// Such, or nothing.
    Pointer(&'static Shape),
    /// Fields with names that are known: Go's, the document's, and the type.
    Struct(&'static [(&'static str, &'static str, Shape)]),
}

impl Shape {
    /// What is printed where nothing is given. Lists, maps and pointers are nothing, for JSON, too.
    pub(super) fn zero(&self) -> Value {
        match self {
            Self::Text => Value::from(""),
            Self::Truth => Value::from(false),
            Self::Number | Self::Duration => Value::from(0),
            Self::Time => Value::from("0001-01-01T00:00:00Z"),
            Self::List(_) | Self::Map(_) | Self::Pointer(_) | Self::Struct(_) => Value::Null,
        }
    }

    /// The type of what is inside, where all that is inside has one.
    pub(super) fn inner(&'static self) -> Option<&'static Self> {
        match self.direct() {
            Self::List(of) | Self::Map(of) => Some(of),
            _ => None,
        }
    }

    /// The type that a pointer leads to.
    pub(super) fn direct(&'static self) -> &'static Self {
        match self {
            Self::Pointer(of) => of.direct(),
            other => other,
        }
    }

    /// Writes a value of this type as Go's `%v` does.
    pub(super) fn text(&'static self, value: &Value) -> String {
        match (self, value) {
            (Self::Pointer(_), Value::Null) => "<nil>".to_owned(),
            (Self::Pointer(of), value) => of.text(value),
            (Self::List(of), value) => {
                let list = value.as_array().into_iter().flatten();
                let words: Vec<_> = list.map(|value| of.text(value)).collect();
                format!("[{}]", words.join(" "))
            }
            (Self::Map(of), value) => {
                let mut entries: Vec<_> = value.as_object().into_iter().flatten().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                let entries = entries.into_iter();
                let words = entries.map(|(key, value)| format!("{key}:{}", of.text(value)));
                format!("map[{}]", words.collect::<Vec<_>>().join(" "))
            }
            (Self::Struct(fields), value) => {
                let words = fields.iter().map(|(_, key, shape)| {
                    let given = value.get(key).filter(|value| !value.is_null());
                    given.map_or_else(|| shape.text(&shape.zero()), |value| shape.text(value))
                });
                format!("{{{}}}", words.collect::<Vec<_>>().join(" "))
            }
            (Self::Duration, Value::Number(number)) => {
                number.as_i64().map_or_else(|| plain(value), duration)
            }
            (Self::Time, Value::String(text)) => match text.trim_end_matches('Z').split_once('T') {
                Some((day, time)) => format!("{day} {time} +0000 UTC"),
                None => text.clone(),
            },
            (_, value) => plain(value),
        }
    }
}

/// Writes nanoseconds as Go does: `1m30s`, `1.5s`, `20ms`.
fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let all = nanoseconds.unsigned_abs();
    let part = |unit: u64, digits: usize, name: &str| {
        let (whole, rest) = (all / unit, all % unit);
        let rest = format!("{rest:0digits$}");
        let rest = rest.trim_end_matches('0');
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{sign}{whole}{dot}{rest}{name}")
    };
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => part(1_000, 3, "µs"),
        1_000_000..1_000_000_000 => part(1_000_000, 6, "ms"),
        _ => {
            let minutes = all / 60_000_000_000;
            let (hours, minutes) = (minutes / 60, minutes % 60);
            let rest = i64::try_from(all % 60_000_000_000).unwrap_or(0);
            // Below a second there is no unit of its own here.
            let seconds = format!("{}.{:09}", rest / 1_000_000_000, rest % 1_000_000_000);
            let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, _) => format!("{sign}{minutes}m{seconds}s"),
                _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_000_000_000, "1s"),
            (-1_500_000_000, "-1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_661_000_000_001, "1h1m1.000000001s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
