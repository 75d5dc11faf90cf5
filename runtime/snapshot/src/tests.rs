use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use super::{MOST, Plan, forget_volatile, mount, prepare, volatile_mark};

fn place(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("snapshot-{name}-{}", std::process::id()));
    fs::create_dir(&path).expect("a fresh directory");
    path
}

#[test]
fn the_upper_directory_looks_like_the_images_root() {
    let place = place("prepare");
    let root = place.join("root");
    fs::create_dir(&root).expect("make the image's root");
    chown(&root, Some(7), Some(8)).expect("give it away");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o2711)).expect("change its mode");
    for (name, like, want) in [
        ("a", Some(root.as_path()), (7, 8, 0o2711)),
        ("b", None, (0, 0, 0o755)),
    ] {
        let dir = place.join(name);
        fs::create_dir(&dir).expect("make a directory");
        prepare(&dir, like).expect("prepare");
        let stat = dir.join("upper").metadata().expect("an upper directory");
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), want);
        assert!(dir.join("work").is_dir());
        let again = prepare(&dir, like).expect_err("there are things already");
        assert_eq!(
            again.to_string(),
            format!("make {}: file exists", dir.join("work").display())
        );
    }
    fs::remove_dir_all(place).expect("clean up");
}

#[test]
fn only_the_mark_of_volatile_is_forgotten() {
    let place = place("mark");
    let upper = super::Upper {
        dir: &place,
        volatile: true,
    };
    forget_volatile(&upper).expect("none there");
    for other in [true, false] {
        let mark = volatile_mark(&upper);
        fs::create_dir_all(mark.join("dirty")).expect("make the mark");
        let incompat = place.join("work/work/incompat");
        if other {
            fs::create_dir(incompat.join("newer")).expect("make another mark");
        }
        forget_volatile(&upper).expect("forget it");
        assert!(!mark.exists());
        assert_eq!(incompat.exists(), other);
        fs::remove_dir_all(place.join("work")).expect("remove all of it");
    }
    fs::remove_dir_all(place).expect("clean up");
}

#[test]
fn what_cannot_be_mounted_is_said() {
    let path = PathBuf::from("/nowhere");
    for (count, want) in [
        (0, "mount an image of no layers: it has no files to show"),
        (
            MOST + 1,
            "mount an image of 501 layers: the kernel stacks at most 500; build the image with fewer, or squash it",
        ),
        (1, "bind /nowhere: no such file or directory"),
        (2, "mount layer /nowhere: no such file or directory"),
    ] {
        let layers = vec![path.as_path(); count];
        let plan = Plan {
            layers,
            upper: None,
        };
        let error = mount(&plan, false).expect_err("nothing to mount");
        assert_eq!(error.to_string(), want);
    }
}
