//! Values in GVariant's text format, as annotations carry them: `true`, `'text'`, `uint64 5`, `['a', 'b']`, `@as []`.
//!
//! Dictionaries, maybes and byte strings are not known: no property of a unit has them.

use super::value::{DEPTH, Type, Value};

/// Reads one value; the error says what was expected where.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(None, DEPTH)?;
    parser.skip();
    if !parser.rest().is_empty() {
        return Err(parser.wrong("nothing more"));
    }
    if !value.can_travel() {
        return Err("a value whose type is too long or too deep to be sent".to_owned());
    }
    Ok(value)
}

/// The words that name a type before its value.
const NAMES: [(&str, u8); 13] = [
    ("boolean", b'b'),
    ("byte", b'y'),
    ("int16", b'n'),
    ("uint16", b'q'),
    ("int32", b'i'),
    ("uint32", b'u'),
    ("int64", b'x'),
    ("uint64", b't'),
    ("handle", b'h'),
    ("double", b'd'),
    ("string", b's'),
    ("objectpath", b'o'),
    ("signature", b'g'),
];

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Parsed = Result<Value, String>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn wrong(&self, expected: &str) -> String {
        let found = self.rest().chars().next();
        let found = found.map_or("the end".to_owned(), |c| format!("{c:?}"));
        format!("expected {expected} at byte {}, found {found}", self.at)
    }

    /// Takes a piece of text if it comes next, after white space.
    fn eat(&mut self, piece: &str) -> bool {
        self.skip();
        let found = self.rest().starts_with(piece);
        if found {
            self.at += piece.len();
        }
        found
    }

    fn expect(&mut self, piece: &str) -> Result<(), String> {
        if self.eat(piece) {
            Ok(())
        } else {
            Err(self.wrong(&format!("{piece:?}")))
        }
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Reads a value; its type is `kind` where the text has said it before.
    fn value(&mut self, kind: Option<&Type>, depth: usize) -> Parsed {
        let depth = depth
            .checked_sub(1)
            .ok_or("values too deep in each other")?;
        self.skip();
        match (self.rest().chars().next(), kind) {
            (Some('@'), _) => {
                self.at += 1;
                let signature = self.take_while(|c| !c.is_whitespace());
                let said = Type::parse(signature)
                    .ok_or_else(|| format!("@{signature}: not a type, such as @as"))?;
                if let Some(kind) = kind.filter(|kind| **kind != said) {
                    return Err(format!(
                        "@{signature} where a value of type {kind} has to be"
                    ));
                }
                self.value(Some(&said), depth)
            }
            (Some('['), _) => self.array(kind, depth),
            (Some('('), _) => self.tuple(kind, depth),
            (Some('<'), None | Some(Type::Variant)) => {
                self.at += 1;
                let inner = self.value(None, depth)?;
                self.expect(">")?;
                Ok(Value::Variant(Box::new(inner)))
            }
            (Some('\'' | '"'), _) => self.string(kind),
            (Some(c), _) if c.is_ascii_digit() || "+-.".contains(c) => self.number(kind),
            (Some(c), _) if c.is_ascii_alphabetic() => self.word(kind, depth),
            _ => Err(self.wrong("a value, such as true, 5, 'text' or ['a', 'b']")),
        }
    }

    fn word(&mut self, kind: Option<&Type>, depth: usize) -> Parsed {
        let begin = self.at;
        let word = self.take_while(|c| c.is_ascii_alphanumeric());
        let named = NAMES.iter().find(|(name, _)| *name == word);
        match (word, kind, named) {
            ("true" | "false", None | Some(Type::Basic(b'b')), _) => {
                Ok(Value::Bool(word == "true"))
            }
            ("inf" | "nan", _, _) => {
                self.at = begin;
                self.number(kind)
            }
            (_, kind, Some((_, letter))) if kind.is_none_or(|k| *k == Type::Basic(*letter)) => {
                self.value(Some(&Type::Basic(*letter)), depth)
            }
            _ => {
                self.at = begin;
                let wanted = kind.map_or("a value; text stands in quotes".to_owned(), |kind| {
                    format!("a value of type {kind}")
                });
                Err(self.wrong(&wanted))
            }
        }
    }

    fn number(&mut self, kind: Option<&Type>) -> Parsed {
        let begin = self.at;
        let word = self.take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let floats = word.contains(['.', 'n']) || (word.contains('e') && !word.starts_with("0x"));
        let letter = match kind {
            Some(Type::Basic(letter)) => *letter,
            Some(kind) => return Err(format!("{word} is not of type {kind}")),
            None if floats => b'd',
            None => b'i',
        };
        let value = match letter {
            b'd' => word.parse().ok().map(Value::Double),
            letter => integer(word).and_then(|n| sized(n, letter)),
        };
        value.ok_or_else(|| {
            self.at = begin;
            let hint = if kind.is_none() {
                "; a larger one needs its type, such as uint64 5000000000"
            } else {
                ""
            };
            format!(
                "{word} is not a number of type {}{hint}",
                char::from(letter)
            )
        })
    }

    fn string(&mut self, kind: Option<&Type>) -> Parsed {
        let mut rest = self.rest().char_indices();
        let quote = rest.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((index, c)) = rest.next() {
            match c {
                c if Some(c) == quote => {
                    self.at += index + 1;
                    return typed_text(text, kind);
                }
                '\\' => {
                    let code = |rest: &mut std::str::CharIndices<'_>, digits: usize| {
                        let hex: String = rest.take(digits).map(|(_, c)| c).collect();
                        u32::from_str_radix(&hex, 16)
                            .ok()
                            .filter(|_| hex.len() == digits)
                            .and_then(char::from_u32)
                    };
                    let c = match rest.next().map(|(_, c)| c) {
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        Some('r') => Some('\r'),
                        Some('u') => code(&mut rest, 4),
                        Some('U') => code(&mut rest, 8),
                        other => other,
                    };
                    text.push(c.ok_or("an escape in a string that is none")?);
                }
                c => text.push(c),
            }
        }
        Err(format!("the string at byte {} has no end", self.at))
    }

    fn array(&mut self, kind: Option<&Type>, depth: usize) -> Parsed {
        let mut element = match kind {
            None => None,
            Some(Type::Array(element)) => Some((**element).clone()),
            Some(kind) => return Err(self.wrong(&format!("a value of type {kind}"))),
        };
        self.expect("[")?;
        let mut list = Vec::new();
        while !self.eat("]") {
            if !list.is_empty() {
                self.expect(",")?;
            }
            let value = self.value(element.as_ref(), depth)?;
            match &element {
                Some(kind) if *kind != value.kind() => {
                    return Err(format!("an array of {kind} with a {} in it", value.kind()));
                }
                _ => element = Some(value.kind()),
            }
            list.push(value);
        }
        let element = element.ok_or("an empty array needs its type: @as []")?;
        Ok(Value::Array(element, list))
    }

    fn tuple(&mut self, kind: Option<&Type>, depth: usize) -> Parsed {
        let kinds = match kind {
            None => None,
            Some(Type::Struct(fields)) => Some(fields),
            Some(kind) => return Err(self.wrong(&format!("a value of type {kind}"))),
        };
        self.expect("(")?;
        let mut fields = Vec::new();
        while !self.eat(")") {
            let kind = match kinds {
                Some(kinds) => Some(
                    kinds
                        .get(fields.len())
                        .ok_or("a tuple with too much in it")?,
                ),
                None => None,
            };
            fields.push(self.value(kind, depth)?);
            if !self.eat(",") {
                self.expect(")")?;
                break;
            }
        }
        if fields.is_empty() || kinds.is_some_and(|kinds| kinds.len() != fields.len()) {
            return Err("a tuple with too little in it".to_owned());
        }
        Ok(Value::Struct(fields))
    }
}

fn typed_text(text: String, kind: Option<&Type>) -> Parsed {
    if text.contains('\0') {
        return Err("a string with a NUL in it".to_owned());
    }
    match kind {
        None | Some(Type::Basic(b's')) => Ok(Value::String(text)),
        Some(Type::Basic(b'o')) if text.starts_with('/') => Ok(Value::ObjectPath(text)),
        Some(Type::Basic(b'g')) if Type::parse_all(&text).is_some() => Ok(Value::Signature(text)),
        Some(kind) => Err(format!("{text:?} is not of type {kind}")),
    }
}

/// Reads a number as C writes it: decimal, `0x` and octal.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let magnitude = match (digits.strip_prefix("0x"), digits.strip_prefix('0')) {
        (Some(hex), _) => u64::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    // A second sign is none of ours.
    let magnitude = i128::from(magnitude.ok().filter(|_| !digits.starts_with('+'))?);
    Some(if negative { -magnitude } else { magnitude })
}

fn sized(n: i128, letter: u8) -> Option<Value> {
    match letter {
        b'y' => n.try_into().ok().map(Value::Byte),
        b'n' => n.try_into().ok().map(Value::Int16),
        b'q' => n.try_into().ok().map(Value::Uint16),
        b'i' => n.try_into().ok().map(Value::Int32),
        b'u' => n.try_into().ok().map(Value::Uint32),
        b'x' => n.try_into().ok().map(Value::Int64),
        b't' => n.try_into().ok().map(Value::Uint64),
        b'h' => n.try_into().ok().map(Value::Handle),
        _ => None,
    }
}
