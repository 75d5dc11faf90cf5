//! Extended headers: records of `LENGTH KEY=VALUE\n`, each of which counts itself.

use std::ops::Range;

use super::Time;
use super::header::{decimal, id};
use super::sparse::{Format, Piece};
use crate::error::quote;

/// As many extended attributes are kept to be refused: more than any limit allows.
const MOST_XATTRS: usize = 2000;

/// What an extended header says of the next entry; names and values are places in its bytes.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub(crate) path: Option<Range<usize>>,
    pub(crate) link: Option<Range<usize>>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) mtime: Option<Time>,
    /// Name and value.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) sparse: Option<Box<Sparse>>,
}

/// What it says of a sparse file.
#[derive(Debug, Default)]
pub(crate) struct Sparse {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) name: Option<Range<usize>>,
    pub(crate) size: Option<u64>,
    pub(crate) pieces: Vec<Piece>,
    /// Where the next length belongs to, in the format that names offsets and lengths in turn.
    offset: Option<u64>,
}

impl Sparse {
    pub(crate) fn format(&self) -> Result<Format, String> {
        match (self.major, self.minor) {
            (0, _) => Ok(Format::Listed),
            (1, 0) => Ok(Format::Leading),
            (major, minor) => Err(format!("GNU.sparse format {major}.{minor} is not known")),
        }
    }
}

impl Fields {
    /// Forgets the last entry's.
    pub(crate) fn clear(&mut self) {
        self.xattrs.clear();
        let xattrs = std::mem::take(&mut self.xattrs);
        *self = Self {
            xattrs,
            ..Self::default()
        };
    }

    /// Tells whether they give the entry a name.
    pub(crate) fn names(&self) -> bool {
        let sparse = self.sparse.as_ref();
        self.path.is_some() || sparse.is_some_and(|sparse| sparse.name.is_some())
    }

    /// Reads the records of the next entry. Of two with one key the last one counts, and an empty one leaves the word to the header.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Result<(), String> {
        each(bytes, |key, value| self.record(bytes, key, value))
    }

    fn record(&mut self, bytes: &[u8], key: &[u8], at: Range<usize>) -> Result<(), String> {
        let value = &bytes[at.clone()];
        let some = (!value.is_empty()).then_some(value);
        match key {
            b"path" => self.path = name(value, at)?,
            b"linkpath" => self.link = name(value, at)?,
            b"uid" => self.uid = some.map(|it| id("uid", decimal(it))).transpose()?,
            b"gid" => self.gid = some.map(|it| id("gid", decimal(it))).transpose()?,
            b"size" => self.size = some.map(decimal).transpose()?,
            b"mtime" => self.mtime = some.map(time).transpose()?,
            b"hdrcharset" if !matches!(value, b"" | b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => {
                return Err(format!("charset {} is not known", quote(value)));
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(name.to_vec(), value.to_vec())?;
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    self.xattr(unescape(name)?, base64(value)?)?;
                } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                    let sparse = self.sparse.get_or_insert_default();
                    sparse.record(key, value, at)?;
                }
            }
        }
        Ok(())
    }

    fn xattr(&mut self, name: Vec<u8>, value: Vec<u8>) -> Result<(), String> {
        if name.is_empty() || name.contains(&0) {
            return Err(format!("attribute name {} is none", quote(&name)));
        }
        let full = self.xattrs.len() > MOST_XATTRS;
        match self.xattrs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            // One more than an entry may have is refused like a thousand more, and each costs a look at all the others.
            None if full => {}
            None => self.xattrs.push((name, value)),
        }
        Ok(())
    }
}

impl Sparse {
    fn record(&mut self, key: &[u8], value: &[u8], at: Range<usize>) -> Result<(), String> {
        match key {
            b"major" => self.major = decimal(value)?,
            b"minor" => self.minor = decimal(value)?,
            b"name" => self.name = name(value, at)?,
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"offset" if self.offset.is_none() => self.offset = Some(decimal(value)?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or("numbytes without offset")?;
                let len = decimal(value)?;
                self.pieces.push(Piece { offset, len });
            }
            b"map" => {
                self.pieces.clear();
                let mut numbers = value
                    .split(|byte| *byte == b',')
                    .filter(|it| !it.is_empty());
                while let Some(offset) = numbers.next() {
                    let offset = decimal(offset)?;
                    let len = decimal(numbers.next().ok_or("map ends with an offset")?)?;
                    self.pieces.push(Piece { offset, len });
                }
            }
            b"numblocks" => {}
            _ => {
                return Err(format!("GNU.sparse field {} is not known", quote(key)));
            }
        }
        Ok(())
    }
}

/// Refuses a header for all further entries that would change them: some readers heed those, others do not.
pub(crate) fn check_global(bytes: &[u8]) -> Result<(), String> {
    each(bytes, |key, _| {
        let plain = [
            &b"path"[..],
            b"linkpath",
            b"size",
            b"uid",
            b"gid",
            b"mtime",
            b"hdrcharset",
        ];
        let kinds = [&b"GNU.sparse."[..], b"SCHILY.xattr.", b"LIBARCHIVE.xattr."];
        if plain.contains(&key) || kinds.iter().any(|kind| key.starts_with(kind)) {
            let key = quote(key);
            return Err(format!("{key} for all entries: readers disagree about it"));
        }
        Ok(())
    })
}

/// Calls with each record's key and where its value lies.
fn each(
    bytes: &[u8],
    mut call: impl FnMut(&[u8], Range<usize>) -> Result<(), String>,
) -> Result<(), String> {
    let mut start = 0;
    while start < bytes.len() {
        let rest = &bytes[start..];
        let wrong = |why: &str| {
            let shown = &rest[..rest.len().min(40)];
            Err(format!("record {} {why}", quote(shown)))
        };
        let Some(space) = rest.iter().take(21).position(|byte| *byte == b' ') else {
            return wrong("has no length");
        };
        let Ok(len) = decimal(&rest[..space]) else {
            return wrong("has no length");
        };
        let Some(end) = usize::try_from(len)
            .ok()
            .filter(|len| (space + 2..=rest.len()).contains(len))
        else {
            return wrong("is longer than what is there, or too short");
        };
        if rest[end - 1] != b'\n' {
            return wrong("does not end where its length says");
        }
        let Some(equals) = rest[space + 1..end].iter().position(|byte| *byte == b'=') else {
            return wrong("has no value");
        };
        let equals = space + 1 + equals;
        let key = &rest[space + 1..equals];
        if key.is_empty() || key.contains(&0) {
            return wrong("has no key");
        }
        call(key, start + equals + 1..start + end - 1)?;
        start += end;
    }
    Ok(())
}

fn name(value: &[u8], at: Range<usize>) -> Result<Option<Range<usize>>, String> {
    if value.contains(&0) {
        return Err(format!("name {} holds a NUL", quote(value)));
    }
    Ok((!value.is_empty()).then_some(at))
}

/// Reads decimal seconds with a fraction; what is finer than the kernel's clock is dropped.
fn time(value: &[u8]) -> Result<Time, String> {
    let wrong = |_| format!("mtime {} is no time", quote(value));
    let (negative, rest) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = rest.splitn(2, |byte| *byte == b'.');
    let whole = decimal(parts.next().unwrap_or_default()).map_err(wrong)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(wrong(String::new()));
    }
    let mut nanos = 0;
    for place in 0..9 {
        let digit = fraction.get(place).map_or(0, |digit| digit - b'0');
        nanos = nanos * 10 + u32::from(digit);
    }
    let seconds = i64::try_from(whole).map_err(|_| wrong(String::new()))?;
    Ok(match (negative, nanos) {
        (false, nanos) => Time { seconds, nanos },
        (true, 0) => Time {
            seconds: -seconds,
            nanos,
        },
        (true, nanos) => Time {
            seconds: -seconds - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

/// Undoes `%3D` and the like.
fn unescape(name: &[u8]) -> Result<Vec<u8>, String> {
    let digit = |at: usize| {
        let digit = name.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        digit.and_then(|digit| u8::try_from(digit).ok())
    };
    let mut plain = Vec::with_capacity(name.len());
    let mut at = 0;
    while at < name.len() {
        if name[at] == b'%' {
            let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                return Err(format!("attribute name {} is badly escaped", quote(name)));
            };
            plain.push(high << 4 | low);
            at += 3;
        } else {
            plain.push(name[at]);
            at += 1;
        }
    }
    Ok(plain)
}

/// Decodes base64 with or without its padding.
fn base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = || {
        format!(
            "attribute value {} is no base64",
            quote(&text[..text.len().min(40)])
        )
    };
    let digits = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    if digits.len() % 4 == 1 {
        return Err(wrong());
    }
    let mut value = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits {
        let digit = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(wrong()),
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            value.push((bits >> held & 0xff) as u8);
        }
    }
    Ok(value)
}
