//! Archives: what `save` writes others read, what others write `load` reads, and `import` makes an image of any tar.

use crate::others::{Docker, podman, skopeo};
use orlop_tests::registry::image::{docker_archive, gzip, layout, oci_archive, write_layout};
use orlop_tests::registry::{
    Debian, DebianOptions, Fault, Image, Layer, Registry, Rule, Tar, What,
};
use orlop_tests::{Lade, Must};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// An engine that has two images, and their archive.
fn saved(registry: &Registry) -> (Lade, Vec<Image>, PathBuf) {
    let lade = Lade::new();
    let images = vec![Image::noise(1, 2, 10_000), Image::busybox()];
    for (image, name) in images.iter().zip(["one", "two"]) {
        let whole = registry.serve(name, image);
        lade.ok(&["pull", &whole]);
        lade.ok(&["tag", &whole, &format!("saved/{name}:tag")]);
        lade.ok(&["rmi", &whole]);
    }
    let file = lade.env.dir.join("images.tar");
    let path = file.display().to_string();
    lade.ok(&["save", "-o", &path, "saved/one:tag", "saved/two:tag"]);
    (lade, images, file)
}

#[test]
fn what_is_saved_is_loaded() {
    let registry = Registry::new();
    let (lade, images, file) = saved(&registry);
    let other = Lade::new();
    let path = file.display().to_string();
    let said = other.says(&["load", "-i", &path]);
    assert!(said.contains("Loaded image: saved/one:tag"), "{said}");
    assert_eq!(other.names(), ["saved/one:tag", "saved/two:tag"]);
    for (image, name) in images.iter().zip(["saved/one:tag", "saved/two:tag"]) {
        assert_eq!(other.inspect(name, "{{.Id}}"), image.id());
    }
    other.whole();
    // It gives back the very bytes: also the manifest.
    let target = registry.name("again:one");
    other.ok(&["tag", "saved/one:tag", &target]);
    other.ok(&["push", &target]);
    assert_eq!(
        registry.manifest("again", "one").must("a manifest").1,
        images[0].manifest
    );
    // The same twice is the same file; through a pipe, too.
    let piped = lade
        .ok(&["save", "saved/one:tag", "saved/two:tag"])
        .stdout();
    assert_eq!(
        piped,
        String::from_utf8_lossy(&fs::read(&file).must("the file"))
    );
}

#[test]
fn a_saved_archive_has_both_forms() {
    let registry = Registry::new();
    let (lade, images, file) = saved(&registry);
    let dir = lade.env.dir.join("unpacked");
    fs::create_dir(&dir).must(dir.display());
    lade.other("tar")
        .arg("-xf")
        .arg(&file)
        .arg("-C")
        .arg(&dir)
        .run()
        .ok();
    let read = |name: &str| -> Value {
        let text = fs::read(dir.join(name)).must(name);
        serde_json::from_slice(&text).must(name)
    };
    assert_eq!(read("oci-layout")["imageLayoutVersion"], "1.0.0");
    assert_eq!(
        read("index.json")["manifests"].as_array().map(Vec::len),
        Some(2)
    );
    let list = read("manifest.json");
    let names: Vec<&str> = list
        .as_array()
        .must("a list")
        .iter()
        .filter_map(|entry| entry["RepoTags"][0].as_str())
        .collect();
    assert_eq!(
        names,
        ["saved/one:tag", "saved/two:tag"],
        "as they were asked for"
    );
    assert_eq!(list.as_array().map(Vec::len), Some(images.len()));
}

#[test]
fn others_read_what_is_saved() {
    let registry = Registry::new();
    let (lade, images, file) = saved(&registry);
    let path = file.display().to_string();
    let single = lade.env.dir.join("single.tar").display().to_string();
    lade.ok(&["save", "-o", &single, "saved/one:tag"]);
    // In a layout the name is the tag, as docker has it.
    for (form, name) in [("oci-archive", "tag"), ("docker-archive", "saved/one:tag")] {
        let to = lade.env.dir.join(form);
        skopeo(
            &lade,
            &format!("{form}:{single}:{name}"),
            &format!("dir:{}", to.display()),
        );
        let text = fs::read(to.join("manifest.json")).must("manifest.json");
        let manifest: Value = serde_json::from_slice(&text).must("JSON");
        assert_eq!(manifest["config"]["digest"], images[0].id(), "{form}");
    }
    let loaded = podman(&lade).args(["load", "-i", &path]).run().ok();
    assert!(loaded.stdout().contains("saved/one:tag"), "{loaded}");
    let id = podman(&lade)
        .args(["image", "inspect", "--format", "{{.Id}}", "saved/one:tag"])
        .run()
        .ok();
    id.prints(&images[0].id()[7..]);
    if let Some(docker) = Docker::start(&lade, "docker load") {
        docker.cmd(&lade, &["load", "-i", &path]).run().ok();
        let id = docker
            .cmd(
                &lade,
                &["image", "inspect", "--format", "{{.Id}}", "saved/one:tag"],
            )
            .run()
            .ok();
        id.prints(&images[0].id());
    }
}

#[test]
fn what_docker_and_podman_save_is_loaded() {
    let lade = Lade::new();
    let image = Image::busybox();
    let file = lade.env.dir.join("given.tar");
    fs::write(&file, docker_archive(&[("given/it:tag", &image)])).must("the archive");
    let given = file.display().to_string();
    podman(&lade).args(["load", "-i", &given]).run().ok();
    let out = |name: &str| lade.env.dir.join(name).display().to_string();
    let mut made = Vec::new();
    for format in ["docker-archive", "oci-archive"] {
        let path = out(&format!("podman-{format}.tar"));
        podman(&lade)
            .args(["save", "--format", format, "-o", &path, "given/it:tag"])
            .run()
            .ok();
        made.push(path);
    }
    if let Some(docker) = Docker::start(&lade, "docker save") {
        docker.cmd(&lade, &["load", "-i", &given]).run().ok();
        let path = out("docker.tar");
        docker
            .cmd(&lade, &["save", "-o", &path, "given/it:tag"])
            .run()
            .ok();
        made.push(path);
    }
    for path in made {
        let other = Lade::new();
        other.ok(&["load", "-i", &path]);
        let ids = other.ids();
        assert_eq!(ids.len(), 1, "{path}: {ids:?}");
        let diff_ids = other.inspect(&ids[0], "{{range .RootFS.Layers}}{{.}}{{end}}");
        assert_eq!(diff_ids, image.layers[0].diff_id(), "{path}");
        other.whole();
    }
}

#[test]
fn every_form_of_archive_is_loaded() {
    let image = Image::noise(1, 2, 10_000);
    let images = [("form/it:tag", &image)];
    let (oci, docker) = (oci_archive(&images), docker_archive(&images));
    let table = [
        ("oci", oci.clone()),
        ("docker", docker.clone()),
        ("oci, gzip", gzip(&oci)),
        ("docker, gzip", gzip(&docker)),
        (
            "oci, zstd",
            zstd::encode_all(oci.as_slice(), 3).must("zstd"),
        ),
    ];
    for (form, bytes) in table {
        let lade = Lade::new();
        lade.cmd(&["load"]).stdin(bytes).run().ok();
        assert_eq!(lade.inspect("form/it:tag", "{{.Id}}"), image.id(), "{form}");
        lade.whole();
    }
    let lade = Lade::new();
    let dir = lade.env.dir.join("layout");
    write_layout(&dir, &images);
    lade.ok(&["load", "-i", &dir.display().to_string()]);
    assert_eq!(
        lade.inspect("form/it:tag", "{{.Id}}"),
        image.id(),
        "a directory"
    );
    lade.whole();
}

#[test]
fn what_is_no_archive_is_refused_and_leaves_nothing() {
    let image = Image::noise(1, 1, 10_000);
    let good = oci_archive(&[("it:tag", &image)]);
    let mut flipped = good.clone();
    let at = flipped
        .windows(64)
        .position(|window| window == &image.layers[0].blob[1000..1064]);
    flipped[at.must("the layer in the archive")] ^= 1;
    let mut files = layout(&[("it:tag", &image)]);
    files.retain(|(path, _)| !path.ends_with(&image.layers[0].digest()[7..]));
    let mut without = Tar::new();
    for (path, bytes) in files {
        without = without.file(&path, 0o644, bytes);
    }
    let table: [(&str, Vec<u8>, &str); 7] = [
        ("nothing", Vec::new(), "empty|archive"),
        ("text", b"this is no archive".to_vec(), "archive|tar"),
        (
            "half",
            good[..good.len() / 2].to_vec(),
            "archive|end|truncated|missing|not",
        ),
        ("a bit", flipped, "sha256:"),
        ("a missing layer", without.done(), "sha256:"),
        (
            "a tar of something else",
            Tar::new().file("hello", 0o644, "x").done(),
            "manifest.json|index.json|archive",
        ),
        (
            "garbage in it",
            Tar::new()
                .file("oci-layout", 0o644, "{}")
                .file("index.json", 0o644, "{")
                .done(),
            "index.json",
        ),
    ];
    for (case, bytes, part) in table {
        let lade = Lade::new();
        let done = lade.cmd(&["load"]).stdin(bytes).run();
        assert_eq!(
            orlop_tests::complaint(&done, &[1], &[part]),
            None,
            "{case}\n{done}"
        );
        assert!(lade.ids().is_empty(), "{case}");
        lade.whole();
    }
}

fn hello() -> Vec<u8> {
    Tar::new()
        .dir("etc/", 0o755)
        .file("etc/hello", 0o644, "hello\n")
        .done()
}

#[test]
fn any_tar_is_imported() {
    let lade = Lade::new();
    let table = [
        ("plain", hello()),
        ("gzip", gzip(&hello())),
        ("zstd", zstd::encode_all(hello().as_slice(), 3).must("zstd")),
    ];
    for (form, bytes) in table {
        let name = format!("made:{form}");
        let done = lade.cmd(&["import", "-", &name]).stdin(bytes).run().ok();
        let id = done.stdout().trim().to_owned();
        assert!(id.starts_with("sha256:"), "{form}: {id}");
        let layer = lade.inspect(&id, "{{range .RootFS.Layers}}{{.}}{{end}}");
        let text = fs::read_to_string(lade.layer(&layer).join("etc/hello")).must(form);
        assert_eq!(text, "hello\n");
    }
    let file = lade.env.dir.join("in.tar");
    fs::write(&file, hello()).must("in.tar");
    for (program, suffix) in [("xz", "xz"), ("bzip2", "bz2")] {
        if !Path::new("/usr/bin").join(program).exists()
            && !Path::new("/bin").join(program).exists()
        {
            orlop_tests::skip(program, "not here");
            continue;
        }
        lade.other(program).arg("-k").arg(&file).run().ok();
        let packed = format!("{}.{suffix}", file.display());
        lade.ok(&["import", &packed, &format!("made:{suffix}")]);
    }
    lade.whole();
}

#[test]
fn what_is_no_tar_is_refused_by_its_name() {
    let lade = Lade::new();
    let (file, dir) = (lade.env.dir.join("text"), lade.env.dir.join("tree"));
    fs::write(&file, "x".repeat(2000)).must("a file");
    fs::create_dir(&dir).must("a directory");
    let (file, dir) = (file.display().to_string(), dir.display().to_string());
    let no_tar = "this is no tar, or a damaged one";
    let hint = format!("hint: tar -C {dir} -c . | lade import -");
    for (name, parts) in [
        (&*file, [&*file, no_tar]),
        ("-", ["standard input", no_tar]),
        (&dir, ["is a directory", &hint]),
    ] {
        let done = lade.cmd(&["import", name]).stdin("y".repeat(2000)).run();
        let complaint = orlop_tests::complaint(&done, &[1], &parts);
        assert_eq!(complaint, None, "{done}");
    }
    assert!(lade.ids().is_empty());
    lade.whole();
}

#[test]
fn an_import_is_changed_by_instructions() {
    let lade = Lade::new();
    let changes = ["-c", "ENV A=b", "-c", "CMD [\"sh\",\"-c\",\"true\"]"];
    lade.cmd(&["import", "-m", "why"])
        .args(changes)
        .args(["-", "made:changed"])
        .stdin(hello())
        .run()
        .ok();
    let config = |template: &str| lade.inspect("made:changed", template);
    assert_eq!(config("{{json .Config.Cmd}}"), r#"["sh","-c","true"]"#);
    assert!(config("{{json .Config.Env}}").contains("A=b"));
    let done = lade
        .cmd(&["import", "-c", "FROM x", "-"])
        .stdin(hello())
        .run();
    assert_eq!(
        orlop_tests::complaint(&done, &[1], &["FROM"]),
        None,
        "{done}"
    );
    lade.whole();
}

#[test]
fn an_image_made_here_is_saved_and_read_by_others() {
    let lade = Lade::new();
    let tar = Layer::busybox().tar;
    lade.cmd(&["import", "-", "made:one"]).stdin(tar).run().ok();
    let file = lade.env.dir.join("made.tar");
    let path = file.display().to_string();
    lade.ok(&["save", "-o", &path, "made:one"]);
    check_by_skopeo(&lade, &file);
    let other = Lade::new();
    other.ok(&["load", "-i", &path]);
    assert_eq!(
        other.inspect("made:one", "{{.Id}}"),
        lade.inspect("made:one", "{{.Id}}")
    );
    other.whole();
}

fn check_by_skopeo(lade: &Lade, file: &Path) {
    for (form, name) in [("oci-archive", "one"), ("docker-archive", "made:one")] {
        let to = lade.env.dir.join(format!("made-{form}"));
        skopeo(
            lade,
            &format!("{form}:{}:{name}", file.display()),
            &format!("dir:{}", to.display()),
        );
    }
}

#[test]
fn save_leaves_no_half_file() {
    let registry = Registry::new();
    let (lade, _, _) = saved(&registry);
    let path = lade.env.dir.join("never.tar");
    lade.fails(
        &["save", "-o", &path.display().to_string(), "nosuch"],
        &["nosuch"],
    );
    assert!(!path.exists());
    lade.fails(
        &["save", "-o", "/no/such/dir/x.tar", "saved/one:tag"],
        &["/no/such/dir"],
    );
}

#[test]
fn save_removes_what_a_killed_one_has_left() {
    let registry = Registry::new();
    let (lade, _, file) = saved(&registry);
    let dir = lade.env.dir.join("kept");
    fs::create_dir(&dir).must(dir.display());
    for name in [
        ".a.tar.1",
        ".a.tar.4194304",
        ".a.tar.x",
        ".a.tar.",
        ".b.tar.2",
    ] {
        fs::write(dir.join(name), "left").must(name);
    }
    let path = dir.join("a.tar");
    lade.ok(&[
        "save",
        "-o",
        &path.display().to_string(),
        "saved/one:tag",
        "saved/two:tag",
    ]);
    assert!(fs::read(&path).must("it") == fs::read(&file).must("the other one"));
    let names = fs::read_dir(&dir).must(dir.display()).flatten();
    let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, [".a.tar.", ".a.tar.x", ".b.tar.2", "a.tar"]);
}

#[test]
fn an_archive_is_imported_from_the_web() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let (plain, packed) = (hello(), gzip(&hello()));
    let address = |blob: &[u8]| {
        registry.put_blob("web", blob);
        format!(
            "/v2/web/blobs/{}",
            orlop_tests::registry::image::digest(blob)
        )
    };
    let (plain, packed) = (address(&plain), address(&packed));
    for (at, url) in [
        format!("{}{plain}", registry.url()),
        format!("{}{packed}?signature=1", registry.url()),
    ]
    .iter()
    .enumerate()
    {
        let id = lade.says(&["import", url, &format!("web:{at}")]);
        let layer = lade.inspect(&id, "{{range .RootFS.Layers}}{{.}}{{end}}");
        let text = fs::read_to_string(lade.layer(&layer).join("etc/hello")).must("hello");
        assert_eq!(text, "hello\n");
        let history = lade.inspect(&id, "{{json .Comment}}");
        assert!(history.contains("Imported from http://"), "{history}");
        // Who may read the image is not who may read what is signed.
        assert!(!history.contains("signature"), "{history}");
    }
    // By a proxy, to a host that there is not.
    let far = format!("http://far.example{plain}");
    let through = lade.cmd(&["import", &far, "web:far"]);
    through.env("http_proxy", registry.url()).run().ok();
    assert_eq!(lade.names().len(), 3);
    lade.whole();
}

#[test]
fn an_address_of_a_server_without_tls_is_told_to_say_so() {
    let lade = Lade::new();
    // It answers in plain HTTP whatever it gets.
    let server = Debian::start(&lade.env, DebianOptions::default());
    let url = format!("https://{}/x.tar", server.host());
    let done = lade.fails(&["import", &url], &["does not speak TLS", "write http://"]);
    assert!(!done.stderr().contains("insecure"), "{done}");
}

#[test]
fn what_the_web_does_not_give_whole_is_refused() {
    let registry = Registry::new();
    let tar = Layer::noise(1, 100_000).blob;
    registry.put_blob("web", &tar);
    let path = format!(
        "/v2/web/blobs/{}",
        orlop_tests::registry::image::digest(&tar)
    );
    let url = format!("{}{path}", registry.url());
    let host = registry.host();
    let table: [(Option<Fault>, String, &[&str]); 7] = [
        (
            Some(Fault::DropAt(50_000)),
            url.clone(),
            &[&host, "connection"],
        ),
        (Some(Fault::Page(403)), url.clone(), &[&host, "403"]),
        (Some(Fault::Page(404)), url.clone(), &[&host, "404"]),
        (
            Some(Fault::Body(b"<html>".to_vec())),
            url.clone(),
            &["archive"],
        ),
        (None, format!("http://user:secret@{host}{path}"), &["login"]),
        (None, "https://".to_owned(), &["address"]),
        (
            None,
            "http://127.0.0.1:1/x.tar".to_owned(),
            &["127.0.0.1:1"],
        ),
    ];
    for (fault, url, parts) in table {
        let lade = Lade::new();
        registry.mend();
        if let Some(fault) = fault.clone() {
            registry.fault(Rule::always(What::Blob, fault));
        }
        let done = lade
            .cmd(&["import", &url, "web:bad"])
            .env("LADE_RETRIES", "0")
            .run();
        let complaint = orlop_tests::complaint(&done, &[1], parts);
        assert_eq!(complaint, None, "{fault:?} {url}\n{done}");
        assert!(!done.stderr().contains("secret"), "{done}");
        assert!(lade.ids().is_empty(), "{fault:?} {url}");
        lade.whole();
    }
}

#[test]
fn a_program_that_says_much_is_heard_to_its_end() {
    let lade = Lade::new();
    let tar = lade.env.dir.join("plain.tar");
    let text = vec![b'x'; 300_000];
    fs::write(&tar, Tar::new().file("file", 0o644, text).done()).must("a tar");
    let programs = lade.env.dir.join("programs");
    fs::create_dir(&programs).must("a directory of programs");
    // More than a pipe holds, before anything else.
    let script = format!(
        "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' w >&2\nexec cat {}\n",
        tar.display()
    );
    let xz = programs.join("xz");
    fs::write(&xz, script).must("a program");
    fs::set_permissions(&xz, PermissionsExt::from_mode(0o755)).must("its mode");
    let archive = lade.env.dir.join("archive.tar.xz");
    fs::write(&archive, b"\xfd7zXZ\0 and more").must("an archive");
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let archive = archive.display().to_string();
    let import = lade.cmd(&["import", &archive, "made:one"]);
    import.env("PATH", path).run().ok();
    assert_eq!(lade.names(), ["made:one"]);
    lade.whole();
}
