//! The layers, by what they try.

use orlop_tests::Must;
use orlop_tests::registry::{Head, Layer, Tar};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::Attack;
use super::End::{Any, Differs, Over, Refused, Taken};

pub(super) fn nothing(_: &Path) {}

pub(super) fn climb(outside: &str) -> String {
    format!("{}{}", "../".repeat(20), outside.trim_start_matches('/'))
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn names() -> Vec<Attack> {
    vec![
        ("a name with ..", Refused, |outside| {
            Tar::new()
                .file(&format!("{}/pwned", climb(outside)), 0o644, "x")
                .done()
        }),
        ("a name with .. in the middle", Refused, |_| {
            Tar::new()
                .dir("a/", 0o755)
                .file("a/../../pwned", 0o644, "x")
                .done()
        }),
        (
            "an absolute name",
            Taken(|dir| assert!(dir.join("tmp/pwned").exists())),
            |_| Tar::new().file("/tmp/pwned", 0o644, "x").done(),
        ),
        ("an empty name", Any, |_| {
            Tar::new().file("", 0o644, "x").done()
        }),
        ("the root as a file", Refused, |_| {
            Tar::new().file("./", 0o644, "x").done()
        }),
        ("the root as a link", Refused, |outside| {
            Tar::new()
                .symlink("./", outside)
                .file("pwned", 0o644, "x")
                .done()
        }),
        ("the root as a link by a slash", Refused, |outside| {
            Tar::new()
                .symlink("/", outside)
                .file("pwned", 0o644, "x")
                .done()
        }),
        ("a name with a NUL by PAX", Refused, |_| {
            Tar::new()
                .pax(&[("path", b"a\0b")])
                .file("x", 0o644, "x")
                .done()
        }),
        ("a PAX path with ..", Refused, |outside| {
            Tar::new()
                .pax(&[("path", format!("{}/pwned", climb(outside)).as_bytes())])
                .file("x", 0o644, "x")
                .done()
        }),
        ("a long name with ..", Refused, |outside| {
            Tar::new()
                .long(b'L', &format!("{}/pwned", climb(outside)))
                .file("x", 0o644, "x")
                .done()
        }),
        ("a name of 5000 bytes", Refused, |_| {
            Tar::new()
                .long(b'L', &"n".repeat(5000))
                .file("x", 0o644, "x")
                .done()
        }),
        ("a component of 300 bytes", Refused, |_| {
            Tar::new()
                .long(b'L', &"n".repeat(300))
                .file("x", 0o644, "x")
                .done()
        }),
        ("5000 directories deep", Any, |_| {
            Tar::new()
                .long(b'L', &"d/".repeat(5000))
                .dir("x", 0o755)
                .done()
        }),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn links() -> Vec<Attack> {
    vec![
        ("a file through a link", Any, |outside| {
            Tar::new()
                .symlink("link", outside)
                .file("link/pwned", 0o644, "x")
                .done()
        }),
        ("a file through a relative link", Any, |outside| {
            Tar::new()
                .symlink("link", &climb(outside))
                .file("link/pwned", 0o644, "x")
                .done()
        }),
        (
            "a file over a link",
            Taken(|dir| assert!(dir.join("link").symlink_metadata().must("link").is_file())),
            |outside| {
                Tar::new()
                    .symlink("link", &format!("{outside}/victim"))
                    .file("link", 0o666, "x")
                    .done()
            },
        ),
        ("a directory over a link", Any, |outside| {
            Tar::new()
                .symlink("link", outside)
                .dir("link", 0o777)
                .done()
        }),
        ("a directory through two links", Any, |outside| {
            Tar::new()
                .symlink("a", outside)
                .symlink("b", "a")
                .dir("b/", 0o777)
                .file("b/pwned", 0o644, "x")
                .done()
        }),
        ("a hard link to outside", Refused, |outside| {
            Tar::new()
                .hardlink("link", &format!("{outside}/victim"))
                .file("link", 0o666, "x")
                .done()
        }),
        ("a hard link to outside by ..", Refused, |outside| {
            Tar::new()
                .hardlink("link", &format!("{}/victim", climb(outside)))
                .file("link", 0o666, "x")
                .done()
        }),
        ("a hard link through a link", Any, |outside| {
            Tar::new()
                .symlink("out", outside)
                .hardlink("link", "out/victim")
                .file("link", 0o666, "x")
                .done()
        }),
        ("a hard link to a link", Any, |outside| {
            Tar::new()
                .symlink("out", &format!("{outside}/victim"))
                .hardlink("link", "out")
                .file("link", 0o666, "x")
                .done()
        }),
        ("a hard link to a directory", Refused, |_| {
            Tar::new().dir("d/", 0o755).hardlink("link", "d").done()
        }),
        ("a hard link to nothing", Refused, |_| {
            Tar::new().hardlink("link", "nothing").done()
        }),
        ("a hard link to itself", Refused, |_| {
            Tar::new().hardlink("link", "link").done()
        }),
        ("links in a circle", Any, |_| {
            Tar::new()
                .symlink("a", "b")
                .symlink("b", "a")
                .file("a/pwned", 0o644, "x")
                .done()
        }),
        ("a link into proc", Any, |_| {
            Tar::new()
                .symlink("link", "/proc/self/root/tmp")
                .file("link/pwned", 0o644, "x")
                .done()
        }),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn marks() -> Vec<Attack> {
    vec![
        ("a whiteout through a link", Any, |outside| {
            Tar::new()
                .symlink("link", outside)
                .file("link/.wh.victim", 0o644, "")
                .done()
        }),
        ("a whiteout of ..", Refused, |_| {
            Tar::new()
                .dir("a/", 0o755)
                .file("a/.wh...", 0o644, "")
                .done()
        }),
        ("a whiteout of .", Refused, |_| {
            Tar::new()
                .dir("a/", 0o755)
                .file("a/.wh..", 0o644, "")
                .done()
        }),
        ("a whiteout of nothing", Refused, |_| {
            Tar::new().file(".wh.", 0o644, "").done()
        }),
        ("a mark below a whiteout", Any, |_| {
            Tar::new().file(".wh.a/b", 0o644, "x").done()
        }),
        ("opaque through a link", Any, |outside| {
            Tar::new()
                .symlink("link", outside)
                .file("link/.wh..wh..opq", 0o644, "")
                .done()
        }),
        ("another of overlayfs's names", Any, |_| {
            Tar::new().file("a/.wh..wh.plnk", 0o644, "").done()
        }),
        ("a whiteout that is a device", Any, |_| {
            Tar::new().node("gone", 'c', (0, 0)).done()
        }),
        (
            "overlayfs's own attributes",
            Taken(plain_attributes),
            |_| {
                // An ordinary user's mounts read the second three.
                let records: [(&str, &[u8]); 6] = [
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                    ("SCHILY.xattr.user.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.user.overlay.opaque", b"y"),
                    ("SCHILY.xattr.user.overlay.metacopy", b""),
                ];
                Tar::new().pax(&records).dir("d/", 0o755).done()
            },
        ),
        (
            "a capability, and a word for the host's integrity checks",
            Differs(
                |dir| capability(&dir.join("ping"), &CAPABILITY),
                // Only in the user's namespace: of revision 3, which says whose root has it.
                |dir| {
                    let owner = crate::rootless::NOBODYS.to_le_bytes();
                    let wanted = [&[1, 0, 0, 3], &CAPABILITY[4..], &owner].concat();
                    capability(&dir.join("ping"), &wanted);
                },
            ),
            |_| {
                let records: [(&str, &[u8]); 3] = [
                    ("SCHILY.xattr.security.capability", &CAPABILITY),
                    ("SCHILY.xattr.security.evm", b"\x03\x02sum"),
                    ("SCHILY.xattr.security.ima", b"\x04\x04sum"),
                ];
                Tar::new().pax(&records).file("ping", 0o755, "x").done()
            },
        ),
        ("a device", Any, |_| {
            Tar::new()
                .node("disk", 'b', (8, 0))
                .node("mem", 'c', (1, 1))
                .done()
        }),
        (
            "a fifo in the way",
            Taken(|dir| {
                assert!(
                    dir.join("f")
                        .symlink_metadata()
                        .must("f")
                        .file_type()
                        .is_file()
                )
            }),
            |_| {
                Tar::new()
                    .node("f", 'p', (0, 0))
                    .file("f", 0o644, "x")
                    .done()
            },
        ),
        (
            "a device in the way",
            Taken(|dir| {
                assert!(
                    !dir.join("null")
                        .symlink_metadata()
                        .must("null")
                        .file_type()
                        .is_char_device()
                )
            }),
            |_| {
                Tar::new()
                    .node("null", 'c', (1, 3))
                    .file("null", 0o644, "x")
                    .done()
            },
        ),
        (
            "a setuid program",
            Taken(|dir| {
                assert_eq!(
                    dir.join("su").symlink_metadata().must("su").mode() & 0o7777,
                    0o4755
                )
            }),
            |_| Tar::new().file("su", 0o4755, "x").done(),
        ),
    ]
}

/// Of revision 2: raw sockets, permitted and effective.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A file has this capability, and no word for the host's integrity checks.
fn capability(file: &Path, wanted: &[u8]) {
    let value = orlop_tests::sys::attribute(file, "security.capability");
    assert_eq!(value.must("a capability"), wanted);
    for key in ["security.evm", "security.ima"] {
        let value = orlop_tests::sys::attribute(file, key);
        assert!(value.is_err(), "{key}: {value:?}");
    }
}

/// A file with attributes of which none can be had here: they are counted all the same.
fn attributes(count: usize) -> Vec<u8> {
    let keys: Vec<String> = (0..count)
        .map(|number| format!("SCHILY.xattr.security.x{number}"))
        .collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"x"[..])).collect();
    Tar::new().pax(&records).file("x", 0o644, "x").done()
}

/// None of what overlayfs reads as its own is on the directory.
fn plain_attributes(dir: &Path) {
    for space in ["trusted", "user"] {
        for mark in ["redirect", "opaque", "metacopy"] {
            let key = format!("{space}.overlay.{mark}");
            let value = orlop_tests::sys::attribute(&dir.join("d"), &key);
            assert!(value.is_err(), "{key}: {value:?}");
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn numbers() -> Vec<Attack> {
    vec![
        (
            // Whoever takes the header's 0 for the size reads a tar in the data.
            "a size of PAX beside another one of ustar",
            Refused,
            |_| {
                let inner = Tar::new().file("pwned", 0o644, "x").done();
                let size = inner.len().to_string();
                Tar::new()
                    .pax(&[("size", size.as_bytes())])
                    .raw(&Head::new("outer", b'0'), &inner)
                    .file("after", 0o644, "x")
                    .done()
            },
        ),
        (
            "a size of PAX beside the same one of ustar",
            Taken(|dir| {
                assert!(!dir.join("pwned").exists());
                assert!(dir.join("after").exists());
            }),
            |_| {
                let inner = Tar::new().file("pwned", 0o644, "x").done();
                let size = inner.len().to_string();
                Tar::new()
                    .pax(&[("size", size.as_bytes())])
                    .file("outer", 0o644, inner)
                    .file("after", 0o644, "x")
                    .done()
            },
        ),
        (
            "sizes of what has no data",
            Taken(|dir| assert!(dir.join("after").exists())),
            |_| {
                let head = Head {
                    size: 4096,
                    ..Head::new("d/", b'5')
                };
                Tar::new().raw(&head, b"").file("after", 0o644, "x").done()
            },
        ),
        (
            "no end",
            Taken(|dir| assert!(dir.join("x").exists())),
            |_| {
                let mut tar = Tar::new().file("x", 0o644, "x").done();
                tar.truncate(1024);
                tar
            },
        ),
        (
            // Whoever takes it for the size of the long name reads a tar in the data, or misses one.
            "a size of PAX in front of a long name",
            Refused,
            |_| {
                let inner = Tar::new().file("pwned", 0o644, "x").done();
                let size = inner.len().to_string();
                Tar::new()
                    .pax(&[("size", size.as_bytes())])
                    .long(b'L', "right")
                    .file("wrong", 0o644, inner)
                    .done()
            },
        ),
        (
            "attributes of PAX in front of a long name",
            Taken(|dir| {
                let value = orlop_tests::sys::attribute(&dir.join("right"), "user.a");
                assert_eq!(value.must("user.a"), b"b");
                assert!(!dir.join("wrong").exists());
            }),
            |_| {
                Tar::new()
                    .pax(&[("SCHILY.xattr.user.a", b"b")])
                    .long(b'L', "right")
                    .file("wrong", 0o644, "x")
                    .done()
            },
        ),
        ("PAX without an end", Refused, |_| {
            Tar::new()
                .pax_bytes(b"999 path=x\n")
                .file("x", 0o644, "x")
                .done()
        }),
        ("PAX without a length", Refused, |_| {
            Tar::new()
                .pax_bytes(b"path=x\n")
                .file("x", 0o644, "x")
                .done()
        }),
        ("PAX with a length of nothing", Refused, |_| {
            Tar::new()
                .pax_bytes(b"0 path=x\n")
                .file("x", 0o644, "x")
                .done()
        }),
        ("PAX with a negative size", Refused, |_| {
            Tar::new()
                .pax(&[("size", b"-1")])
                .file("x", 0o644, "x")
                .done()
        }),
        ("PAX with a size beyond everything", Refused, |_| {
            Tar::new()
                .pax(&[("size", b"99999999999999999999")])
                .file("x", 0o644, "x")
                .done()
        }),
        ("PAX of two megabytes", Refused, |_| {
            Tar::new()
                .pax(&[("comment", &vec![b'x'; 2 << 20])])
                .file("x", 0o644, "x")
                .done()
        }),
        ("a thousand attributes", Taken(nothing), |_| {
            attributes(1000)
        }),
        (
            "an attribute more than a thousand",
            Over(&["extended attributes", "1001", "1000"]),
            |_| attributes(1001),
        ),
        ("a long name of two megabytes", Refused, |_| {
            Tar::new()
                .long(b'L', &"n/".repeat(1 << 20))
                .file("x", 0o644, "x")
                .done()
        }),
        ("a size beyond the end", Refused, |_| {
            let head = Head {
                size: 1 << 40,
                ..Head::new("x", b'0')
            };
            Tar::new().raw(&head, b"short").done()
        }),
        ("a size of base-256 that is negative", Refused, |_| {
            let mut tar = Tar::new().file("x", 0o644, "x").done();
            tar[124..136].copy_from_slice(&[0xff; 12]);
            checksum(&mut tar);
            tar
        }),
        ("a wrong checksum", Refused, |_| {
            let mut tar = Tar::new().file("x", 0o644, "x").done();
            tar[0] = b'y';
            tar
        }),
        (
            "data behind the end",
            Taken(|dir| assert!(!dir.join("pwned").exists())),
            |_| {
                let mut tar = Tar::new().file("x", 0o644, "x").done();
                tar.extend(Tar::new().file("pwned", 0o644, "x").done());
                tar
            },
        ),
        ("an unknown type", Any, |_| {
            Tar::new().raw(&Head::new("x", b'Z'), b"").done()
        }),
        ("a bomb of zeros", Refused, |_| vec![]),
        // Its zeros would be written, and hashed, for an hour: `import` makes a layer of what is in the files.
        ("holes of a terabyte", Any, |_| {
            Tar::new()
                .pax(&[
                    ("GNU.sparse.size", b"1099511627000"),
                    ("GNU.sparse.map", b"4096,1"),
                ])
                .file("holes", 0o644, "x")
                .done()
        }),
        ("many entries of one name", Taken(nothing), |_| {
            let mut tar = Tar::new();
            for _ in 0..2000 {
                tar = tar.file("same", 0o644, "x").dir("same", 0o755);
            }
            tar.done()
        }),
    ]
}

pub(super) fn checksum(tar: &mut [u8]) {
    tar[148..156].copy_from_slice(b"        ");
    let sum: u64 = tar[..512].iter().map(|byte| u64::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A tar that says it has one file of 200 GB, and has zeros for a thousandth of it, packed a hundred times smaller.
pub(super) fn bomb() -> Layer {
    use std::io::Write;
    let head = Head {
        size: 200 << 30,
        ..Head::new("zeros", b'0')
    };
    let start = Tar::new().raw(&head, b"").done();
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    out.write_all(&start[..512]).must("gzip");
    let zeros = vec![0u8; 1 << 20];
    for _ in 0..200 {
        out.write_all(&zeros).must("gzip");
    }
    let blob = out.finish().must("gzip");
    Layer::of(start, blob, "+gzip")
}
