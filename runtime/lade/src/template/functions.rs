//! The functions of Go's templates, and those that docker adds.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::escape;
use super::held::Held;
use super::print::{kind, plain};
use super::printf::printf;
use super::run::is_true;

/// What is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Values,
    /// Words above columns: what changes how a value looks leaves them alone.
    Headers,
}

/// Name, least and most arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, usize::MAX),
    ("eq", 2, usize::MAX),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("html", 1, usize::MAX),
    ("index", 1, usize::MAX),
    ("join", 2, 2),
    ("js", 1, usize::MAX),
    ("json", 1, 1),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lower", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, usize::MAX),
    ("pad", 3, 3),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("slice", 1, 4),
    ("split", 2, 2),
    ("title", 1, 1),
    ("truncate", 2, 2),
    ("upper", 1, 1),
    ("urlquery", 1, usize::MAX),
];

/// Tells whether there is a function of this name.
pub(super) fn is_known(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// Returns the names of all functions, for a message.
pub(super) fn names() -> String {
    let names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
    names.join(" ")
}

/// Calls a function whose arguments are all known (`and` and `or` may know before).
pub(super) fn call<'v>(name: &str, arguments: &[Held<'v>], mode: Mode) -> Result<Held<'v>, String> {
    right_number(name, arguments.len())?;
    if mode == Mode::Headers
        && let "json" | "join" | "split" | "lower" | "upper" | "title" | "pad" | "truncate" = name
        && let Some(header) = arguments.first()
    {
        return Ok(header.clone());
    }
    if name == "index" {
        return index(arguments);
    }
    let value = match (name, arguments) {
        ("not", [value]) => Value::Bool(!is_true(value)),
        ("len", [value]) => length(value)?,
        ("slice", [value, bounds @ ..]) => slice(value, bounds)?,
        ("eq", [first, others @ ..]) => Value::Bool(is_one_of(first, others)?),
        ("ne", [one, other]) => Value::Bool(!equal(one, other)?),
        ("lt", [one, other]) => Value::Bool(order(name, one, other)? == Ordering::Less),
        ("le", [one, other]) => Value::Bool(order(name, one, other)? != Ordering::Greater),
        ("gt", [one, other]) => Value::Bool(order(name, one, other)? == Ordering::Greater),
        ("ge", [one, other]) => Value::Bool(order(name, one, other)? != Ordering::Less),
        ("print", values) => Value::from(print(values)),
        ("println", values) => {
            let words: Vec<String> = values.iter().map(Held::text).collect();
            Value::from(format!("{}\n", words.join(" ")))
        }
        ("html", values) => Value::from(escape::html(&print(values))),
        ("js", values) => Value::from(escape::js(&print(values))),
        ("urlquery", values) => Value::from(escape::query(&print(values))),
        ("printf", [format, values @ ..]) => Value::from(printf(text(name, format)?, values)),
        ("json", [value]) => Value::from(value.to_string()),
        ("join", [list, between]) => join(list, text(name, between)?)?,
        ("split", [whole, between]) => split(text(name, whole)?, text(name, between)?),
        ("lower", [value]) => Value::from(text(name, value)?.to_lowercase()),
        ("upper", [value]) => Value::from(text(name, value)?.to_uppercase()),
        ("title", [value]) => Value::from(title(text(name, value)?)),
        ("pad", [value, before, after]) => {
            let value = text(name, value)?;
            Value::from(pad(value, count(name, before)?, count(name, after)?))
        }
        ("truncate", [value, most]) => {
            let most = count(name, most)?;
            let text = text(name, value)?;
            Value::from(text.chars().take(most).collect::<String>())
        }
        _ => return Err(format!("{name} cannot be called like this")),
    };
    Ok(Held::made(value))
}

/// Refuses too many arguments, or too few.
fn right_number(name: &str, given: usize) -> Result<(), String> {
    let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Ok(());
    };
    if (*least..=*most).contains(&given) {
        return Ok(());
    }
    let wanted = match (least, most) {
        (least, most) if least == most => least.to_string(),
        (least, &usize::MAX) => format!("at least {least}"),
        (least, most) => format!("{least} to {most}"),
    };
    let noun = if wanted.ends_with('1') {
        "argument"
    } else {
        "arguments"
    };
    Err(format!("{name} wants {wanted} {noun}, it has {given}"))
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("{name} wants a text, this is {}", kind(value)))
}

/// Takes a number that counts something; larger ones than this make no sense in a line of text.
fn count(name: &str, value: &Value) -> Result<usize, String> {
    let number = value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok());
    number.filter(|number| *number <= 1_000_000).ok_or_else(|| {
        format!(
            "{name} wants a number from 0 to 1000000, not {}",
            named(value)
        )
    })
}

/// Returns a number as it is, anything else by what it is.
fn named(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        other => kind(other).to_owned(),
    }
}

fn length(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => Ok(Value::from(text.len())),
        Value::Array(list) => Ok(Value::from(list.len())),
        Value::Object(map) => Ok(Value::from(map.len())),
        // A list or an object that was left out.
        Value::Null => Ok(Value::from(0)),
        other => Err(format!("len of {} is not known", kind(other))),
    }
}

/// Returns what is at an index in a list, at a key in an object, and so on for further arguments.
fn index<'v>(arguments: &[Held<'v>]) -> Result<Held<'v>, String> {
    let (mut value, keys) = match arguments {
        [first, keys @ ..] => (first.clone(), keys),
        [] => return Err("index wants something to look into".to_owned()),
    };
    for key in keys {
        let absent = match (&*value, &**key) {
            (Value::Object(_), Value::String(_)) | (Value::Null, _) => value.absent(),
            (Value::Array(list), Value::Number(number)) => {
                let index = number
                    .as_u64()
                    .and_then(|index| usize::try_from(index).ok());
                if index.is_none_or(|index| index >= list.len()) {
                    let length = list.len();
                    return Err(format!("index {number} is outside of a list of {length}"));
                }
                Held::made(Value::Null)
            }
            (Value::String(text), Value::Number(number)) => {
                let index = number
                    .as_u64()
                    .and_then(|index| usize::try_from(index).ok());
                let byte = index.and_then(|index| text.as_bytes().get(index));
                let length = text.len();
                let byte =
                    byte.ok_or_else(|| format!("index {number} is outside of a text of {length}"))?;
                Held::made(*byte)
            }
            (whole, key) => {
                let (whole, key) = (kind(whole), kind(key));
                return Err(format!("{whole} has no index that is {key}"));
            }
        };
        value = value.at(key).unwrap_or(absent);
    }
    Ok(value)
}

fn slice(value: &Value, bounds: &[Held<'_>]) -> Result<Value, String> {
    let length = match value {
        Value::String(text) if bounds.len() < 3 => text.len(),
        Value::Array(list) => list.len(),
        other => return Err(format!("{} cannot be sliced", kind(other))),
    };
    let mut ends = [0, length, length];
    for (end, bound) in ends.iter_mut().zip(bounds) {
        let given = bound.as_u64().and_then(|bound| usize::try_from(bound).ok());
        *end = given.filter(|given| *given <= length).ok_or_else(|| {
            let bound = named(bound);
            format!("index {bound} is outside of what has a length of {length}")
        })?;
    }
    let [start, end, most] = ends;
    if start > end || end > most {
        return Err(format!("slice from {start} to {end} goes backwards"));
    }
    Ok(match value {
        // Go cuts between bytes; half a character is shown as what it is.
        Value::String(text) => Value::from(String::from_utf8_lossy(&text.as_bytes()[start..end])),
        Value::Array(list) => Value::from(&list[start..end]),
        _ => Value::Null,
    })
}

/// Tells whether a value equals one of several.
fn is_one_of(value: &Value, others: &[Held<'_>]) -> Result<bool, String> {
    for other in others {
        if equal(value, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(one: &Value, other: &Value) -> Result<bool, String> {
    match (one, other) {
        (Value::Array(_) | Value::Object(_), _) | (_, Value::Array(_) | Value::Object(_)) => {
            Err("lists and objects cannot be compared".to_owned())
        }
        (Value::Null, other) | (other, Value::Null) => Ok(other.is_null()),
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        (Value::String(one), Value::String(other)) => Ok(one == other),
        (Value::Number(one), Value::Number(other)) => {
            Ok(numbers(one, other) == Some(Ordering::Equal))
        }
        (one, other) => Err(incomparable(one, other)),
    }
}

fn order(name: &str, one: &Value, other: &Value) -> Result<Ordering, String> {
    let order = match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => numbers(one, other),
        (Value::Bool(_), Value::Bool(_)) => {
            return Err(format!("{name} compares numbers or texts only"));
        }
        _ => None,
    };
    order.ok_or_else(|| incomparable(one, other))
}

/// Integers are compared as such; with a float beside them as floats (Go refuses that, but in JSON nobody sees which is which).
fn numbers(one: &Number, other: &Number) -> Option<Ordering> {
    match (one.as_i128(), other.as_i128()) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

fn incomparable(one: &Value, other: &Value) -> String {
    format!("{} cannot be compared with {}", kind(one), kind(other))
}

/// Puts a space only between two values neither of which is a text.
fn print(values: &[Held<'_>]) -> String {
    let mut out = String::new();
    for (index, value) in values.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| values.get(before));
        if before.is_some_and(|before| !before.is_string() && !value.is_string()) {
            out.push(' ');
        }
        out.push_str(&value.text());
    }
    out
}

fn join(list: &Value, between: &str) -> Result<Value, String> {
    match list {
        Value::Null => Ok(Value::from("")),
        Value::Array(list) => {
            let words: Vec<String> = list.iter().map(plain).collect();
            Ok(Value::from(words.join(between)))
        }
        other => Err(format!("join wants a list, this is {}", kind(other))),
    }
}

/// Splits a text; at nothing, between its characters.
fn split(whole: &str, between: &str) -> Value {
    let parts: Vec<Value> = if between.is_empty() {
        whole.chars().map(|c| Value::from(c.to_string())).collect()
    } else {
        whole.split(between).map(Value::from).collect()
    };
    Value::from(parts)
}

/// Makes the first letter of each word upper case.
fn title(text: &str) -> String {
    let mut before = ' ';
    let words = text.chars().map(|c| {
        let in_word = before.is_alphanumeric()
            || before == '_'
            || (!before.is_ascii() && !before.is_whitespace());
        before = c;
        if in_word {
            c.to_string()
        } else {
            c.to_uppercase().to_string()
        }
    });
    words.collect()
}

/// Puts spaces around a text that is not empty.
fn pad(text: &str, before: usize, after: usize) -> String {
    if text.is_empty() {
        return String::new();
    }
    format!("{}{text}{}", " ".repeat(before), " ".repeat(after))
}
