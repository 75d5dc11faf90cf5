//! `lade image mount`: an image's files in a directory, to look at.

use orlop_tests::registry::{Image, Layer, Registry, Tar};
use orlop_tests::{Lade, Must, complaint};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An image of one layer, or of two, that has everything which one could make use of.
fn dangerous(layers: usize) -> Image {
    let cat = fs::read("/bin/cat").must("/bin/cat");
    let tar = Tar::new()
        .dir("a/", 0o755)
        .file("a/cat", 0o4755, cat)
        .file("a/text", 0o644, "of the image\n")
        .node("a/null", 'c', (1, 3));
    let mut all = vec![Layer::gzip(tar), Layer::noise(1, 1000)];
    all.truncate(layers);
    Image::new(all)
}

fn place(lade: &Lade, name: &str) -> PathBuf {
    let path = lade.env.dir.join(name);
    fs::create_dir(&path).must(path.display());
    path
}

/// The options of the mount on a path.
fn options(path: &Path) -> String {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").must("the mount table");
    let on = |line: &&str| line.split(' ').nth(4) == path.to_str();
    let line = table.lines().find(on).must(path.display());
    line.split(' ').nth(5).must("options").to_owned()
}

#[test]
fn what_is_mounted_can_be_looked_at_and_nothing_else() {
    for layers in [1, 2] {
        let (lade, registry) = (Lade::new(), Registry::new());
        let name = registry.serve("thing:one", &dangerous(layers));
        lade.ok(&["pull", &name]);
        let path = place(&lade, "look");
        let text = path.display().to_string();
        assert_eq!(lade.says(&["image", "mount", &name, &text]), text);
        assert_eq!(
            fs::read(path.join("a/text")).must("a/text"),
            b"of the image\n"
        );
        for option in ["ro", "nosuid", "nodev"] {
            let found = options(&path);
            assert!(found.split(',').any(|one| one == option), "{found}");
        }
        let written = fs::write(path.join("a/new"), "x").map_err(|why| why.kind());
        assert_eq!(written, Err(ErrorKind::ReadOnlyFilesystem));
        let opened = fs::File::open(path.join("a/null")).map_err(|why| why.kind());
        assert_eq!(opened.err(), Some(ErrorKind::PermissionDenied), "a device");
        // A program of the image that would be root's for everybody.
        let secret = lade.env.dir.join("secret");
        fs::write(&secret, "root's own").must("a secret");
        lade.other("chmod").arg("600").arg(&secret).run().ok();
        let anybody = lade
            .other("setpriv")
            .args(["--reuid", "65534", "--clear-groups"]);
        let done = anybody.arg(path.join("a/cat")).arg(&secret).run().exits(1);
        assert!(done.stderr().contains("denied"), "{done}");
        lade.ok(&["image", "unmount", &text]);
        assert_eq!(fs::read_dir(&path).must("the directory").count(), 0);
        lade.whole();
    }
}

#[test]
fn mounts_are_listed_and_taken_away_by_name_id_or_directory() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = dangerous(2);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    assert_eq!(lade.says(&["image", "mount"]).lines().count(), 1);
    let own = lade.says(&["image", "mount", &name]);
    assert!(Path::new(&own).starts_with(&lade.run), "{own}");
    let anybody = lade
        .other("setpriv")
        .args(["--reuid", "65534", "--clear-groups", "ls"]);
    anybody.arg(&own).run().exits(2);
    let places = ["one", "two"].map(|name| place(&lade, name).display().to_string());
    for place in &places {
        lade.ok(&["image", "mount", &image.id()[..20], place]);
    }
    let listed = lade.says(&["image", "mount"]);
    let mut lines = listed.lines();
    assert_eq!(
        lines.next().map(|line| line.split_whitespace().collect()),
        Some(vec!["IMAGE", "ID", "PATH"])
    );
    for path in places.iter().chain([&own]) {
        let line = listed.lines().find(|line| line.ends_with(path.as_str()));
        assert!(
            line.is_some_and(|line| line.starts_with(&image.id()[7..19])),
            "{listed}"
        );
    }
    lade.fails(
        &["image", "mount", &name, &places[0]],
        &["mounted already", &places[0]],
    );
    for place in &places {
        lade.ok(&["image", "unmount", place]);
    }
    assert_eq!(lade.says(&["image", "unmount", &name]), own);
    assert!(!Path::new(&own).exists(), "a directory of ours goes, too");
    lade.fails(&["image", "unmount", &name], &["mounted nowhere"]);
    assert_eq!(lade.says(&["image", "mount", &name]), own);
    assert_eq!(lade.says(&["image", "unmount", &image.id()[..20]]), own);
    lade.whole();
}

/// What is gone by another hand is forgotten, also where somebody has mounted something else since.
#[test]
fn what_others_mount_where_an_image_was_is_left_to_them() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &dangerous(2));
    lade.ok(&["pull", &name]);
    let [covered, gone] = ["covered", "gone"].map(|name| place(&lade, name).display().to_string());
    for place in [&covered, &gone] {
        lade.ok(&["image", "mount", &name, place]);
    }
    let cover = |place: &str| {
        let mount = lade.other("mount").args(["-t", "tmpfs", "other", place]);
        mount.run().ok();
    };
    orlop_tests::sys::umount(Path::new(&gone)).must("umount");
    cover(&gone);
    assert_eq!(lade.says(&["image", "mount"]).lines().count(), 2);
    lade.fails(
        &["image", "unmount", &gone],
        &["lade has mounted nothing on", &gone],
    );
    // Over one of ours it is not taken away for it.
    cover(&covered);
    lade.fails(
        &["image", "unmount", &covered],
        &["something else is mounted there"],
    );
    for place in [&covered, &gone] {
        orlop_tests::sys::umount(Path::new(place)).must("umount");
    }
    lade.ok(&["image", "unmount", &covered]);
    lade.whole();
}

#[test]
fn an_image_is_mounted_on_an_empty_directory_alone() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &dangerous(2));
    lade.ok(&["pull", &name]);
    // What is in a directory would be hidden.
    for full in ["/proc", "/etc", "/"] {
        lade.fails(&["image", "mount", &name, full], &["is not empty", full]);
    }
    lade.fails(
        &["image", "mount", &name, "/no/such/place"],
        &["/no/such/place"],
    );
    lade.fails(
        &["image", "mount", "nosuch:one"],
        &["No such image", "nosuch:one"],
    );
    lade.whole();
}

#[test]
fn a_mounted_image_stays() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = dangerous(2);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, "other:name"]);
    let path = place(&lade, "look");
    let text = path.display().to_string();
    lade.ok(&["image", "mount", &name, &text]);
    lade.ok(&["rmi", "other:name"]);
    for args in [&["rmi", &name] as &[&str], &["rmi", "-f", &image.id()]] {
        lade.fails(args, &["mounted", &text, "unmount"]);
    }
    lade.ok(&["image", "prune", "-a", "-f"]);
    assert_eq!(lade.ids(), [image.id()]);
    let file = fs::File::open(path.join("a/text")).must("a/text");
    let done = lade.cmd(&["image", "unmount", &text]).run();
    assert_eq!(complaint(&done, &[1], &["busy", "--force"]), None, "{done}");
    lade.ok(&["image", "unmount", "--force", &text]);
    drop(file);
    lade.ok(&["rmi", &name]);
    assert!(lade.ids().is_empty());
    lade.ok(&["system", "check"]);
    lade.swept();
}

#[test]
fn mounted_and_removed_at_once_it_is_the_one_or_the_other() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &dangerous(2));
    let path = place(&lade, "look");
    let text = path.display().to_string();
    for _ in 0..8 {
        lade.ok(&["pull", "-q", &name]);
        let mount = lade.cmd(&["image", "mount", &name, &text]).spawn();
        let remove = lade.cmd(&["rmi", &name]).spawn();
        let (mount, remove) = (mount.wait(), remove.wait());
        assert!(mount.rc + remove.rc == 1, "{mount}\n{remove}");
        if mount.rc == 0 {
            assert_eq!(
                fs::read(path.join("a/text")).must("a/text"),
                b"of the image\n"
            );
            lade.ok(&["image", "unmount", &name]);
        }
    }
    lade.whole();
    lade.swept();
}

#[test]
fn a_mount_of_another_namespace_holds_its_image_as_long_as_that_lives() {
    for layers in [1, 2] {
        let (lade, registry) = (Lade::new(), Registry::new());
        let name = registry.serve("thing:one", &dangerous(layers));
        lade.ok(&["pull", &name]);
        let script = format!(
            "{} --data-root {} --run-root {} image mount {name} && exec sleep 1000",
            orlop_tests::lade().display(),
            lade.data.display(),
            lade.run.display()
        );
        let unshare = || lade.other("unshare").args(["-m", "sh", "-c", &script]);
        let own = lade.run.join("images").display().to_string();
        let mut one = unshare().spawn();
        one.expect(&own);
        // The same place in a third namespace is another mount.
        let mut two = unshare().spawn();
        two.expect(&own);
        assert_eq!(lade.says(&["image", "mount"]).lines().count(), 3);
        let parts = ["image is mounted on", "another mount namespace"];
        lade.fails(&["rmi", &name], &parts);
        lade.fails(&["rmi", "-f", &name], &parts);
        assert_eq!(
            lade.says(&["image", "prune", "-a", "-f"]).lines().count(),
            1
        );
        lade.fails(&["image", "unmount", &name], &[parts[1]]);
        // Here it is taken away with its directory left, which the others need.
        let here = lade.says(&["image", "mount", &name]);
        assert_eq!(lade.says(&["image", "unmount", &name]), here);
        assert!(Path::new(&here).exists());
        for running in [&mut one, &mut two] {
            lade.fails(&["rmi", &name], &parts);
            let text = format!("/proc/{}/root{here}/a/text", running.pid());
            assert_eq!(fs::read(&text).must(&text), b"of the image\n");
            running.child.kill().must("kill");
            running.child.wait().must("wait");
        }
        lade.ok(&["rmi", &name]);
        assert_eq!(lade.says(&["image", "mount"]).lines().count(), 1);
        lade.whole();
    }
}
