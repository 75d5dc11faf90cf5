//! Reads the tar of an image archive: files with names, a few links, nothing else.
//!
//! Only what those who write such archives use is understood: ustar, PAX's `path`, `linkpath` and `size`, GNU's long names and large numbers.
//! What is read goes by name into tables and never to a path on disk.

use std::io::{self, Read};

use crate::{Error, Kind};

const BLOCK: usize = 512;
/// Of an extended header or a long name.
const EXTENDED: u64 = 1 << 20;

/// The largest size that a file can have.
const MOST: u64 = i64::MAX.cast_unsigned();

/// One entry; its contents are read from the archive next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Without `./` and slashes at its beginning and end.
    pub path: String,
    pub what: What,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    File {
        size: u64,
    },
    /// Another name for this path, relative to the entry's own folder when it is a symlink.
    Symlink(String),
    Hardlink(String),
    /// A directory, or what no archive of an image has.
    Other,
}

/// Reads entries one after the other.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    inner: R,
    /// Of the present entry's contents.
    left: u64,
    padding: u64,
}

/// What extended headers say of the next entry.
#[derive(Debug, Default)]
struct Extended {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            left: 0,
            padding: 0,
        }
    }

    /// Returns the next entry; what is left of the one before is passed over.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Entry>> {
        let mut extended = Extended::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let stated = number(&header[124..136])?;
            let size = match header[156] {
                // An extended header's size is that of the entry itself, and not of another header before it.
                b'x' | b'g' | b'L' | b'K' => stated,
                // There are no data behind these.
                b'1'..=b'6' => 0,
                _ => agreed(stated, extended.size)?,
            };
            if size > MOST {
                return Err(bad("an entry is larger than any file").into());
            }
            self.left = size;
            self.padding = size.next_multiple_of(BLOCK as u64) - size;
            match header[156] {
                b'x' => parse_pax(&self.small(size)?, &mut extended)?,
                b'g' => {}
                b'L' => extended.path = Some(text(&self.small(size)?)),
                b'K' => extended.link = Some(text(&self.small(size)?)),
                kind => return Ok(Some(entry(&header, kind, size, extended))),
            }
        }
    }

    /// Reads whatever stands behind the last entry.
    pub(crate) fn rest(&mut self) -> io::Result<()> {
        io::copy(&mut self.inner, &mut io::sink()).map(drop)
    }

    fn header(&mut self) -> anyhow::Result<Option<[u8; BLOCK]>> {
        let mut header = [0; BLOCK];
        let mut have = 0;
        while have < BLOCK {
            let read = self.inner.read(&mut header[have..])?;
            if read == 0 {
                break;
            }
            have += read;
        }
        if have == 0 || (have == BLOCK && header.iter().all(|byte| *byte == 0)) {
            return Ok(None);
        }
        if have < BLOCK {
            return Err(bad("it ends in the middle of a header").into());
        }
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
        let field: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
        if number(&header[148..156]).ok() != Some(sum - field + 8 * u64::from(b' ')) {
            return Err(
                bad("a header's checksum is wrong: this is no tar, or a damaged one").into(),
            );
        }
        Ok(Some(header))
    }

    /// Reads contents that are kept in memory.
    fn small(&mut self, size: u64) -> anyhow::Result<Vec<u8>> {
        if size > EXTENDED {
            return Err(bad("an extended header is larger than 1 MiB").into());
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn skip(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink())?;
        let mut padding = (&mut self.inner).take(self.padding);
        if io::copy(&mut padding, &mut io::sink())? < self.padding {
            return Err(cut());
        }
        self.padding = 0;
        Ok(())
    }
}

impl<R: Read> Read for Archive<R> {
    /// Reads the present entry's contents.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(cut());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn cut() -> io::Error {
    let text = "the archive ends in the middle of a file";
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Damaged, format!("the archive cannot be read: {why}"))
}

fn entry(header: &[u8; BLOCK], kind: u8, size: u64, extended: Extended) -> Entry {
    let path = extended.path.unwrap_or_else(|| {
        let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
        if &header[257..263] == b"ustar\0" && !prefix.is_empty() {
            format!("{prefix}/{name}")
        } else {
            name
        }
    });
    let link = || {
        extended
            .link
            .clone()
            .unwrap_or_else(|| text(&header[157..257]))
    };
    let what = match kind {
        // An old way to write a directory.
        b'0' | 0 | b'7' if !path.ends_with('/') => What::File { size },
        b'1' => What::Hardlink(clean(&link())),
        b'2' => What::Symlink(link()),
        _ => What::Other,
    };
    let path = clean(&path);
    Entry { path, what }
}

/// The size that both headers mean: who reads the one where others read the other finds other entries in the data.
fn agreed(stated: u64, extended: Option<u64>) -> Result<u64, Error> {
    match extended {
        // What does not fit the header stands there as zero or cut off.
        Some(size) if size < 1 << 33 && size != stated => Err(bad(
            "an entry has one size by its header and another by its extended header",
        )),
        size => Ok(size.unwrap_or(stated)),
    }
}

/// A path as it is looked up.
fn clean(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

/// The text before the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number in octal digits, or in GNU's base 256.
fn number(field: &[u8]) -> Result<u64, Error> {
    let wrong = || bad("a number in a header is none");
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256).ok_or_else(wrong)? | u64::from(*byte);
        }
        return Ok(value);
    }
    let digits = text(field);
    let digits = digits.trim_matches(' ');
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| wrong())
}

/// Takes records `LENGTH KEY=VALUE\n` apart.
fn parse_pax(bytes: &[u8], extended: &mut Extended) -> anyhow::Result<()> {
    let wrong = || bad("an extended header is malformed");
    let mut rest = bytes;
    while !rest.is_empty() {
        let space = rest
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(wrong)?;
        let length: usize = text(&rest[..space]).parse().map_err(|_| wrong())?;
        if length <= space + 1 || length > rest.len() || rest[length - 1] != b'\n' {
            return Err(wrong().into());
        }
        let record = &rest[space + 1..length - 1];
        let equals = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(wrong)?;
        let value = text(&record[equals + 1..]);
        match &record[..equals] {
            b"path" => extended.path = Some(value),
            b"linkpath" => extended.link = Some(value),
            b"size" => extended.size = Some(value.parse().map_err(|_| wrong())?),
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
    use super::*;

    fn list(bytes: &[u8]) -> anyhow::Result<Vec<(Entry, String)>> {
        let mut archive = Archive::new(bytes);
        let mut entries = Vec::new();
        while let Some(entry) = archive.next()? {
            let mut contents = String::new();
            archive.read_to_string(&mut contents)?;
            entries.push((entry, contents));
        }
        Ok(entries)
    }

    fn written() -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.bytes("index.json", b"{}").unwrap();
        let long = format!("blobs/sha512/{}", "f".repeat(128));
        writer.bytes(&long, &[b'x'; 600]).unwrap();
        writer.finish().unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let entries = list(&written()).unwrap();
        assert_eq!(entries[0].0.path, "index.json");
        assert_eq!(entries[0].1, "{}");
        assert_eq!(entries[1].0.path.len(), "blobs/sha512/".len() + 128);
        assert_eq!(entries[1].0.what, What::File { size: 600 });
        assert_eq!(written(), written());
    }

    /// A header, and what is behind it.
    fn raw(name: &str, kind: u8, size: &[u8], contents: &[u8]) -> Vec<u8> {
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..124 + size.len()].copy_from_slice(size);
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 8 * 32).as_bytes());
        let filled = contents.len().next_multiple_of(BLOCK) - contents.len();
        [&header[..], contents, &vec![0; filled]].concat()
    }

    fn sized(name: &str, kind: u8, contents: &[u8]) -> Vec<u8> {
        raw(
            name,
            kind,
            format!("{:011o}", contents.len()).as_bytes(),
            contents,
        )
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let whole = written();
        let mut renamed = whole.clone();
        renamed[0] = b'I';
        let binary = |bytes: [u8; 12]| raw("a", b'0', &bytes, b"");
        let mut largest = [0xff; 12];
        largest[..4].copy_from_slice(&[0x80, 0, 0, 0]);
        let extended =
            |record: &[u8]| [sized("x", b'x', record), sized("a", b'0', b"12345")].concat();
        for (bytes, message) in [
            (whole[..100].to_vec(), "ends in the middle of a header"),
            (whole[..513].to_vec(), "ends in the middle of a file"),
            ([&[b'?'; 512], &whole[512..]].concat(), "checksum is wrong"),
            (renamed, "checksum is wrong"),
            (binary(largest), "larger than any file"),
            (binary([0xff; 12]), "a number in a header is none"),
            (
                extended(b"29 size=18446744073709551615\n"),
                "larger than any file",
            ),
            (extended(b"29 size=18446744073709551616\n"), "malformed"),
            (
                extended(b"10 size=4\n"),
                "one size by its header and another",
            ),
        ] {
            let error = list(&bytes).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn one_size_says_what_is_data_and_what_is_a_header() {
        let inner = sized("inner", b'0', b"");
        let size = format!("12 size={}\n", inner.len());
        let file = |name: &str| (name.to_string(), What::File { size: 512 });
        for (what, parts, expected) in [
            (
                "an extended header is not about a long name behind it",
                vec![
                    sized("x", b'x', size.as_bytes()),
                    sized("l", b'L', b"long"),
                    sized("a", b'0', &inner),
                ],
                vec![file("long")],
            ),
            (
                "nor about a long link",
                vec![
                    sized("x", b'x', size.as_bytes()),
                    sized("k", b'K', b"long"),
                    sized("a", b'0', &inner),
                ],
                vec![file("a")],
            ),
            (
                "nor about another extended header",
                vec![
                    sized("x", b'x', size.as_bytes()),
                    sized("x", b'x', b"10 path=b\n"),
                    sized("a", b'0', &inner),
                ],
                vec![file("b")],
            ),
            (
                "a symlink has no data",
                vec![
                    raw("s", b'2', b"00000001000", b""),
                    sized("a", b'0', &inner),
                ],
                vec![("s".to_string(), What::Symlink(String::new())), file("a")],
            ),
        ] {
            let entries = list(&parts.concat()).unwrap();
            let found: Vec<_> = entries
                .into_iter()
                .map(|(entry, _)| (entry.path, entry.what))
                .collect();
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn extended_headers_are_for_the_next_entry() {
        let mut extended = Extended::default();
        parse_pax(b"12 path=a/b\n11 size=9x\n", &mut extended).unwrap_err();
        let mut extended = Extended::default();
        parse_pax(b"12 path=a/b\n10 size=9\n", &mut extended).unwrap();
        assert_eq!(
            (extended.path.as_deref(), extended.size),
            (Some("a/b"), Some(9))
        );
        for bad in [&b"99 path=a\n"[..], b"x", b"3 \n", b"8 path=a"] {
            assert!(parse_pax(bad, &mut Extended::default()).is_err());
        }
    }
}
