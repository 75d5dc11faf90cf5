//! Archives that are made to fill a disk or a memory by how they are packed, or by how much they name.

use orlop_tests::registry::image::{gzip, oci_archive};
use orlop_tests::registry::{Head, Image, Layer, Registry, Tar};
use orlop_tests::{Lade, Must};
use std::path::Path;

/// Refused by `load` and by `import`, and nothing is left.
fn refused(case: &str, bytes: &[u8], parts: &[&str]) {
    for way in [&["load"][..], &["import", "-", "bad:one"]] {
        let lade = Lade::new();
        let done = lade.cmd(way).stdin(bytes.to_vec()).run();
        let complaint = orlop_tests::complaint(&done, &[1], parts);
        assert_eq!(complaint, None, "{case} by {way:?}\n{done}");
        assert!(lade.ids().is_empty(), "{case} by {way:?}");
        lade.ok(&["image", "prune", "-f"]);
        lade.whole();
    }
}

/// What a program makes of some bytes; nothing where it is not installed.
fn packed(program: &str, arguments: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
    let lade = Lade::new();
    if !["/usr/bin", "/bin"]
        .iter()
        .any(|dir| Path::new(dir).join(program).exists())
    {
        orlop_tests::skip(program, "not here");
        return None;
    }
    let dir = &lade.env.dir;
    std::fs::write(dir.join("in"), bytes).must("in");
    let input = dir.join("in").display().to_string();
    lade.other(program)
        .args(arguments)
        .args(["-k", &input])
        .run()
        .ok();
    let suffix = if program == "xz" { "in.xz" } else { "in.bz2" };
    Some(std::fs::read(dir.join(suffix)).must(suffix))
}

#[test]
fn a_bomb_of_xz_or_bzip2_is_refused() {
    let head = Head {
        size: 200 << 30,
        ..Head::new("zeros", b'0')
    };
    let mut start = Tar::new().raw(&head, b"").done();
    start.truncate(512);
    for (program, arguments) in [("xz", ["-T1", "-6"]), ("bzip2", ["-1", "-q"])] {
        let pack = |bytes: &[u8]| packed(program, &arguments, bytes);
        let (Some(start), Some(zeros)) = (pack(&start), pack(&vec![0; 16 << 20])) else {
            continue;
        };
        // Both go on with another stream where one has ended.
        let bytes = [start, zeros.repeat(40)].concat();
        refused(program, &bytes, &["inflated bytes", "over the limit"]);
    }
}

#[test]
fn a_dictionary_of_xz_that_fills_the_memory_is_refused() {
    let Some(mut bytes) = packed(
        "xz",
        &["-T1", "-0"],
        &Tar::new().file("x", 0o644, "x").done(),
    ) else {
        return;
    };
    // The header of the first block: its size, no more flags, one filter (LZMA2) with one byte about the dictionary, a checksum.
    let size = (usize::from(bytes[12]) + 1) * 4;
    assert_eq!(bytes[13..16], [0, 0x21, 1]);
    bytes[16] = 37;
    let mut sum = flate2::Crc::new();
    sum.update(&bytes[12..12 + size - 4]);
    bytes[12 + size - 4..12 + size].copy_from_slice(&sum.sum().to_le_bytes());
    refused("1.5 GiB", &bytes, &["xz", "Memory usage limit"]);
}

/// One frame of zstd, not compressed, whose header asks for a window of 2^log bytes.
fn framed(log: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    let block = u32::try_from(bytes.len()).must("a short one") << 3 | 1;
    out.extend(&block.to_le_bytes()[..3]);
    out.extend(bytes);
    out
}

#[test]
fn a_window_of_zstd_has_at_most_128_mib() {
    let tar = Tar::new().file("x", 0o644, "x").done();
    for (log, code) in [(27, 0), (28, 1), (31, 1)] {
        let blob = framed(log, &tar);
        let image = Image::new(vec![Layer::of(tar.clone(), blob.clone(), "+zstd")]);
        let registry = Registry::new();
        let whole = registry.serve("bad:one", &image);
        for (way, input) in [
            (&["pull", &whole][..], Vec::new()),
            (&["load"], oci_archive(&[("bad:one", &image)])),
            (&["import", "-", "bad:one"], blob.clone()),
        ] {
            let lade = Lade::new();
            let done = lade.cmd(way).stdin(input).run();
            assert_eq!(done.rc, code, "2^{log} by {way:?}\n{done}");
            if code != 0 {
                let complaint = orlop_tests::complaint(&done, &[1], &["window|memory"]);
                assert_eq!(complaint, None, "2^{log} by {way:?}\n{done}");
                assert!(lade.ids().is_empty());
            }
            lade.whole();
        }
    }
}

#[test]
fn an_archive_of_images_has_at_most_a_hundred_thousand_names() {
    let mut bytes = Vec::new();
    // Directories: a hundred thousand files would be a hundred thousand blobs first.
    let mut one = Tar::new().dir("x/", 0o755).done();
    one.truncate(512);
    for _ in 0..100_001 {
        bytes.extend(&one);
    }
    let lade = Lade::new();
    let done = lade.cmd(&["load"]).stdin(gzip(&bytes)).run();
    let complaint = orlop_tests::complaint(&done, &[1], &["more names"]);
    assert_eq!(complaint, None, "{done}");
    lade.whole();
}
