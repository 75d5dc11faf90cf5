//! Go's `printf`.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Number, Value};

use super::held::Held;
use super::print::{compose, exponential, general, plain, quoted};

/// The widest field and the longest fraction that Go fills.
const WIDEST: usize = 1_000_000;

/// `%-08.3d` without the letter.
#[derive(Default)]
struct Form {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// Fills `arguments` into `format`. Mistakes are shown in the text, as Go does it: `%!d(string=a)`.
pub(super) fn printf(format: &str, arguments: &[Held<'_>]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut form = Form::default();
        flags(&mut chars, &mut form);
        form.width = count(&mut chars, &mut arguments, &mut form.minus, &mut out);
        if chars.next_if_eq(&'.').is_some() {
            let mut negative = false;
            let precision = count(&mut chars, &mut arguments, &mut negative, &mut out);
            form.precision = (!negative).then(|| precision.unwrap_or_default());
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match arguments.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => out.push_str(&form.value(verb, &value.filled(verb))),
            },
        }
    }
    let extra: Vec<String> = arguments.map(|value| typed(value)).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn flags(chars: &mut Peekable<Chars<'_>>, form: &mut Form) {
    while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
        match flag {
            '-' => form.minus = true,
            '+' => form.plus = true,
            '#' => form.sharp = true,
            ' ' => form.space = true,
            _ => form.zero = true,
        }
    }
}

/// Reads a width or a precision: digits, or `*` for the next argument.
fn count(
    chars: &mut Peekable<Chars<'_>>,
    arguments: &mut std::slice::Iter<'_, Held<'_>>,
    negative: &mut bool,
    out: &mut String,
) -> Option<usize> {
    if chars.next_if_eq(&'*').is_some() {
        let number = arguments.next().and_then(|value| value.as_i64());
        let width = number.and_then(|number| usize::try_from(number.unsigned_abs()).ok());
        *negative |= number.is_some_and(|number| number < 0);
        if width.is_none_or(|width| width > WIDEST) {
            out.push_str("%!(BADWIDTH)");
            return None;
        }
        return width;
    }
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    let width: Option<usize> = digits.parse().ok();
    width.map(|width| width.min(WIDEST))
}

/// Returns the type and the value of what was not expected: `string=a`.
fn typed(value: &Value) -> String {
    let name = match value {
        Value::Null => return "<nil>".to_owned(),
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    format!("{name}={}", plain(value))
}

impl Form {
    /// Prints one argument; a list or an object element by element.
    fn value(&self, verb: char, value: &Value) -> String {
        let mut out = String::new();
        if verb == 'T' {
            let text = typed(value);
            return self.pad(text.split('=').next().unwrap_or_default());
        }
        compose(value, &mut out, &mut |value, out| {
            out.push_str(&self.single(verb, value));
        });
        out
    }

    fn single(&self, verb: char, value: &Value) -> String {
        match (value, verb) {
            (Value::Null, 'v') => self.pad("<nil>"),
            (Value::Bool(value), 'v' | 't') => self.pad(if *value { "true" } else { "false" }),
            (Value::String(text), _) => self.text(verb, text, value),
            (Value::Number(number), _) => self.number(verb, number, value),
            _ => mistake(verb, value),
        }
    }

    fn text(&self, verb: char, text: &str, value: &Value) -> String {
        let most = self.precision.unwrap_or(usize::MAX);
        let cut = || text.chars().take(most).collect::<String>();
        match verb {
            'v' if self.sharp => self.pad(&quoted(text)),
            'v' | 's' => self.pad(&cut()),
            'q' => self.pad(&quoted(&cut())),
            'x' | 'X' => {
                let bytes = text.bytes().take(most);
                let hex: String = bytes.map(|byte| format!("{byte:02x}")).collect();
                self.pad(&if verb == 'X' { hex.to_uppercase() } else { hex })
            }
            _ => mistake(verb, value),
        }
    }

    fn number(&self, verb: char, number: &Number, value: &Value) -> String {
        if number.is_f64() {
            let float = number.as_f64().unwrap_or_default();
            let text = match verb {
                'v' => general(float.abs(), self.precision),
                'g' | 'G' => general(float.abs(), self.precision),
                'e' | 'E' => exponential(float.abs(), self.precision.unwrap_or(6)),
                'f' | 'F' => format!("{:.*}", self.precision.unwrap_or(6), float.abs()),
                _ => return mistake(verb, value),
            };
            let text = if verb.is_uppercase() {
                text.to_uppercase()
            } else {
                text
            };
            return self.signed(float.is_sign_negative(), &text);
        }
        // Every integer of JSON is one of these.
        let integer = number.as_i128().unwrap_or_default();
        let magnitude = integer.unsigned_abs();
        let (prefix, digits) = match verb {
            'v' | 'd' => ("", magnitude.to_string()),
            'b' => ("0b", format!("{magnitude:b}")),
            'o' => ("0", format!("{magnitude:o}")),
            'O' => return self.signed(integer < 0, &format!("0o{magnitude:o}")),
            'x' => ("0x", format!("{magnitude:x}")),
            'X' => ("0X", format!("{magnitude:X}")),
            'c' | 'q' | 'U' => return self.character(verb, magnitude),
            _ => return mistake(verb, value),
        };
        let least = self.precision.unwrap_or_default();
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let prefix = if self.sharp { prefix } else { "" };
        self.signed(integer < 0, &format!("{prefix}{zeros}{digits}"))
    }

    fn character(&self, verb: char, code: u128) -> String {
        let code = u32::try_from(code).ok();
        let c = code.and_then(char::from_u32).unwrap_or('\u{fffd}');
        match verb {
            'c' => self.pad(&c.to_string()),
            'U' => self.pad(&format!("U+{:04X}", u32::from(c))),
            _ => {
                let quoted = quoted(&c.to_string());
                let inside = &quoted[1..quoted.len() - 1];
                self.pad(&match c {
                    '"' => "'\"'".to_owned(),
                    '\'' => "'\\''".to_owned(),
                    _ => format!("'{inside}'"),
                })
            }
        }
    }

    /// Puts a sign before digits, and zeros between them if wanted.
    fn signed(&self, negative: bool, digits: &str) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let zeros = match self.width {
            Some(width) if self.zero && !self.minus => {
                width.saturating_sub(sign.len() + digits.len())
            }
            _ => 0,
        };
        self.pad(&format!("{sign}{}{digits}", "0".repeat(zeros)))
    }

    /// Fills a text up to the width.
    fn pad(&self, text: &str) -> String {
        let missing = self.width.unwrap_or_default();
        let missing = missing.saturating_sub(text.chars().count());
        let fill = if self.zero && !self.minus { "0" } else { " " }.repeat(missing);
        if self.minus {
            format!("{text}{fill}")
        } else {
            format!("{fill}{text}")
        }
    }
}

fn mistake(verb: char, value: &Value) -> String {
    format!("%!{verb}({})", typed(value))
}
