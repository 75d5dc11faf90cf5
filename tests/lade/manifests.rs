//! `lade manifest`: lists of images for several platforms, made here and pulled by everybody.

use crate::others::{Docker, skopeo};
use orlop_tests::registry::image::{DOCKER_MANIFEST, OCI_INDEX};
use orlop_tests::registry::{
    Debian, DebianOptions, Fault, Image, Layer, Registry, Rule, What, digest,
};
use orlop_tests::{Lade, Must};
use serde_json::Value;
use std::fs;

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// An image for a machine; each has layers of its own, and one that all have.
fn image_for(architecture: &str, seed: u64) -> Image {
    let layers = vec![Layer::noise(99, 5000), Layer::noise(seed, 5000)];
    Image::with(layers, |config| {
        config["architecture"] = architecture.into()
    })
}

/// The members of a list as they are printed: digest and platform.
fn members(list: &Value) -> Vec<(String, String)> {
    let entries = list["manifests"].as_array().must("manifests").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let platform = |of: &Value| {
        let words = [&of["os"], &of["architecture"], &of["variant"]].map(text);
        words.join("/").trim_end_matches('/').to_owned()
    };
    entries
        .map(|entry| (text(&entry["digest"]), platform(&entry["platform"])))
        .collect()
}

/// A document as `lade manifest inspect` shows it.
#[track_caller]
fn inspect(lade: &Lade, args: &[&str]) -> Value {
    let said = lade.says(&[&["manifest", "inspect"], args].concat());
    serde_json::from_str(&said).must("JSON")
}

/// The manifest that skopeo takes out of a list.
fn skopeo_gets(lade: &Lade, list: &str, platform: &str, variant: &str) -> Vec<u8> {
    let architecture = platform.split('/').nth(1).must(platform);
    let to = lade.env.dir.join(architecture);
    let copy = lade.other("skopeo").args([
        "--override-arch",
        architecture,
        "--override-variant",
        variant,
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
    ]);
    copy.arg(format!("docker://{list}"))
        .arg(format!("dir:{}", to.display()))
        .run()
        .ok();
    fs::read(to.join("manifest.json")).must("manifest.json")
}

/// An image for each of three machines, `thing:MACHINE` of a registry.
fn things(lade: &Lade, registry: &Debian) -> [Image; 3] {
    let source = Registry::new();
    [("amd64", 1), ("arm64", 2), ("arm", 3)].map(|(machine, seed)| {
        let (name, image) = (
            format!("thing:{machine}"),
            image_for(machine, seed).docker(),
        );
        let from = format!("docker://{}", source.serve(&name, &image));
        skopeo(lade, &from, &format!("docker://{}", registry.name(&name)));
        image
    })
}

#[test]
fn a_list_is_made_here_and_each_platform_gets_its_own_by_everybody() {
    let lade = Lade::new();
    let registry = Debian::start(&lade.env, DebianOptions::default());
    let images = things(&lade, &registry);
    let list = registry.name("thing:all");
    let names = ["amd64", "arm64", "arm"].map(|tag| registry.name(&format!("thing:{tag}")));
    let said = lade.says(&["manifest", "create", &list, &names[0], &names[1]]);
    assert_eq!(said, format!("Created manifest list {list}"));
    lade.fails(
        &["manifest", "create", &list, &names[2]],
        &["--amend", &list],
    );
    lade.ok(&["manifest", "create", "--amend", &list, &names[2]]);
    lade.ok(&["manifest", "annotate", "--variant", "v7", &list, &names[2]]);
    let shown = inspect(&lade, &[&list]);
    let wanted = images
        .iter()
        .zip(["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]);
    let wanted: Vec<_> = wanted
        .map(|(image, platform)| (image.digest(), platform.to_owned()))
        .collect();
    assert_eq!(
        (members(&shown), shown["mediaType"].as_str()),
        (wanted, Some(DOCKER_LIST))
    );
    let pushed = lade.says(&["manifest", "push", "--purge", &list]);
    // What stands there now, and no longer what was put together here.
    assert_eq!(inspect(&lade, &[&list]), shown);
    let case = "a_list_is_made_here_and_each_platform_gets_its_own_by_everybody";
    let docker = Docker::start(&lade, case);
    for (image, (platform, variant)) in images.iter().zip([
        ("linux/amd64", ""),
        ("linux/arm64", ""),
        ("linux/arm/v7", "v7"),
    ]) {
        assert_eq!(
            skopeo_gets(&lade, &list, platform, variant),
            image.manifest,
            "{platform}"
        );
        let other = Lade::new();
        other.ok(&["pull", "--platform", platform, &list]);
        assert_eq!(other.inspect(&list, "{{.Id}}"), image.id(), "{platform}");
        assert!(
            other.inspect(&list, "{{.RepoDigests}}").contains(&pushed),
            "the list is what was asked for"
        );
        other.whole();
        if let Some(docker) = &docker {
            let docker = |args: &[&str]| docker.cmd(&lade, args).run().ok();
            docker(&["pull", "--platform", platform, &list]);
            docker(&["image", "inspect", "--format", "{{.Id}}", &list]).prints(&image.id());
        }
    }
}

#[test]
fn members_of_another_registry_are_carried_over() {
    let (lade, from, to) = (Lade::new(), Registry::new(), Registry::new());
    let images = [image_for("amd64", 1), image_for("s390x", 2)];
    let names = images
        .iter()
        .enumerate()
        .map(|(number, image)| from.serve(&format!("thing:t{number}"), image));
    let names: Vec<String> = names.collect();
    // One of them is here; the other is only there.
    lade.ok(&["pull", &names[0]]);
    let list = to.name("many/things:all");
    lade.ok(&["manifest", "create", &list, &names[0], &names[1]]);
    lade.ok(&[
        "manifest", "annotate", "--arch", "ppc64le", "--os", "linux", &list, &names[1],
    ]);
    let said = lade.says(&["manifest", "push", &list]);
    let (media_type, bytes) = to.manifest("many/things", "all").must("the list");
    assert_eq!(
        (media_type.as_str(), said.as_str()),
        (OCI_INDEX, digest(&bytes).as_str())
    );
    let there: Value = serde_json::from_slice(&bytes).must("JSON");
    let wanted = [
        (images[0].digest(), "linux/amd64".to_owned()),
        (images[1].digest(), "linux/ppc64le".to_owned()),
    ];
    assert_eq!(members(&there), wanted);
    for image in &images {
        assert_eq!(
            to.manifest("many/things", &image.digest())
                .must("a member")
                .1,
            image.manifest
        );
        for blob in image.blobs() {
            assert_eq!(to.blob(&digest(&blob)), Some(blob));
        }
    }
    // Again: all is there, so nothing but documents is sent.
    to.forget();
    lade.ok(&["manifest", "push", &list]);
    assert_eq!(to.count(What::Upload, ""), 0, "{:?}", to.seen());
    assert_eq!(
        lade.says(&["manifest", "rm", &list]),
        format!("Untagged: {list}")
    );
    lade.fails(&["manifest", "push", &list], &["No such manifest", &list]);
    lade.ok(&["system", "check"]);
}

#[test]
fn a_manifest_is_shown_as_it_is() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = image_for("amd64", 1);
    let name = registry.serve("thing:one", &image);
    assert_eq!(
        inspect(&lade, &[&name]),
        serde_json::from_slice::<Value>(&image.manifest).must("JSON")
    );
    let docker = registry.serve("thing:two", &image.clone().docker());
    for (name, key, media_type) in [
        (&name, "OCIManifest", image.media_type.as_str()),
        (&docker, "SchemaV2Manifest", DOCKER_MANIFEST),
    ] {
        let shown = inspect(&lade, &["--verbose", name]);
        assert_eq!(shown["Ref"], name.as_str());
        assert_eq!(shown["Descriptor"]["mediaType"], media_type);
        assert_eq!(
            shown[key]["layers"].as_array().map(Vec::len),
            Some(2),
            "{shown}"
        );
    }
    let list = registry.name("thing:all");
    lade.ok(&["manifest", "create", &list, &name, &docker]);
    lade.ok(&["manifest", "push", "-p", &list]);
    let shown = inspect(&lade, &["-v", &list]);
    assert_eq!(
        shown[0]["Descriptor"]["platform"]["architecture"], "amd64",
        "{shown}"
    );
    // Nothing of it is an image here.
    assert!(lade.ids().is_empty());
    lade.ok(&["system", "check"]);
}

#[test]
fn manifests_and_lists_that_are_not_there_are_said_by_name() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &image_for("amd64", 1));
    let list = registry.name("thing:all");
    lade.ok(&["manifest", "create", &list, &name]);
    lade.ok(&["manifest", "push", "-p", &list]);
    for (args, parts) in [
        (
            &["inspect", &registry.name("nosuch:one")] as &[&str],
            &["nosuch"] as &[&str],
        ),
        (&["inspect", "A B"], &["A B"]),
        (
            &["create", "list:one", &registry.name("nosuch:one")],
            &["nosuch"],
        ),
        (&["create", "list:one", &list], &["manifest list"]),
        (
            &["annotate", "list:one", &name, "--arch", "arm"],
            &["No such manifest", "list:one"],
        ),
        (&["push", "list:one"], &["No such manifest", "list:one"]),
        (&["rm", "list:one"], &["No such manifest", "list:one"]),
    ] {
        lade.fails(&[&["manifest"], args].concat(), parts);
    }
    lade.ok(&["system", "check"]);
}

#[test]
fn a_member_has_the_platform_that_it_was_given() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = image_for("amd64", 1);
    let name = registry.serve("thing:one", &image);
    let docker = registry.serve("thing:two", &image.docker());
    lade.ok(&["manifest", "create", "list:one", &name]);
    let annotate = ["manifest", "annotate", "list:one", &name];
    let system = ["--os", "windows", "--os-version", "9.1"];
    lade.ok(&[&annotate as &[&str], &system, &["--os-features", "one,two"]].concat());
    let platform = serde_json::json!({"os": "windows", "architecture": "amd64", "os.version": "9.1", "os.features": ["one", "two"]});
    assert_eq!(
        inspect(&lade, &["list:one"])["manifests"][0]["platform"],
        platform
    );
    for (flag, value, pair) in [
        ("--os", "templeos", "templeos/amd64"),
        ("--arch", "foo64", "windows/foo64"),
        ("--arch", "x86_64", "windows/x86_64"),
    ] {
        let args = ["manifest", "annotate", flag, value, "list:one", &name];
        let said = format!("unsupported os/arch combination: {pair}");
        lade.fails(&args, &[&said, "linux/amd64"]);
    }
    lade.fails(
        &["manifest", "annotate", "list:one", &docker, "--arch", "arm"],
        &[&docker, "does not exist"],
    );
    lade.ok(&["system", "check"]);
}

#[test]
fn a_list_that_is_put_together_here_is_shown_with_its_members() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let images = [image_for("amd64", 1), image_for("arm64", 2).docker()];
    let names = [0, 1].map(|at| registry.serve(&format!("thing:t{at}"), &images[at]));
    let list = registry.name("thing:all");
    lade.ok(&["manifest", "create", &list, &names[0], &names[1]]);
    lade.ok(&["manifest", "annotate", &list, &names[1], "--variant", "v9"]);
    // One of them is here now; it is shown when nobody can be asked, too.
    lade.ok(&["pull", &names[0]]);
    let inspect = |args: &[&str]| inspect(&lade, args);
    let of = |image: &Image| -> Value { serde_json::from_slice(&image.manifest).must("JSON") };
    let shown = inspect(&["-v", &list]);
    let wanted = serde_json::json!([
        {
            "Ref": names[0],
            "Descriptor": {
                "mediaType": images[0].media_type,
                "digest": images[0].digest(),
                "size": images[0].manifest.len(),
                "platform": {"architecture": "amd64", "os": "linux"},
            },
            "OCIManifest": of(&images[0]),
        },
        {
            "Ref": names[1],
            "Descriptor": {
                "mediaType": DOCKER_MANIFEST,
                "digest": images[1].digest(),
                "size": images[1].manifest.len(),
                "platform": {"architecture": "arm64", "os": "linux", "variant": "v9"},
            },
            "SchemaV2Manifest": of(&images[1]),
        },
    ]);
    assert_eq!(shown, wanted, "{shown}");
    // A member, by the list's name and its own.
    assert_eq!(inspect(&["-v", &list, &names[1]]), wanted[1]);
    assert_eq!(inspect(&[&list, &names[1]]), of(&images[1]));
    let other = registry.name("thing:other");
    for args in [[list.as_str(), &other], [&other, &names[1]]] {
        let args = [&["manifest", "inspect"] as &[&str], &args].concat();
        lade.fails(&args, &["No such manifest", args[3]]);
    }
    drop(registry);
    assert_eq!(inspect(&["-v", &list, &names[0]]), wanted[0]);
}

#[test]
fn a_purge_keeps_what_was_added_meanwhile() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let names = [1, 2].map(|n| registry.serve(&format!("part{n}:one"), &Image::noise(n, 1, 1000)));
    let list = registry.name("list:one");
    lade.ok(&["manifest", "create", &list, &names[0]]);
    registry.fault(Rule::once(What::PutManifest, Fault::RetryAfter(503, "3")));
    let args = ["manifest", "push", "--purge", &list];
    let push = lade.cmd(&args).spawn();
    let begun = || (registry.count(What::PutManifest, "list") > 0).then_some(());
    orlop_tests::soon(std::time::Duration::from_secs(20), begun).must("a push that waits");
    lade.ok(&["manifest", "create", "--amend", &list, &names[1]]);
    push.wait().ok();
    // Nothing is lost, and what is pushed as it is goes.
    lade.ok(&args);
    lade.fails(&args, &["No such manifest", &list]);
}
