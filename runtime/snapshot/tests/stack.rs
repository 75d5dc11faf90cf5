//! Roots made of layers, on the real kernel.

mod support;

use std::fs;
use std::path::PathBuf;

use support::{apart, check, layers, mounted, plan, prepared};

#[test]
fn one_to_five_hundred_layers() {
    apart("stack", |place| {
        for count in [1, 2, 200, 500] {
            check(place, count);
        }
    });
}

#[test]
fn paths_of_any_length_with_any_byte() {
    apart("paths", |place| {
        let deep = place
            .join(r"a:b,c\d")
            .join("x".repeat(200))
            .join("y".repeat(200));
        fs::create_dir_all(&deep).expect("a deep directory");
        check(&deep, 3);
    });
}

#[test]
fn what_a_layer_removes_is_gone_in_those_above() {
    apart("removed", |place| {
        let first = layers(place, 2);
        fs::create_dir(first[0].join("dir")).expect("a directory");
        fs::write(first[0].join("dir/old"), "").expect("a file in it");
        let change = prepared(place, "change");
        let root = mounted(place, "root", &plan(&first, Some(&change), false));
        fs::remove_file(root.join("own1")).expect("remove a file");
        fs::remove_dir_all(root.join("dir")).expect("remove a directory");
        fs::create_dir(root.join("dir")).expect("make it again");
        fs::write(root.join("dir/new"), "").expect("a file in it");
        // What was changed is a layer now.
        let all: Vec<PathBuf> = first.into_iter().chain([change.join("upper")]).collect();
        let other = prepared(place, "other");
        for (name, upper) in [("view", None), ("again", Some(other.as_path()))] {
            let root = mounted(place, name, &plan(&all, upper, false));
            let there = |path: &str| root.join(path).exists();
            assert_eq!(
                ["own1", "own2", "dir/old", "dir/new"].map(there),
                [false, true, false, true],
                "{name}"
            );
        }
    });
}

#[test]
fn volatile_changes_are_mounted_again_only_as_such() {
    apart("volatile", |place| {
        let layers = layers(place, 2);
        let dir = prepared(place, "changes");
        for name in ["first", "second"] {
            let root = mounted(place, name, &plan(&layers, Some(&dir), true));
            fs::write(root.join(name), "").expect("write");
            assert!(root.join("first").exists());
            sys::mount::umount2(&root, sys::mount::MntFlags::empty()).expect("unmount");
        }
        let error = snapshot::mount(&plan(&layers, Some(&dir), false), false);
        let error = error.expect_err("it may be half there").to_string();
        assert!(error.contains("mounted as volatile, so a crash"), "{error}");
    });
}

#[test]
fn an_image_without_layers_is_what_is_put_there() {
    apart("empty", |place| {
        let dir = prepared(place, "changes");
        let root = mounted(place, "root", &plan(&[], Some(&dir), false));
        fs::write(root.join("new"), "").expect("write");
        assert!(dir.join("upper/new").exists());
    });
}

#[test]
fn a_mount_that_is_attached_nowhere_leaves_nothing() {
    apart("dropped", |place| {
        let layers = layers(place, 2);
        let before = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mount table");
        let loose = snapshot::mount(&plan(&layers, None, false), false).expect("mount");
        drop(loose);
        let after = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mount table");
        assert_eq!(before, after);
    });
}
