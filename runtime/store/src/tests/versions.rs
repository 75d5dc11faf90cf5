//! Roots of other versions, and directories of other people.

use rusqlite::Connection;

use super::*;
use crate::Error;
use crate::db::schema::STEPS;

/// Makes the database of a root anew, as the version of that many steps has made it.
fn as_of(root: &Root, steps: usize) -> Connection {
    drop(root.open());
    for name in ["db.sqlite", "db.sqlite-wal", "db.sqlite-shm"] {
        fs::remove_file(root.path(name)).ok();
    }
    let database = Connection::open(root.path("db.sqlite")).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    for step in &STEPS[..steps] {
        database.execute_batch(step).unwrap();
    }
    database
        .pragma_update(None, "user_version", steps.to_string())
        .unwrap();
    database
}

#[test]
fn an_old_database_is_migrated_with_what_is_in_it() {
    for steps in 0..STEPS.len() {
        let root = Root::new();
        let old = as_of(&root, steps);
        let id = Digest::of(b"old");
        if steps > 0 {
            let sql = "INSERT INTO images (id, size, at) VALUES (?, 7, 0)";
            old.execute(sql, [id.to_string()]).unwrap();
        }
        drop(old);
        let store = root.open();
        assert_eq!(store.db().version().unwrap(), STEPS.len() as u64);
        assert_eq!(store.images().unwrap().len(), usize::from(steps > 0));
        store
            .set_upload("docker.io/a", &id, Some("session"))
            .unwrap();
        Sample::new(0).pull(&store, &nothing).unwrap();
    }
}

#[test]
fn fifty_migrations_at_once_are_one() {
    let root = Root::new();
    drop(as_of(&root, 1));
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| root.open())).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for store in opened {
        assert_eq!(store.db().version().unwrap(), STEPS.len() as u64);
    }
}

#[test]
fn a_root_from_the_future_is_refused_in_a_line() {
    let root = Root::new();
    drop(as_of(&root, STEPS.len()));
    let database = Connection::open(root.path("db.sqlite")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    drop(database);
    let refused = Store::open(&root.0).unwrap_err();
    assert!(
        matches!(refused, Error::Newer { found: 99, .. }),
        "{refused:?}"
    );
    let path = root.path("db.sqlite").display().to_string();
    let said = format!(
        "{path}: written by a newer version (its form is 99, this one knows up to {}): use that version, or another data root",
        STEPS.len()
    );
    assert_eq!(refused.to_string(), said);
    fs::write(root.path("version"), "2\n").unwrap();
    let refused = Store::open(&root.0).unwrap_err();
    assert!(
        matches!(refused, Error::Newer { found: 2, .. }),
        "{refused:?}"
    );
}

#[test]
fn only_what_is_ours_is_taken_for_a_root() {
    for (name, taken) in [
        ("", true),
        ("blobs", true),
        ("index.json", false),
        ("home", false),
    ] {
        let root = Root::new();
        fs::create_dir(&root.0).unwrap();
        if !name.is_empty() {
            fs::create_dir(root.path(name)).unwrap();
        }
        let opened = Store::open(&root.0);
        match (opened, taken) {
            (Ok(store), true) => assert_eq!(store.check(false).unwrap(), []),
            (Err(Error::NotOurs(path)), false) => assert_eq!(path, root.0),
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}
