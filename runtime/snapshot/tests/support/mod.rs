//! A place of its own for each test: a directory, and a mount namespace that ends with it.

use std::fs;
use std::path::{Path, PathBuf};

use snapshot::{Plan, Upper};
use sys::fs::{FsFlags, fstatvfs, open_path};
use sys::mount::{MsFlags, mount};
use sys::process::{Namespaces, unshare};

/// Runs the body in a mount namespace of its own; afterwards nothing of it is mounted here.
pub(crate) fn apart(name: &str, body: impl FnOnce(&Path) + Send) {
    let place = std::env::temp_dir().join(format!("snapshot-{name}-{}", std::process::id()));
    fs::create_dir(&place).expect("a fresh directory");
    let place = place.canonicalize().expect("its path");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(Namespaces::MOUNT).expect("a mount namespace");
            let none = None::<&str>;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).expect("nothing shared");
            body(&place);
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
    assert!(!table.contains(&*place.to_string_lossy()), "{table}");
    fs::remove_dir_all(place).expect("clean up");
}

/// Makes layers: each has a file of its own, and a new version of one that all have.
pub(crate) fn layers(place: &Path, count: usize) -> Vec<PathBuf> {
    let make = |number: usize| {
        let layer = place.join(format!("layer{number}"));
        fs::create_dir(&layer).expect("a layer");
        fs::write(layer.join(format!("own{number}")), "").expect("its own file");
        fs::write(layer.join("version"), number.to_string()).expect("its version");
        layer
    };
    (1..=count).map(make).collect()
}

/// A directory that takes changes.
pub(crate) fn prepared(place: &Path, name: &str) -> PathBuf {
    let dir = place.join(name);
    fs::create_dir(&dir).expect("a directory");
    snapshot::prepare(&dir, None).expect("prepare it");
    dir
}

pub(crate) fn plan<'a>(layers: &'a [PathBuf], upper: Option<&'a Path>, volatile: bool) -> Plan<'a> {
    Plan {
        layers: layers.iter().map(PathBuf::as_path).collect(),
        upper: upper.map(|dir| Upper { dir, volatile }),
    }
}

/// Mounts by the plan on a fresh directory.
pub(crate) fn mounted(place: &Path, name: &str, plan: &Plan<'_>) -> PathBuf {
    let root = place.join(name);
    fs::create_dir(&root).expect("a mount point");
    let loose = snapshot::mount(plan, false).expect("mount");
    let target = open_path(&root).expect("open the mount point");
    loose.attach(target).expect("attach");
    root
}

/// Checks what is to be seen of so many layers, with and without changes.
pub(crate) fn check(place: &Path, count: usize) {
    let place = place.join(format!("of{count}"));
    fs::create_dir(&place).expect("a directory");
    let layers = layers(&place, count);
    let dir = prepared(&place, "changes");
    for upper in [Some(dir.as_path()), None] {
        let name = upper.map_or("read-only", |_| "writable");
        let root = mounted(&place, name, &plan(&layers, upper, false));
        let version = fs::read_to_string(root.join("version")).expect("a version");
        assert_eq!(version, count.to_string(), "{name}");
        for number in [1, count.div_ceil(2), count] {
            assert!(root.join(format!("own{number}")).exists(), "{name}");
        }
        let written = fs::write(root.join("new"), "new").map_err(|why| why.kind());
        let flags = fstatvfs(open_path(&root).expect("open it"))
            .expect("its flags")
            .flags();
        let safe = FsFlags::ST_RDONLY | FsFlags::ST_NOSUID | FsFlags::ST_NODEV;
        match upper {
            Some(_) => {
                assert_eq!(written, Ok(()));
                assert!(!flags.intersects(safe), "{flags:?}");
            }
            None => {
                assert_eq!(written, Err(std::io::ErrorKind::ReadOnlyFilesystem));
                assert!(flags.contains(safe), "{flags:?}");
            }
        }
    }
    assert!(dir.join("upper/new").exists());
    assert!(layers.iter().all(|layer| !layer.join("new").exists()));
}
