//! Where entries come to lie, and with what attributes.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn later_entries_replace_earlier_ones() {
    let rows = [
        (
            "file over file",
            archive(&[file("a", "x"), file("a", "y")]),
            "f:a=y",
        ),
        (
            "file over directory",
            archive(&[file("a/b/c", "x"), file("a", "y")]),
            "f:a=y",
        ),
        (
            "directory over file",
            archive(&[file("a", "x"), folder("a/"), file("a/b", "y")]),
            "d:a f:a/b=y",
        ),
        (
            "directory over directory",
            archive(&[file("a/b", "x"), folder("a")]),
            "d:a f:a/b=x",
        ),
        (
            "a removed directory comes back",
            archive(&[file("a/b", "x"), file("a", "y"), file("a/c", "z")]),
            "error: not a directory",
        ),
        (
            "symlink over directory",
            archive(&[file("a/b", "x"), link("a", b'2', "c"), file("a/b", "y")]),
            "l:a->c d:c f:c/b=y",
        ),
        ("whiteout", archive(&[file("a/.wh.b", "")]), "d:a w:a/b"),
        (
            "whiteout, then the file",
            archive(&[file(".wh.b", ""), file("b", "x")]),
            "f:b=x",
        ),
        (
            "the file, then whiteout",
            archive(&[file("b", "x"), file(".wh.b", "")]),
            "f:b=x",
        ),
        (
            "whiteout, then the directory",
            archive(&[file(".wh.b", ""), folder("b"), file("b/c", "x")]),
            "o:b f:b/c=x",
        ),
        (
            "whiteout, then something in it",
            archive(&[file(".wh.b", ""), file("b/c", "x")]),
            "o:b f:b/c=x",
        ),
        (
            "the directory, then whiteout",
            archive(&[file("b/c", "x"), file(".wh.b", "")]),
            "o:b f:b/c=x",
        ),
        (
            "opaque",
            archive(&[file("b/.wh..wh..opq", ""), folder("b"), file("b/c", "x")]),
            "o:b f:b/c=x",
        ),
    ];
    for (what, bytes, expected) in rows {
        check(what, &bytes, expected);
    }
}

#[test]
fn owner_mode_and_time_are_the_archives() {
    let owned = |name: &str, kind, mode: &str| {
        let block = with(header(name.as_bytes(), kind, 0), 100, mode.as_bytes());
        with(block.try_into().unwrap(), 108, b"0000012\x000000034")
    };
    let bytes = archive(&[
        owned("set/", b'5', "0002775"),
        owned("set/inner/", b'5', "0000700"),
        owned("set/suid", b'0', "0004711"),
        file("set/ours", "x"),
        owned("link", b'2', "0000777")
            .into_iter()
            .collect::<Vec<_>>(),
    ]);
    // A symlink needs a target.
    let at = bytes.len() - 1024 - 512;
    let symlink = with(bytes[at..at + 512].try_into().unwrap(), 157, b"nowhere");
    let bytes = archive(&[bytes[..at].to_vec(), symlink]);
    let scratch = Scratch::new();
    let dir = scratch.dir("root");
    unpacked(&bytes, &dir).unwrap();
    let stat = |name: &str| {
        let stat = fs::symlink_metadata(dir.join(name)).unwrap();
        (
            stat.mode() & 0o7777,
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.atime(),
        )
    };
    assert_eq!(stat("set"), (0o2775, 10, 28, 5, 5));
    assert_eq!(stat("set/inner"), (0o700, 10, 28, 5, 5));
    assert_eq!(stat("set/suid"), (0o4711, 10, 28, 5, 5));
    assert_eq!(stat("set/ours"), (0o755, 0, 0, 5, 5));
    assert_eq!(stat("link"), (0o777, 10, 28, 5, 5));
    assert_eq!(stat("."), (0o755, 0, 0, 0, 0));
    let fd = File::open(&dir).unwrap();
    assert_eq!(
        verify(&bytes[..], fd.as_fd(), &Options::default())
            .unwrap()
            .0
            .len(),
        0
    );
}

#[test]
fn verify_names_each_difference() {
    let scratch = Scratch::new();
    let dir = scratch.dir("root");
    let bytes = archive(&[
        file("a", "one"),
        file("b", "two"),
        file("c", "x"),
        link("s", b'2', "a"),
        file("h", "1"),
        link("i", b'1', "h"),
    ]);
    unpacked(&bytes, &dir).unwrap();
    let time = fs::metadata(dir.join("a")).unwrap().modified().unwrap();
    fs::write(dir.join("a"), "owe").unwrap();
    File::options()
        .write(true)
        .open(dir.join("a"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    fs::remove_file(dir.join("b")).unwrap();
    fs::write(dir.join("new"), "").unwrap();
    std::os::unix::fs::chown(dir.join("c"), Some(7), None).unwrap();
    fs::remove_file(dir.join("s")).unwrap();
    fs::write(dir.join("s"), "").unwrap();
    fs::remove_file(dir.join("i")).unwrap();
    fs::copy(dir.join("h"), dir.join("i")).unwrap();
    let fd = File::open(&dir).unwrap();
    let mut lines = verify(&bytes[..], fd.as_fd(), &Options::default())
        .unwrap()
        .0;
    // The root's, which is as old as the last change.
    lines.retain(|line| !line.starts_with("\"\""));
    assert_eq!(
        lines,
        [
            "\"a\": its contents are others",
            "\"b\": is missing",
            "\"c\": its owner is 7:0, not 0:0",
            "\"i\": is not the same file as \"h\", which it should be",
            "\"new\": is not in the archive",
            "\"s\": is a file, not a symlink",
        ]
    );
}
