//! Listing and naming: `images`, `inspect`, `history`, `tag`, and how an image is meant.

use orlop_tests::Lade;
use orlop_tests::registry::image::digest;
use orlop_tests::registry::{Image, Layer, Registry};
use serde_json::Value;

/// Three images, two of them of one repository, one with labels and without a name.
fn filled(registry: &Registry) -> (Lade, Vec<Image>) {
    let lade = Lade::new();
    let labelled = Image::with(vec![Layer::noise(3, 1000)], |config| {
        config["config"]["Labels"] = serde_json::json!({"colour": "red", "empty": ""});
        config["created"] = "2023-01-01T00:00:00Z".into();
    });
    let images = vec![Image::noise(1, 1, 1000), Image::noise(2, 2, 1000), labelled];
    for (image, name) in images.iter().zip(["a/one:x", "a/one:y", "b/two:x"]) {
        lade.ok(&["pull", &registry.serve(name, image)]);
    }
    lade.ok(&["tag", &registry.name("b/two:x"), "short:tag"]);
    lade.ok(&["rmi", &registry.name("b/two:x")]);
    (lade, images)
}

#[test]
fn the_table_has_dockers_columns() {
    let registry = Registry::new();
    let (lade, images) = filled(&registry);
    let text = lade.says(&["images"]);
    let mut lines = text.lines();
    let columns: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split("  ")
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    assert_eq!(
        columns,
        ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    );
    assert_eq!(lines.count(), 3, "{text}");
    assert!(text.contains(&images[0].id()[7..19]), "{text}");
    assert_eq!(lade.says(&["image", "ls"]), text);
    assert_eq!(lade.says(&["image", "list"]), text);
    let digests = lade.says(&["images", "--digests"]);
    assert!(digests.contains(&images[0].digest()), "{digests}");
}

#[test]
fn filters_choose() {
    let registry = Registry::new();
    let (lade, images) = filled(&registry);
    let host = registry.host();
    let table: [(&[&str], &[usize]); 12] = [
        (&[], &[0, 1, 2]),
        (&["--filter", "dangling=true"], &[]),
        (&["--filter", "label=colour"], &[2]),
        (&["--filter", "label=colour=red"], &[2]),
        (&["--filter", "label=colour=blue"], &[]),
        (&["--filter", &format!("reference={host}/a/*")], &[0, 1]),
        (&["--filter", "reference=short"], &[2]),
        (&["--filter", "reference=*:tag"], &[2]),
        (&[&format!("{host}/a/one")], &[0, 1]),
        (&[&format!("{host}/a/one:y")], &[1]),
        (&["nosuch"], &[]),
        (&["--filter", "since=short:tag"], &[0, 1]),
    ];
    for (args, wanted) in table {
        let mut args = args.to_vec();
        args.splice(0..0, ["images", "-q", "--no-trunc"]);
        let text = lade.says(&args);
        let mut found: Vec<&str> = text.lines().collect();
        found.sort_unstable();
        let mut ids: Vec<String> = wanted.iter().map(|at| images[*at].id()).collect();
        ids.sort();
        assert_eq!(found, ids, "{args:?}");
    }
    lade.fails(&["images", "--filter", "nosuch=1"], &["nosuch"]);
    lade.fails(&["images", "--filter", "dangling=perhaps"], &["perhaps"]);
}

#[test]
fn templates_and_json() {
    let registry = Registry::new();
    let (lade, images) = filled(&registry);
    let mut lines = lade.says(&["images", "--format", "{{.Repository}} {{.Tag}} {{.ID}}"]);
    assert!(
        lines.contains(&format!("short tag {}", &images[2].id()[7..19])),
        "{lines}"
    );
    lines = lade.says(&["images", "--format", "json"]);
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).expect("a JSON object on each line");
        assert!(
            row["ID"].is_string() && row["Repository"].is_string(),
            "{row}"
        );
    }
    let text = lade.says(&[
        "images",
        "--format",
        "table {{.ID}}\t{{upper .Tag}}",
        "short",
    ]);
    assert_eq!(
        text.lines().nth(1).map(|line| line.contains("TAG")),
        Some(true),
        "{text}"
    );
    let id = images[2].id();
    let table = [
        ("{{.Id}}", id.as_str()),
        ("{{json .Config.Labels}}", r#"{"colour":"red","empty":""}"#),
        ("{{index .Config.Labels \"colour\"}}", "red"),
        ("{{range .RepoTags}}{{.}}{{end}}", "short:tag"),
        ("{{len .RootFS.Layers}}", "1"),
        ("{{if eq .Os \"linux\"}}yes{{else}}no{{end}}", "yes"),
        ("{{printf \"%s/%s\" .Os .Architecture}}", "linux/amd64"),
        ("{{join .Config.Cmd \" \"}}", "sh"),
    ];
    for (template, wanted) in table {
        assert_eq!(lade.inspect("short:tag", template), wanted, "{template}");
    }
    let done = lade
        .cmd(&["image", "inspect", "--format", "{{.Nosuch", "short:tag"])
        .run();
    let complaint = orlop_tests::complaint(&done, &[125], &["--format"]);
    assert_eq!(complaint, None, "{done}");
}

#[test]
fn an_image_is_meant_by_name_id_or_prefix() {
    let registry = Registry::new();
    let (lade, images) = filled(&registry);
    let id = images[2].id();
    for name in ["short:tag", &id, &id[7..], &id[7..19], &id[..20]] {
        assert_eq!(lade.inspect(name, "{{.Id}}"), id, "{name}");
    }
    lade.fails(&["inspect", "nosuch:one"], &["nosuch:one"]);
    lade.fails(
        &["image", "inspect", "0000000000000000"],
        &["0000000000000000"],
    );
}

#[test]
fn an_ambiguous_prefix_is_refused() {
    let (lade, registry) = (Lade::new(), Registry::new());
    // Until two ids begin alike: one in sixteen does with each of the others.
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..17 {
        let image = Image::noise(seed, 1, 10);
        lade.ok(&[
            "pull",
            "-q",
            &registry.serve(&format!("thing:t{seed}"), &image),
        ]);
        let first = image.id()[7..8].to_owned();
        if seen.insert(first.clone(), image).is_some() {
            lade.fails(
                &["image", "inspect", &first],
                &["ambiguous|several|more than one|multiple", &first],
            );
            return;
        }
    }
    panic!("17 ids cannot begin with 16 different digits");
}

#[test]
fn tags_come_and_go() {
    let registry = Registry::new();
    let (lade, images) = filled(&registry);
    lade.ok(&["tag", "short:tag", "other/name"]);
    assert_eq!(lade.inspect("other/name:latest", "{{.Id}}"), images[2].id());
    lade.ok(&["tag", &images[0].id(), "other/name"]);
    assert_eq!(lade.inspect("other/name", "{{.Id}}"), images[0].id());
    lade.fails(&["tag", "short:tag", "Not/Good"], &["Not/Good"]);
    lade.fails(&["tag", "short:tag", &digest(b"x")], &["sha256"]);
    lade.fails(&["tag", "nosuch", "x"], &["nosuch"]);
}

#[test]
fn history_names_the_steps() {
    let registry = Registry::new();
    let (lade, images) = filled(&registry);
    let name = registry.name("a/one:y");
    let text = lade.says(&["history", "--no-trunc", "--format", "{{.CreatedBy}}", &name]);
    assert_eq!(text, "step 1\nstep 0", "the newest first");
    let quiet = lade.says(&["history", "-q", "--no-trunc", &name]);
    assert_eq!(quiet.lines().next(), Some(images[1].id().as_str()));
}

#[test]
fn inspect_is_a_list_of_json() {
    let registry = Registry::new();
    let (lade, images) = filled(&registry);
    let all = lade.ok(&["inspect", "short:tag", &images[0].id()]).json();
    let list = all.as_array().expect("an array");
    assert_eq!(list.len(), 2);
    for field in [
        "Id",
        "RepoTags",
        "RepoDigests",
        "Created",
        "Config",
        "Architecture",
        "Os",
        "Size",
        "RootFS",
    ] {
        assert!(!list[0][field].is_null(), "{field}: {}", list[0]);
    }
    // What is there is printed although something is missing.
    let done = lade.cmd(&["inspect", "nosuch", "short:tag"]).run().exits(1);
    assert_eq!(done.json().as_array().map(Vec::len), Some(1), "{done}");
}
