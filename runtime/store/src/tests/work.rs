//! One process at a time: fetching, unpacking, committing, and what becomes of work that did not end.

use std::time::Duration;

use super::*;
use crate::db::Durability;
use crate::{Collect, Error, Partial};

const ALL: Collect = Collect { unfinished: true };

fn partial(store: &Store, lease: &Lease, digest: &Digest, size: u64) -> Partial {
    match store.ingest(lease, digest, size).unwrap() {
        Ingest::Partial(partial) => partial,
        other => panic!("there already: {other:?}"),
    }
}

#[test]
fn what_was_committed_is_there_and_what_was_removed_is_gone() {
    let root = Root::new();
    let store = root.open();
    let (one, two) = (Sample::new(0), Sample::new(1));
    one.pull(&store, &nothing).unwrap();
    two.pull(&store, &|what, digest| {
        // Two of three layers are in the first as well.
        let new = two.layers.last().unwrap();
        assert!(
            [Digest::of(new), diff_id(new)].contains(digest),
            "{what} {digest}"
        );
    })
    .unwrap();
    one.assert_whole(&store);
    two.assert_whole(&store);
    assert_eq!(store.collect(ALL).unwrap().bytes, 0);
    assert_eq!(store.check(false).unwrap(), []);

    assert!(store.remove_image(&one.id(), None).unwrap());
    let collected = store.collect(Collect::default()).unwrap();
    assert_eq!(collected.layers, one.diff_ids()[..1]);
    assert_eq!(collected.blobs.len(), 3);
    assert!(store.unswept().unwrap());
    assert_eq!(store.sweep().unwrap(), 1);
    assert!(!store.unswept().unwrap());
    two.assert_whole(&store);
    assert!(store.remove_image(&two.id(), None).unwrap());
    assert_eq!(store.collect(ALL).unwrap().layers.len(), 3);
    assert_eq!(store.names().unwrap(), []);
    assert_eq!(store.check(false).unwrap(), []);
}

#[test]
fn names_lead_to_images_that_are_there() {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(0);
    sample.pull(&store, &nothing).unwrap();
    let (id, manifest) = (sample.id(), Digest::of(&sample.manifest));
    store
        .set_name("docker.io/library/other:1", &id, None)
        .unwrap();
    let names: Vec<_> = store.names_of(&id).unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|name| (name.name.as_str(), name.manifest))
        .collect();
    let first = sample.name();
    assert_eq!(
        names,
        [
            ("docker.io/library/other:1", None),
            (first.as_str(), Some(manifest))
        ]
    );
    let unknown = Digest::of(b"nobody");
    let refused = store.set_name("docker.io/library/other:2", &unknown, None);
    assert!(matches!(refused, Err(Error::Missing(_))), "{refused:?}");

    let sole = vec![("docker.io/library/sample".to_owned(), manifest)];
    assert!(!store.remove_names(&id, &[first], &sole).unwrap());
    assert_eq!(store.names_of(&id).unwrap().len(), 1);
    assert_eq!(store.pins().unwrap(), []);
    // Named by the other name still.
    store.collect(ALL).unwrap();
    sample.assert_whole(&store);
}

#[test]
fn an_image_goes_with_its_last_name_or_neither_does() {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(0);
    sample.pull(&store, &nothing).unwrap();
    let (id, names) = (sample.id(), [sample.name()]);
    let pins = [(
        "docker.io/library/sample".to_owned(),
        Digest::of(&sample.manifest),
    )];
    // What ends the work behind the names and before the image.
    let stop = "CREATE TRIGGER stop BEFORE DELETE ON images BEGIN SELECT RAISE(ABORT, 'stop'); END";
    let change = |sql: &str| {
        let done = store.db().write(Durability::Now, |transaction| {
            Ok(transaction.execute_batch(sql)?)
        });
        done.unwrap();
    };
    change(stop);
    assert!(store.remove_names(&id, &names, &pins).is_err());
    assert_eq!(store.names_of(&id).unwrap().len(), 1);
    assert_eq!(store.digests_of(&id).unwrap().len(), 1);
    change("DROP TRIGGER stop");
    // A name that has moved meanwhile is another image's.
    let other = Sample::new(5);
    other.pull(&store, &nothing).unwrap();
    assert!(!store.remove_names(&id, &[other.name()], &[]).unwrap());
    assert!(store.remove_names(&id, &names, &pins).unwrap());
    assert_eq!(store.names().unwrap().len(), 1);
    assert_eq!(store.image(&id).unwrap(), None);
}

#[test]
fn a_first_manifest_is_for_the_names_that_the_image_has_by_then() {
    let root = Root::new();
    let store = root.open();
    let samples = [0, 5].map(Sample::new);
    for sample in &samples {
        sample.pull(&store, &nothing).unwrap();
    }
    let [id, other] = samples.each_ref().map(Sample::id);
    let (first, old) = (Digest::of(&samples[0].manifest), Digest::of(b"old"));
    for (name, image) in [("host/a:moved", &other), ("host/a:none", &id)] {
        store.set_name(name, image, None).unwrap();
    }
    let lease = store.lease().unwrap();
    let blobs = vec![store.stage_bytes(&lease, b"old").unwrap()];
    let staged = Staged {
        blobs,
        ..Staged::default()
    };
    store.commit(staged, Records::default()).unwrap();
    store.set_name("host/a:old", &id, Some(&old)).unwrap();
    let images = samples[0].records().images;
    let records = Records {
        images,
        ..Records::default()
    };
    store.commit(Staged::default(), records).unwrap();
    for (name, image, manifest) in [
        ("host/a:moved", other, None),
        ("host/a:none", id, Some(first)),
        ("host/a:old", id, Some(old)),
    ] {
        let found = store.name(name).unwrap().unwrap();
        assert_eq!((found.image, found.manifest), (image, manifest), "{name}");
    }
}

#[test]
fn what_is_known_of_an_image_is_found_again() {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(0);
    sample.pull(&store, &nothing).unwrap();
    let (id, manifest) = (sample.id(), Digest::of(&sample.manifest));
    let hex = id.hex();
    for (prefix, found) in [
        (&hex[..6], true),
        (&hex[..6].to_uppercase(), true),
        (&format!("sha256:{}", &hex[..1]), true),
        (&format!("sha512:{}", &hex[..1]), false),
        ("", false),
        ("%", false),
        ("zz", false),
    ] {
        assert_eq!(
            store.find_images(prefix).unwrap().len(),
            usize::from(found),
            "{prefix}"
        );
    }
    let layer = Digest::of(&sample.layers[0]);
    assert_eq!(store.packed_forms(&sample.diff_ids()[0]).unwrap(), [layer]);
    assert_eq!(
        store.unpacked_form(&layer).unwrap(),
        Some(sample.diff_ids()[0])
    );
    assert_eq!(store.seen(&layer).unwrap(), ["docker.io/library/sample"]);
    assert_eq!(store.links_of(&manifest).unwrap().len(), 4);
    store
        .set_upload("docker.io/a", &layer, Some("here"))
        .unwrap();
    assert_eq!(
        store.upload("docker.io/a", &layer).unwrap().as_deref(),
        Some("here")
    );
    store.set_upload("docker.io/a", &layer, None).unwrap();
    assert_eq!(store.upload("docker.io/a", &layer).unwrap(), None);
}

#[test]
fn a_download_goes_on_where_it_was_and_not_with_what_is_wrong() {
    let root = Root::new();
    let store = root.open();
    let lease = store.lease().unwrap();
    let bytes = vec![7; 100];
    let digest = Digest::of(&bytes);
    {
        let begun = partial(&store, &lease, &digest, 100);
        begun.write_at(&bytes[..30], 0).unwrap();
        begun.write_at(&bytes[60..70], 60).unwrap();
    }
    let mut begun = partial(&store, &lease, &digest, 100);
    assert_eq!(begun.missing(), [30..60, 70..100]);
    let wrong = Digest::of(b"other");
    begun.restart().unwrap();
    assert_eq!(begun.missing().len(), 1);
    begun.write_at(&bytes[..99], 0).unwrap();
    let refused = begun.finish(&wrong);
    assert!(
        matches!(refused, Err(Error::Wrong { expected, found }) if *expected == digest && *found == wrong)
    );
    let refused = partial(&store, &lease, &digest, 100)
        .finish(&digest)
        .unwrap_err();
    assert!(
        refused.to_string().contains("1 were never written"),
        "{refused}"
    );
    let begun = partial(&store, &lease, &digest, 100);
    begun.write_at(&bytes[99..], 99).unwrap();
    let staged = begun.finish(&digest).unwrap();
    assert_eq!(staged.read(100).unwrap(), bytes);
    assert!(staged.read(99).unwrap_err().to_string().contains("larger"));
    drop((staged, lease));

    // Finished and not committed: the next one takes it, after a collect of the rest, too.
    store.collect(Collect::default()).unwrap();
    let lease = store.lease().unwrap();
    let found = store.ingest(&lease, &digest, 100).unwrap();
    assert!(matches!(found, Ingest::Staged(_)), "{found:?}");
    // Somebody holds it; then nobody does.
    store.collect(ALL).unwrap();
    assert!(store.layout().ready_blob(&digest).exists());
    drop((found, lease));
    store.collect(ALL).unwrap();
    assert!(!store.layout().ready_blob(&digest).exists());
}

#[test]
fn bytes_that_a_power_cut_took_do_not_come_back_as_holes() {
    let root = Root::new();
    let store = root.open();
    let lease = store.lease().unwrap();
    let digest = Digest::of(b"any");
    // How much of the file is left of 80 bytes, and what is missing at the end.
    for (left, missing) in [(Some(60), 60..80), (None, 0..80)] {
        let begun = partial(&store, &lease, &digest, 100);
        begun.write_at(&[1; 80], 0).unwrap();
        match left {
            Some(left) => begun.file().set_len(left).unwrap(),
            None => fs::remove_file(begun.path()).unwrap(),
        }
        drop(begun);
        // Now it is as long as the records say, and somebody is killed.
        let again = partial(&store, &lease, &digest, 100);
        again.write_at(&[1; 20], 80).unwrap();
        drop(again);
        let mut last = partial(&store, &lease, &digest, 100);
        assert_eq!(last.missing(), [missing]);
        last.restart().unwrap();
    }
}

#[test]
fn what_a_kill_leaves_between_rename_and_row_is_taken_over() {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(3);
    sample.pull(&store, &nothing).unwrap();
    let forget = |store: &Store| {
        let all = "DELETE FROM images; DELETE FROM blobs; DELETE FROM layers;";
        let done = store
            .db()
            .write(crate::db::Durability::Kill, |transaction| {
                Ok(transaction.execute_batch(all)?)
            });
        done.unwrap();
    };
    forget(&store);
    let problems = store.check(false).unwrap();
    assert_eq!(problems.len(), 8, "{problems:#?}");
    assert!(problems.iter().all(|problem| problem.harmless));
    sample
        .pull(&store, &|what, digest| panic!("{what} {digest} again"))
        .unwrap();
    sample.assert_whole(&store);
    forget(&store);
    store.collect(Collect::default()).unwrap();
    assert_eq!(store.check(false).unwrap(), []);
    assert!(!store.layout().layer(&sample.diff_ids()[0]).exists());
}

#[test]
fn after_a_power_cut_only_what_was_committed_counts() {
    let root = Root::new();
    let store = root.open();
    let (kept, lost) = (Sample::new(0), Sample::new(5));
    kept.pull(&store, &nothing).unwrap();
    {
        let lease = store.lease().unwrap();
        let mut staged = Staged::default();
        fetch(&store, &lease, &lost.layers[0], &mut staged, &nothing).unwrap();
        let Unpack::New(new) = store.unpack(&lease, &lost.diff_ids()[0]).unwrap() else {
            panic!("nobody has unpacked it");
        };
        new.finish(&lost.diff_ids()[0]).unwrap();
    }
    drop(store);
    let store = Store::open_in(&root.0, "another-boot").unwrap();
    kept.assert_whole(&store);
    assert_sound(&store);
    let lease = store.lease().unwrap();
    let size = lost.layers[0].len() as u64;
    let digest = Digest::of(&lost.layers[0]);
    // All there, as far as anybody knows; whoever goes on hashes it.
    let begun = partial(&store, &lease, &digest, size);
    assert_eq!(begun.missing(), []);
    assert_eq!(fs::read(begun.path()).unwrap(), lost.layers[0]);
    drop(begun);
    let layer = store.unpack(&lease, &lost.diff_ids()[0]).unwrap();
    assert!(matches!(layer, Unpack::New(_)), "{layer:?}");
    drop(layer);
    store.collect(Collect::default()).unwrap();
    assert_eq!(fs::read_dir(root.path("ready")).unwrap().count(), 0);
    assert_eq!(partial(&store, &lease, &digest, size).missing(), []);
}

#[test]
fn records_that_lead_nowhere_are_refused_and_nothing_of_them_is_written() {
    let root = Root::new();
    let store = root.open();
    let lease = store.lease().unwrap();
    let sample = Sample::new(0);
    let mut staged = Staged::default();
    for document in [&sample.manifest, &sample.config] {
        staged
            .blobs
            .push(store.stage_bytes(&lease, document).unwrap());
    }
    let refused = store.commit(staged, sample.records()).unwrap_err();
    let line = refused.to_string();
    assert!(
        line.starts_with(&format!("layer {}: not in the store", sample.diff_ids()[0])),
        "{line}"
    );
    assert_eq!(
        (store.images().unwrap(), store.names().unwrap()),
        (vec![], vec![])
    );
    // Nobody has lost the documents by that.
    let again = store.ingest(&lease, &sample.id(), 8).unwrap();
    assert!(matches!(again, Ingest::Staged(_)), "{again:?}");
    let wrong = store.stage_as(&lease, &sample.id(), b"something else");
    assert!(matches!(wrong, Err(Error::Wrong { .. })), "{wrong:?}");
}

#[test]
fn a_lease_keeps_what_no_image_names() {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(0);
    sample.pull(&store, &nothing).unwrap();
    let lease = store.lease().unwrap();
    assert!(store.hold_image(&lease, &sample.id()).unwrap().is_some());
    // Whoever knows of no name of it has not seen the newest.
    assert!(!store.remove_image(&sample.id(), Some(&[])).unwrap());
    assert!(store.remove_image(&sample.id(), None).unwrap());
    let collected = store.collect(ALL).unwrap();
    assert_eq!((collected.blobs.len(), collected.layers.len()), (0, 0));
    assert!(store.layer(&sample.diff_ids()[2]).unwrap().is_some());
    drop(lease);
    let collected = store.collect(ALL).unwrap();
    assert_eq!((collected.blobs.len(), collected.layers.len()), (5, 3));
    let lease = store.lease().unwrap();
    assert_eq!(store.hold_blob(&lease, &sample.id()).unwrap(), None);
    assert!(
        store
            .hold_layer(&lease, &sample.diff_ids()[0])
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_lease_keeps_the_indexes_of_an_image_and_what_its_names_mean() {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(0);
    sample.pull(&store, &nothing).unwrap();
    let (index, other) = (Digest::of(b"index"), Digest::of(b"other manifest"));
    let lease = store.lease().unwrap();
    let mut records = sample.records();
    records.digests[0].digest = index;
    records.names[0].manifest = Some(other);
    records.links.push((index, records.digests[0].manifest));
    let stage = |bytes: &[u8]| store.stage_bytes(&lease, bytes).unwrap();
    let staged = Staged {
        blobs: vec![stage(b"index"), stage(b"other manifest")],
        layers: Vec::new(),
    };
    store.commit(staged, records).unwrap();
    drop(lease);
    let lease = store.lease().unwrap();
    assert!(store.hold_image(&lease, &sample.id()).unwrap().is_some());
    assert!(store.remove_image(&sample.id(), None).unwrap());
    assert_eq!(store.collect(ALL).unwrap().blobs, []);
    for document in [index, other] {
        assert!(store.blob(&document).unwrap().is_some(), "{document}");
    }
    drop(lease);
    assert_eq!(store.collect(ALL).unwrap().blobs.len(), 7);
}

#[test]
fn what_is_made_here_is_named_at_its_end() {
    let root = Root::new();
    let store = root.open();
    let lease = store.lease().unwrap();
    let mut new = store.ingest_unknown(&lease).unwrap();
    new.write_all(b"made here").unwrap();
    let blob = new.finish(&Digest::of(b"made here")).unwrap();
    drop(store.ingest_unknown(&lease).unwrap());
    let id = Digest::of(b"the tar of it");
    let layers: Vec<_> = (0..2)
        .map(|_| {
            let new = store.unpack_unknown(&lease).unwrap();
            fs::write(new.path().join("file"), b"x").unwrap();
            new.finish(&id).unwrap()
        })
        .collect();
    drop(store.unpack_unknown(&lease).unwrap());
    let blobs = vec![blob];
    store
        .commit(Staged { blobs, layers }, Records::default())
        .unwrap();
    assert_eq!(store.blob(&Digest::of(b"made here")).unwrap(), Some(9));
    assert_eq!(
        fs::read(store.layer(&id).unwrap().unwrap().path.join("file")).unwrap(),
        b"x"
    );
    for place in ["ingest", "unpack"] {
        assert_eq!(
            fs::read_dir(root.path(place)).unwrap().count(),
            0,
            "{place}"
        );
    }
}

#[test]
fn a_container_is_gone_with_its_owner() {
    let root = Root::new();
    let store = root.open();
    let container = store.container().unwrap();
    assert_eq!(container.id().len(), 64);
    let path = container.path().to_path_buf();
    fs::create_dir_all(path.join("upper/etc")).unwrap();
    store.collect(ALL).unwrap();
    assert!(path.join("upper/etc").is_dir());
    container.remove().unwrap();
    assert!(!path.exists());
    assert!(!store.unswept().unwrap());
}

#[test]
fn what_is_on_its_way_out_is_not_deleted_yet() {
    let root = Root::new();
    let store = root.open();
    let (file, size) = (root.path("blobs/sha256/any"), 100_000);
    fs::write(&file, vec![1; size]).unwrap();
    let mut bin = crate::trash::Bin::new(&store);
    bin.take(&file, None).unwrap();
    bin.take(&file, None).unwrap();
    let swept = || (store.unswept().unwrap(), store.sweep().unwrap());
    assert_eq!(swept(), (false, 0));
    // Large trees are looked at while somebody else is alone.
    let alone = store.alone().unwrap();
    let bytes = bin.measure().unwrap();
    assert!(
        (100_000..200_000).contains(&usize(bytes)),
        "{bytes} of {size}"
    );
    drop(alone);
    assert_eq!(swept(), (true, 1));
    assert_eq!(fs::read_dir(root.path("trash")).unwrap().count(), 0);
}

#[test]
fn what_a_killed_collector_has_left_is_deleted_when_its_leaving_is_durable() {
    let root = Root::new();
    let store = root.open();
    let mut bin = crate::trash::Bin::new(&store);
    fs::write(root.path("blobs/sha256/x"), b"x").unwrap();
    bin.take(&root.path("blobs/sha256/x"), None).unwrap();
    drop(bin);
    // What cannot be looked at cannot be synced.
    fs::rename(root.path("blobs/sha512"), root.path("away")).unwrap();
    store.sweep().unwrap_err();
    let left = |count| assert_eq!(fs::read_dir(root.path("trash")).unwrap().count(), count);
    left(1);
    fs::rename(root.path("away"), root.path("blobs/sha512")).unwrap();
    assert_eq!(store.sweep().unwrap(), 1);
    left(0);
}

#[test]
fn what_is_repaired_beside_a_pull_is_not_taken_for_whole_by_it() {
    let root = Root::new();
    let store = root.open();
    let sample = Sample::new(0);
    sample.pull(&store, &nothing).unwrap();
    let (blob, layer) = (Digest::of(&sample.layers[0]), sample.diff_ids()[1]);
    fs::write(store.layout().blob(&blob), b"half").unwrap();
    fs::remove_dir_all(store.layout().layer(&layer).join("fs")).unwrap();
    let lease = store.lease().unwrap();
    store.hold_blob(&lease, &blob).unwrap();
    store.hold_layer(&lease, &layer).unwrap();
    let problems = store.check(true).unwrap();
    assert!(!problems[0].harmless, "{problems:#?}");
    let size = sample.layers[0].len() as u64;
    assert!(matches!(
        store.ingest(&lease, &blob, size).unwrap(),
        Ingest::Partial(_)
    ));
    assert!(matches!(
        store.unpack(&lease, &layer).unwrap(),
        Unpack::New(_)
    ));
}

#[test]
fn work_that_begins_is_not_seen_before_it_has_its_lock() {
    let root = Root::new();
    let store = root.open();
    // Whoever is alone would take it for that of the dead.
    let alone = store.alone().unwrap();
    std::thread::scope(|scope| {
        let lease = scope.spawn(|| store.lease().unwrap());
        let container = scope.spawn(|| store.container().unwrap());
        std::thread::sleep(Duration::from_millis(100));
        for place in ["leases", "containers"] {
            let there = fs::read_dir(root.path(place)).unwrap().count();
            assert_eq!(there, 0, "{place}");
        }
        drop(alone);
        drop((lease.join().unwrap(), container.join().unwrap()));
    });
}
