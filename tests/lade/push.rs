//! Pushing: what goes over the wire, what does not, and what stands there afterwards.

use orlop_tests::registry::{Fault, Image, Layer, Location, Manner, Registry, Rule, Tar, What};
use orlop_tests::{Lade, Must};
use serde_json::Value;
use std::fs;

/// Pulls an image from one registry and names it for another.
fn pulled(lade: &Lade, from: &Registry, image: &Image, target: &str) {
    let name = from.serve("source/thing:one", image);
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, target]);
}

#[test]
fn what_was_pulled_is_pushed_bit_for_bit() {
    let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 3, 50_000);
    let target = to.name("copy/of:it");
    pulled(&lade, &from, &image, &target);
    let said = lade.ok(&["push", &target]).stdout();
    assert!(said.contains(&image.digest()), "the digest is said: {said}");
    let (media_type, manifest) = to.manifest("copy/of", "it").must("the manifest");
    assert_eq!(
        (media_type, manifest),
        (image.media_type.clone(), image.manifest.clone())
    );
    for blob in image.blobs() {
        assert_eq!(to.blob(&orlop_tests::registry::digest(&blob)), Some(blob));
    }
}

#[test]
fn dockers_media_types_stay() {
    let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 2, 5_000).docker();
    let target = to.name("copy:it");
    pulled(&lade, &from, &image, &target);
    lade.ok(&["push", &target]);
    assert_eq!(
        to.manifest("copy", "it"),
        Some((image.media_type.clone(), image.manifest.clone()))
    );
}

#[test]
fn pushed_again_nothing_is_sent() {
    let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 3, 50_000);
    let target = to.name("copy:it");
    pulled(&lade, &from, &image, &target);
    lade.ok(&["push", &target]);
    to.forget();
    lade.ok(&["push", &target]);
    assert!(
        to.received() <= image.manifest.len() as u64,
        "{:?}",
        to.seen()
    );
    assert_eq!(to.count(What::Upload, ""), 0, "{:?}", to.seen());
}

#[test]
fn blobs_of_the_same_host_are_mounted() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 3, 50_000);
    let target = registry.name("copy:it");
    pulled(&lade, &registry, &image, &target);
    registry.forget();
    lade.ok(&["push", &target]);
    let seen = registry.seen();
    let mounts = seen.iter().filter(|seen| seen.what == What::Upload);
    assert!(mounts.clone().count() >= 3, "{seen:?}");
    for mount in mounts {
        assert_eq!(mount.status, 201, "{mount:?}");
        assert_eq!(mount.request.asked("from").as_deref(), Some("source/thing"));
    }
    assert!(registry.received() < 10_000, "nothing is uploaded");
}

#[test]
fn an_image_made_here_is_packed_once() {
    let (lade, to) = (Lade::new(), Registry::new());
    let tar = Tar::new()
        .dir("etc/", 0o755)
        .file("etc/hello", 0o644, "hello\n".repeat(10_000))
        .done();
    lade.cmd(&["import", "-", "made:one"]).stdin(tar).run().ok();
    let target = to.name("made:one");
    lade.ok(&["tag", "made:one", &target]);
    lade.ok(&["push", &target]);
    let (_, first) = to.manifest("made", "one").must("the manifest");
    let document: Value = serde_json::from_slice(&first).must("JSON");
    let layer = &document["layers"][0];
    assert!(
        layer["size"].as_u64().must("a size") < 10_000,
        "it is packed: {layer}"
    );
    lade.ok(&["push", &target]);
    assert_eq!(to.manifest("made", "one").must("the manifest").1, first);
    // Whoever pulls it has the same image.
    let other = Lade::new();
    other.ok(&["pull", &target]);
    assert_eq!(
        other.inspect(&target, "{{.Id}}"),
        lade.inspect("made:one", "{{.Id}}")
    );
    other.whole();
    lade.whole();
}

/// A registry's habit, and what goes wrong with a request.
type Habit = (&'static str, fn(&mut Manner), Option<Rule>);

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_habit_of_registries_is_met() {
    let table: [Habit; 12] = [
        (
            "relative locations",
            |manner| manner.location = Location::Relative,
            None,
        ),
        (
            "locations with a query",
            |manner| manner.location = Location::Query,
            None,
        ),
        ("no mounts", |manner| manner.mounts = false, None),
        ("least chunks", |manner| manner.chunk = 1 << 20, None),
        ("no digest headers", |manner| manner.digests = false, None),
        (
            "an upload that is lost",
            |_| (),
            Some(Rule::once(What::Finish, Fault::Forgotten)),
        ),
        (
            "a chunk that is lost",
            |_| (),
            Some(Rule::once(What::Chunk, Fault::Forgotten)),
        ),
        (
            "416 for a chunk",
            |_| (),
            Some(Rule::once(What::Chunk, Fault::HalfKept)),
        ),
        (
            "a broken connection in a chunk",
            |_| (),
            Some(Rule::once(What::Chunk, Fault::DropAt(700_000))),
        ),
        (
            "a broken connection at the end",
            |_| (),
            Some(Rule::once(What::Finish, Fault::DropAt(10))),
        ),
        (
            "busy",
            |_| (),
            Some(Rule::times(What::Any, 2, Fault::RetryAfter(429, "1")).after(2)),
        ),
        (
            "out of order",
            |_| (),
            Some(Rule::times(What::PutManifest, 2, Fault::Status(503))),
        ),
    ];
    // In one request where that can be, and in pieces.
    let pieces = ["", "524288"];
    let table = table
        .iter()
        .flat_map(|row| pieces.map(|piece| (row, piece)));
    for ((case, manner, rule), piece) in table {
        let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
        let image = Image::noise(3, 2, 2 << 20);
        let target = to.name("copy:it");
        pulled(&lade, &from, &image, &target);
        to.change(manner);
        rule.iter().for_each(|rule| to.fault(rule.clone()));
        let done = lade.cmd(&["push", &target]).env("LADE_PIECE", piece).run();
        assert!(done.rc == 0, "{case}\n{done}");
        assert!(piece.is_empty() || to.count(What::Chunk, "") > 1, "{case}");
        assert_eq!(
            to.manifest("copy", "it").map(|(_, bytes)| bytes),
            Some(image.manifest.clone()),
            "{case}"
        );
        lade.whole();
    }
}

#[test]
fn a_killed_push_goes_on_behind_the_last_piece() {
    let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(3, 1, 4 << 20);
    let target = to.name("copy:it");
    pulled(&lade, &from, &image, &target);
    let push = || lade.cmd(&["push", &target]).env("LADE_PIECE", "524288");
    to.fault(Rule::once(What::Chunk, Fault::Silence).after(5));
    let mut running = push().spawn();
    orlop_tests::until("the sixth piece", || {
        (to.count(What::Chunk, "") == 6).then_some(())
    });
    running.child.kill().must("kill");
    running.wait();
    lade.ok(&["system", "check"]);
    push().run().ok();
    assert_eq!(
        to.blob(&image.layers[0].digest()).as_ref(),
        Some(&image.layers[0].blob)
    );
    let most = image.size() + (100 << 10);
    assert!(to.received() < most, "{} bytes of {most}", to.received());
    lade.whole();
}

#[test]
fn an_image_that_is_removed_meanwhile_is_pushed_all_the_same() {
    for made in [false, true] {
        let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
        let target = to.name("copy:it");
        if made {
            let tar = Layer::noise(5, 50_000).tar;
            lade.cmd(&["import", "-", &target]).stdin(tar).run().ok();
        } else {
            pulled(&lade, &from, &Image::noise(1, 2, 50_000), &target);
        }
        to.fault(Rule::once(What::PutManifest, Fault::RetryAfter(503, "3")));
        let running = lade.cmd(&["push", &target]).spawn();
        orlop_tests::until("the manifest", || {
            (to.count(What::PutManifest, "") == 1).then_some(())
        });
        for id in lade.ids() {
            lade.ok(&["rmi", "-f", &id]);
        }
        running.wait().ok();
        assert!(to.manifest("copy", "it").is_some());
        assert!(lade.ids().is_empty(), "it does not come back");
        lade.ok(&["image", "prune", "-f"]);
        lade.whole();
    }
}

/// Fills the data root but for so many bytes; they can be had again by removing the file.
fn fill(lade: &Lade, leave: usize) -> std::path::PathBuf {
    use std::io::Write;
    let path = lade.data.join("filler");
    let open = fs::File::options().create(true).append(true).open(&path);
    let (mut file, mut size) = (open.must("the filler"), 1 << 20);
    while size >= 4096 {
        if file.write_all(&vec![1u8; size]).is_err() {
            size /= 2;
        }
    }
    let length = file.metadata().must("the filler").len();
    let length = length.saturating_sub(leave as u64);
    file.set_len(length).must("the filler");
    path
}

#[test]
fn a_full_disk_ends_a_push_and_a_save_and_nothing_is_lost() {
    let (lade, to) = (Lade::new(), Registry::new());
    crate::store::small(&lade, "24m");
    let target = to.name("made:one");
    let tar = Layer::noise(5, 6 << 20).tar;
    lade.cmd(&["import", "-", &target]).stdin(tar).run().ok();
    let filler = fill(&lade, 3 << 20);
    lade.fails(&["push", &target], &["space|full"]);
    assert_eq!(to.manifest("made", "one"), None);
    fs::remove_file(&filler).must("the filler");
    lade.whole();
    // Packed, and refused; what was packed cannot be kept: why it was refused is what is said.
    to.empty();
    to.forget();
    to.fault(Rule::once(What::Finish, Fault::RetryAfter(503, "3")).after(1));
    to.fault(Rule::always(What::Finish, Fault::Status(403)).after(1));
    let running = lade.cmd(&["push", &target]).spawn();
    orlop_tests::until("the end of the layer", || {
        (to.count(What::Finish, "") == 2).then_some(())
    });
    let filler = fill(&lade, 0);
    let done = running.wait();
    let complaint = orlop_tests::complaint(&done, &[1], &["403"]);
    assert_eq!(complaint, None, "{done}");
    fs::remove_file(&filler).must("the filler");
    to.mend();
    lade.whole();
    let out = lade.data.join("out");
    fs::create_dir(&out).must("a directory");
    orlop_tests::sys::mount("out", &out, "tmpfs", 0, "size=1m").must("a tmpfs");
    let file = out.join("saved.tar").display().to_string();
    lade.fails(&["save", "-o", &file, &target], &["space|full"]);
    let left = fs::read_dir(&out).must("the directory").count();
    assert_eq!(left, 0, "half an archive is none");
    orlop_tests::sys::umount(&out).must("umount");
    fs::remove_dir(&out).must("the directory");
    lade.ok(&["push", &target]);
    let image = lade.inspect(&target, "{{.Id}}");
    lade.ok(&["rmi", &target]);
    lade.ok(&["pull", &target]);
    assert_eq!(lade.inspect(&target, "{{.Id}}"), image);
    lade.whole();
    orlop_tests::sys::umount(&lade.data).must("umount");
}

#[test]
fn a_refused_push_says_who_refused_what() {
    let table = [
        (What::Upload, Fault::Status(403), ["403|denied", "copy"]),
        (
            What::Finish,
            Fault::Status(400),
            ["400|refused|DIGEST|invalid", "copy"],
        ),
        (What::PutManifest, Fault::Status(413), ["413", "copy"]),
        (What::PutManifest, Fault::Page(400), ["400", "copy"]),
    ];
    for (what, fault, parts) in table {
        let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
        let target = to.name("copy:it");
        pulled(&lade, &from, &Image::noise(1, 1, 1000), &target);
        to.fault(Rule::always(what, fault));
        lade.fails(&["push", &target], &parts);
        assert_eq!(to.manifest("copy", "it"), None);
        lade.whole();
    }
}

#[test]
fn what_is_not_here_cannot_be_pushed() {
    let (lade, to) = (Lade::new(), Registry::new());
    let name = to.name("nothing:here");
    lade.fails(&["push", &name], &["/nothing"]);
    assert!(to.seen().is_empty());
}

#[test]
fn all_tags_of_a_repository_are_pushed() {
    let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 1, 1000);
    pulled(&lade, &from, &image, &to.name("copy:a"));
    lade.ok(&["tag", &to.name("copy:a"), &to.name("copy:b")]);
    lade.ok(&["push", "--all-tags", &to.name("copy")]);
    for tag in ["a", "b"] {
        assert!(to.manifest("copy", tag).is_some(), "{tag}");
    }
}

#[test]
fn foreign_layers_are_named_and_not_sent() {
    let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::new(vec![Layer::noise(1, 1000), Layer::noise(2, 1000)]).edited(|manifest| {
        let layer = &mut manifest["layers"][0];
        layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
        layer["urls"] = serde_json::json!(["http://127.0.0.1:1/layer"]);
    });
    let target = to.name("copy:it");
    pulled(&lade, &from, &image, &target);
    // A registry would want the blob; what is asked here is that it is not sent.
    lade.cmd(&["push", &target]).run();
    assert_eq!(to.blob(&image.layers[0].digest()), None);
    assert!(to.blob(&image.layers[1].digest()).is_some());
}
