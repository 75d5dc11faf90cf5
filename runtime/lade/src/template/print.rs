//! How Go prints values.

use serde_json::{Number, Value};

/// Returns what `%v` prints: `[a b]`, `map[k:v]` with sorted keys, `<nil>`.
pub(super) fn plain(value: &Value) -> String {
    let mut out = String::new();
    compose(value, &mut out, &mut |value, out| match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&self::number(number)),
        Value::String(text) => out.push_str(text),
        // These are composed.
        Value::Array(_) | Value::Object(_) => {}
    });
    out
}

/// Puts brackets, spaces and keys between what `single` prints for the values in `value` that hold no others.
pub(super) fn compose(
    value: &Value,
    out: &mut String,
    single: &mut dyn FnMut(&Value, &mut String),
) {
    match value {
        Value::Array(list) => {
            out.push('[');
            for (index, element) in list.iter().enumerate() {
                out.push_str(if index > 0 { " " } else { "" });
                compose(element, out, single);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push_str("map[");
            for (index, (key, element)) in entries.into_iter().enumerate() {
                out.push_str(if index > 0 { " " } else { "" });
                single(&Value::from(key.as_str()), out);
                out.push(':');
                compose(element, out, single);
            }
            out.push(']');
        }
        other => single(other, out),
    }
}

fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => general(float, None),
        _ => number.to_string(),
    }
}

/// Prints a float as `%g` does: with `precision` digits or as few as say which number it is; with an exponent if it is below -4, or not below the
/// precision (which is 6 then if none is given).
pub(super) fn general(float: f64, precision: Option<usize>) -> String {
    if !float.is_finite() {
        return special(float);
    }
    let scientific = match precision {
        Some(precision) => format!("{float:.*e}", precision.max(1) - 1),
        None => format!("{float:e}"),
    };
    // Rust writes every float like this: one digit, maybe more after a dot, and the exponent.
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    };
    let most = precision.map_or(6, |precision| {
        i32::try_from(precision.max(1)).unwrap_or(i32::MAX)
    });
    if exponent < -4 || exponent >= most {
        return with_exponent(digits, exponent);
    }
    let decimals = digits.split_once('.').map_or(0, |(_, after)| after.len());
    let decimals = i32::try_from(decimals).unwrap_or(i32::MAX) - exponent;
    let decimals = usize::try_from(decimals).unwrap_or(0);
    // Of the rounded number: it has no more digits than are shown.
    let rounded: f64 = scientific.parse().unwrap_or(float);
    format!("{rounded:.decimals$}")
}

/// Prints a float as `%e` does, with at least two digits of exponent.
pub(super) fn exponential(float: f64, precision: usize) -> String {
    if !float.is_finite() {
        return special(float);
    }
    let text = format!("{float:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    with_exponent(digits, exponent.parse().unwrap_or_default())
}

fn with_exponent(digits: &str, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

fn special(float: f64) -> String {
    let text = match (float.is_nan(), float > 0.0) {
        (true, _) => "NaN",
        (_, true) => "+Inf",
        (_, false) => "-Inf",
    };
    text.to_owned()
}

/// Returns the text in quotes, with what cannot be printed escaped, as `%q` does.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ if !c.is_ascii() && c.escape_debug().len() == 1 => out.push(c),
            _ => out.push_str(&escaped(c.into())),
        }
    }
    out.push('"');
    out
}

fn escaped(code: u32) -> String {
    if code < 0x80 {
        format!("\\x{code:02x}")
    } else if code < 0x1_0000 {
        format!("\\u{code:04x}")
    } else {
        format!("\\U{code:08x}")
    }
}

/// Returns what a value is, for a message.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
