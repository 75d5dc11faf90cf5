//! A disk that is full, in a mount namespace of its own.

use super::*;
use crate::{Collect, Error};

/// Runs a part of the crowd on a file system of some size, which nobody else sees.
fn on_a_small_disk(part: &str, size: &str) {
    if !sys::process::geteuid().is_root() {
        let skip = "skipped: needs root for a tmpfs of its own\n";
        std::io::stderr().write_all(skip.as_bytes()).unwrap();
        return;
    }
    let root = Root::new();
    fs::create_dir(&root.0).unwrap();
    let script = r#"mount -t tmpfs -o size="$2" store-test "$1" && exec "$0" --exact tests::crowd::part --nocapture"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    command
        .arg(std::env::current_exe().unwrap())
        .arg(&root.0)
        .arg(size);
    command
        .env("STORE_PART", part)
        .env("STORE_ROOT", root.path("data"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_done(command.spawn().unwrap());
}

#[test]
fn a_full_disk_loses_nothing_and_the_room_is_had_back() {
    on_a_small_disk("full", "8m");
}

#[test]
fn roots_of_every_small_size_open_or_say_why_not() {
    for size in [
        "64k", "128k", "256k", "320k", "384k", "448k", "512k", "640k",
    ] {
        on_a_small_disk("tiny", size);
    }
}

/// Fills the disk with a file of somebody else.
fn fill_up(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [65536, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// The part that runs there.
pub(super) fn full(root: &Path) {
    let store = Store::open(root).unwrap();
    let (kept, lost) = (Sample::new(0), Sample::new(5));
    kept.pull(&store, &nothing).unwrap();
    let before = store.usage().unwrap();

    // A download that does not fit.
    let lease = store.lease().unwrap();
    let size = 20 << 20;
    let Ingest::Partial(begun) = store.ingest(&lease, &Digest::of(b"large"), size).unwrap() else {
        panic!("nobody has it");
    };
    let mut at = 0;
    let refused = loop {
        match begun.write_at(&vec![1; 65536], at) {
            Ok(()) => at += 65536,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused:?}");
    let line = refused.to_string();
    assert!(line.contains("/data: no space left on device"), "{line}");
    let missing = begun.missing();
    assert_eq!((missing[0].start, missing[0].end), (at, size));
    drop((begun, lease));
    // A pull beside it fails as cleanly, and so does what needs a row.
    let refused = lost.pull(&store, &nothing).unwrap_err();
    assert!(matches!(refused, Error::Full { .. }), "{refused:?}");
    assert_sound(&store);
    kept.assert_whole(&store);
    store.collect(Collect { unfinished: true }).unwrap();
    store.sweep().unwrap();
    let after = store.usage().unwrap();
    assert!(
        after.total() <= before.total() + 65536,
        "{before:?} and then {after:?}"
    );
    kept.assert_whole(&store);
    removed_when_nothing_is_left(root, store, &kept, &lost);
}

/// Somebody else takes all that is left: removing works, from a new process as well.
fn removed_when_nothing_is_left(root: &Path, store: Store, kept: &Sample, lost: &Sample) {
    let other = root.with_file_name("other");
    fill_up(&other);
    drop(store);
    let store = Store::open(root).unwrap();
    assert!(store.remove_image(&kept.id(), None).unwrap());
    let collected = store.collect(Collect::default()).unwrap();
    assert_eq!(collected.layers.len(), 3);
    store.sweep().unwrap();
    let lease = store.lease().unwrap();
    let blobs = vec![store.stage_bytes(&lease, &[7; 300_000]).unwrap()];
    let staged = Staged {
        blobs,
        layers: vec![],
    };
    store.commit(staged, Records::default()).unwrap();
    drop(lease);
    fs::remove_file(&other).unwrap();
    lost.pull(&store, &nothing).unwrap();
    store.collect(Collect { unfinished: true }).unwrap();
    lost.assert_whole(&store);
    assert_eq!(store.check(false).unwrap(), []);
}

/// A root that is too large for its disk says so; with the disk free again it is made to its end.
pub(super) fn tiny(root: &Path) {
    let made = Store::open(root).and_then(|store| {
        Sample::new(0).pull(&store, &nothing)?;
        Ok(store)
    });
    match made {
        Ok(store) => assert_sound(&store),
        Err(Error::Full { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}
