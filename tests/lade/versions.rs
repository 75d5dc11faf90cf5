//! Data roots of other versions: an older one is brought to ours, a newer one is left alone.

use orlop_tests::registry::{Image, Registry};
use orlop_tests::{Cmd, Lade, Must};
use std::fs;

/// Asks the database, as anybody can who has SQLite.
fn sqlite(lade: &Lade, statements: &str) -> Cmd {
    let script = "import sqlite3, sys\nhere = sqlite3.connect(sys.argv[1], isolation_level=None)\nfor one in sys.argv[2].split(';'):\n    for row in here.execute(one):\n        print(*row)\n";
    let python = lade.other("python3").args(["-c", script]);
    python.arg(lade.data.join("db.sqlite")).arg(statements)
}

fn version(lade: &Lade) -> String {
    let done = sqlite(lade, "PRAGMA user_version").run().ok();
    done.stdout().trim().to_owned()
}

/// Makes the database what the first version of this program has made of it.
fn make_old(lade: &Lade) {
    sqlite(lade, "DROP TABLE uploads; PRAGMA user_version = 1")
        .run()
        .ok();
}

#[test]
fn an_older_database_is_migrated_with_all_that_is_in_it() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 50_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, "mine:two"]);
    let new = version(&lade);
    make_old(&lade);
    // Many at once: it happens once, and nobody is told of it.
    let crowd: Vec<_> = (0..8)
        .map(|_| lade.cmd(&["images", "-q", "--no-trunc"]).spawn())
        .collect();
    for one in crowd {
        let done = one.wait().ok();
        assert_eq!(
            (done.stdout().lines().next(), done.stderr().as_str()),
            (Some(&*image.id()), "")
        );
    }
    assert_eq!(version(&lade), new);
    assert_eq!(lade.names(), [name.clone(), "mine:two".to_owned()]);
    lade.whole();
    // What is new is there: a push keeps its place in it.
    let target = registry.name("copy:one");
    lade.ok(&["tag", &name, &target]);
    lade.ok(&["push", &target]);
    lade.ok(&["rmi", "-f", &image.id()]);
    lade.ok(&["system", "check"]);
    lade.swept();
}

#[test]
fn an_older_database_is_migrated_by_whichever_command_comes_first() {
    let registry = Registry::new();
    let name = registry.serve("thing:one", &Image::busybox());
    for args in [
        &["pull", &name] as &[&str],
        &["run", "--rm", "--network", "none", &name, "true"],
        &["rmi", &name],
        &["image", "prune", "-a", "-f"],
        &["system", "df"],
        &["system", "check"],
        &["image", "inspect", &name],
    ] {
        let lade = Lade::new();
        lade.ok(&["pull", &name]);
        let new = version(&lade);
        make_old(&lade);
        lade.ok(args);
        assert_eq!(version(&lade), new, "{args:?}");
        lade.whole();
        lade.swept();
    }
}

#[test]
fn what_a_newer_version_has_written_is_refused_in_a_line_and_left_alone() {
    let registry = Registry::new();
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    for newer in ["database", "tree"] {
        let lade = Lade::new();
        lade.ok(&["pull", &name]);
        match newer {
            "database" => drop(
                sqlite(
                    &lade,
                    "PRAGMA user_version = 9999; PRAGMA wal_checkpoint(TRUNCATE)",
                )
                .run()
                .ok(),
            ),
            _ => fs::write(lade.data.join("version"), "9999\n").must("version"),
        }
        let content = || {
            let read = |name| fs::read(lade.data.join(name)).must(name);
            (lade.files(), read("db.sqlite"), read("version"))
        };
        let before = content();
        for args in [
            &["images"] as &[&str],
            &["pull", &name],
            &["load", "-i", "/dev/null"],
            &["tag", &name, "other:one"],
            &["rmi", &name],
            &["image", "prune", "-a", "-f"],
            &["system", "check", "--repair"],
            &["system", "df"],
        ] {
            lade.fails(args, &["newer", "9999", "data root"]);
        }
        let done = lade.cmd(&["run", "--rm", &name, "true"]).run();
        assert_eq!(
            orlop_tests::complaint(&done, &[125], &["newer", "9999"]),
            None,
            "{done}"
        );
        assert!(before == content(), "{newer}: something has changed");
    }
}
