//! Pulling: what arrives, under which names, and what is asked of the registry for it.

use orlop_tests::registry::image::{OCI_INDEX, OCI_MANIFEST, index};
use orlop_tests::registry::{Fault, Image, Layer, Registry, Rule, Tar, What};
use orlop_tests::{Lade, Must};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

#[test]
fn an_image_arrives_whole() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 3, 100_000);
    let name = registry.serve("some/thing:one", &image);
    let said = lade.ok(&["pull", &name]).stdout();
    assert!(said.contains(&image.digest()), "the digest is said: {said}");
    assert_eq!(said.trim().lines().last(), Some(name.as_str()));
    assert_eq!(lade.inspect(&name, "{{.Id}}"), image.id());
    assert_eq!(
        lade.inspect(&name, "{{json .RepoDigests}}"),
        format!("[\"{}@{}\"]", registry.name("some/thing"), image.digest())
    );
    let layers = image.layers.iter();
    let wanted: Vec<String> = layers.map(Layer::diff_id).collect();
    assert_eq!(
        lade.inspect(&name, "{{json .RootFS.Layers}}"),
        json!(wanted).to_string()
    );
    lade.whole();
}

#[test]
fn quietly_only_the_name_is_printed() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let done = lade.ok(&["pull", "-q", &name]).prints(&name);
    assert_eq!(done.stderr(), "");
}

#[test]
fn pulled_again_nothing_is_fetched() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 50_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    registry.forget();
    let said = lade.ok(&["pull", &name]).stdout();
    assert!(said.contains("up to date"), "{said}");
    assert_eq!(registry.count(What::Blob, ""), 0, "{:?}", registry.seen());
    // Another name for it costs a manifest.
    let other = registry.serve("thing:two", &image);
    lade.ok(&["pull", &other]);
    assert_eq!(registry.count(What::Blob, ""), 0, "{:?}", registry.seen());
}

#[test]
fn a_layer_that_somebody_has_deleted_is_unpacked_again() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 50_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    let files = lade.layer(&image.layers[0].diff_id());
    // All of it, or what is in it only.
    for gone in [files.parent().must("a directory above"), &files] {
        fs::remove_dir_all(gone).must("the layer");
        registry.forget();
        lade.ok(&["pull", &name]);
        assert_eq!(registry.count(What::Blob, ""), 0, "its blob is here");
        assert!(files.is_dir());
        lade.ok(&["image", "verify", &name]);
        lade.whole();
    }
}

#[test]
fn layers_are_shared_between_images() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let one = Image::noise(1, 2, 50_000);
    let mut layers = one.layers.clone();
    layers.push(Layer::noise(999, 20_000));
    let two = Image::new(layers);
    lade.ok(&["pull", &registry.serve("thing:one", &one)]);
    registry.forget();
    lade.ok(&["pull", &registry.serve("thing:two", &two)]);
    for layer in &one.layers {
        assert_eq!(registry.count(What::Blob, &layer.digest()), 0);
    }
    assert_eq!(registry.count(What::Blob, &two.layers[2].digest()), 1);
    lade.whole();
}

#[test]
fn a_tag_that_moved_leaves_the_old_image_without_it() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let (old, new) = (Image::noise(1, 1, 1000), Image::noise(2, 1, 1000));
    let name = registry.serve("thing:one", &old);
    lade.ok(&["pull", &name]);
    registry.serve("thing:one", &new);
    lade.ok(&["pull", &name]);
    assert_eq!(lade.inspect(&name, "{{.Id}}"), new.id());
    assert_eq!(lade.inspect(&old.id(), "{{json .RepoTags}}"), "[]");
    let dangling = lade.says(&["images", "-q", "--no-trunc", "--filter", "dangling=true"]);
    assert_eq!(dangling, old.id());
}

#[test]
fn by_digest_it_has_no_tag() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 1000);
    registry.serve("thing:one", &image);
    let name = registry.name(&format!("thing@{}", image.digest()));
    lade.ok(&["pull", &name]);
    assert_eq!(lade.inspect(&name, "{{.Id}}"), image.id());
    assert_eq!(lade.inspect(&name, "{{json .RepoTags}}"), "[]");
    // A tag beside a digest is passed over: the digest says which.
    let both = registry.name(&format!("thing:nosuch@{}", image.digest()));
    lade.ok(&["pull", &both]);
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let registry = Registry::new();
    let of = |seed, architecture: &str| {
        Image::with(vec![Layer::noise(seed, 1000)], |config| {
            config["architecture"] = architecture.into();
        })
    };
    let (amd, arm) = (of(1, "amd64"), of(2, "arm64"));
    registry.serve("thing:amd", &amd);
    registry.serve("thing:arm", &arm);
    let entries = [
        amd.entry(&json!({"os": "unknown", "architecture": "unknown"})),
        arm.entry(&json!({"os": "linux", "architecture": "arm64", "variant": "v8"})),
        amd.entry(&json!({"os": "linux", "architecture": "amd64"})),
    ];
    let list = index(&entries);
    registry.put("thing", "many", OCI_INDEX, &list);
    let name = registry.name("thing:many");
    let lade = Lade::new();
    lade.ok(&["pull", &name]);
    assert_eq!(lade.inspect(&name, "{{.Id}}"), amd.id());
    lade.ok(&["pull", "--platform", "linux/arm64", &name]);
    assert_eq!(lade.inspect(&name, "{{.Architecture}}"), "arm64");
    assert_eq!(lade.inspect(&name, "{{.Id}}"), arm.id());
    lade.fails(&["pull", "--platform", "linux/s390x", &name], &["s390x"]);
    lade.fails(&["pull", "--platform", "li nux", &name], &["li nux"]);
    // An index in an index is looked into, but not forever.
    let inner = json!({"mediaType": OCI_INDEX, "size": list.len(), "digest": orlop_tests::registry::digest(&list)});
    registry.put("thing", "nested", OCI_INDEX, &index(&[inner]));
    lade.ok(&["pull", &registry.name("thing:nested")]);
    lade.whole();
}

#[test]
fn all_tags_of_a_repository() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.page = 2);
    let image = Image::noise(1, 1, 1000);
    let tags = ["a", "b", "c", "d", "e"];
    let mut wanted = Vec::new();
    for tag in tags {
        wanted.push(registry.serve(&format!("thing:{tag}"), &image));
    }
    lade.ok(&["pull", "--all-tags", &registry.name("thing")]);
    assert_eq!(lade.names(), wanted);
    lade.cmd(&["pull", "--all-tags", &registry.name("thing:a")])
        .run();
    assert!(registry.count(What::Tags, "") >= 3, "pages are followed");
}

#[test]
fn every_packing_unpacks_to_the_same() {
    let tar = || {
        Tar::new()
            .dir("etc/", 0o750)
            .file("etc/hello", 0o640, "hello\n")
    };
    let plain = tar().done();
    let (first, second) = plain.split_at(700);
    let members = [
        orlop_tests::registry::image::gzip(first),
        orlop_tests::registry::image::gzip(second),
    ];
    let frames = [zstd(first), zstd(second)];
    let skipped = [
        b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd".to_vec(),
        zstd(&plain),
    ];
    let table = [
        ("gzip", Layer::gzip(tar())),
        ("zstd", Layer::zstd(tar())),
        ("none", Layer::plain(tar())),
        (
            "members",
            Layer::of(plain.clone(), members.concat(), "+gzip"),
        ),
        ("frames", Layer::of(plain.clone(), frames.concat(), "+zstd")),
        (
            "skippable",
            Layer::of(plain.clone(), skipped.concat(), "+zstd"),
        ),
    ];
    for (case, layer) in table {
        let (lade, registry) = (Lade::new(), Registry::new());
        let path = lade.layer(&layer.diff_id());
        let name = registry.serve(&format!("{case}:one"), &Image::new(vec![layer]));
        lade.ok(&["pull", &name]);
        let text = fs::read_to_string(path.join("etc/hello")).must(case);
        assert_eq!(text, "hello\n", "{case}");
        lade.whole();
    }
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).must("zstd")
}

#[test]
fn a_layer_becomes_files_as_its_tar_says() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let long = "n".repeat(180);
    let tar = Tar::new()
        .dir("d/", 0o2755)
        .file("d/suid", 0o4755, "x")
        .hardlink("d/again", "d/suid")
        .symlink("d/link", "/etc/passwd")
        .node("d/null", 'c', (1, 3))
        .node("d/fifo", 'p', (0, 0))
        .pax(&[
            ("mtime", b"1500000000.123456789"),
            ("SCHILY.xattr.user.colour", b"red"),
        ])
        .file("d/dated", 0o600, "")
        .long(b'L', &format!("d/{long}"))
        .file("d/short", 0o644, "long")
        .file("d/.wh.gone", 0o644, "")
        .dir("d/opaque/", 0o755)
        .file("d/opaque/.wh..wh..opq", 0o644, "");
    let layer = Layer::gzip(tar);
    let dir = lade.layer(&layer.diff_id()).join("d");
    let below = Layer::gzip(Tar::new().dir("d/", 0o755).file("d/gone", 0o644, "x"));
    let name = registry.serve("thing:one", &Image::new(vec![below, layer]));
    lade.ok(&["pull", &name]);
    let stat = |name: &str| fs::symlink_metadata(dir.join(name)).must(name);
    assert_eq!(stat("").permissions().mode() & 0o7777, 0o2755);
    assert_eq!(stat("suid").permissions().mode() & 0o7777, 0o4755);
    assert_eq!(stat("again").ino(), stat("suid").ino());
    assert_eq!(
        fs::read_link(dir.join("link")).must("link").to_str(),
        Some("/etc/passwd")
    );
    assert!(stat("null").file_type().is_char_device() && stat("null").rdev() == 0x103);
    assert!(stat("fifo").file_type().is_fifo());
    let dated = stat("dated");
    assert_eq!(
        (dated.mtime(), dated.mtime_nsec()),
        (1_500_000_000, 123_456_789)
    );
    assert_eq!(fs::read(dir.join(&long)).must("the long name"), b"long");
    let gone = stat("gone");
    assert!(
        gone.file_type().is_char_device() && gone.rdev() == 0,
        "a whiteout"
    );
    let attribute = |name: &str, key: &str| {
        let value = orlop_tests::sys::attribute(&dir.join(name), key).must(key);
        String::from_utf8_lossy(&value).into_owned()
    };
    assert_eq!(attribute("dated", "user.colour"), "red");
    assert_eq!(attribute("opaque", "trusted.overlay.opaque"), "y");
    lade.whole();
}

#[test]
fn it_goes_on_where_the_connection_broke() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 3 << 20);
    let name = registry.serve("thing:one", &image);
    registry
        .fault(Rule::times(What::Blob, 3, Fault::DropAt(1 << 20)).only(&image.layers[0].digest()));
    let said = lade.says(&["pull", &name]);
    let again = format!("blob {}: ", &image.layers[0].digest()[7..19]);
    let again = said
        .lines()
        .filter(|line| line.contains(&again) && line.contains("; attempt 2 of 6 in "));
    assert_eq!(again.count(), 3, "{said}");
    lade.whole();
    let sent = registry.sent();
    assert!(
        sent < image.size() + (1 << 20),
        "{sent} bytes for an image of {}",
        image.size()
    );
}

#[test]
fn a_killed_pull_goes_on_at_the_byte() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 8 << 20);
    let name = registry.serve("thing:one", &image);
    registry.fault(Rule::once(What::Blob, Fault::StallAt(6 << 20)).only(&image.layers[0].digest()));
    let mut running = lade.cmd(&["pull", &name]).spawn();
    orlop_tests::until("six MiB sent", || {
        (registry.sent() >= 6 << 20).then_some(())
    });
    // What has arrived is written by then.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.child.kill().must("kill");
    running.wait();
    lade.ok(&["system", "check"]);
    registry.mend();
    lade.ok(&["pull", &name]);
    lade.whole();
    let sent = registry.sent();
    assert!(
        sent <= image.size() + (2 << 20),
        "{sent} bytes for an image of {}",
        image.size()
    );
}

/// What makes a blob of some MiB a large one.
const PIECE: u64 = 256 << 10;

fn in_pieces(lade: &Lade, name: &str) -> orlop_tests::Cmd {
    lade.cmd(&["pull", name])
        .env("LADE_PIECE", PIECE.to_string())
}

/// The parts of a blob that were asked for, in order.
fn parts(registry: &Registry, digest: &str) -> Vec<(u64, u64)> {
    let seen = registry.seen();
    let blob = |seen: &&orlop_tests::registry::Seen| {
        seen.what == What::Blob && seen.request.path.contains(digest)
    };
    let part = |range: &str| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    let asked = seen.iter().filter(blob);
    let mut parts: Vec<_> = asked
        .filter_map(|seen| part(seen.request.header("range")))
        .collect();
    parts.sort_unstable();
    parts
}

#[test]
fn a_large_blob_comes_by_several_connections_each_part_once() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 6 << 20);
    let name = registry.serve("thing:one", &image);
    let layer = image.layers[0].digest();
    let slow = Fault::Trickle(40_000, std::time::Duration::from_millis(5));
    registry.fault(Rule::always(What::Blob, slow).only(&layer));
    in_pieces(&lade, &name).run().ok();
    // The next part may be asked for before the registry's thread has seen the end of the last.
    let most = registry.at_once();
    assert!((3..=6).contains(&most), "{most} connections for one blob");
    let parts = parts(&registry, &layer);
    let mut end = 0;
    for (first, last) in &parts {
        assert!(
            *first == end && *last < *first + PIECE,
            "{parts:?} are not one after the other"
        );
        end = *last + 1;
    }
    assert_eq!(end, image.layers[0].blob.len() as u64);
    assert!(registry.sent() < image.size() + 10_000);
    lade.whole();
}

/// Kills a pull in which every lane has come to a halt in the middle of its piece.
fn killed_in_lanes(lade: &Lade, registry: &Registry, image: &Image, name: &str) {
    let layer = image.layers[0].digest();
    let halt = Fault::StallAt(150_000);
    registry.fault(Rule::times(What::Blob, 3, halt).only(&layer).after(5));
    let mut running = in_pieces(lade, name).spawn();
    orlop_tests::until("all lanes stand still", || {
        (registry.count(What::Blob, &layer) == 8).then_some(())
    });
    // What has arrived is written by then.
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.child.kill().must("kill");
    running.wait();
    lade.ok(&["system", "check"]);
    registry.mend();
}

#[test]
fn a_pull_killed_in_several_pieces_goes_on_in_each() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 6 << 20);
    let name = registry.serve("thing:one", &image);
    killed_in_lanes(&lade, &registry, &image, &name);
    in_pieces(&lade, &name).run().ok();
    lade.whole();
    let (sent, size) = (registry.sent(), image.size());
    assert!(
        sent <= size + (2 << 20),
        "{sent} bytes for an image of {size}"
    );
}

#[test]
fn a_large_blob_without_ranges_comes_whole_whatever_is_here() {
    for killed in [false, true] {
        let (lade, registry) = (Lade::new(), Registry::new());
        let image = Image::noise(1, 1, 6 << 20);
        let name = registry.serve("thing:one", &image);
        if killed {
            killed_in_lanes(&lade, &registry, &image, &name);
        }
        registry.forget();
        registry.change(|manner| manner.ranges = false);
        in_pieces(&lade, &name).run().ok();
        lade.whole();
        // One look whether parts are given, and one for all.
        assert!(registry.count(What::Blob, &image.layers[0].digest()) <= 2);
    }
}

#[test]
fn an_artifact_is_kept_as_it_is() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let blob = b"not a layer at all".to_vec();
    let config = b"{}".to_vec();
    let describe = orlop_tests::registry::image::descriptor;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example.thing",
        "config": describe("application/vnd.oci.empty.v1+json", &config),
        "layers": [describe("application/vnd.example.data", &blob)],
    })
    .to_string();
    registry.put_blob("art", &blob);
    registry.put_blob("art", &config);
    registry.put("art", "one", OCI_MANIFEST, manifest.as_bytes());
    let name = registry.name("art:one");
    lade.ok(&["pull", &name]);
    let listed = lade.ok(&["images", "--format", "{{.Size}}"]);
    assert_eq!(listed.stdout().trim(), format!("{}B", blob.len()));
    let target = registry.name("copy:one");
    lade.ok(&["tag", &name, &target]);
    lade.ok(&["push", &target]);
    let copied = registry.manifest("copy", "one").must("the copy");
    assert_eq!(copied.1, manifest.as_bytes());
}

#[test]
fn names_that_are_not_there_are_refused_in_a_line() {
    let (lade, registry) = (Lade::new(), Registry::new());
    registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let table = [
        (
            registry.name("thing:two"),
            ["thing:two", "not found|unknown"],
        ),
        (registry.name("other"), ["other", "not found|unknown"]),
        (
            "127.0.0.1:1/thing".to_owned(),
            ["127.0.0.1:1", "refused|connect"],
        ),
        (
            "some/UPPER".to_owned(),
            ["UPPER", "lowercase|lower case|upper case"],
        ),
        (String::new(), ["reference|name", ""]),
        ("thing:t a g".to_owned(), ["t a g", ""]),
        (registry.name("thing@sha256:12"), ["sha256:12", ""]),
        (
            format!("docker://{}", registry.name("thing:one")),
            ["it is an address", "leave out \"docker://\""],
        ),
        (
            format!("https://{}", registry.name("thing:one")),
            ["it is an address", "leave out \"https://\""],
        ),
    ];
    for (name, parts) in table {
        lade.fails(&["pull", &name], &parts);
    }
    assert!(lade.ids().is_empty());
    lade.whole();
}
