//! Compressed streams, limits, and trees that other programs have packed.

use std::io::{Read, Write};
use std::process::Command;

use super::*;
use crate::{Form, Limits, compress, inflate};

fn gzip(bytes: &[u8], threads: usize) -> Vec<u8> {
    let mut out = compress(Vec::new(), threads);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn inflated(bytes: &[u8], declared: Option<Form>, limits: &Limits) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut from = inflate(bytes, declared, limits).map_err(|error| error.to_string())?;
    from.read_to_end(&mut out)
        .map_err(|error| error.to_string())?;
    Ok(out)
}

/// Bytes that are neither all the same nor random.
fn noise(len: u32) -> Vec<u8> {
    (0..len)
        .flat_map(|at| (at.wrapping_mul(2_654_435_761) >> 20).to_le_bytes())
        .collect()
}

#[test]
fn gzip_is_the_same_from_any_number_of_threads_and_others_read_it() {
    let scratch = Scratch::new();
    for bytes in [
        Vec::new(),
        b"short".to_vec(),
        noise(1_000_000),
        vec![0; 3 << 20],
    ] {
        let packed = gzip(&bytes, 1);
        assert!(packed == gzip(&bytes, 3));
        let path = scratch.0.join("stream.gz");
        fs::write(&path, &packed).unwrap();
        let out = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
        assert!(
            out.status.success() && out.stdout == bytes,
            "{} bytes",
            bytes.len()
        );
        assert!(inflated(&packed, Some(Form::Gzip), &Limits::default()).unwrap() == bytes);
    }
}

#[test]
fn forms_are_told_by_their_first_bytes() {
    let all = Limits::default();
    let zstd = zstd::encode_all(&b"one"[..], 3).unwrap();
    let skip = [
        &[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..],
        &zstd,
        &zstd,
    ]
    .concat();
    let two = [gzip(b"one", 1), gzip(b"one", 1)].concat();
    assert_eq!(inflated(&skip, Some(Form::Zstd), &all).unwrap(), b"oneone");
    assert_eq!(inflated(&two, None, &all).unwrap(), b"oneone");
    assert_eq!(inflated(b"ab", Some(Form::Tar), &all).unwrap(), b"ab");
    let wrong = inflated(&zstd, Some(Form::Gzip), &all).unwrap_err();
    assert_eq!(wrong, "layer is zstd, but its media type says gzip");
    inflated(&two[..two.len() - 1], None, &all).unwrap_err();
    inflated(&zstd[..zstd.len() - 1], None, &all).unwrap_err();
    inflated(&[&two[..], b"garbage"].concat(), None, &all).unwrap_err();
    let few = Limits { ratio: 10, ..all };
    let bomb = inflated(&gzip(&vec![0; 65 << 20], 2), None, &few).unwrap_err();
    let expected =
        "inflated bytes (at most 10 for a compressed one): 68157440 is over the limit of 67108864";
    assert_eq!(bomb, expected);
}

#[test]
fn limits_say_what_they_are() {
    let all = Limits::default();
    let deep = (0..300).map(|_| "d/").collect::<String>();
    let rows = [
        (
            Limits { entries: 2, ..all },
            archive(&[file("a", ""), file("b", ""), file("c", "")]),
            "entries of the archive: 3 is over the limit of 2",
        ),
        (
            Limits { bytes: 2000, ..all },
            archive(&[file("a", ""), file("b", "")]),
            "bytes of the archive: 2048 is over the limit of 2000",
        ),
        (
            Limits {
                extended: 10,
                ..all
            },
            archive(&[pax(&[("path", "abcdef")]), file("b", "")]),
            "bytes of an extended header: 15 is over the limit of 10",
        ),
        (
            Limits { holes: 20, ..all },
            archive(&[
                pax(&[("GNU.sparse.size", "12"), ("GNU.sparse.map", "4,2")]),
                file("a", "xy"),
                pax(&[("GNU.sparse.size", "12"), ("GNU.sparse.map", "4,1")]),
                file("b", "x"),
            ]),
            "entry \"b\": bytes of holes in all files: 21 is over the limit of 20",
        ),
        (
            all,
            archive(&[special(b'L', deep.as_bytes()), folder("x")]),
            "directories in each other: 257 is over the limit of 256",
        ),
    ];
    for (limits, bytes, expected) in rows {
        let scratch = Scratch::new();
        let into = File::open(&scratch.0).unwrap();
        let options = Options {
            limits,
            ..Options::default()
        };
        let error = unpack(&bytes[..], into.as_fd(), &options)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn archives_of_gnu_tar_come_out_as_it_unpacks_them() {
    let scratch = Scratch::new();
    let (tree, theirs) = (scratch.dir("tree"), scratch.dir("theirs"));
    fs::create_dir_all(tree.join("some/dir")).unwrap();
    fs::write(tree.join("some/dir/file"), "x".repeat(70_000)).unwrap();
    fs::write(tree.join("some").join("n".repeat(150)), "long").unwrap();
    fs::hard_link(tree.join("some/dir/file"), tree.join("hard")).unwrap();
    std::os::unix::fs::symlink("some/dir", tree.join("soft")).unwrap();
    let sparse = File::create(tree.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 1 << 20).unwrap();
    drop(sparse);
    let tar = |arguments: &[&str]| {
        let done = Command::new("tar")
            .args(arguments)
            .current_dir(&scratch.0)
            .status();
        assert!(done.unwrap().success(), "{arguments:?}");
    };
    for format in ["gnu", "oldgnu", "pax"] {
        tar(&[
            "--sparse",
            "--numeric-owner",
            "--format",
            format,
            "-C",
            "tree",
            "-cf",
            "a.tar",
            ".",
        ]);
        let ours = scratch.dir(format);
        let bytes = fs::read(scratch.0.join("a.tar")).unwrap();
        unpacked(&bytes, &ours).unwrap();
        tar(&["-C", "theirs", "-xpf", "a.tar"]);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        pack(File::open(&ours).unwrap().as_fd(), &mut left).unwrap();
        pack(File::open(&theirs).unwrap().as_fd(), &mut right).unwrap();
        assert!(left == right, "{format}: the trees differ");
        let fd = File::open(&ours).unwrap();
        assert_eq!(
            verify(&bytes[..], fd.as_fd(), &Options::default())
                .unwrap()
                .0
                .len(),
            0
        );
    }
}
