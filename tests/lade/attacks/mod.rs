//! Layers that want to reach out of their directory, or to fill the disk: each as bytes, through pull, load and import, and an ordinary
//! user's pull.
//!
//! Whatever a layer holds, nothing outside of the data root changes: a file and a directory beside it stand for everything there is.

mod packed;
mod rows;

use orlop_tests::registry::image::{digest, docker_archive, gzip, oci_archive};
use orlop_tests::registry::{Image, Layer, Registry, Tar};
use orlop_tests::{Done, Lade, Must};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// What has to come of a layer.
#[derive(Clone, Copy)]
enum End {
    Refused,
    /// Refused with these words.
    Over(&'static [&'static str]),
    /// It is taken, and this holds for its unpacked files.
    Taken(fn(&Path)),
    /// It is taken, and the one holds for root's files, the other for an ordinary user's, whose powers are less.
    Differs(fn(&Path), fn(&Path)),
    /// Either: what counts is that nothing happens outside.
    Any,
}

use crate::rootless::{NOBODYS, User};
use End::{Any, Differs, Over, Refused, Taken};
use rows::{bomb, links, marks, names, numbers};

type Attack = (&'static str, End, fn(&str) -> Vec<u8>);

/// A file outside, which nobody may touch, in a directory into which nobody may write: its owner's, who could do both.
struct Outside {
    dir: PathBuf,
    owner: u32,
}

impl Outside {
    fn new(place: &Path, owner: u32) -> Self {
        let dir = place.join("outside");
        fs::create_dir(&dir).must(dir.display());
        fs::write(dir.join("victim"), "untouched").must("the victim");
        fs::set_permissions(dir.join("victim"), fs::Permissions::from_mode(0o640)).must("its mode");
        for path in [&dir, &dir.join("victim")] {
            chown(path, Some(owner), Some(owner)).must(path.display());
        }
        Self { dir, owner }
    }

    /// The layer that a row makes for this place, and its tar; none where it is too large.
    fn layer(&self, bytes: fn(&str) -> Vec<u8>) -> (Layer, Vec<u8>) {
        let tar = bytes(&self.dir.display().to_string());
        let layer = if tar.is_empty() {
            bomb()
        } else {
            Layer::of(tar.clone(), gzip(&tar), "+gzip")
        };
        (layer, tar)
    }

    fn untouched(&self, case: &str) {
        let names: Vec<_> = fs::read_dir(&self.dir)
            .must("outside")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(names, ["victim"], "{case}");
        let victim = self.dir.join("victim");
        let metadata = fs::symlink_metadata(&victim).must("the victim");
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.nlink(), metadata.uid()),
            (0o640, 1, self.owner),
            "{case}"
        );
        assert_eq!(fs::read(&victim).must("the victim"), b"untouched", "{case}");
        let parent = fs::symlink_metadata(&self.dir).must("outside");
        assert_eq!(parent.mode() & 0o7777, 0o755, "{case}");
        for place in ["/pwned", "/tmp/pwned", "/etc/pwned"] {
            assert!(!Path::new(place).exists(), "{case}: {place}");
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).unwrap_or_default();
    }
}

impl End {
    /// Demands that a command has ended so; `files` leads to what was unpacked.
    fn demand(self, case: &str, done: &Done, root: bool, files: impl FnOnce() -> PathBuf) {
        let refused = |parts: &[&str]| {
            assert_eq!(orlop_tests::complaint(done, &[1], parts), None, "{case}");
        };
        let check = match self {
            Refused => return refused(&[]),
            Over(parts) => return refused(parts),
            Any if done.rc == 0 => return,
            Any => return refused(&[]),
            Differs(_, check) if !root => check,
            Taken(check) | Differs(check, _) => check,
        };
        assert_eq!(done.rc, 0, "{case}");
        check(&files());
    }
}

/// The ways in which a layer comes here.
const WAYS: [&str; 4] = ["pull", "load oci", "load docker", "import"];

fn attempt(way: &str, case: &Attack) {
    let (name, end, bytes) = case;
    let lade = Lade::new();
    let outside = Outside::new(&lade.env.dir, 0);
    let (layer, tar) = outside.layer(*bytes);
    let image = Image::new(vec![layer.clone()]);
    let registry = Registry::new();
    let cmd = match way {
        "pull" => lade.cmd(&["pull", &registry.serve("bad:one", &image)]),
        "load oci" => lade
            .cmd(&["load"])
            .stdin(oci_archive(&[("bad:one", &image)])),
        "load docker" if tar.is_empty() => return,
        "load docker" => lade
            .cmd(&["load"])
            .stdin(docker_archive(&[("bad:one", &image)])),
        _ => lade
            .cmd(&["import", "-", "bad:one"])
            .stdin(if tar.is_empty() {
                layer.blob.clone()
            } else {
                tar
            }),
    };
    let done = cmd.run();
    let case = format!("{name} by {way}\n{done}");
    end.demand(&case, &done, true, || {
        let diff_id = lade.inspect(&lade.ids()[0], "{{index .RootFS.Layers 0}}");
        lade.layer(&diff_id)
    });
    if done.rc != 0 {
        assert!(lade.ids().is_empty(), "{case}");
        // Half-made files wait for the next attempt at most: nothing of a refused layer is named.
        lade.ok(&["image", "prune", "-f"]);
    }
    outside.untouched(&case);
    lade.ok(&["system", "check"]);
    // Deep trees take the sweep some seconds.
    lade.swept();
    outside.untouched(&case);
}

/// As an ordinary user, to whom what is outside belongs.
fn pull_as(user: &User, case: &Attack) {
    let (name, end, bytes) = case;
    let data = user.data();
    if data.exists() {
        fs::remove_dir_all(&data).must(data.display());
    }
    let outside = Outside::new(&user.own, NOBODYS);
    let (layer, _) = outside.layer(*bytes);
    let image = Image::new(vec![layer]);
    let registry = Registry::new();
    let name_here = registry.serve("bad:one", &image);
    let done = user.lade(&["pull", &name_here]).run();
    let case = format!("{name} by an ordinary user's pull\n{done}");
    end.demand(&case, &done, false, || {
        let diff_id = image.layers[0].diff_id();
        data.join("layers/sha256").join(&diff_id[7..]).join("fs")
    });
    if done.rc != 0 {
        assert_eq!(user.says(&["images", "-a", "-q"]), "", "{case}");
        user.says(&["image", "prune", "-f"]);
    }
    user.says(&["system", "check"]);
    user.swept();
    outside.untouched(&case);
}

/// The rest of a table is tried, too, where an attempt panics.
fn holds(attempt: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt)).is_ok()
}

fn table(cases: &[Attack]) {
    let mut failures = Vec::new();
    let user = User::new("an ordinary user's pull");
    for case in cases {
        for way in WAYS {
            if !holds(|| attempt(way, case)) {
                failures.push(format!("{} by {way}", case.0));
            }
        }
        if user
            .as_ref()
            .is_some_and(|user| !holds(|| pull_as(user, case)))
        {
            failures.push(format!("{} by a user's pull", case.0));
        }
    }
    assert!(
        failures.is_empty(),
        "see the panics above:\n  {}",
        failures.join("\n  ")
    );
}

#[test]
fn names_that_lead_out() {
    table(&names());
}

#[test]
fn links_that_lead_out() {
    table(&links());
}

#[test]
fn marks_devices_and_attributes() {
    table(&marks());
}

#[test]
fn numbers_that_lie() {
    table(&numbers());
}

/// A layer alone cannot follow a link of another layer: they meet in the mount only.
#[test]
fn a_link_of_an_earlier_layer_is_not_followed() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let outside = Outside::new(&lade.env.dir, 0);
    let below = Layer::gzip(Tar::new().symlink("link", &outside.dir.display().to_string()));
    let above = Layer::gzip(Tar::new().file("link/pwned", 0o644, "x").file(
        "link/.wh.victim",
        0o644,
        "",
    ));
    let name = registry.serve("bad:one", &Image::new(vec![Layer::busybox(), below, above]));
    lade.ok(&["pull", &name]);
    outside.untouched("pulled");
    lade.cmd(&["run", "--rm", "--network", "none", &name, "ls", "/link"])
        .run();
    outside.untouched("run");
    lade.whole();
}

/// An archive of docker whose list gives a config and a layer these names.
fn docker_names(image: &Image, config: &str, layer: &str) -> Vec<u8> {
    let list = json!([{"Config": config, "RepoTags": ["bad:one"], "Layers": [layer]}]);
    Tar::new()
        .file("manifest.json", 0o644, list.to_string())
        .file("c.json", 0o644, &image.config)
        .file("l.tar", 0o644, &image.layers[0].tar)
        .symlink("link", "/etc/passwd")
        .done()
}

/// An archive of an old docker, where an id is the name of a directory.
fn old_docker_names(image: &Image, id: &str, parent: &str) -> Vec<u8> {
    let repositories = json!({"bad": {"one": id}});
    let config = json!({"parent": parent});
    Tar::new()
        .file("repositories", 0o644, repositories.to_string())
        .file("a/json", 0o644, config.to_string())
        .file("a/layer.tar", 0o644, &image.layers[0].tar)
        .done()
}

/// An OCI archive with these digests: of the manifest in the index (the right one where there is none), and of its config and layer.
fn oci_names(manifest: Option<&str>, config: &str, layer: &str) -> Vec<u8> {
    let entry = |kind: &str, digest: &str| {
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": kind, "digest": digest, "size": 2})
    };
    let inner = json!({"schemaVersion": 2, "config": entry("config.v1+json", config), "layers": [entry("layer.v1.tar", layer)]});
    let inner = inner.to_string();
    let right = digest(inner.as_bytes());
    let named = manifest.unwrap_or(&right);
    let index = json!({"schemaVersion": 2, "manifests": [entry("manifest.v1+json", named)]});
    Tar::new()
        .file("oci-layout", 0o644, r#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", 0o644, index.to_string())
        .file(&format!("blobs/sha256/{}", &right[7..]), 0o644, inner)
        .done()
}

#[test]
fn names_in_archives_are_no_paths() {
    let image = Image::noise(1, 1, 100);
    let (out, zeros) = (
        "sha256:../../../../../../etc/passwd",
        format!("sha256:{}", "0".repeat(64)),
    );
    let table = [
        old_docker_names(&image, "../../../../etc", ""),
        old_docker_names(&image, "/etc", ""),
        old_docker_names(&image, "a", "../../../../etc"),
        old_docker_names(&image, "a", "/etc"),
        oci_names(Some(out), &zeros, &zeros),
        oci_names(None, out, &zeros),
        oci_names(None, &zeros, out),
        oci_names(Some("sha256:/etc/passwd"), &zeros, &zeros),
        docker_names(&image, "../../../../etc/passwd", "l.tar"),
        docker_names(&image, "/etc/passwd", "l.tar"),
        docker_names(&image, "c.json", "/etc/passwd"),
        docker_names(&image, "c.json", "link"),
        docker_names(&image, "link", "l.tar"),
        docker_names(&image, "c.json", "nothing"),
    ];
    for bytes in table {
        let lade = Lade::new();
        let done = lade.cmd(&["load"]).stdin(bytes).run();
        assert_eq!(orlop_tests::complaint(&done, &[1], &[]), None, "{done}");
        assert!(!done.stderr().contains("root:x:0"), "{done}");
        assert!(lade.ids().is_empty());
        lade.whole();
    }
}

#[test]
fn holes_take_no_time_and_are_no_zeros_of_a_layer_made_here() {
    let records: [(&str, &[u8]); 2] = [
        ("GNU.sparse.size", b"1099511627000"),
        ("GNU.sparse.map", b"1099511626990,1"),
    ];
    let tar = Tar::new().pax(&records).file("holes", 0o644, "x");
    let image = Image::new(vec![Layer::plain(tar.clone())]);
    let lade = Lade::new();
    let started = std::time::Instant::now();
    lade.cmd(&["load"])
        .stdin(docker_archive(&[("sparse:one", &image)]))
        .run()
        .ok();
    lade.ok(&["image", "verify", "sparse:one"]);
    assert_eq!(lade.inspect("sparse:one", "{{.Id}}"), image.id());
    let done = lade
        .cmd(&["import", "-", "sparse:two"])
        .stdin(tar.done())
        .run();
    let parts = ["bytes of holes", "over the limit"];
    assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    lade.whole();
}

#[test]
fn an_archive_says_nothing_to_the_terminal() {
    for key in ["Config", "RepoTags"] {
        let evil = "\u{1b}[2J\u{9b}1mevil";
        let mut item = json!({"Config": "c.json", "RepoTags": [], "Layers": []});
        item[key] = if key == "Config" {
            json!(evil)
        } else {
            json!([evil])
        };
        let bytes = Tar::new()
            .file("manifest.json", 0o644, json!([item]).to_string())
            .file("c.json", 0o644, "{}")
            .done();
        let lade = Lade::new();
        let done = lade.cmd(&["load"]).stdin(bytes).run();
        assert_eq!(
            orlop_tests::complaint(&done, &[1], &["evil"]),
            None,
            "{done}"
        );
        let said = done.stderr().to_owned();
        let spoken = |letter: char| letter.is_control() && letter != '\n';
        assert!(!said.contains(spoken), "{key}: {said:?}");
    }
}
