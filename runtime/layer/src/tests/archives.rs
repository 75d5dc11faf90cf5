//! The dialects, and what is refused because two readers would not agree about it.

use super::*;

fn old(name: &str, kind: u8) -> Vec<u8> {
    with(header(name.as_bytes(), kind, 0), 257, &[0; 8])
}

fn gnu(block: [u8; 512]) -> [u8; 512] {
    with(block, 257, b"ustar  \0").try_into().unwrap()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn names_and_numbers() {
    let long = "n".repeat(120);
    let rows = [
        ("nothing", vec![0; 1024], String::new()),
        ("not even an end", Vec::new(), String::new()),
        ("no end", file("a", "x"), "f:a=x".to_owned()),
        (
            "a header is the end",
            [file("a", "x"), folder("d")].concat(),
            "f:a=x d:d".to_owned(),
        ),
        (
            "sizes of what has no data",
            archive(&[
                header(b"d/", b'5', 4096).to_vec(),
                file("d/a", "x"),
                with(header(b"s", b'2', 3), 157, b"d/a"),
                with(header(b"h", b'1', 1), 157, b"d/a"),
                pax(&[("size", "7")]),
                header(b"p", b'6', 9).to_vec(),
            ]),
            "d:d f:d/a=x f:h=x p:p l:s->d/a".to_owned(),
        ),
        (
            "one block at the end",
            archive(&[file("a", "x")])[..1536].to_vec(),
            "f:a=x".to_owned(),
        ),
        (
            "what follows is nobody's",
            [archive(&[file("a", "x")]), b"garbage".to_vec()].concat(),
            "f:a=x".to_owned(),
        ),
        (
            "old",
            archive(&[old("d/", 0), old("d/a", 0)]),
            "d:d f:d/a=".to_owned(),
        ),
        (
            "prefix",
            archive(&[with(header(b"a", b'0', 0), 345, b"some/where")]),
            "d:some d:some/where f:some/where/a=".to_owned(),
        ),
        (
            "gnu has none",
            archive(&[with(gnu(header(b"a", b'0', 0)), 345, b"some/where")]),
            "f:a=".to_owned(),
        ),
        (
            "long name",
            archive(&[
                special(b'L', format!("{long}\0").as_bytes()),
                file("short", "x"),
            ]),
            format!("f:{long}=x"),
        ),
        (
            "long link",
            archive(&[
                special(b'K', format!("{long}\0").as_bytes()),
                link("a", b'2', "short"),
            ]),
            format!("l:a->{long}"),
        ),
        (
            "path",
            archive(&[pax(&[("path", &long)]), file("short", "x"), file("b", "y")]),
            format!("f:b=y f:{long}=x"),
        ),
        (
            "the last of two, and none of an empty one",
            archive(&[
                pax(&[("path", "a"), ("path", "b"), ("linkpath", "")]),
                link("short", b'2', "t"),
            ]),
            "l:b->t".to_owned(),
        ),
        (
            "times before long names",
            archive(&[
                pax(&[("mtime", "7")]),
                special(b'K', b"t\0"),
                special(b'L', format!("{long}\0").as_bytes()),
                link("short", b'2', "short"),
            ]),
            format!("l:{long}->t"),
        ),
        (
            "size in both",
            archive(&[pax(&[("size", "1")]), file("a", "x")]),
            "f:a=x".to_owned(),
        ),
        (
            "binary size",
            archive(&[
                with(
                    header(b"a", b'0', 0),
                    124,
                    &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                ),
                data(b"x"),
            ]),
            "f:a=x".to_owned(),
        ),
        (
            "a global comment",
            archive(&[special(b'g', &record("comment", "c")), file("a", "x")]),
            "f:a=x".to_owned(),
        ),
    ];
    for (what, bytes, expected) in rows {
        check(what, &bytes, &expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_readers_disagree_about() {
    let long = || special(b'L', b"name\0");
    let rows = [
        (
            "cut header",
            file("a", "x")[..300].to_vec(),
            "ends in the middle",
        ),
        (
            "cut data",
            file("a", "x")[..700].to_vec(),
            "ends in the middle",
        ),
        (
            "cut padding",
            file("a", "x")[..1000].to_vec(),
            "ends in the middle",
        ),
        (
            "a lone block of zeros",
            [vec![0; 512], file("a", "x"), vec![0; 1024]].concat(),
            "a lone block of zeros",
        ),
        ("no checksum", archive(&[vec![b'x'; 512]]), "checksum"),
        (
            "size only in the extended header",
            archive(&[
                pax(&[("size", "512")]),
                header(b"a", b'0', 0).to_vec(),
                file("b", "x"),
            ]),
            "readers disagree",
        ),
        (
            "x before L",
            archive(&[pax(&[("path", "a")]), long(), file("b", "x")]),
            "readers disagree",
        ),
        (
            "x with a size before L",
            archive(&[pax(&[("size", "1")]), long(), file("b", "x")]),
            "readers disagree",
        ),
        (
            "x with a target before K",
            archive(&[
                pax(&[("linkpath", "a")]),
                special(b'K', b"c\0"),
                link("b", b'2', "d"),
            ]),
            "readers disagree",
        ),
        (
            "L before x",
            archive(&[long(), pax(&[("path", "a")]), file("b", "x")]),
            "readers disagree",
        ),
        (
            "x before g",
            archive(&[pax(&[("path", "a")]), special(b'g', b""), file("b", "x")]),
            "readers disagree",
        ),
        (
            "x before x",
            archive(&[pax(&[("path", "a")]), pax(&[("path", "b")]), file("b", "x")]),
            "readers disagree",
        ),
        (
            "L twice",
            archive(&[long(), long(), file("b", "x")]),
            "given twice",
        ),
        (
            "path for all",
            archive(&[special(b'g', &record("path", "a")), file("b", "x")]),
            "readers disagree",
        ),
        (
            "x at the end",
            archive(&[pax(&[("path", "a")])]),
            "behind an extended header",
        ),
        (
            "x at the end of the stream",
            pax(&[("path", "a")]),
            "behind an extended header",
        ),
        (
            "data behind a symlink",
            archive(&[with(header(b"a", b'2', 512), 157, b"b"), data(b"x")]),
            "this is no header",
        ),
        (
            "a file with a slash",
            archive(&[file("a/", "x")]),
            "readers disagree",
        ),
        (
            "unknown type",
            archive(&[header(b"a", b'V', 0).to_vec()]),
            "type 'V' is not known",
        ),
        (
            "negative size",
            archive(&[with(header(b"a", b'0', 0), 124, &[0xff; 12])]),
            "negative",
        ),
        (
            "huge size",
            archive(&[with(
                header(b"a", b'0', 0),
                124,
                &[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255],
            )]),
            "over the limit",
        ),
        (
            "size beyond numbers",
            archive(&[with(
                header(b"a", b'0', 0),
                124,
                &[0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            )]),
            "out of range",
        ),
        (
            "no octal number",
            archive(&[with(header(b"a", b'0', 0), 108, b"12x")]),
            "is no octal number",
        ),
        (
            "owner -1",
            archive(&[pax(&[("uid", "4294967295")]), file("a", "x")]),
            "uid 4294967295 is over",
        ),
        (
            "bad record length",
            archive(&[special(b'x', b"9 path=a\n9"), file("a", "x")]),
            "has no length",
        ),
        (
            "record too long",
            archive(&[special(b'x', b"99 path=a\n"), file("a", "x")]),
            "longer than what is there",
        ),
        (
            "record without end",
            archive(&[special(b'x', b"9 path=ab"), file("a", "x")]),
            "does not end",
        ),
        (
            "a sparse field that says something to the terminal",
            archive(&[pax(&[("GNU.sparse.\x1b[2J", "1")]), file("a", "x")]),
            "field \"\\u{1b}[2J\" is not known",
        ),
        (
            "path with NUL",
            archive(&[pax(&[("path", "a\0b")]), file("a", "x")]),
            "holds a NUL",
        ),
    ];
    for (what, bytes, expected) in rows {
        check(what, &bytes, &format!("error: {expected}"));
    }
}

#[test]
fn sparse_files() {
    let map = "2\n4\n2\n10\n1\n";
    let stored = [data(map.as_bytes()), b"xyz".to_vec()].concat();
    let leading = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "s"),
        ("GNU.sparse.realsize", "12"),
    ];
    let body = [
        &header(b"GNUSparseFile/s", b'0', stored.len() as u64)[..],
        &data(&stored),
    ]
    .concat();
    let pairs = [
        ("GNU.sparse.size", "12"),
        ("GNU.sparse.numblocks", "2"),
        ("GNU.sparse.offset", "4"),
        ("GNU.sparse.numbytes", "2"),
        ("GNU.sparse.offset", "10"),
        ("GNU.sparse.numbytes", "1"),
    ];
    let listed = [("GNU.sparse.size", "12"), ("GNU.sparse.map", "4,2,10,1")];
    let field = |number: u64| format!("{number:011o}\0");
    let fields = [4, 2, 10, 1].map(field).concat();
    let block = with(gnu(header(b"s", b'S', 3)), 386, fields.as_bytes());
    let old = with(block.try_into().unwrap(), 483, field(12).as_bytes());
    let expected = "f:s=\0\0\0\0xy\0\0\0\0z\0";
    check("1.0", &archive(&[pax(&leading), body]), expected);
    check("0.0", &archive(&[pax(&pairs), file("s", "xyz")]), expected);
    check("0.1", &archive(&[pax(&listed), file("s", "xyz")]), expected);
    check("old", &archive(&[old, data(b"xyz")]), expected);
    let overlap = [("GNU.sparse.size", "12"), ("GNU.sparse.map", "4,2,5,1")];
    check(
        "overlap",
        &archive(&[pax(&overlap), file("s", "xyz")]),
        "error: overlaps",
    );
    let huge = [
        ("GNU.sparse.size", "9000000000000000000"),
        ("GNU.sparse.map", ""),
    ];
    check(
        "huge",
        &archive(&[pax(&huge), file("s", "")]),
        "error: over the limit",
    );
    let less = [("GNU.sparse.size", "12"), ("GNU.sparse.map", "4,2")];
    check(
        "less than stored",
        &archive(&[pax(&less), file("s", "xyz")]),
        "error: pieces make 2",
    );
}

#[test]
fn times_and_attributes_of_extended_headers() {
    let scratch = Scratch::new();
    let dir = scratch.dir("root");
    let capability = "\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let records = [
        ("mtime", "-1.25"),
        ("uid", "3000000"),
        ("atime", "nonsense"),
        ("SCHILY.xattr.security.capability", capability),
        ("LIBARCHIVE.xattr.user.a%3Db", "eHl6"),
    ];
    unpacked(&archive(&[pax(&records), file("a", "x")]), &dir).unwrap();
    let stat = fs::metadata(dir.join("a")).unwrap();
    assert_eq!(
        (stat.mtime(), stat.mtime_nsec(), stat.uid()),
        (-2, 750_000_000, 3_000_000)
    );
    let get = |name: &str| sys::file::get_xattr(File::open(dir.join("a")).unwrap(), name).unwrap();
    assert_eq!(
        get("security.capability").as_deref(),
        Some(capability.as_bytes())
    );
    assert_eq!(get("user.a=b").as_deref(), Some(&b"xyz"[..]));
}
