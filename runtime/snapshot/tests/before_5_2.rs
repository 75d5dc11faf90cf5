//! Roots made of layers by mount(2), in a mount namespace of one's own.

mod filter;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{apart, check, layers, plan};
use sys::fs::{FsFlags, fstatvfs, open_path};

/// Shows so many layers in their place.
fn show(place: &Path, count: usize) {
    let place = place.join(format!("shown{count}"));
    fs::create_dir(&place).expect("a directory");
    let layers = layers(&place, count);
    let root = place.join("root");
    fs::create_dir(&root).expect("a mount point");
    let shown = layers.iter().map(PathBuf::as_path).collect();
    snapshot::show(shown, false, &root).expect("mount");
    let version = fs::read_to_string(root.join("version")).expect("a version");
    assert_eq!(version, count.to_string());
    assert!(root.join("own1").exists());
    let statistics = fstatvfs(open_path(&root).expect("open it")).expect("its flags");
    let safe = FsFlags::ST_RDONLY | FsFlags::ST_NOSUID | FsFlags::ST_NODEV;
    assert!(statistics.flags().contains(safe));
}

#[test]
fn without_a_mount_that_is_attached_nowhere() {
    apart("before-5.2", |place| {
        filter::before_5_2();
        let error = snapshot::mount(&plan(&layers(place, 2), None, false), false);
        assert_eq!(
            error.expect_err("nowhere to make it").to_string(),
            "mount 2 layers: function not implemented by this kernel, or hidden by a seccomp filter (this needs Linux 5.12)"
        );
        let here = std::env::current_dir().expect("a working directory");
        for count in [1, 2, 500] {
            show(place, count);
        }
        sys::mount::claim_namespace();
        for count in [1, 2, 200, 500] {
            check(place, count);
        }
        assert_eq!(std::env::current_dir().expect("still there"), here);
        sys::mount::strike_stage().expect("take the stage away");
    });
}
