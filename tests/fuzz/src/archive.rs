//! The tar of a layer -> a directory, and back.

use std::fs::File;
use std::os::fd::AsFd;

use image::Digest;
use layer::{Limits, Options};

use crate::is_line;
use crate::place::Place;

/// Less than a layer may have, so that one input takes little time and memory, and the limits are met.
const LIMITS: Limits = Limits {
    entries: 100,
    bytes: 1 << 20,
    holes: 1 << 19,
    ratio: 1100,
    depth: 16,
    extended: 4096,
    xattrs: 8,
};

const OPTIONS: Options = Options {
    limits: LIMITS,
    userxattr: false,
    devices: true,
};

/// How `verify` tells of attributes that are missing.
pub(crate) const ATTRIBUTES: &str = "its extended attributes are others";

pub(crate) fn run(bytes: &[u8]) {
    let place = Place::new();
    let dir = place.dir("first");
    let unpacked = layer::unpack(bytes, dir.as_fd(), &OPTIONS);
    place.check();
    let unpacked = match unpacked {
        Ok(unpacked) => unpacked,
        Err(error) => return is_line(&error.to_string()),
    };
    assert!(unpacked.entries <= LIMITS.entries && unpacked.bytes <= LIMITS.bytes);
    assert_eq!(unpacked.tar_bytes, bytes.len() as u64);
    assert_eq!(unpacked.tar_sha256, Digest::of(bytes).bytes());
    unpacked.warnings.iter().for_each(|line| is_line(line));
    same(bytes, &dir, &OPTIONS, !unpacked.warnings.is_empty());
    // Packed: directories that the archive only implied are entries now, so there may be more than the limit.
    let (all, first) = (Options::default(), packed(&dir));
    let again = place.dir("again");
    let back = layer::unpack(&first[..], again.as_fd(), &all);
    let back = back.unwrap_or_else(|error| panic!("what was packed is not unpacked: {error}"));
    place.check();
    assert_eq!(back.tar_sha256, Digest::of(&first).bytes());
    assert_eq!(back.warnings, Vec::<String>::new());
    same(&first, &again, &all, false);
    assert!(packed(&again) == first, "packed again it has other bytes");
}

/// What was unpacked is what the archive says, worked out by other code. Attributes that the kernel did not take may be missing.
fn same(bytes: &[u8], dir: &File, options: &Options, left_out: bool) {
    let verified = layer::verify(bytes, dir.as_fd(), options);
    let (mut differences, hash) =
        verified.unwrap_or_else(|error| panic!("what was unpacked is not verified: {error}"));
    differences.retain(|line| !left_out || !line.ends_with(ATTRIBUTES));
    assert_eq!(differences, Vec::<String>::new());
    assert_eq!(hash, Digest::of(bytes).bytes());
}

fn packed(dir: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packed = layer::pack(dir.as_fd(), &mut bytes);
    let packed = packed.unwrap_or_else(|error| panic!("what was unpacked is not packed: {error}"));
    assert_eq!(packed.tar_sha256, Digest::of(&bytes).bytes());
    bytes
}
