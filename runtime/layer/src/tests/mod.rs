//! Archives, byte by byte, and the trees or the errors that come of them.

mod archives;
mod attacks;
mod places;
mod streams;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Options, Unpacked, pack, unpack, verify};

/// A directory of a test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("layer-{}-{next}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.join(name);
        fs::create_dir(&dir).unwrap();
        dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A header with what most tests do not care about.
fn header(name: &[u8], kind: u8, size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000755");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000005");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    summed(block)
}

/// Corrects the checksum.
fn summed(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A header with other bytes in some places.
fn with(block: [u8; 512], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut block = block;
    block[at..at + bytes.len()].copy_from_slice(bytes);
    summed(block).to_vec()
}

/// Data, filled up to whole blocks.
fn data(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, bytes: &str) -> Vec<u8> {
    let header = header(name.as_bytes(), b'0', bytes.len() as u64);
    [&header[..], &data(bytes.as_bytes())].concat()
}

fn folder(name: &str) -> Vec<u8> {
    header(name.as_bytes(), b'5', 0).to_vec()
}

/// A symlink (`2`) or hard link (`1`).
fn link(name: &str, kind: u8, target: &str) -> Vec<u8> {
    with(header(name.as_bytes(), kind, 0), 157, target.as_bytes())
}

fn device(name: &str, kind: u8, major: u32, minor: u32) -> Vec<u8> {
    let numbers = format!("{major:07o}\0{minor:07o}\0");
    with(header(name.as_bytes(), kind, 0), 329, numbers.as_bytes())
}

/// An entry about the next one: `x`, `g`, `L`, `K`.
fn special(kind: u8, body: &[u8]) -> Vec<u8> {
    [
        &header(b"special", kind, body.len() as u64)[..],
        &data(body),
    ]
    .concat()
}

/// An extended header.
fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let body: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect();
    special(b'x', &body)
}

fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..)
        .find(|digits| (digits + rest).to_string().len() == *digits)
        .unwrap()
        + rest;
    format!("{len} {key}={value}\n").into_bytes()
}

/// Entries with the end of the archive.
fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// Unpacks into a new directory.
fn unpacked(bytes: &[u8], dir: &Path) -> Result<Unpacked, String> {
    unpacked_by(bytes, dir, &Options::default())
}

fn unpacked_by(bytes: &[u8], dir: &Path, options: &Options) -> Result<Unpacked, String> {
    let into = File::open(dir).unwrap();
    unpack(bytes, into.as_fd(), options).map_err(|error| error.to_string())
}

/// For overlay mounts of root's, and for those in a user namespace.
fn both() -> [Options; 2] {
    [false, true].map(|userxattr| Options {
        userxattr,
        ..Options::default()
    })
}

/// Spells a tree: a letter for the kind, the path, and what there is to it.
fn spell(dir: &Path) -> String {
    let mut lines = Vec::new();
    walk(dir, dir, &mut lines);
    lines.join(" ")
}

fn walk(root: &Path, dir: &Path, lines: &mut Vec<String>) {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().display();
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        lines.push(match () {
            () if kind.is_symlink() => {
                format!("l:{name}->{}", fs::read_link(&path).unwrap().display())
            }
            () if kind.is_dir() && is_opaque(&path, "trusted") => format!("o:{name}"),
            () if kind.is_dir() && is_opaque(&path, "user") => format!("u:{name}"),
            () if kind.is_dir() => format!("d:{name}"),
            () if kind.is_fifo() => format!("p:{name}"),
            () if kind.is_char_device() && stat.rdev() == 0 => format!("w:{name}"),
            () if kind.is_char_device() => format!("c:{name}"),
            () if kind.is_block_device() => format!("b:{name}"),
            () => format!("f:{name}={}", fs::read_to_string(&path).unwrap()),
        });
        if kind.is_dir() {
            walk(root, &path, lines);
        }
    }
}

fn is_opaque(path: &Path, space: &str) -> bool {
    let name = format!("{space}.overlay.opaque");
    let opaque = sys::file::get_xattr(File::open(path).unwrap(), name.as_str());
    opaque.unwrap().is_some()
}

/// Unpacks, compares with what is expected (a tree, or `error: ` and a part of the message), and where there is a tree verifies it and packs
/// it twice. What lies beside the directory stays as it was in any case. `o:` is opaque, by the mark (`u:` where it is spelled) that goes with
/// the way of mounting.
fn check(what: &str, bytes: &[u8], expected: &str) {
    for options in both() {
        let expected = match options.userxattr {
            true => expected.replace("o:", "u:"),
            false => expected.to_string(),
        };
        check_by(what, bytes, &expected, &options);
    }
}

fn check_by(what: &str, bytes: &[u8], expected: &str, options: &Options) {
    let scratch = Scratch::new();
    let (dir, outside) = (scratch.dir("root"), scratch.dir("outside"));
    fs::write(outside.join("victim"), "untouched").unwrap();
    let before = fs::metadata(outside.join("victim")).unwrap();
    let found = unpacked_by(bytes, &dir, options);
    let after = fs::metadata(outside.join("victim")).unwrap();
    assert_eq!(spell(&outside), "f:victim=untouched", "{what}");
    assert_eq!(
        (before.mode(), before.nlink()),
        (after.mode(), after.nlink()),
        "{what}"
    );
    match (found, expected.strip_prefix("error: ")) {
        (Err(error), Some(part)) => assert!(error.contains(part), "{what}: {error}"),
        (Ok(_), None) => {
            assert_eq!(spell(&dir), expected, "{what}");
            let differences = verify(bytes, File::open(&dir).unwrap().as_fd(), options);
            assert_eq!(differences.unwrap().0, Vec::<String>::new(), "{what}");
            round(what, &dir, &scratch.dir("again"), options);
        }
        (found, _) => panic!("{what}: {found:?}, expected {expected}"),
    }
}

/// Packs a tree, unpacks that and packs it again.
fn round(what: &str, dir: &Path, again: &Path, options: &Options) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let packed = pack(File::open(dir).unwrap().as_fd(), &mut first).unwrap();
    let back = unpacked_by(&first, again, options).unwrap();
    assert_eq!(packed.tar_sha256, back.tar_sha256, "{what}");
    pack(File::open(again).unwrap().as_fd(), &mut second).unwrap();
    assert!(first == second, "{what}: packed again it has other bytes");
    assert_eq!(spell(dir), spell(again), "{what}");
}
