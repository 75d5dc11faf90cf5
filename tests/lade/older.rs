//! `lade` where the kernel lacks newer calls: `tests/bin/enosys.rs` answers ENOSYS to it, and to the runtime below it.

use orlop_tests::registry::{Image, Layer, Registry, Tar};
use orlop_tests::{Done, Lade, Must};
use std::fs;
use std::path::Path;

/// What an image needs, call by call.
const CALLS: [&str; 7] = [
    "openat2",
    "statx",
    "mount_setattr",
    "close_range",
    "clone3",
    "copy_file_range",
    "pidfd_open",
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

fn works(calls: &str) {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &image());
    without(&lade, calls, &["pull", &name]).ok();
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
    let mounted = without(&lade, calls, &["image", "mount", &name])
        .ok()
        .stdout();
    let place = Path::new(mounted.trim());
    assert_eq!(
        fs::read_to_string(place.join("new")).must("new"),
        "of above"
    );
    assert!(!place.join("gone").exists(), "{calls}");
    assert!(fs::write(place.join("kept"), "x").is_err(), "{calls}");
    without(&lade, calls, &["image", "unmount", &name]).ok();
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
