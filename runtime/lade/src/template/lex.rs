//! Splits a template into texts and the tokens of its actions.

use serde_json::Value;

use super::Fault;

/// A text as it stands, or what is between a pair of braces.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Action { tokens: Vec<Token>, at: usize },
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
    /// White space stands before it: `.A .B` is not `.A.B`.
    pub(super) spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Dot,
    /// Without its dot.
    Field(String),
    /// With its `$`.
    Variable(String),
    Word(String),
    Literal(Value),
    Pipe,
    Comma,
    Declare,
    Set,
    Open,
    Close,
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Returns the pieces of a template; white space beside `{{-` and `-}}` is gone, as are comments.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let open = rest.find("{{");
        let mut plain = &rest[..open.unwrap_or(rest.len())];
        if trim_next {
            plain = plain.trim_start_matches(SPACE);
        }
        let Some(open) = open else {
            pieces.push(Piece::Text(plain.to_owned()));
            return Ok(pieces);
        };
        let at = text.len() - rest.len() + open;
        let mut inside = &rest[open + 2..];
        if let Some(after) = inside.strip_prefix('-')
            && after.starts_with(SPACE)
        {
            plain = plain.trim_end_matches(SPACE);
            inside = after;
        }
        pieces.push(Piece::Text(plain.to_owned()));
        let start = text.len() - inside.len();
        let (tokens, end) = if inside.trim_start_matches(SPACE).starts_with("/*") {
            (None, comment(text, start)?)
        } else {
            let mut scan = Scan { text, at: start };
            let tokens = scan.action(at)?;
            (Some(tokens), scan.at)
        };
        // `end` is at the closing braces or at the mark before them.
        trim_next = text[end..].starts_with('-');
        rest = &text[end + if trim_next { 3 } else { 2 }..];
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action { tokens, at });
        }
    }
}

/// Returns where the comment's closing braces are, or the mark before them.
fn comment(text: &str, start: usize) -> Result<usize, Fault> {
    let end = text[start..]
        .find("*/")
        .ok_or_else(|| Fault::new(start, "the comment has no end \"*/\""))?;
    let end = start + end + 2;
    let after = text[end..].trim_start_matches(SPACE);
    let spaced = after.len() < text.len() - end;
    if !spaced && after.starts_with("}}") || spaced && after.starts_with("-}}") {
        Ok(text.len() - after.len())
    } else {
        Err(Fault::new(end, "a comment must end with \"*/}}\""))
    }
}

/// What reads one action.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl Scan<'_> {
    /// Returns the tokens up to the closing braces (or the mark before them), and stops there.
    fn action(&mut self, opened: usize) -> Result<Vec<Token>, Fault> {
        let mut tokens = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start_matches(SPACE);
            let spaced = trimmed.len() < rest.len();
            self.at = self.text.len() - trimmed.len();
            if trimmed.starts_with("}}") || spaced && trimmed.starts_with("-}}") {
                return Ok(tokens);
            }
            if trimmed.is_empty() {
                return Err(Fault::new(opened, "\"{{\" has no \"}}\""));
            }
            let at = self.at;
            let kind = self.token()?;
            tokens.push(Token { kind, at, spaced });
        }
    }

    fn token(&mut self) -> Result<Kind, Fault> {
        let rest = &self.text[self.at..];
        for (text, kind) in [
            (":=", Kind::Declare),
            ("=", Kind::Set),
            ("|", Kind::Pipe),
            (",", Kind::Comma),
            ("(", Kind::Open),
            (")", Kind::Close),
        ] {
            if rest.starts_with(text) {
                self.at += text.len();
                return Ok(kind);
            }
        }
        let first = rest.chars().next().unwrap_or_default();
        let next = rest.chars().nth(1).unwrap_or_default();
        match first {
            '"' => self.quoted(),
            '`' => self.raw(),
            '\'' => self.character(),
            '.' if !next.is_ascii_digit() => {
                self.at += 1;
                let name = self.word();
                Ok(if name.is_empty() {
                    Kind::Dot
                } else {
                    Kind::Field(name)
                })
            }
            '$' => {
                self.at += 1;
                Ok(Kind::Variable(format!("${}", self.word())))
            }
            '+' | '-' | '.' | '0'..='9' => self.number(),
            _ if is_letter(first) => Ok(Kind::Word(self.word())),
            other => Err(Fault::new(
                self.at,
                format!("{other:?} is not expected here"),
            )),
        }
    }

    /// Takes the letters, digits and underscores that come next.
    fn word(&mut self) -> String {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !is_letter(c) && !c.is_numeric())
            .unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }

    fn number(&mut self) -> Result<Kind, Fault> {
        let rest = &self.text[self.at..];
        let unsigned = rest.trim_start_matches(['+', '-']);
        let hex = unsigned.starts_with("0x") || unsigned.starts_with("0X");
        let mut before = ' ';
        let end = rest.find(|c: char| {
            let sign = matches!(c, '+' | '-') && (before == ' ' || !hex && "eE".contains(before));
            before = c;
            !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || sign)
        });
        let text = &rest[..end.unwrap_or(rest.len())];
        let value =
            number(text).ok_or_else(|| Fault::new(self.at, format!("{text:?} is not a number")))?;
        self.at += text.len();
        Ok(Kind::Literal(value))
    }

    fn raw(&mut self) -> Result<Kind, Fault> {
        let inside = &self.text[self.at + 1..];
        let end = inside
            .find('`')
            .ok_or_else(|| Fault::new(self.at, "the text has no closing \"`\""))?;
        self.at += end + 2;
        Ok(Kind::Literal(Value::from(&inside[..end])))
    }

    fn quoted(&mut self) -> Result<Kind, Fault> {
        let opened = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            match self.text[self.at..].chars().next() {
                Some('"') => break,
                Some('\\') => self.escape(&mut bytes)?,
                None | Some('\n') => {
                    return Err(Fault::new(opened, "the text has no closing '\"'"));
                }
                Some(other) => {
                    self.at += other.len_utf8();
                    bytes.extend_from_slice(other.to_string().as_bytes());
                }
            }
        }
        self.at += 1;
        Ok(Kind::Literal(Value::from(String::from_utf8_lossy(&bytes))))
    }

    /// Reads `'a'`, which is a number to Go.
    fn character(&mut self) -> Result<Kind, Fault> {
        let opened = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        match self.text[self.at..].chars().next() {
            Some('\\') => self.escape(&mut bytes)?,
            Some(other) if other != '\'' => {
                self.at += other.len_utf8();
                bytes.extend_from_slice(other.to_string().as_bytes());
            }
            _ => {}
        }
        let character = String::from_utf8_lossy(&bytes).chars().next();
        match character {
            Some(character) if self.text[self.at..].starts_with('\'') => {
                self.at += 1;
                Ok(Kind::Literal(Value::from(u32::from(character))))
            }
            _ => Err(Fault::new(opened, "this is not one character in quotes")),
        }
    }

    /// Takes one escape of a quoted text.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        let wrong = Fault::new(self.at, "the text has an escape that Go does not know");
        let rest = &self.text[self.at + 1..];
        let letter = rest.chars().next().unwrap_or_default();
        let plain = match letter {
            'a' => 7,
            'b' => 8,
            't' => 9,
            'n' => 10,
            'v' => 11,
            'f' => 12,
            'r' => 13,
            '\\' | '"' | '\'' => letter as u8,
            _ => 0,
        };
        if plain != 0 {
            bytes.push(plain);
            self.at += 2;
            return Ok(());
        }
        let (skip, length, radix) = match letter {
            'x' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='7' => (0, 3, 8),
            _ => return Err(wrong),
        };
        let code = rest
            .get(skip..skip + length)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, radix).ok());
        let Some(code) = code else { return Err(wrong) };
        match (length, u8::try_from(code), char::from_u32(code)) {
            (2 | 3, Ok(byte), _) => bytes.push(byte),
            (4 | 8, _, Some(character)) => {
                bytes.extend_from_slice(character.to_string().as_bytes());
            }
            _ => return Err(wrong),
        }
        self.at += 1 + skip + length;
        Ok(())
    }
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

/// Reads a number as Go writes them: an integer where it is one.
fn number(text: &str) -> Option<Value> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let based = radix
        .iter()
        .find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, *radix)));
    let old_octal = digits.len() > 1 && digits.starts_with('0');
    let (figures, radix) = match based {
        Some(based) => based,
        None if old_octal && digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            (&digits[1..], 8)
        }
        None => (digits.as_str(), 10),
    };
    if figures.bytes().next()?.is_ascii_alphanumeric()
        && let Ok(magnitude) = i128::from_str_radix(figures, radix)
    {
        let number = if negative { -magnitude } else { magnitude };
        return i64::try_from(number).ok().map(Value::from);
    }
    let figures = |byte: u8| byte.is_ascii_digit() || b".e+-".contains(&byte);
    if radix != 10 || !digits.bytes().all(figures) {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    let number = if negative { -number } else { number };
    // `1e3` is an integer to Go where one is wanted; it is printed as a float.
    number.is_finite().then(|| Value::from(number))
}
