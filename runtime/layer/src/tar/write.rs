//! Writing headers: ustar, with an extended header before it where that cannot hold what is to be said.

use super::{BLOCK, Entry, Kind};
use crate::Error;

/// What fits eleven octal digits.
const LARGE: u64 = 1 << 33;
/// What fits seven.
const LARGE_ID: u32 = 1 << 21;

/// Appends the headers of an entry, which come out the same for the same entry on any host.
pub(crate) fn headers(entry: &Entry, out: &mut Vec<u8>) -> Result<(), Error> {
    let split = split(&entry.name);
    let mut records = records(entry)?;
    if split.is_none() {
        records.push((b"path".to_vec(), entry.name.clone()));
    }
    if !records.is_empty() {
        extended(entry, records, out)?;
    }
    let seconds = seconds(entry);
    let (prefix, name) = split.unwrap_or((&[], &entry.name[..entry.name.len().min(100)]));
    let mut block = Block::new(
        name,
        kind(entry.kind),
        if entry.size < LARGE { entry.size } else { 0 },
    );
    block.text(157, &entry.link[..entry.link.len().min(100)]);
    block.text(345, prefix);
    block.octal(100, 8, entry.mode.into());
    block.octal(
        108,
        8,
        if entry.uid < LARGE_ID {
            entry.uid.into()
        } else {
            0
        },
    );
    block.octal(
        116,
        8,
        if entry.gid < LARGE_ID {
            entry.gid.into()
        } else {
            0
        },
    );
    block.octal(136, 12, if seconds < LARGE { seconds } else { 0 });
    block.octal(329, 8, entry.device.0.into());
    block.octal(337, 8, entry.device.1.into());
    block.finish(out);
    Ok(())
}

/// Key and value of an extended header.
type Record = (Vec<u8>, Vec<u8>);

/// Returns what does not fit a header, but for the name.
fn records(entry: &Entry) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    let mut say = |key: &[u8], value: &[u8]| records.push((key.to_vec(), value.to_vec()));
    if entry.link.len() > 100 {
        say(b"linkpath", &entry.link);
    }
    for (key, id) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        if id >= LARGE_ID {
            say(key, id.to_string().as_bytes());
        }
    }
    if entry.size >= LARGE {
        say(b"size", entry.size.to_string().as_bytes());
    }
    if seconds(entry) >= LARGE {
        say(b"mtime", entry.mtime.seconds.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        if name.contains(&b'=') {
            let why = "its name holds a '=', which no archive can";
            return Err(Error::entry(&entry.name, "extended attribute", why));
        }
        say(&[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    Ok(records)
}

/// Returns the time, if it is one after 1970.
fn seconds(entry: &Entry) -> u64 {
    u64::try_from(entry.mtime.seconds).unwrap_or(LARGE)
}

/// Appends what fills up the last block.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    // Less than a block.
    let len = usize::try_from(super::padding(size)).unwrap_or_default();
    &[0; BLOCK][..len]
}

/// Two blocks of zeros.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Appends an extended header with its records in order.
fn extended(entry: &Entry, mut records: Vec<Record>, out: &mut Vec<u8>) -> Result<(), Error> {
    records.sort_unstable();
    let mut body = Vec::new();
    for (key, value) in records {
        // Two for the space and the equals sign, one for the end of the line.
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while len.to_string().len() + rest != len {
            len = len.to_string().len() + rest;
        }
        body.extend_from_slice(len.to_string().as_bytes());
        body.push(b' ');
        body.extend_from_slice(&key);
        body.push(b'=');
        body.extend_from_slice(&value);
        body.push(b'\n');
    }
    let size = body.len() as u64;
    let most = crate::Limits::default().extended;
    crate::limits::within(size, most, || {
        format!(
            "entry {}: bytes of an extended header",
            crate::error::quote(&entry.name)
        )
    })?;
    let mut block = Block::new(b"PaxHeaders.0", b'x', size);
    block.octal(100, 8, 0o644);
    for (at, len) in [(108, 8), (116, 8), (136, 12), (329, 8), (337, 8)] {
        block.octal(at, len, 0);
    }
    block.finish(out);
    out.extend_from_slice(&body);
    out.extend_from_slice(padding(size));
    Ok(())
}

/// Cuts a name into the two fields that a header has for it.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((&[], name));
    }
    // The slash between them stands in neither; the one at the end of a directory's name belongs to the name.
    let first = name.len().saturating_sub(101);
    let cut = name[first..name.len() - 1]
        .iter()
        .position(|byte| *byte == b'/')?
        + first;
    (cut <= 155 && cut > 0).then(|| (&name[..cut], &name[cut + 1..]))
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::Link => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(name: &[u8], kind: u8, size: u64) -> Self {
        let mut block = Self([0; BLOCK]);
        block.text(0, name);
        block.text(257, b"ustar\x0000");
        block.octal(124, 12, size);
        block.0[156] = kind;
        block
    }

    fn text(&mut self, at: usize, text: &[u8]) {
        self.0[at..at + text.len()].copy_from_slice(text);
    }

    /// Writes a number and a NUL into a field of so many bytes.
    fn octal(&mut self, at: usize, len: usize, number: u64) {
        let digits = format!("{number:0width$o}", width = len - 1);
        self.text(at, digits.as_bytes());
    }

    fn finish(mut self, out: &mut Vec<u8>) {
        self.text(148, b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.text(148, format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&self.0);
    }
}
