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
        owned("set/pipe", b'6', "0006711"),
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
    assert_eq!(stat("set/pipe"), (0o6711, 10, 28, 5, 5));
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

#[test]
fn directories_that_are_not_open_any_more_are_found_again() {
    // Deeper than what stays open, there and back; hard links have a way of their own, and one symlink goes back along it.
    let deep = |depth: usize, name: &str| {
        special(
            b'L',
            ["d/".repeat(depth), name.to_owned()].concat().as_bytes(),
        )
    };
    let back = ["d/".repeat(90), "../".repeat(50)].concat();
    let mut parts = vec![special(b'K', back.as_bytes()), link("back", b'2', "short")];
    for (at, depth) in [200, 3, 100, 90, 50, 200, 1, 33, 32]
        .into_iter()
        .enumerate()
    {
        parts.extend([deep(depth, &format!("f{at}")), file("f", "x")]);
        parts.extend([
            deep(230 - depth, &format!("h{at}")),
            special(b'K', &parts[parts.len() - 2][512..]),
        ]);
        parts.push(link("h", b'1', "short"));
        parts.push(file(&format!("back/b{at}"), "y"));
    }
    let bytes = archive(&parts);
    let scratch = Scratch::new();
    let dir = scratch.dir("root");
    unpacked(&bytes, &dir).unwrap();
    let fd = File::open(&dir).unwrap();
    let differences = verify(&bytes[..], fd.as_fd(), &Options::default());
    assert_eq!(differences.unwrap().0, Vec::<String>::new());
    for (depth, name) in [(200, "f0"), (30, "h0"), (32, "f8"), (198, "h8"), (40, "b4")] {
        let path = dir.join("d/".repeat(depth)).join(name);
        assert!(path.is_file(), "{name} in {depth} directories");
    }
}

#[test]
fn attributes_that_say_nothing_of_a_file_are_left_out() {
    let scratch = Scratch::new();
    let acl = "\x02\0\0\0\x01\0\x07\0\u{7f}";
    let acl_of_a_file = [
        ("SCHILY.xattr.system.posix_acl_default", acl),
        ("SCHILY.xattr.user.a", "b"),
    ];
    let no_capability = [
        ("SCHILY.xattr.security.capability", ""),
        ("SCHILY.xattr.user.a", "b"),
    ];
    for (what, records) in [
        ("a default ACL", acl_of_a_file),
        ("a capability without bytes", no_capability),
    ] {
        let bytes = archive(&[pax(&records), file("f", "x")]);
        check(what, &bytes, "f:f=x");
        let dir = scratch.dir(what);
        unpacked(&bytes, &dir).unwrap();
        let names = sys::file::list_xattrs(File::open(dir.join("f")).unwrap()).unwrap();
        assert_eq!(names, [b"user.a".to_vec()], "{what}");
    }
}

/// The kernel keeps neither ids that say nothing nor lists that say no more than a mode.
#[test]
fn lists_that_the_kernel_changes_are_no_difference() {
    let list = |entries: &[(u16, u16, u32)]| {
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, may, id) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(may.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    };
    let base = [(1, 7, 5), (4, 5, u32::MAX), (0x20, 5, 0)];
    let named = [
        (1, 6, 0),
        (2, 7, 1000),
        (4, 5, 0),
        (0x10, 1, 9),
        (0x20, 0, 0),
    ];
    let scratch = Scratch::new();
    for kind in ["access", "default"] {
        for (number, list) in [list(&base), list(&named), list(&[])].iter().enumerate() {
            let key = format!("SCHILY.xattr.system.posix_acl_{kind}=");
            let mut body = Vec::new();
            // A record says its own length, of two digits or three.
            let length = key.len() + list.len() + 2;
            let length = length + if length + 2 > 99 { 3 } else { 2 };
            body.extend(format!("{length} {key}").bytes());
            body.extend(list);
            body.push(b'\n');
            let bytes = archive(&[special(b'x', &body), folder("d")]);
            let dir = scratch.dir(&format!("{kind}{number}"));
            unpacked(&bytes, &dir).unwrap();
            let fd = File::open(&dir).unwrap();
            let (lines, _) = verify(&bytes[..], fd.as_fd(), &Options::default()).unwrap();
            assert_eq!(lines, [] as [String; 0], "{kind} {list:?}");
        }
    }
}

#[test]
fn holes_of_a_terabyte_cost_nothing() {
    let records = [
        ("GNU.sparse.size", "1099511627000"),
        ("GNU.sparse.map", "4096,3,1099511626990,1"),
    ];
    let bytes = archive(&[pax(&records), file("s", "xyz!")]);
    let scratch = Scratch::new();
    let dir = scratch.dir("root");
    unpacked(&bytes, &dir).unwrap();
    let fd = File::open(&dir).unwrap();
    let differs = || {
        verify(&bytes[..], fd.as_fd(), &Options::default())
            .unwrap()
            .0
    };
    assert_eq!(differs(), Vec::<String>::new());
    let sparse = File::options().write(true).open(dir.join("s")).unwrap();
    let time = sparse.metadata().unwrap().modified().unwrap();
    let change = |byte: &[u8], at| {
        std::os::unix::fs::FileExt::write_all_at(&sparse, byte, at).unwrap();
        sparse.set_modified(time).unwrap();
    };
    change(b"\0", 1 << 33);
    assert_eq!(differs(), Vec::<String>::new(), "zeros that are no hole");
    change(b"!", 1 << 33);
    assert_eq!(differs(), ["\"s\": its contents are others"]);
}

#[test]
fn names_in_memory_have_a_limit() {
    let scratch = Scratch::new();
    let long = |at: usize| format!("{at:04}{}", "n".repeat(200));
    let dirs = [long(0), long(1), long(2), long(3)].join("/");
    // Tests have a limit of 4 MiB.
    let many: Vec<Vec<u8>> = (0..6_000)
        .map(|at| {
            let name = format!("{dirs}/{at}");
            [special(b'L', name.as_bytes()), link("x", b'2', "y")].concat()
        })
        .collect();
    let bytes = archive(&many);
    let into = scratch.dir("into");
    let dir = File::open(&into).unwrap();
    let refused = |error: crate::Error, what: &str| {
        let error = error.to_string();
        assert!(
            error.contains(what) && error.contains("over the limit"),
            "{error}"
        );
    };
    let error = verify(&bytes[..], dir.as_fd(), &Options::default()).unwrap_err();
    refused(error, "bytes of all names in memory");
    // Their names in one directory are short; as files with several names they are kept with the way to them.
    unpack(&bytes[..], dir.as_fd(), &Options::default()).unwrap();
    pack(dir.as_fd(), std::io::sink()).unwrap();
    for at in 0..6_000 {
        let name = into.join(&dirs).join(at.to_string());
        fs::hard_link(&name, name.with_extension("other")).unwrap();
    }
    let error = pack(dir.as_fd(), std::io::sink()).unwrap_err();
    refused(error, "bytes of names in memory");
}

#[test]
fn differences_that_are_told_have_an_end() {
    let scratch = Scratch::new();
    let many: Vec<Vec<u8>> = (0..1_500).map(|at| file(&format!("f{at}"), "")).collect();
    let bytes = archive(&many);
    let dir = File::open(scratch.dir("empty")).unwrap();
    let (lines, _) = verify(&bytes[..], dir.as_fd(), &Options::default()).unwrap();
    assert_eq!(lines.len(), 1_001);
    // The directory's own time and owner may be others, too.
    let more = lines[1_000].strip_prefix("and ").unwrap();
    assert!(more.ends_with(" more"), "{more}");
}

#[test]
fn names_are_read_up_to_a_limit() {
    let scratch = Scratch::new();
    let dir = scratch.dir("names");
    for number in 0..500 {
        fs::write(dir.join(format!("{number:0200}")), "").unwrap();
    }
    let dir = File::open(&dir).unwrap();
    let names = |most| crate::tree::names(dir.as_fd(), most).unwrap();
    let all = names(u64::MAX);
    assert_eq!(all.iter().count(), 500);
    let most = all.held() / 10;
    let some = names(most).held();
    assert!(some > most && some < most + 1000, "{some}");
}
