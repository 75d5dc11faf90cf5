//! `lade` where the kernel lacks newer calls: `tests/bin/enosys.rs` answers ENOSYS to it, and to the runtime below it.

use orlop_tests::registry::{Image, Layer, Registry, Tar};
use orlop_tests::{Done, Lade, Must};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

/// What an image needs, call by call; the calls by which a mount is made since Linux 5.2 come and go together.
const CALLS: [&str; 9] = [
    "openat2",
    "fsopen,fsconfig,fsmount,move_mount,open_tree",
    "statx",
    "mount_setattr",
    "close_range",
    "clone3",
    "copy_file_range",
    "pidfd_open",
    "all",
];

/// Two layers, of which the upper hides some of the lower.
fn image() -> Image {
    let lower = Tar::new()
        .file("gone", 0o644, "of below")
        .file("kept", 0o644, "of below");
    let upper = Tar::new()
        .file(".wh.gone", 0o644, "")
        .file("new", 0o644, "of above");
    Image::new(vec![
        Layer::busybox(),
        Layer::gzip(lower),
        Layer::gzip(upper),
    ])
}

/// Runs a command of the engine without these calls.
fn without(lade: &Lade, calls: &str, args: &[&str]) -> Done {
    let cmd = lade.cmd(args);
    cmd.before(env!("CARGO_BIN_EXE_enosys"), &[calls]).run()
}

/// Mounts an image, of which nothing can be changed.
fn mounted(lade: &Lade, calls: &str, name: &str) -> PathBuf {
    let said = without(lade, calls, &["image", "mount", name])
        .ok()
        .stdout();
    let place = PathBuf::from(said.trim());
    assert!(fs::read_dir(&place).must(place.display()).count() > 0);
    let written = fs::write(place.join("written"), "x").map_err(|why| why.kind());
    assert_eq!(written, Err(ErrorKind::ReadOnlyFilesystem), "{calls}");
    place
}

fn works(calls: &str) {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &image());
    without(&lade, calls, &["pull", &name]).ok();
    // Nothing of the host lies over the container's root, where `..` would lead.
    let script = "cat /proc/self/mountinfo";
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        &name,
        "sh",
        "-c",
        script,
    ];
    let table = without(&lade, calls, &run).ok().stdout();
    let roots = table
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(roots.count(), 1, "{calls}\n{table}");
    let script = "cat /kept /new; ls /gone 2>&1; echo more > /kept; cat /kept";
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        &name,
        "sh",
        "-c",
        script,
    ];
    let said = without(&lade, calls, &run).ok().stdout();
    assert_eq!(
        said, "of belowof abovels: /gone: No such file or directory\nmore\n",
        "{calls}"
    );
    let place = mounted(&lade, calls, &name);
    assert_eq!(
        fs::read_to_string(place.join("new")).must("new"),
        "of above"
    );
    assert!(!place.join("gone").exists(), "{calls}");
    without(&lade, calls, &["image", "unmount", &name]).ok();
    // One layer needs no overlay where it can be bound.
    let alone = registry.serve("alone:one", &Image::noise(1, 1, 1000));
    without(&lade, calls, &["pull", &alone]).ok();
    mounted(&lade, calls, &alone);
    without(&lade, calls, &["image", "unmount", &alone]).ok();
    without(&lade, calls, &["rmi", &alone]).ok();
    without(&lade, calls, &["image", "verify", &name]).ok();
    without(&lade, calls, &["rmi", &name]).ok();
    lade.swept();
    lade.whole();
}

#[test]
fn without_newer_calls_images_are_pulled_run_and_mounted() {
    let mut failures = Vec::new();
    for calls in CALLS {
        if std::panic::catch_unwind(|| works(calls)).is_err() {
            failures.push(calls);
        }
    }
    assert!(failures.is_empty(), "see the panics above: {failures:?}");
}
