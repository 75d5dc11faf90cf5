//! Save, load and import, among ourselves and with others.

use std::fs::{self, File};

use super::support::{Scratch, engine, has, import, run, tar};
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
