//! What was damaged behind lade's back: how it is said, and how it comes back.

use orlop_tests::registry::{Image, Layer, Registry};
use orlop_tests::{Lade, Must, complaint};
use std::fs;

#[test]
fn a_broken_database_is_said_with_a_way_out() {
    let lade = Lade::new();
    lade.ok(&["images"]);
    for file in ["db.sqlite-wal", "db.sqlite-shm"] {
        fs::remove_file(lade.data.join(file)).unwrap_or_default();
    }
    fs::write(lade.data.join("db.sqlite"), "no database at all").must("the database");
    for args in [
        &["images"] as &[&str],
        &["system", "check"],
        &["system", "check", "--repair"],
    ] {
        let done = lade.fails(args, &["db.sqlite", "move the data root away"]);
        assert!(!done.stderr().contains("system check"), "{done}");
    }
}

#[test]
fn a_layer_that_somebody_deleted_is_said_and_comes_back() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let base = Layer::busybox();
    let (one, two) = (
        Image::new(vec![base.clone()]),
        Image::new(vec![base.clone(), Layer::noise(1, 1000)]),
    );
    let names =
        [("box:one", one), ("box:two", two)].map(|(name, image)| registry.serve(name, &image));
    let other = registry.serve("other:one", &Image::noise(2, 1, 1000));
    for name in names.iter().chain([&other]) {
        lade.ok(&["pull", name]);
    }
    let said = lade.says(&["image", "verify", &names[1]]);
    assert!(said.ends_with("good (blobs: 4, layers: 2)"), "{said}");
    fs::remove_dir_all(lade.layer(&base.diff_id())).must("the layer");
    let run = |name: &str| {
        lade.cmd(&["run", "--rm", "--network", "none", name, "true"])
            .run()
    };
    let done = run(&names[0]);
    let parts = [
        &base.diff_id(),
        "not here",
        "hint: ",
        "lade pull",
        "lade image verify",
    ];
    assert_eq!(complaint(&done, &[125], &parts), None, "{done}");
    // Both have the layer, so neither is what it was.
    lade.fails(
        &["image", "verify"],
        &["images that are not what they were: 2 of 3"],
    );
    lade.ok(&["system", "check", "--repair"]);
    for name in &names {
        lade.ok(&["pull", name]);
        run(name).ok();
    }
    lade.whole();
}

#[test]
fn an_image_is_verified_by_the_name_that_was_given_and_damage_is_said_once() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 50_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, "zzz:last"]);
    lade.ok(&["tag", &name, "aaa:first"]);
    for given in [&name, "zzz:last", "aaa:first", &image.id()[7..19]] {
        let said = lade.says(&["image", "verify", given]);
        assert!(said.starts_with(&format!("{given}: good")), "{said}");
    }
    let digest = image.layers[0].digest();
    let blob = lade.data.join("blobs/sha256").join(&digest[7..]);
    let bytes = fs::read(&blob).must("the blob");
    fs::write(&blob, vec![b'x'; bytes.len()]).must("the blob");
    let damaged = [
        "its bytes have the digest",
        "could not be compared",
        &digest,
    ];
    let missing = ["its file is missing", "could not be compared", &digest];
    for parts in [damaged, missing] {
        let done = lade.cmd(&["image", "verify", "zzz:last"]).run().exits(1);
        let said = done.stdout();
        assert!(parts.iter().all(|part| said.contains(part)), "{done}");
        assert!(
            !said.contains("octal") && !said.contains("pull it again"),
            "{done}"
        );
        assert!(
            said.lines().all(|line| line.matches(&*digest).count() < 2),
            "{done}"
        );
        fs::remove_file(&blob).unwrap_or_default();
    }
}

#[test]
fn a_check_says_what_is_harmless_and_promises_nothing_it_cannot_keep() {
    let lade = Lade::new();
    let tar = Layer::noise(1, 10_000).tar;
    lade.cmd(&["import", "-", "made:one"]).stdin(tar).run().ok();
    let piped = lade.cmd(&["import", "-"]).with(|command| {
        command.stdin(std::process::Stdio::piped());
    });
    let mut killed = piped.spawn();
    let begun = || {
        let leases = fs::read_dir(lade.data.join("leases")).ok()?;
        leases.flatten().next()
    };
    let limit = std::time::Duration::from_secs(10);
    orlop_tests::soon(limit, begun).must("a lease");
    killed.child.kill().must("kill");
    killed.wait();
    let said = lade.says(&["system", "check"]);
    let note = "a note that a killed command left (harmless); --repair forgets it";
    assert!(said.contains(note), "{said}");
    lade.ok(&["system", "check", "--repair"]);
    assert_eq!(lade.says(&["system", "check"]), "No problems found.");
    let layer = lade.inspect("made:one", "{{range .RootFS.Layers}}{{.}}{{end}}");
    fs::remove_dir_all(lade.layer(&layer)).must("the layer");
    for (args, code) in [
        (&["system", "check"] as &[&str], 1),
        (&["system", "check", "--repair"], 0),
    ] {
        let said = lade.cmd(args).run().exits(code).stdout();
        let line = said
            .lines()
            .find(|line| line.starts_with("image "))
            .must(&said);
        assert!(
            line.contains("made:one") && line.contains("nothing can bring back"),
            "{said}"
        );
        assert!(!said.contains("a pull"), "{said}");
    }
}
