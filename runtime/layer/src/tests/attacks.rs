//! Archives that want to get out, or in where they should not.

use super::*;

#[test]
fn names_that_lead_elsewhere() {
    let rows = [
        (
            "upwards",
            archive(&[file("../outside/victim", "x")]),
            "error: it leads upwards",
        ),
        (
            "upwards in the middle",
            archive(&[file("a/../../outside/victim", "x")]),
            "error: it leads upwards",
        ),
        ("absolute", archive(&[file("/a", "x")]), "f:a=x"),
        ("empty", archive(&[file("", "x")]), "error: it is empty"),
        (
            "the root as a file",
            archive(&[file(".", "x")]),
            "error: only a directory can be the root",
        ),
        (
            "the root as a symlink",
            archive(&[link("/", b'2', "/tmp")]),
            "error: only a directory can be the root",
        ),
        (
            "the root",
            archive(&[folder("./"), file("./a", "x")]),
            "f:a=x",
        ),
    ];
    for (what, bytes, expected) in rows {
        check(what, &bytes, expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn symlinks_are_walked_inside_the_root_and_never_written_through() {
    let rows = [
        (
            "out by a relative one",
            archive(&[link("a", b'2', "../outside"), file("a/victim", "x")]),
            "l:a->../outside d:outside f:outside/victim=x",
        ),
        (
            "out by an absolute one",
            archive(&[link("a", b'2', "/outside"), file("a/victim", "x")]),
            "l:a->/outside d:outside f:outside/victim=x",
        ),
        (
            "out by two",
            archive(&[
                link("b", b'2', ".."),
                link("a", b'2', "b/b/outside"),
                file("a/victim", "x"),
            ]),
            "l:a->b/b/outside l:b->.. d:outside f:outside/victim=x",
        ),
        (
            "a loop",
            archive(&[link("a", b'2', "b"), link("b", b'2', "a"), file("a/x", "x")]),
            "error: too many",
        ),
        (
            "over the leaf",
            archive(&[link("a", b'2', "../outside/victim"), file("a", "x")]),
            "f:a=x",
        ),
        (
            "a directory over the leaf",
            archive(&[
                link("a", b'2', "../outside"),
                folder("a"),
                file("a/victim", "x"),
            ]),
            "d:a f:a/victim=x",
        ),
        (
            "an inner one",
            archive(&[
                folder("usr/lib"),
                link("lib", b'2', "usr/lib"),
                file("lib/x", "x"),
                file("lib/y", "y"),
            ]),
            "l:lib->usr/lib d:usr d:usr/lib f:usr/lib/x=x f:usr/lib/y=y",
        ),
        (
            "whiteout through one",
            archive(&[link("a", b'2', "/outside"), file("a/.wh.victim", "")]),
            "l:a->/outside d:outside w:outside/victim",
        ),
        (
            "opaque through one",
            archive(&[link("a", b'2', "/outside"), file("a/.wh..wh..opq", "")]),
            "l:a->/outside o:outside",
        ),
        (
            "through a file",
            archive(&[file("a", "x"), file("a/b", "x")]),
            "error: not a directory",
        ),
    ];
    for (what, bytes, expected) in rows {
        check(what, &bytes, expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn hard_links_stay_inside_and_do_not_follow() {
    let rows = [
        (
            "outside",
            archive(&[link("a", b'1', "../outside/victim")]),
            "error: leads upwards",
        ),
        (
            "absolute is inside",
            archive(&[link("a", b'1', "/outside/victim")]),
            "error: no such file",
        ),
        (
            "through a symlink",
            archive(&[link("s", b'2', "../outside"), link("a", b'1', "s/victim")]),
            "error: no such file",
        ),
        (
            "to a symlink",
            archive(&[
                link("s", b'2', "../outside/victim"),
                link("a", b'1', "s"),
                file("a", "x"),
            ]),
            "f:a=x l:s->../outside/victim",
        ),
        (
            "to a directory",
            archive(&[folder("d"), link("a", b'1', "d")]),
            "error: it is a directory",
        ),
        (
            "to a whiteout",
            archive(&[file(".wh.d", ""), link("a", b'1', "d")]),
            "error: no such file",
        ),
        (
            "to itself",
            archive(&[file("a", "x"), link("a", b'1', "a")]),
            "f:a=x",
        ),
        (
            "to the root",
            archive(&[link("a", b'1', "/")]),
            "error: it is the root",
        ),
        (
            "to what it replaces",
            archive(&[file("d/f", "x"), link("d", b'1', "d/f")]),
            "error: no such file",
        ),
        (
            "over another",
            archive(&[file("d/f", "x"), file("a", "y"), link("a", b'1', "d/f")]),
            "f:a=x d:d f:d/f=x",
        ),
        (
            "to a device",
            archive(&[device("n", b'3', 1, 3), link("a", b'1', "n")]),
            "c:a c:n",
        ),
    ];
    for (what, bytes, expected) in rows {
        check(what, &bytes, expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn marks_and_devices() {
    let rows = [
        (
            "whiteout of nothing",
            archive(&[file(".wh.", "")]),
            "error: a whiteout of nothing",
        ),
        (
            "whiteout of .",
            archive(&[file("a/.wh..", "")]),
            "error: a whiteout of nothing",
        ),
        (
            "whiteout of ..",
            archive(&[file("a/.wh...", "")]),
            "error: a whiteout of nothing",
        ),
        (
            "below a whiteout",
            archive(&[file(".wh./x", "")]),
            "error: nothing below it",
        ),
        (
            "below a whiteout by a symlink",
            archive(&[link("a", b'2', ".wh.b"), file("a/x", "x")]),
            "error: a symlink leads below a whiteout",
        ),
        (
            "a whiteout below a whiteout by a symlink",
            archive(&[link("a", b'2', "b/.wh.c"), file("a/.wh.x", "")]),
            "error: a symlink leads below a whiteout",
        ),
        (
            "a whiteout through a symlinked directory",
            archive(&[
                folder("d"),
                link("a", b'2', "d"),
                file("a/.wh.x", ""),
                file("a/.wh.y", ""),
                file("a/y", "y"),
            ]),
            "l:a->d d:d w:d/x f:d/y=y",
        ),
        (
            "below a mark",
            archive(&[file(".wh..wh..opq/x", "")]),
            "error: nothing below it",
        ),
        (
            "aufs",
            archive(&[
                folder(".wh..wh.plnk"),
                file(".wh..wh.plnk/1", "x"),
                file(".wh..wh.aufs", ""),
            ]),
            "",
        ),
        (
            "a whiteout in disguise",
            archive(&[device("a", b'3', 0, 0)]),
            "error: device 0:0",
        ),
        (
            "numbers that would be cut to 0:0",
            archive(&[device("a", b'3', 0o10_0000, 0)]),
            "error: major number 32768 is over 4095",
        ),
        (
            "devices and fifos",
            archive(&[
                device("c", b'3', 1, 3),
                device("b", b'4', 0, 0),
                folder("d"),
                device("p", b'6', 0, 0),
            ]),
            "b:b c:c d:d p:p",
        ),
    ];
    for (what, bytes, expected) in rows {
        check(what, &bytes, expected);
    }
}

#[test]
fn attributes_of_the_host_are_left_out_with_a_warning() {
    let records = [
        ("SCHILY.xattr.trusted.overlay.redirect", "/etc"),
        ("SCHILY.xattr.user.overlay.opaque", "y"),
        ("SCHILY.xattr.security.ima", "x"),
        (
            "SCHILY.xattr.security.selinux",
            "system_u:object_r:etc_t:s0",
        ),
        ("SCHILY.xattr.security.SMACK64", "x"),
        ("SCHILY.xattr.user.kept", "yes"),
    ];
    let bytes = archive(&[pax(&records), folder("a"), pax(&records), file("b", "x")]);
    for options in both() {
        let scratch = Scratch::new();
        let dir = scratch.dir("root");
        let warnings = unpacked_by(&bytes, &dir, &options).unwrap().warnings;
        assert_eq!(warnings.len(), 5, "{warnings:?}");
        assert!(
            warnings[0].contains("\"a\"") && warnings[0].contains("1 more"),
            "{warnings:?}"
        );
        assert!(warnings[0].contains("\"trusted.overlay.redirect\""));
        for name in ["a", "b"] {
            let names = sys::file::list_xattrs(File::open(dir.join(name)).unwrap()).unwrap();
            assert_eq!(names, [b"user.kept".to_vec()]);
        }
    }
}

#[test]
fn attributes_with_long_names_make_short_warnings() {
    let scratch = Scratch::new();
    let name = format!("SCHILY.xattr.user.overlay.{}\x1b[2J", "n".repeat(100_000));
    let bytes = archive(&[pax(&[(&name, "x")]), file("a", "x")]);
    let warnings = unpacked(&bytes, &scratch.dir("one")).unwrap().warnings;
    let line = warnings.concat();
    assert!(
        line.len() < 500 && line.contains("it is the host's"),
        "{line}"
    );
    assert!(!line.contains(char::is_control), "{line}");
    let name = name.replace("overlay", "taken");
    let bytes = archive(&[pax(&[(&name, "x")]), file("a", "x")]);
    let error = unpacked(&bytes, &scratch.dir("two")).unwrap_err();
    assert!(
        error.len() < 500 && error.contains("set attribute"),
        "{error}"
    );
}
