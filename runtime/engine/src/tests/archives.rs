//! Save, load and import, among ourselves and with others.

use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use image::Digest;
use store::{Collect, Pin, Records, Staged};

use super::support::{Scratch, engine, has, import, run, tar};
use crate::archive::Writer;
use crate::{Engine, Kind, Load, Quiet, Save};

fn saved(engine: &Engine, names: &[&str], to: &std::path::Path) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut out = File::create(to).unwrap();
    engine.save(&names, &Save::default(), &mut out).unwrap();
}

#[test]
fn what_is_saved_is_loaded_however_it_is_compressed() {
    let (here, there) = (Scratch::new(), Scratch::new());
    let ours = engine(&here.0);
    let id = import(&ours, &tar(&here.0, "a", &[70_000, 3]), "app:1");
    let other = import(&ours, &tar(&here.0, "bb", &[5]), "app:2");
    ours.tag("app:1", "host.example/team/app").unwrap();
    let archive = here.join("saved.tar");
    let names = ["app", "host.example/team/app", &other.short()];
    saved(&ours, &names, &archive);
    let first = fs::read(&archive).unwrap();
    saved(&ours, &names, &archive);
    assert!(
        first == fs::read(&archive).unwrap(),
        "the same images, other bytes"
    );

    let path = archive.display().to_string();
    for (program, suffix) in [
        ("gzip", "gz"),
        ("xz", "xz"),
        ("bzip2", "bz2"),
        ("zstd", "zst"),
    ] {
        if !has(program) {
            continue;
        }
        run(program, &["-k", "-f", &path]);
        let theirs = engine(&there.join(suffix));
        let compressed = here.join(&format!("saved.tar.{suffix}"));
        let loaded = theirs
            .load_path(&compressed, &Load::default(), &Quiet)
            .unwrap();
        let mut lines = loaded.lines.clone();
        lines.sort_unstable();
        let expected = [
            "Loaded image: app:1",
            "Loaded image: app:2",
            "Loaded image: host.example/team/app:latest",
        ];
        assert_eq!(lines, expected, "{suffix}");
        assert_eq!(theirs.find("app:1").unwrap().id, id);
        let verified = theirs.verify(&[], &Quiet).unwrap();
        assert!(
            verified.iter().all(|image| image.differences.is_empty()),
            "{verified:?}"
        );
        assert_eq!(theirs.check(false).unwrap().problems, []);
    }
}

#[test]
fn a_directory_is_loaded_like_an_archive() {
    let (here, there) = (Scratch::new(), Scratch::new());
    let ours = engine(&here.0);
    let id = import(&ours, &tar(&here.0, "a", &[1000]), "app:1");
    let archive = here.join("saved.tar");
    saved(&ours, &["app:1"], &archive);
    let dir = here.join("unpacked");
    fs::create_dir(&dir).unwrap();
    let (from, to) = (archive.to_str().unwrap(), dir.to_str().unwrap());
    run("tar", &["-xf", from, "-C", to]);
    let theirs = engine(&there.0);
    let loaded = theirs.load_path(&dir, &Load::default(), &Quiet).unwrap();
    assert_eq!((loaded.images[0].id, loaded.images.len()), (id, 1));
}

#[test]
fn others_read_what_is_saved_and_write_what_is_loaded() {
    if !has("skopeo") {
        return;
    }
    let (here, there) = (Scratch::new(), Scratch::new());
    let ours = engine(&here.0);
    let id = import(&ours, &tar(&here.0, "a", &[50_000]), "app:1");
    let archive = here.join("saved.tar");
    saved(&ours, &["app:1"], &archive);
    let archive = archive.display();
    for (form, from, to) in [
        (
            "docker-archive",
            format!("docker-archive:{archive}"),
            "docker.tar",
        ),
        ("oci-archive", format!("oci-archive:{archive}"), "oci.tar"),
        ("oci", format!("docker-archive:{archive}"), "layout"),
    ] {
        let written = here.join(to);
        let target = format!("{form}:{}:app:1", written.display());
        run("skopeo", &["copy", "-q", &from, &target]);
        let theirs = engine(&there.join(to));
        let loaded = theirs
            .load_path(&written, &Load::default(), &Quiet)
            .unwrap();
        assert_eq!(loaded.lines, ["Loaded image: app:1"], "{form}");
        let verified = theirs.verify(&[], &Quiet).unwrap();
        assert_eq!(verified[0].differences, Vec::<String>::new(), "{form}");
        let layers = theirs.find("app:1").unwrap().record.layers;
        assert_eq!(layers, ours.find("app:1").unwrap().record.layers, "{form}");
        if form == "docker-archive" {
            assert_eq!(loaded.images[0].id, id);
        }
        // And again out of there.
        saved(&theirs, &["app:1"], &there.join("again.tar"));
    }
}

#[test]
fn what_is_no_archive_of_an_image_is_refused_and_leaves_nothing() {
    let here = Scratch::new();
    let ours = engine(&here.0);
    let files = tar(&here.0, "files", &[100]);
    let damaged = here.join("damaged.tar");
    let bytes = [&[b'x'; 100][..], &[0; 412]].concat();
    fs::write(&damaged, bytes).unwrap();
    let empty = here.join("empty");
    fs::write(&empty, "").unwrap();
    for (path, message) in [
        (files, "there is no image in it"),
        (damaged, "checksum is wrong"),
        (empty, "the archive is empty"),
    ] {
        let error = ours.load_path(&path, &Load::default(), &Quiet).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_ne!(error.kind(), Kind::Other, "{error}");
    }
    assert!(ours.images(&crate::List::default()).unwrap().is_empty());
}

#[test]
fn the_oldest_form_of_archive_is_loaded() {
    let here = Scratch::new();
    let ours = engine(&here.0);
    let dir = here.join("old");
    for (id, json) in [
        (
            "base",
            r#"{"id":"base","created":"2014-01-01T00:00:00Z","container_config":{"Cmd":["base"]}}"#,
        ),
        (
            "top",
            r#"{"id":"top","parent":"base","created":"2014-02-01T00:00:00Z","config":{"Cmd":["run"]},"os":"linux","architecture":"amd64"}"#,
        ),
    ] {
        fs::create_dir_all(dir.join(id)).unwrap();
        fs::write(dir.join(id).join("json"), json).unwrap();
        fs::write(dir.join(id).join("VERSION"), "1.0").unwrap();
        fs::copy(tar(&here.0, id, &[10]), dir.join(id).join("layer.tar")).unwrap();
    }
    fs::write(dir.join("repositories"), r#"{"old":{"1":"top"}}"#).unwrap();
    let loaded = ours.load_path(&dir, &Load::default(), &Quiet).unwrap();
    assert_eq!(loaded.lines, ["Loaded image: old:1"]);
    let history = ours.history("old:1").unwrap();
    assert_eq!(history.len(), 2);
    assert_eq!(history[1].created_by, "base");
    let verified = ours.verify(&[], &Quiet).unwrap();
    assert_eq!((verified[0].layers, verified[0].differences.len()), (2, 0));
}

/// An archive of image documents.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    for (path, bytes) in files {
        writer.bytes(path, bytes).unwrap();
    }
    writer.finish().unwrap();
    out
}

#[test]
fn what_is_named_a_thousand_times_is_read_once() {
    const TIMES: usize = 20_000;
    let label = "x".repeat(4 << 20);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"a":"{label}"}}}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
    );
    let descriptor = |kind: &str, bytes: &str| {
        let digest = Digest::of(bytes.as_bytes());
        let size = bytes.len();
        let kind = format!("application/vnd.oci.image.{kind}+json");
        (
            format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#),
            format!("blobs/sha256/{}", digest.hex()),
        )
    };
    let list = |items: &str| format!("[{}]", vec![items; TIMES].join(","));
    let (config_entry, config_path) = descriptor("config.v1", &config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config_entry},"layers":[]}}"#
    );
    let (manifest_entry, manifest_path) = descriptor("manifest.v1", &manifest);
    let index = |entries: String| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":{entries}}}"#
        )
    };
    let inner = index(format!("[{manifest_entry}]"));
    let (inner_entry, inner_path) = descriptor("index.v1", &inner);
    let documents = [
        (config_path.as_str(), config.as_bytes()),
        (&manifest_path, manifest.as_bytes()),
        (&inner_path, inner.as_bytes()),
    ];
    let docker = list(r#"{"Config":"c.json","RepoTags":["it:1"],"Layers":[]}"#);
    let (flat, nested) = (index(list(&manifest_entry)), index(list(&inner_entry)));
    let oci =
        |index: &str| archive(&[&[("index.json", index.as_bytes())][..], &documents].concat());
    for (what, bytes) in [
        (
            "docker",
            archive(&[
                ("manifest.json", docker.as_bytes()),
                ("c.json", config.as_bytes()),
            ]),
        ),
        ("oci", oci(&flat)),
        ("oci, nested", oci(&nested)),
    ] {
        let here = Scratch::new();
        let started = Instant::now();
        let loaded = engine(&here.0)
            .load(&mut &bytes[..], &Load::default(), &Quiet)
            .unwrap();
        assert_eq!(loaded.images.len(), 1, "{what}");
        assert_eq!(loaded.images[0].id, Digest::of(config.as_bytes()), "{what}");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    }
}

/// An archive that names more than anybody has: it is refused, and soon.
fn refused_soon(what: &str, bytes: &[u8], message: &str) {
    let here = Scratch::new();
    let started = Instant::now();
    let loaded = engine(&here.0).load(&mut &bytes[..], &Load::default(), &Quiet);
    let error = loaded.unwrap_err().to_string();
    assert!(error.contains(message), "{what}: {error}");
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "{what}: {took:?}");
}

/// The oldest form: a chain of layers, and many other names of the uppermost.
fn chain_with_names(names: usize) -> Vec<u8> {
    const LONG: usize = 400;
    let mut out = Vec::new();
    file(&mut out, "l.tar", &[0; 1024]);
    for at in 0..LONG {
        let parent = if at + 1 < LONG {
            format!(r#"{{"parent":"p{}"}}"#, at + 1)
        } else {
            "{}".to_string()
        };
        file(&mut out, &format!("p{at}/json"), parent.as_bytes());
        symlink(&mut out, &format!("p{at}/layer.tar"), "../l.tar");
    }
    let mut tags = Vec::new();
    for at in 0..names {
        symlink(&mut out, &format!("i{at}/json"), "../p0/json");
        symlink(&mut out, &format!("i{at}/layer.tar"), "../l.tar");
        tags.push(format!(r#""{at}":"i{at}""#));
    }
    let repositories = format!(r#"{{"it":{{{}}}}}"#, tags.join(","));
    file(&mut out, "repositories", repositories.as_bytes());
    out
}

fn file(out: &mut Vec<u8>, path: &str, bytes: &[u8]) {
    Writer::new(out).bytes(path, bytes).unwrap();
}

fn symlink(out: &mut Vec<u8>, path: &str, target: &str) {
    let start = out.len();
    file(out, path, b"");
    let header = &mut out[start..];
    header[156] = b'2';
    header[157..157 + target.len()].copy_from_slice(target.as_bytes());
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn an_archive_has_no_more_images_and_layers_than_there_can_be() {
    refused_soon(
        "oldest",
        &chain_with_names(20_000),
        "more images than any archive",
    );
    let bytes = chain_with_names(1_000);
    let here = Scratch::new();
    let started = Instant::now();
    let ours = engine(&here.0);
    let loaded = ours
        .load(&mut &bytes[..], &Load::default(), &Quiet)
        .unwrap();
    assert_eq!((loaded.images.len(), loaded.lines.len()), (1, 1_000));
    let took = started.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");

    // Nobody says which is the uppermost of so many.
    let alone = |at: usize| (format!("i{at}/json"), r#"{"parent":"i0"}"#.to_string());
    refused_soon(
        "no names",
        &files((0..90_000).map(alone)),
        "there is no image in it",
    );
    for (images, layers, message) in [(1_001, 0, "more images"), (250, 500, "more layers")] {
        let config = |at: usize| {
            let diff_id = |layer: usize| format!("\"sha256:{:064x}\"", at * 1_000 + layer);
            let diff_ids: Vec<String> = (0..layers).map(diff_id).collect();
            let diff_ids = diff_ids.join(",");
            let text = format!(
                r#"{{"author":"{at}","rootfs":{{"type":"layers","diff_ids":[{diff_ids}]}}}}"#
            );
            (format!("c{at}.json"), text)
        };
        let paths = vec![r#""l.tar""#; layers].join(",");
        let item = |at: usize| format!(r#"{{"Config":"c{at}.json","Layers":[{paths}]}}"#);
        let items: Vec<String> = (0..images).map(item).collect();
        let others = [
            ("l.tar".to_string(), "x".to_string()),
            (
                "manifest.json".to_string(),
                format!("[{}]", items.join(",")),
            ),
        ];
        let bytes = files((0..images).map(config).chain(others));
        refused_soon("docker's", &bytes, message);
    }
}

fn files(files: impl Iterator<Item = (String, String)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, text) in files {
        file(&mut out, &path, text.as_bytes());
    }
    out
}

/// A layout of an image without layers; what its manifest says of the config, and the config.
fn layout(size: usize, config: &[u8], beside: &[u8]) -> Vec<u8> {
    let digest = Digest::of(config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":{size}}},"layers":[]}}"#
    );
    let (named, length) = (Digest::of(manifest.as_bytes()), manifest.len());
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{named}","size":{length}}}]}}"#
    );
    let mut out = Vec::new();
    file(&mut out, "index.json", index.as_bytes());
    let path = format!("blobs/sha256/{}", named.hex());
    file(&mut out, &path, manifest.as_bytes());
    file(&mut out, &format!("blobs/sha256/{}", digest.hex()), beside);
    out
}

#[test]
fn a_size_is_compared_also_with_what_is_here() {
    let here = Scratch::new();
    let ours = engine(&here.0);
    let load = |bytes: Vec<u8>| ours.load(&mut &bytes[..], &Load::default(), &Quiet);
    let config: &[u8] = br#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let lie = config.len() + 1;
    let lies = format!("its manifest says {lie}");
    let refused = |bytes: Vec<u8>, message: &str| {
        let error = load(bytes).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.kind(), Kind::Damaged);
    };
    refused(layout(lie, config, config), &lies);
    load(layout(config.len(), config, config)).unwrap();
    refused(layout(lie, config, config), &lies);
    refused(layout(config.len(), config, b"short"), "it has 5 bytes");
    // Without the blob, which may be left out.
    let mut without = layout(lie, config, b"");
    without.truncate(without.len() - 512);
    refused(without, &lies);
}

#[test]
fn verify_reads_the_index_of_a_pin_and_what_it_links() {
    let here = Scratch::new();
    let ours = engine(&here.0);
    let id = import(&ours, &tar(&here.0, "a", &[10]), "app:1");
    let store = ours.store();
    let lease = store.lease().unwrap();
    let documents: [&[u8]; 2] = [b"an index", b"another member of it"];
    let staged = documents.map(|bytes| store.stage_bytes(&lease, bytes).unwrap());
    let [index, member] = documents.map(Digest::of);
    let records = Records {
        digests: vec![Pin {
            repository: "docker.io/library/app".to_string(),
            digest: index,
            image: id,
            manifest: id,
        }],
        links: vec![(index, member)],
        ..Records::default()
    };
    let blobs = staged.to_vec();
    let layers = Vec::new();
    store.commit(Staged { blobs, layers }, records).unwrap();
    let verified = ours.verify(&[], &Quiet).unwrap();
    assert_eq!((verified[0].blobs, verified[0].differences.len()), (3, 0));
    for digest in [index, member] {
        let path = here.join("data/blobs/sha256").join(digest.hex());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, b"damaged").unwrap();
        let verified = ours.verify(&["app:1".to_string()], &Quiet).unwrap();
        assert_eq!(verified[0].differences.len(), 1);
        assert!(verified[0].differences[0].contains(&digest.to_string()));
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn what_is_removed_beside_verify_and_save_is_gone_or_whole() {
    let here = Scratch::new();
    let ours = engine(&here.0);
    import(&ours, &tar(&here.0, "kept", &[10]), "kept:1");
    let file = tar(&here.0, "a", &[10]);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                let id = import(&ours, &file, "app:1");
                ours.store().remove_image(&id, None).unwrap();
                ours.store().collect(Collect::default()).unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        });
        while !ended.load(Ordering::Relaxed) {
            for verified in ours.verify(&[], &Quiet).unwrap() {
                assert_eq!(verified.differences, Vec::<String>::new());
            }
            let names = ["app:1".to_string()];
            let mut sink = std::io::sink();
            let saved = ours.save(&names, &Save::default(), &mut sink);
            let gone = |error: crate::Error| error.to_string() == "No such image: app:1";
            assert!(saved.err().is_none_or(gone));
        }
    });
}
