//! Changes of tar archives that leave them archives: with a wrong checksum, or a digest that is no longer the one of what it names, a reader
//! ends at once.

use image::Digest;

use crate::json::{self, Random};

const BLOCK: usize = 512;
/// Where the fields of a header lie.
const NAME: Field = Field(0, 100);
const SIZE: Field = Field(124, 12);
const CHECKSUM: Field = Field(148, 8);
const KIND: usize = 156;
const LINK: Field = Field(157, 100);
const NUMBERS: [Field; 7] = [
    Field(100, 8),
    Field(108, 8),
    Field(116, 8),
    SIZE,
    Field(136, 12),
    Field(329, 8),
    Field(337, 8),
];
const KINDS: &[u8] = b"\x0001234567gxLKSDNVA";
const NAMES: [&str; 24] = [
    "",
    ".",
    "./",
    "..",
    "/",
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "./a",
    "../outside/victim",
    "../../outside/victim",
    "/a",
    "a/../b",
    ".wh.a",
    "a/.wh.b",
    ".wh..wh..opq",
    "a/.wh..wh..opq",
    ".wh..wh.plnk",
    ".wh.",
    ".wh...",
    "b\\c\n",
    "é\u{7f}",
    "manifest.json",
];
const DIGITS: [&[u8]; 16] = [
    b"",
    b"0",
    b"7",
    b"644",
    b"755",
    b"4755",
    b"1777",
    b"7777777",
    b"1000",
    b"777777777777",
    b"-1",
    b"9",
    b"x",
    b"\x80\0\0\0\0\0\x01\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe",
    b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
];
const KEYS: [&str; 22] = [
    "path",
    "linkpath",
    "size",
    "uid",
    "gid",
    "mtime",
    "atime",
    "uname",
    "comment",
    "hdrcharset",
    "SCHILY.xattr.user.x",
    "SCHILY.xattr.trusted.overlay.opaque",
    "SCHILY.xattr.security.capability",
    "LIBARCHIVE.xattr.user.y",
    "SCHILY.acl.access",
    "SCHILY.xattr.system.posix_acl_default",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.realsize",
    "GNU.sparse.map",
    "SCHILY.devmajor",
];
const VALUES: [&str; 16] = [
    "",
    "0",
    "1",
    "7",
    "-1",
    "1.5",
    "-0.5",
    "100",
    "65536",
    "4294967296",
    "99999999999999999999",
    "y",
    "0,1,3,2",
    "BINARY",
    "dXNlcg",
    "a\0b",
];

/// Where in a header, and how long.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Field(usize, usize);

/// A header and what follows it.
#[derive(Clone)]
struct Entry {
    header: [u8; BLOCK],
    body: Vec<u8>,
}

impl Entry {
    fn new(kind: u8, name: &[u8], body: Vec<u8>) -> Self {
        let mut entry = Self {
            header: [0; BLOCK],
            body: Vec::new(),
        };
        entry.header[KIND] = kind;
        entry.header[257..265].copy_from_slice(b"ustar\x0000");
        entry.set(NAME, name);
        entry.set(NUMBERS[0], b"644");
        entry.fill(body);
        entry
    }

    fn get(&self, Field(at, len): Field) -> &[u8] {
        let field = &self.header[at..at + len];
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn set(&mut self, Field(at, len): Field, value: &[u8]) {
        let value = &value[..value.len().min(len)];
        self.header[at..at + len].fill(0);
        self.header[at..at + value.len()].copy_from_slice(value);
    }

    /// Gives it other contents, with their size.
    fn fill(&mut self, body: Vec<u8>) {
        self.set(SIZE, format!("{:011o}", body.len()).as_bytes());
        self.body = body;
    }
}

/// Returns the entries, and what is behind the last one.
fn parse(bytes: &[u8]) -> (Vec<Entry>, &[u8]) {
    let (mut entries, mut rest) = (Vec::new(), bytes);
    while let Some((header, behind)) = rest.split_first_chunk::<BLOCK>() {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let body = &behind[..size(header).min(behind.len())];
        entries.push(Entry {
            header: *header,
            body: body.to_vec(),
        });
        rest = &behind[body.len().next_multiple_of(BLOCK).min(behind.len())..];
    }
    (entries, rest)
}

fn size(header: &[u8; BLOCK]) -> usize {
    let Field(at, len) = SIZE;
    let digits = String::from_utf8_lossy(&header[at..at + len]);
    usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0)
}

fn write(entries: &[Entry], tail: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&entry.header);
        bytes.extend_from_slice(&entry.body);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.extend_from_slice(tail);
    mend(&mut bytes);
    bytes
}

/// Makes every checksum right.
pub fn mend(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some((header, behind)) = rest.split_first_chunk_mut::<BLOCK>() {
        if header.iter().all(|byte| *byte == 0) {
            return;
        }
        sum(header);
        let len = size(header).min(behind.len());
        let len = len.next_multiple_of(BLOCK).min(behind.len());
        rest = &mut behind[len..];
    }
}

fn sum(header: &mut [u8; BLOCK]) {
    let Field(at, len) = CHECKSUM;
    header[at..at + len].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[at..at + 7].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// Returns a changed archive of at most `most` bytes; `None` where there is none to change, or it became too long.
#[must_use]
pub fn mutate(bytes: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    let changed = changed(bytes, &mut Random::new(seed))?;
    (changed.len() <= most).then_some(changed)
}

/// Returns an archive with some entries of another; `None` as above.
#[must_use]
pub fn cross(bytes: &[u8], other: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    let ((mut entries, tail), (others, _)) = (parse(bytes), parse(other));
    if entries.is_empty() || others.is_empty() {
        return None;
    }
    let mut random = Random::new(seed);
    for _ in 0..=random.below(2) {
        let from = random.below(others.len());
        let to = others.len().min(from + 1 + random.below(3));
        let at = random.below(entries.len() + 1);
        entries.splice(at..at, others[from..to].iter().cloned());
    }
    let crossed = write(&entries, tail);
    (crossed.len() <= most).then_some(crossed)
}

fn changed(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let (mut entries, tail) = parse(bytes);
    for _ in 0..=random.below(3) {
        if entries.is_empty() {
            return None;
        }
        change(&mut entries, random);
    }
    let tail = &tail[..tail.len()
        - if random.below(16) == 0 {
            random.below(tail.len() + 1)
        } else {
            0
        }];
    Some(write(&entries, tail))
}

/// Changes one thing.
fn change(entries: &mut Vec<Entry>, random: &mut Random) {
    let at = random.below(entries.len());
    let to = random.below(entries.len());
    match random.below(16) {
        0 => drop(entries.remove(at)),
        1 => entries.insert(to, entries[at].clone()),
        2 => entries.swap(at, to),
        3 | 4 => {
            let name = name(&entries[to], random);
            entries[at].set(NAME, &name);
        }
        5 => {
            let name = name(&entries[to], random);
            entries[at].set(LINK, &name);
            entries[at].header[KIND] = b"12"[random.below(2)];
        }
        6 => entries[at].header[KIND] = KINDS[random.below(KINDS.len())],
        7 => {
            let field = NUMBERS[random.below(NUMBERS.len())];
            entries[at].set(field, DIGITS[random.below(DIGITS.len())]);
        }
        8 => entries[at].header[random.below(BLOCK)] = byte(random),
        9 | 10 => entries.insert(
            at,
            Entry::new(
                b"xg"[usize::from(random.below(8) == 0)],
                b"pax",
                records(random),
            ),
        ),
        11 => {
            let long = name(&entries[to], random).repeat(1 + random.below(30));
            entries.insert(
                at,
                Entry::new(
                    b"LK"[random.below(2)],
                    b"././@LongLink",
                    [&long[..], b"\0"].concat(),
                ),
            );
        }
        _ => refill(entries, at, random),
    }
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap_or(0)
}

/// Another one of ours, or one that the archive has, or something below it.
fn name(entry: &Entry, random: &mut Random) -> Vec<u8> {
    let ours = NAMES[random.below(NAMES.len())].as_bytes();
    match random.below(3) {
        0 => ours.to_vec(),
        1 => entry.get(NAME).to_vec(),
        _ => [entry.get(NAME), b"/", ours].concat(),
    }
}

/// Makes an extended header.
fn records(random: &mut Random) -> Vec<u8> {
    let record = |random: &mut Random| {
        let key = KEYS[random.below(KEYS.len())];
        let value = match random.below(3) {
            0 => NAMES[random.below(NAMES.len())],
            _ => VALUES[random.below(VALUES.len())],
        };
        let rest = key.len() + value.len() + 3;
        let digits = if rest < 9 {
            1
        } else if rest < 98 {
            2
        } else {
            3
        };
        format!("{} {key}={value}\n", rest + digits).into_bytes()
    };
    (0..=random.below(3)).flat_map(|_| record(random)).collect()
}

/// Changes what is in a file, as what it is: an archive, JSON, or bytes; and with it what is said of it elsewhere.
fn refill(entries: &mut [Entry], at: usize, random: &mut Random) {
    let body = &entries[at].body;
    let seed = u32::try_from(random.below(1 << 30)).unwrap_or(0);
    let is_tar = |body: &[u8]| body.get(257..262) == Some(b"ustar");
    let new = match body.first() {
        _ if is_tar(body) => changed(body, random),
        Some(b'{' | b'[') => json::mutate(body, usize::MAX, seed),
        Some(_) if b"xg".contains(&entries[at].header[KIND]) => Some(records(random)),
        _ => None,
    };
    let new = new.unwrap_or_else(|| {
        let mut bytes = body.clone();
        match random.below(4) {
            0 => bytes.truncate(random.below(bytes.len() + 1)),
            1 => bytes.push(byte(random)),
            _ if bytes.is_empty() => {}
            _ => bytes[random.below(body.len())] = byte(random),
        }
        bytes
    });
    replace(entries, at, new, 4);
}

/// Gives an entry other contents, and the documents that name them by their digest the new digest and size, and so on.
fn replace(entries: &mut [Entry], at: usize, new: Vec<u8>, deep: u32) {
    let old = Digest::of(&entries[at].body).hex();
    let (hex, size) = (Digest::of(&new).hex(), new.len());
    entries[at].fill(new);
    for other in 0..entries.len() {
        let name = String::from_utf8_lossy(entries[other].get(NAME)).replace(&old, &hex);
        entries[other].set(NAME, name.as_bytes());
        let is_text =
            entries[other].body.starts_with(b"{") || entries[other].body.starts_with(b"[");
        if other == at || deep == 0 || !is_text {
            continue;
        }
        let text = String::from_utf8_lossy(&entries[other].body).into_owned();
        if text.contains(&old) {
            let text = named(&text.replace(&old, &hex), &hex, size);
            replace(entries, other, text.into_bytes(), deep - 1);
        }
    }
}

/// Puts the size behind a digest.
fn named(text: &str, hex: &str, size: usize) -> String {
    let mark = format!("{hex}\",\"size\":");
    let mut pieces = text.split(&mark);
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        whole += &format!("{mark}{size}{rest}");
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let layer = write(&[Entry::new(b'0', b"a", b"x".to_vec())], &[0; 1024]);
        let config = format!("{{\"diff_ids\":[\"sha256:{}\"]}}", Digest::of(&layer).hex());
        let index = format!(
            "{{\"digest\":\"sha256:{}\",\"size\":{}}}",
            Digest::of(config.as_bytes()).hex(),
            config.len()
        );
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
        let entries = [
            Entry::new(b'0', blob(&layer).as_bytes(), layer),
            Entry::new(
                b'0',
                blob(config.as_bytes()).as_bytes(),
                config.into_bytes(),
            ),
            Entry::new(b'0', b"index.json", index.into_bytes()),
        ];
        write(&entries, &[0; 1024])
    }

    #[test]
    fn archives_stay_archives() {
        let mut texts = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            let changed = mutate(&archive(), 1 << 16, seed).unwrap_or_default();
            let mut mended = changed.clone();
            mend(&mut mended);
            assert!(mended == changed, "a checksum is wrong");
            texts.insert(changed);
        }
        assert!(texts.len() > 500, "only {} different archives", texts.len());
        assert_eq!(mutate(b"{", 1000, 1), None);
        assert_eq!(mutate(&archive(), 100, 1), None);
        let crossed = cross(&archive(), &archive(), 1 << 16, 1).expect("it is short");
        assert!(parse(&crossed).0.len() > 3);
    }

    #[test]
    fn digests_and_sizes_follow_what_they_name() {
        let bytes = archive();
        let (mut entries, _) = parse(&bytes);
        replace(&mut entries, 0, b"other".to_vec(), 4);
        let name = |entry: &Entry| String::from_utf8_lossy(entry.get(NAME)).into_owned();
        for entry in &entries[..2] {
            assert_eq!(
                name(entry),
                format!("blobs/sha256/{}", Digest::of(&entry.body).hex())
            );
        }
        let config = String::from_utf8_lossy(&entries[1].body).into_owned();
        assert!(config.contains(&Digest::of(b"other").hex()), "{config}");
        let index = String::from_utf8_lossy(&entries[2].body).into_owned();
        let want = format!(
            "{}\",\"size\":{}}}",
            Digest::of(config.as_bytes()).hex(),
            config.len()
        );
        assert!(index.ends_with(&want), "{index}");
    }
}
