//! Names, lists, and removal.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{NewName, Records, Staged};

use super::support::{Scratch, engine, import, tar};
use crate::{Filters, Kind, Line, List, Prune, Remove, Rows, rows};

#[test]
fn images_are_found_by_name_and_by_the_beginning_of_an_id() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let id = import(&engine, &tar(&here.0, "a", &[10]), "app:1");
    for name in [
        "app:1",
        "docker.io/library/app:1",
        &id.short(),
        &id.to_string(),
        &id.hex(),
    ] {
        assert_eq!(engine.find(name).unwrap().id, id, "{name}");
    }
    for (name, kind, message) in [
        ("app", Kind::NotFound, "No such image: app:latest"),
        (
            &"0".repeat(64),
            Kind::NotFound,
            &*format!("No such image: {}", "0".repeat(64)),
        ),
        ("sha256:zz", Kind::NotFound, "No such image: sha256:zz"),
        ("A B", Kind::Invalid, "image name \"A B\""),
    ] {
        let error = engine.find(name).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let mut seen = vec![id.hex()[..1].to_string()];
    // Sooner or later two begin alike.
    let ambiguous = (0..40).find_map(|number| {
        let name = format!("n{number}");
        let other = import(&engine, &tar(&here.0, &name, &[10]), &name);
        let first = other.hex()[..1].to_string();
        let twice = seen.contains(&first);
        seen.push(first.clone());
        twice.then_some(first)
    });
    let error = engine.find(&ambiguous.unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::Ambiguous);
    assert!(error.hint().unwrap().starts_with("it is one of "));
}

#[test]
fn an_image_whose_config_is_lost_hides_none_of_the_others() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let lost = import(&engine, &tar(&here.0, "a", &[10]), "lost:1");
    let whole = import(&engine, &tar(&here.0, "b", &[10]), "whole:1");
    let store = engine.store();
    let config = store.image(&lost).unwrap().unwrap().config.unwrap();
    let path = here.join("data/blobs/sha256").join(config.hex());
    fs::remove_file(path).unwrap();
    let named = |filter: Option<(&str, &str)>| -> Vec<_> {
        let mut list = List::default();
        if let Some((name, value)) = filter {
            list.filters.add(name, value);
        }
        let images = engine.images(&list).unwrap();
        let mut names: Vec<_> = images.into_iter().flat_map(|one| one.names).collect();
        names.sort();
        names
    };
    assert_eq!(named(None), ["lost:1", "whole:1"]);
    assert_eq!(named(Some(("label", "made"))), ["whole:1"]);
    assert!(named(Some(("label!", "other"))).iter().eq(["whole:1"]));
    assert_eq!(engine.usage().unwrap().images.len(), 2);
    assert!(engine.check(false).unwrap().is_bad());
    // What it might say in its favour is not known.
    let mut prune = Prune {
        all: true,
        ..Prune::default()
    };
    prune.filters.add("label!", "keep");
    engine.prune(&prune).unwrap();
    assert_eq!(named(None), ["lost:1"]);
    assert!(store.image(&whole).unwrap().is_none());
    prune.filters = Filters::default();
    engine.prune(&prune).unwrap();
    assert!(named(None).is_empty());
}

#[test]
fn an_image_that_goes_away_just_now_is_not_found() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let id = import(&engine, &tar(&here.0, "a", &[10]), "app:1");
    let store = engine.store();
    let image = store.image(&id).unwrap().unwrap();
    let name = store.names_of(&id).unwrap().remove(0);
    let records = Records {
        images: vec![image],
        names: vec![NewName {
            name: name.name,
            image: id,
            manifest: None,
        }],
        ..Records::default()
    };
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                assert!(store.remove_image(&id, None).unwrap());
                store.commit(Staged::default(), records.clone()).unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        });
        while !ended.load(Ordering::Relaxed) {
            let error = engine.find("app:1").err().map(|error| error.to_string());
            assert!(error.is_none_or(|error| error == "No such image: app:1"));
        }
    });
}

#[test]
fn two_who_mount_at_once_know_of_each_other() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let here = Scratch::new();
    let engine = engine(&here.0);
    import(&engine, &tar(&here.0, "a", &[10]), "app:1");
    let places: Vec<_> = (0..4).map(|n| here.join(&format!("at{n}"))).collect();
    for _ in 0..10 {
        std::thread::scope(|scope| {
            for place in &places {
                let engine = &engine;
                scope.spawn(move || {
                    fs::create_dir(place).unwrap();
                    engine.mount("app:1", Some(place)).unwrap();
                });
            }
        });
        let mounts = engine.mounts().unwrap();
        for place in &places {
            let known = mounts.iter().any(|mounted| mounted.path == *place);
            let place_name = place.to_string_lossy();
            let gone = engine.unmount(&place_name, &crate::Unmount::default());
            if !known {
                nix::mount::umount(place).unwrap();
            }
            fs::remove_dir(place).unwrap();
            assert!(known && gone.is_ok(), "{place_name}: {gone:?}");
        }
    }
}

#[test]
fn a_digest_is_no_name_to_give() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let id = import(&engine, &tar(&here.0, "a", &[10]), "app:1");
    for (name, why) in [
        (id.to_string(), "using digest algorithm as name"),
        ("sha256:1".into(), "using digest algorithm as name"),
        (format!("b@{id}"), "a digest reference"),
        (id.hex(), "cannot be its name"),
    ] {
        let error = engine.tag("app:1", &name).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
        let text = error.to_string();
        assert!(text.contains(&name) && text.contains(why), "{text}");
    }
}

#[test]
fn a_list_is_filtered() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let id = import(&engine, &tar(&here.0, "a", &[10]), "app:1");
    engine.tag("app:1", "other/app:2").unwrap();
    import(&engine, &tar(&here.0, "bb", &[10]), "app:1");
    for (filter, expected) in [
        ("dangling=true", 0),
        ("dangling=false", 2),
        ("label=made", 2),
        ("label=made=there", 0),
        ("reference=app", 1),
        ("reference=*/app", 1),
        ("before=app:1", 0),
        ("until=24h", 0),
    ] {
        let options = List {
            filters: Filters::parse(&[filter]).unwrap(),
            ..List::default()
        };
        assert_eq!(engine.images(&options).unwrap().len(), expected, "{filter}");
    }
    let all = engine.images(&List::default()).unwrap();
    assert_eq!(rows(&all, &Rows::default()).len(), 2);
    let inspected = engine.inspect("other/app:2").unwrap();
    assert_eq!(inspected["Id"], id.to_string());
    assert_eq!(inspected["Config"]["Cmd"][0], "/bin/sh");
    assert_eq!(inspected["RootFS"]["Layers"].as_array().unwrap().len(), 1);
    let history = engine.history("app:1").unwrap();
    assert_eq!(history[0].comment, "Imported from -");
}

#[test]
fn removal_takes_names_first_and_leaves_nothing() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let remove = |names: &[&str], force| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let removed = engine.remove(
            &names,
            &Remove {
                force,
                ..Remove::default()
            },
        );
        let lines: Vec<String> = removed.lines.iter().map(ToString::to_string).collect();
        let errors: Vec<String> = removed.errors.iter().map(ToString::to_string).collect();
        (lines, errors)
    };
    let id = import(&engine, &tar(&here.0, "a", &[100_000]), "app:1");
    let layer = engine.find("app:1").unwrap().record.layers[0];
    engine.tag("app:1", "other:1").unwrap();
    let (lines, errors) = remove(&["app:1", "nothing"], false);
    assert_eq!(lines, ["Untagged: app:1"]);
    assert_eq!(errors, ["No such image: nothing:latest"]);
    engine.tag("other:1", "app:2").unwrap();
    let (_, errors) = remove(&[&id.short()], false);
    let conflict = "image is referenced in multiple repositories";
    assert_eq!(
        errors,
        [format!(
            "conflict: unable to delete {} (must be forced) - {conflict}",
            id.short()
        )]
    );
    let (lines, _) = remove(&[&id.short()], true);
    let deleted = [format!("Deleted: {id}"), format!("Deleted: {layer}")];
    assert_eq!(lines[2..], deleted);
    engine.sweep().unwrap();
    let usage = engine.usage().unwrap();
    assert_eq!((usage.images.len(), usage.layers), (0, 0));
    // An empty folder is left.
    assert!(usage.trash <= 4096, "{usage:?}");
    assert!(usage.total < 2_000_000, "{usage:?}");
    assert_eq!(engine.check(false).unwrap().problems, []);
}

#[test]
fn prune_takes_what_has_no_name() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let old = import(&engine, &tar(&here.0, "a", &[1000]), "app:1");
    import(&engine, &tar(&here.0, "bb", &[1000]), "app:1");
    let pruned = engine.prune(&Prune::default()).unwrap();
    assert_eq!(pruned.lines[0], Line::Deleted(old.to_string()));
    assert!(pruned.reclaimed > 1000);
    let pruned = engine
        .prune(&Prune {
            all: true,
            ..Prune::default()
        })
        .unwrap();
    assert_eq!(pruned.lines[0], Line::Untagged("app:1".to_string()));
    assert!(engine.images(&List::default()).unwrap().is_empty());
}

#[test]
fn a_changed_file_is_found() {
    let here = Scratch::new();
    let engine = engine(&here.0);
    let id = import(&engine, &tar(&here.0, "a", &[10]), "app:1");
    let layer = engine.layer_paths(&id).unwrap().remove(0);
    fs::write(layer.join("etc/name"), "b").unwrap();
    let verified = engine
        .verify(&["app:1".to_string()], &crate::Quiet)
        .unwrap();
    assert_eq!(verified[0].differences.len(), 1);
    assert!(verified[0].differences[0].contains("its files give"));
}

#[test]
fn an_image_is_mounted_to_look_at() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let here = Scratch::new();
    let engine = engine(&here.0);
    let id = import(&engine, &tar(&here.0, "a", &[10]), "app:1");
    let path = engine.mount("app:1", None).unwrap();
    assert_eq!(fs::read_to_string(path.join("etc/name")).unwrap(), "a");
    assert!(fs::write(path.join("new"), "x").is_err());
    assert_eq!(engine.mounts().unwrap()[0].id, id);
    engine.tag("app:1", "app:2").unwrap();
    for (name, force, want) in [
        ("app:2", false, None),
        ("app:1", true, Some("image is mounted on")),
        (&*id.short(), true, Some("image is mounted on")),
    ] {
        let options = Remove {
            force,
            ..Remove::default()
        };
        let removed = engine.remove(&[name.to_string()], &options);
        let said = removed.errors.first().map(ToString::to_string);
        match want {
            None => assert_eq!(said, None, "{name}"),
            Some(want) => assert!(said.unwrap().contains(want), "{name}"),
        }
    }
    let all = Prune {
        all: true,
        ..Prune::default()
    };
    assert_eq!(engine.prune(&all).unwrap().lines, []);
    engine.unmount("app:1", &crate::Unmount::default()).unwrap();
    assert!(engine.mounts().unwrap().is_empty());
    assert!(!path.exists());
}
