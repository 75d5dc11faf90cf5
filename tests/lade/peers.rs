//! The same image by other people's programs, over Debian's registry and OCI layouts: everybody has the same digests.

use crate::others::{podman, skopeo};
use orlop_tests::registry::image::write_layout;
use orlop_tests::registry::{Auth, Debian, DebianOptions, Image, Layer, Location, Registry, Tar};
use orlop_tests::{Lade, Must};
use serde_json::Value;
use std::fs;

fn registry(lade: &Lade) -> Debian {
    Debian::start(&lade.env, DebianOptions::default())
}

/// What is looked at: plain files, links, a whiteout, an opaque directory, attributes.
fn varied() -> Image {
    let below = Tar::new()
        .dir("a/", 0o755)
        .file("a/gone", 0o644, "gone")
        .file("a/kept", 0o600, "kept")
        .dir("b/", 0o755)
        .file("b/hidden", 0o644, "hidden");
    let above = Tar::new()
        .dir("a/", 0o700)
        .file("a/.wh.gone", 0o644, "")
        .file("a/new", 0o4755, "new")
        .hardlink("a/twice", "a/new")
        .dir("b/", 0o755)
        .file("b/.wh..wh..opq", 0o644, "")
        .symlink("b/link", "../a/new");
    Image::new(vec![
        Layer::busybox(),
        Layer::gzip(below),
        Layer::gzip(above),
    ])
}

/// Config digest, diff ids and manifest digest as `dir:` has them after skopeo fetched a name.
fn fetched(lade: &Lade, name: &str, case: &str) -> (String, Vec<u8>) {
    let to = lade.env.dir.join(format!("fetched-{case}"));
    skopeo(
        lade,
        &format!("docker://{name}"),
        &format!("dir:{}", to.display()),
    );
    let manifest = fs::read(to.join("manifest.json")).must("manifest.json");
    let document: Value = serde_json::from_slice(&manifest).must("JSON");
    let config = document["config"]["digest"]
        .as_str()
        .must("a config")
        .to_owned();
    (config, manifest)
}

#[test]
fn skopeo_pushes_and_we_pull_and_push_and_skopeo_pulls() {
    let lade = Lade::new();
    let registry = registry(&lade);
    let source = Registry::new();
    for (case, image) in [("oci", varied()), ("docker", varied().docker())] {
        let from = source.serve(&format!("{case}:one"), &image);
        let name = registry.name(&format!("{case}:one"));
        skopeo(
            &lade,
            &format!("docker://{from}"),
            &format!("docker://{name}"),
        );
        lade.ok(&["pull", &name]);
        assert_eq!(lade.inspect(&name, "{{.Id}}"), image.id(), "{case}");
        let copy = registry.name(&format!("{case}-copy:one"));
        lade.ok(&["tag", &name, &copy]);
        lade.ok(&["push", &copy]);
        let (config, manifest) = fetched(&lade, &copy, case);
        assert_eq!(config, image.id(), "{case}");
        assert_eq!(
            manifest,
            fetched(&lade, &name, &format!("{case}-source")).1,
            "{case}"
        );
        lade.whole();
    }
}

#[test]
fn podman_pulls_and_runs_what_we_push_and_pushes_what_we_pull() {
    let lade = Lade::new();
    let (source, registry) = (Registry::new(), registry(&lade));
    let image = varied();
    let name = source.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    let target = registry.name("thing:one");
    lade.ok(&["tag", &name, &target]);
    lade.ok(&["push", &target]);
    podman(&lade)
        .args(["pull", "--tls-verify=false", &target])
        .run()
        .ok();
    podman(&lade)
        .args(["image", "inspect", "--format", "{{.Id}}", &target])
        .run()
        .ok()
        .prints(&image.id()[7..]);
    let back = registry.name("back:one");
    podman(&lade)
        .args(["push", "--tls-verify=false", &target, &back])
        .run()
        .ok();
    lade.ok(&["pull", &back]);
    let layers = |name: &str| lade.inspect(name, "{{json .RootFS.Layers}}");
    assert_eq!(layers(&back), layers(&name), "the diff ids are the same");
    assert_eq!(
        lade.inspect(&back, "{{.Id}}"),
        image.id(),
        "the config is the same"
    );
    lade.whole();
}

#[test]
fn umoci_unpacks_what_we_save() {
    let lade = Lade::new();
    let source = Registry::new();
    let name = source.serve("thing:one", &varied());
    lade.ok(&["pull", &name]);
    let dir = lade.env.dir.join("layout");
    fs::create_dir(&dir).must(dir.display());
    let file = lade.env.dir.join("saved.tar");
    lade.ok(&["save", "-o", &file.display().to_string(), &name]);
    lade.other("tar")
        .arg("-xf")
        .arg(&file)
        .arg("-C")
        .arg(&dir)
        .run()
        .ok();
    let index: Value =
        serde_json::from_slice(&fs::read(dir.join("index.json")).must("index.json")).must("JSON");
    let tag = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
        .as_str()
        .must("a name in index.json")
        .to_owned();
    // umoci takes what stands behind the last colon for the tag.
    let tag = if tag.contains('/') {
        rename(&dir, index)
    } else {
        tag
    };
    let bundle = lade.env.dir.join("bundle");
    lade.other("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:{tag}", dir.display()))
        .arg(&bundle)
        .run()
        .ok();
    let root = bundle.join("rootfs");
    assert_eq!(fs::read(root.join("a/kept")).must("a/kept"), b"kept");
    assert_eq!(fs::read(root.join("a/twice")).must("a/twice"), b"new");
    assert!(!root.join("a/gone").exists() && !root.join("b/hidden").exists());
}

/// Gives the only image of a layout a plain tag.
fn rename(dir: &std::path::Path, mut index: Value) -> String {
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "it".into();
    fs::write(dir.join("index.json"), index.to_string()).must("index.json");
    "it".to_owned()
}

#[test]
fn what_umoci_makes_is_loaded_and_runs() {
    let lade = Lade::new();
    let dir = lade.env.dir.join("layout");
    write_layout(&dir, &[("it", &Image::busybox())]);
    let umoci = |args: &[&str]| {
        lade.other("umoci").dir(&lade.env.dir).args(args).run().ok();
    };
    let image = format!("{}:it", dir.display());
    umoci(&["unpack", "--image", &image, "work"]);
    fs::write(lade.env.dir.join("work/rootfs/etc/hello"), "hello\n").must("a file");
    umoci(&[
        "repack",
        "--image",
        &format!("{}:new", dir.display()),
        "work",
    ]);
    lade.ok(&["load", "-i", &dir.display().to_string()]);
    // A layout's own tags are no names.
    let mut ids = lade.ids();
    ids.retain(|id| *id != Image::busybox().id());
    lade.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        &ids[0],
        "cat",
        "/etc/hello",
    ])
    .prints("hello");
    lade.whole();
}

#[test]
fn debians_registry_takes_and_gives_everything() {
    let lade = Lade::new();
    let (source, registry) = (Registry::new(), registry(&lade));
    let image = Image::noise(5, 4, 3 << 20);
    let name = source.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    for target in ["a/b/c:one", "a/b/c:two", "other:one"] {
        let target = registry.name(target);
        lade.ok(&["tag", &name, &target]);
        lade.ok(&["push", &target]);
    }
    let other = Lade::new();
    other.ok(&["pull", "--all-tags", &registry.name("a/b/c")]);
    assert_eq!(other.names().len(), 2);
    assert_eq!(other.ids(), [image.id()]);
    other.ok(&["pull", &registry.name(&format!("other@{}", image.digest()))]);
    other.whole();
}

/// What the other tests rely on: that our registry is one for those who have not been written for it.
#[test]
fn our_own_registry_serves_skopeo() {
    for auth in [
        Auth::None,
        Auth::basic("ann", "secret"),
        Auth::bearer("ann", "secret"),
    ] {
        let lade = Lade::new();
        let registry = Registry::new().with(|manner| {
            manner.auth = auth;
            manner.location = Location::Query;
        });
        let image = varied();
        let layout = lade.env.dir.join("layout");
        write_layout(&layout, &[("tag", &image)]);
        let there = format!("docker://{}", registry.name("team/thing:one"));
        let back = lade.env.dir.join("back");
        let copy = |from: &str, to: &str| {
            lade.other("skopeo")
                .args([
                    "--insecure-policy",
                    "copy",
                    "--src-tls-verify=false",
                    "--dest-tls-verify=false",
                ])
                .args([
                    "--src-creds",
                    "ann:secret",
                    "--dest-creds",
                    "ann:secret",
                    from,
                    to,
                ])
                .run()
                .ok();
        };
        copy(&format!("oci:{}:tag", layout.display()), &there);
        copy(&there, &format!("dir:{}", back.display()));
        let manifest = fs::read(back.join("manifest.json")).must("manifest.json");
        assert_eq!(manifest, image.manifest);
        assert!(registry.sent() >= image.size() && registry.received() >= image.size());
    }
}
