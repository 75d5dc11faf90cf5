//! Fuzz targets: functions that take any bytes, feed them to a parser of the runtime or of the image side, and panic where an invariant does not hold.
//!
//! Nothing here acts: plans are made for machines that are made up, and files are read and made in a directory of our own. `hack/fuzz` drives the
//! targets with coverage; `cargo test` runs every file of `seeds` and `corpus` through its target. A seed looks like what the
//! parser meets in life; where a target takes more than one text, lines with `--` stand between them.
#![forbid(unsafe_code)]

mod archive;
mod argv;
mod bus;
mod challenge;
mod config;
mod criu;
mod document;
mod gvariant;
mod idmap;
pub mod json;
mod layout;
mod load;
mod log;
mod machine;
mod model;
mod mounts;
mod names;
mod netlink;
mod place;
mod process;
mod reference;
mod seccomp;
mod state;
mod stats;
mod sysctl;
mod tables;
pub mod tar;
mod unit;
mod update;

/// One parser, or some that belong together.
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub shape: Shape,
}

/// What inputs of a target look like, and how they are changed so that they go on to look like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Text,
    Json,
    Tar,
}

const fn text(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        shape: Shape::Text,
    }
}

const fn json(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        shape: Shape::Json,
    }
}

const fn tar(name: &'static str, run: fn(&[u8])) -> Target {
    Target {
        name,
        run,
        shape: Shape::Tar,
    }
}

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    tar("archive", archive::run),
    text("argv", argv::run),
    text("bus", bus::run),
    text("challenge", challenge::run),
    json("config", config::run),
    text("criu", criu::run),
    json("document", document::run),
    text("gvariant", gvariant::run),
    text("idmap", idmap::run),
    text("layout", layout::run),
    tar("load", load::run),
    text("log", log::run),
    text("mounts", mounts::run),
    text("names", names::run),
    text("netlink", netlink::run),
    json("process", process::run),
    text("reference", reference::run),
    json("seccomp", seccomp::run),
    json("state", state::run),
    text("stats", stats::run),
    text("sysctl", sysctl::run),
    text("tables", tables::run),
    text("unit", unit::run),
    json("update", update::run),
];

/// Returns the texts of an input that has several, `N` of them; those that are missing are empty.
fn parts<const N: usize>(bytes: &[u8]) -> [String; N] {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split("\n--\n").map(str::to_owned);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// A message says what is wrong, and with what.
fn is_message(text: &str) {
    assert!(!text.trim().is_empty(), "a message that says nothing");
}

/// A message of the image side is one line, which says nothing to the terminal.
fn is_line(text: &str) {
    is_message(text);
    assert!(!text.contains(char::is_control), "{text:?}");
}
