//! Numbers, damage, and trees that are made to be hard to remove.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::Collect;

/// What du(1) says of a tree.
fn du(path: &Path) -> u64 {
    let output = Command::new("du")
        .args(["-sB1"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[track_caller]
fn assert_equals_du(store: &Store) {
    let (ours, theirs) = (store.usage().unwrap(), du(store.root()));
    let difference = ours.total().abs_diff(theirs);
    assert!(
        difference * 100 <= theirs,
        "{ours:?} is {} and du says {theirs}",
        ours.total()
    );
}

#[test]
fn usage_equals_du_at_every_stage() {
    let root = Root::new();
    let store = root.open();
    let new = store.usage().unwrap();
    assert_equals_du(&store);
    for n in 0..6 {
        Sample::new(n).pull(&store, &nothing).unwrap();
    }
    assert_equals_du(&store);
    let usage = store.usage().unwrap();
    assert_eq!((usage.unfinished, usage.containers), (0, 0));
    assert!(
        usage.layers > 8 * 160_000 && usage.blobs > 8 * 160_000,
        "{usage:?}"
    );
    let lease = store.lease().unwrap();
    let size = 1 << 20;
    let Ingest::Partial(begun) = store.ingest(&lease, &Digest::of(b"far"), size).unwrap() else {
        panic!("nobody has it");
    };
    begun.write_at(&vec![1; 300_000], 100_000).unwrap();
    let container = store.container().unwrap();
    fs::write(container.path().join("file"), vec![1; 100_000]).unwrap();
    assert_equals_du(&store);
    let usage = store.usage().unwrap();
    assert!(
        usage.unfinished >= 300_000 && usage.containers >= 100_000,
        "{usage:?}"
    );
    assert_eq!(usage.busy, usage.unfinished);
    drop((begun, lease, container));
    let usage = store.usage().unwrap();
    assert!(usage.unfinished >= 300_000 && usage.busy == 0, "{usage:?}");
    for n in 0..6 {
        assert!(store.remove_image(&Sample::new(n).id(), None).unwrap());
    }
    store.collect(Collect { unfinished: true }).unwrap();
    assert_equals_du(&store);
    assert!(store.usage().unwrap().trash > 16 * 160_000);
    store.sweep().unwrap();
    assert_equals_du(&store);
    let end = store.usage().unwrap();
    assert_eq!((end.unfinished, end.blobs, end.layers), (0, 0, 0));
    assert!(
        end.total() <= new.total() + 16_384,
        "{new:?} and now {end:?}"
    );
}

#[test]
fn what_was_staged_in_vain_goes_unless_somebody_else_waits_for_it() {
    let root = Root::new();
    let store = root.open();
    let (ours, theirs) = (store.lease().unwrap(), store.lease().unwrap());
    for bytes in [b"one", b"two"] {
        store.stage_bytes(&ours, bytes).unwrap();
    }
    let usage = store.usage().unwrap();
    assert!(usage.unfinished > 0 && usage.busy == usage.unfinished);
    store.stage_bytes(&theirs, b"two").unwrap();
    store.drop_staged(&ours).unwrap();
    let ready = |bytes| store.layout().ready_blob(&Digest::of(bytes)).exists();
    assert!(!ready(b"one") && ready(b"two"));
    store.drop_staged(&theirs).unwrap();
    assert!(ready(b"two"), "its other owner is alive still");
    drop(ours);
    store.drop_staged(&theirs).unwrap();
    assert!(!ready(b"two"));
    assert_eq!(store.usage().unwrap().unfinished, 0);
}

#[test]
fn deep_closed_and_linked_trees_are_removed_and_nothing_beside_them() {
    let root = Root::new();
    let store = root.open();
    let beside = root.path("beside");
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("file"), b"stays").unwrap();
    let lease = store.lease().unwrap();
    let new = store.unpack_unknown(&lease).unwrap();
    symlink(&beside, new.path().join("way-out")).unwrap();
    let mut dir = new.dir().try_clone_to_owned().unwrap();
    for _ in 0..3000 {
        // Far deeper than a path may be long, and than a process may have files open.
        use sys::fs::{Mode, mkdirat};
        mkdirat(&dir, "deeper-and-deeper", Mode::S_IRWXU).unwrap();
        dir = crate::remove::open_dir(&dir, "deeper-and-deeper").unwrap();
    }
    let closed = new.path().join("closed");
    fs::create_dir_all(closed.join("in")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let bytes = crate::walk::measure(&new.path()).unwrap();
    assert!(bytes >= 3000 * 4096 || bytes == 0, "{bytes}");
    drop((dir, new));
    assert!(store.sweep().unwrap() > 0);
    assert_eq!(fs::read_dir(root.path("trash")).unwrap().count(), 0);
    assert_eq!(fs::read(beside.join("file")).unwrap(), b"stays");
}

/// Damages a store with one image in it, and tells what the check says of it, and that the repair leaves it clean.
fn check_damage(damage: impl Fn(&Store, &Sample), said: &[&str], left: bool) {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(0);
    sample.pull(&store, &nothing).unwrap();
    damage(&store, &sample);
    let short = |problem: &crate::Problem| {
        let mut line = problem.to_string();
        for known in [
            sample.id(),
            Digest::of(&sample.manifest),
            Digest::of(&sample.layers[1]),
            sample.diff_ids()[1],
        ] {
            line = line.replace(&known.to_string(), known.short().get(..4).unwrap());
        }
        line.replace(&sample.name(), "NAME")
            .replace(&root.0.display().to_string(), "ROOT")
    };
    let found: Vec<_> = store.check(false).unwrap().iter().map(short).collect();
    let expand = |line: &&str| {
        line.replace("CONFIG", &sample.id().short()[..4])
            .replace("MANIFEST", &Digest::of(&sample.manifest).short()[..4])
            .replace("BLOB", &Digest::of(&sample.layers[1]).short()[..4])
            .replace("LAYER", &sample.diff_ids()[1].short()[..4])
    };
    assert_eq!(found, said.iter().map(expand).collect::<Vec<_>>());
    store.check(true).unwrap();
    assert_eq!(store.check(false).unwrap(), []);
    assert_eq!(store.image(&sample.id()).unwrap().is_some(), left);
    sample.pull(&store, &nothing).unwrap();
    sample.assert_whole(&store);
}

#[test]
fn damage_is_found_and_repaired_so_that_a_pull_brings_back_what_is_lost() {
    let forgets = "--repair forgets the image, and a pull fetches what is missing";
    check_damage(|_, _| {}, &[], true);
    check_damage(
        |store, sample| fs::remove_file(store.layout().blob(&sample.id())).unwrap(),
        &[
            "blob CONFIG: its file is missing; --repair forgets it",
            &format!("image CONFIG: (NAME) its blob CONFIG is missing; {forgets}"),
        ],
        false,
    );
    check_damage(
        |store, sample| {
            let blob = Digest::of(&sample.layers[1]);
            fs::write(store.layout().blob(&blob), b"short").unwrap();
        },
        // The image works without it; a push packs it again.
        &["blob BLOB: its file has 5 bytes and not 160000; --repair forgets it"],
        true,
    );
    check_damage(
        |store, sample| {
            fs::remove_dir_all(store.layout().layer(&sample.diff_ids()[1])).unwrap();
        },
        &[
            "layer LAYER: its directory is missing; --repair forgets it",
            &format!("image CONFIG: (NAME) its layer LAYER is missing; {forgets}"),
        ],
        false,
    );
    check_damage(
        |store, _| {
            fs::remove_dir(store.layout().at("trash")).unwrap();
            fs::remove_file(store.layout().at("spare")).unwrap();
        },
        &[
            "ROOT/trash: missing; --repair makes it",
            "ROOT/spare: missing, so that removing needs room on a full disk (harmless); --repair makes it",
        ],
        true,
    );
}

#[test]
fn a_damaged_database_is_said_in_a_line() {
    let root = Root::new();
    let store = root.open();
    Sample::new(0).pull(&store, &nothing).unwrap();
    store.collect(Collect::default()).unwrap();
    drop(store);
    fs::remove_file(root.path("db.sqlite-wal")).unwrap();
    fs::write(root.path("db.sqlite"), b"SQLite format 3, but not really").unwrap();
    let said = Store::open(&root.0).unwrap_err().to_string();
    assert!(
        said.contains("db.sqlite: ") && said.ends_with("move the data root away and begin anew"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1);
    fs::remove_file(root.path("db.sqlite")).unwrap();
    let said = Store::open(&root.0).unwrap_err().to_string();
    assert!(said.contains("db.sqlite: missing: put it back"), "{said}");
}
