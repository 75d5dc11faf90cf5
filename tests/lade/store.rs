//! The store under many hands: at once, on a full disk, killed at any moment.

use orlop_tests::registry::image::oci_archive;
use orlop_tests::registry::{Image, Layer, Registry, Tar, What};
use orlop_tests::{Lade, Must, sys};
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Eight images that share layers, and how many requests each layer may cost.
fn overlapping(registry: &Registry) -> (Vec<String>, Vec<Image>) {
    let layers: Vec<Layer> = (0..8).map(|seed| Layer::noise(seed, 400_000)).collect();
    let mut names = Vec::new();
    let mut images = Vec::new();
    for number in 0..8 {
        let mine = (0..4).map(|at| layers[(number + at) % 8].clone());
        let image = Image::new(mine.collect());
        names.push(registry.serve(&format!("many/thing:t{number}"), &image));
        images.push(image);
    }
    (names, images)
}

#[test]
fn eight_pulls_at_once_fetch_and_unpack_each_layer_once() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let (names, images) = overlapping(&registry);
    let pulls: Vec<_> = names
        .iter()
        .map(|name| lade.cmd(&["pull", name]).spawn())
        .collect();
    // What no image has yet is nobody's, unless somebody is at work on it.
    let prunes: Vec<_> = (0..5)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(60));
            lade.cmd(&["image", "prune", "-f"]).spawn()
        })
        .collect();
    let said: String = pulls
        .into_iter()
        .map(|pull| pull.wait().ok().stdout())
        .collect();
    for prune in prunes {
        prune.wait().ok();
    }
    // Who has unpacked a layer says that it is complete, who has found it that it exists.
    let told = |layer: &Layer, word: &str| {
        let line = format!("{}: {word}", &layer.digest()[7..19]);
        said.lines().filter(|told| **told == line).count()
    };
    for image in &images {
        for layer in &image.layers {
            let count = registry.count(What::Blob, &layer.digest());
            assert_eq!(count, 1, "requests for one layer");
            let told = (told(layer, "Pull complete"), told(layer, "Already exists"));
            assert_eq!(told, (1, 3), "unpacked and found, of one layer\n{said}");
        }
    }
    let mut wanted: Vec<String> = images.iter().map(Image::id).collect();
    wanted.sort();
    assert_eq!(lade.ids(), wanted);
    lade.whole();
}

#[test]
fn fifty_commands_at_once_are_never_told_to_wait() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 10_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", "-q", &name]);
    let archive = lade.env.dir.join("a.tar");
    fs::write(
        &archive,
        oci_archive(&[("loaded:one", &Image::noise(2, 1, 10_000))]),
    )
    .must("the archive");
    let archive = archive.display().to_string();
    let target = registry.name("copy:one");
    lade.ok(&["tag", &name, &target]);
    let gone: Vec<_> = (0..50).map(|number| format!("gone:t{number}")).collect();
    for number in (7..50).step_by(8) {
        lade.ok(&["tag", &name, &gone[number]]);
    }
    let running: Vec<_> = (0..50)
        .map(|number| {
            let tag = format!("many:t{number}");
            match number % 8 {
                0 => lade.cmd(&["pull", "-q", &name]),
                1 => lade.cmd(&["images"]),
                2 => lade.cmd(&["load", "-i", &archive]),
                3 => lade.cmd(&["system", "df"]),
                4 => lade.cmd(&["tag", &name, &tag]),
                5 => lade.cmd(&["push", "-q", &target]),
                6 => lade.cmd(&["image", "prune", "-f"]),
                _ => lade.cmd(&["rmi", &gone[number]]),
            }
            .spawn()
        })
        .collect();
    for running in running {
        let done = running.wait().ok();
        assert!(
            !done.stderr().contains("busy") && !done.stderr().contains("locked"),
            "{done}"
        );
    }
    // The pulled one, the pushed one, the loaded one and six tags.
    assert_eq!(lade.names().len(), 9);
    lade.whole();
}

#[test]
fn removed_and_pulled_at_once_it_is_there_or_not() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 3, 50_000);
    let name = registry.serve("thing:one", &image);
    for _ in 0..5 {
        let pulls: Vec<_> = (0..3)
            .map(|_| lade.cmd(&["pull", "-q", &name]).spawn())
            .collect();
        let removes: Vec<_> = (0..3)
            .map(|_| lade.cmd(&["rmi", "-f", &name]).spawn())
            .collect();
        for running in pulls.into_iter().chain(removes) {
            running.wait().ok();
        }
        lade.whole();
    }
    lade.ok(&["pull", &name]);
    lade.whole();
}

/// A tmpfs of this size as the data root.
pub(crate) fn small(lade: &Lade, size: &str) {
    fs::create_dir(&lade.data).must("the data root");
    sys::mount(
        "small",
        &lade.data,
        "tmpfs",
        0,
        &format!("size={size},mode=700"),
    )
    .must("a tmpfs");
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let (lade, registry) = (Lade::new(), Registry::new());
    small(&lade, "24m");
    let (fits, large) = (Image::noise(1, 1, 1 << 20), Image::noise(2, 3, 12 << 20));
    let first = registry.serve("thing:fits", &fits);
    lade.ok(&["pull", &first]);
    let second = registry.serve("thing:large", &large);
    let full = |args: &[&str], stdin: Option<Vec<u8>>| {
        let cmd = lade.cmd(args);
        let done = match stdin {
            Some(bytes) => cmd.stdin(bytes).run(),
            None => cmd.run(),
        };
        let data = lade.data.display().to_string();
        let parts = ["space|full", &data, "hint: make room there, or "];
        let complaint = orlop_tests::complaint(&done, &[1], &parts);
        assert_eq!(complaint, None, "{done}");
        let goes_on = done.stderr().contains("; pull goes on from where it is");
        assert_eq!(goes_on, args[0] == "pull", "{done}");
        assert_eq!(lade.ids(), [fits.id()]);
        lade.ok(&["image", "prune", "-f"]);
        lade.whole();
    };
    full(&["pull", &second], None);
    // Its files are what does not fit.
    let mut zeros = Tar::new();
    for n in 0..8 {
        zeros = zeros.file(&format!("d/{n}"), 0o644, vec![1; 4 << 20]);
    }
    let zeros = Image::new(vec![Layer::gzip(zeros)]);
    full(&["pull", &registry.serve("thing:zeros", &zeros)], None);
    full(&["load"], Some(oci_archive(&[("large:one", &large)])));
    full(
        &["import", "-", "large:one"],
        Some(Layer::noise(9, 30 << 20).tar),
    );
    // The space is back: what fits is taken, and what is here can go.
    let third = registry.serve("thing:third", &Image::noise(3, 1, 4 << 20));
    lade.ok(&["pull", &third]);
    lade.ok(&["rmi", &first, &third]);
    lade.swept();
    sys::umount(&lade.data).must("umount");
}

#[test]
fn on_a_full_disk_images_can_still_be_removed() {
    let (lade, registry) = (Lade::new(), Registry::new());
    small(&lade, "16m");
    let image = Image::new(vec![Layer::busybox(), Layer::noise(1, 1 << 20)]);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    // Not a byte is left.
    let filler = lade.data.join("trash/filler");
    let mut size = 16 << 20;
    while size > 0 {
        use std::io::Write;
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(&filler)
            .must("the filler");
        if file.write_all(&vec![1u8; size]).is_err() {
            size /= 2;
        }
    }
    for args in [
        &["tag", &name, "other:one"][..],
        &["run", "--rm", "--network", "none", &name, "true"],
    ] {
        let done = lade.cmd(args).run();
        let fine = done.rc == 0;
        let complaint = orlop_tests::complaint(&done, &[1, 125], &["space|full"]);
        assert!(fine || complaint.is_none(), "{complaint:?}\n{done}");
        lade.ok(&["images"]);
    }
    lade.ok(&["rmi", "-f", &image.id()]);
    assert!(lade.ids().is_empty());
    lade.swept();
    sys::umount(&lade.data).must("umount");
}

#[test]
fn a_directory_that_is_not_ours_is_left_alone() {
    let lade = Lade::new();
    fs::create_dir(&lade.data).must("a directory");
    fs::write(lade.data.join("letter"), "dear").must("a file");
    lade.fails(&["images"], &["not empty|not a data root|not ours|other"]);
    assert_eq!(fs::read_dir(&lade.data).must("the directory").count(), 1);
}

#[test]
fn a_layer_that_is_here_does_not_vouch_for_another_blob() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 100_000);
    lade.ok(&["pull", "-q", &registry.serve("thing:one", &image)]);
    // The same diff id, by a blob that is cut short, and by one of something else.
    let mut short = image.layers[0].clone();
    short.blob.truncate(short.blob.len() - 4);
    let mut other = image.layers[0].clone();
    other.blob = Layer::noise(2, 1000).blob;
    for layer in [short, other] {
        let bad = Image::new(vec![layer]);
        let name = registry.serve("thing:bad", &bad);
        lade.fails(&["pull", &name], &["layer", "unpacks to|unexpected end"]);
        let done = lade.cmd(&["load"]).stdin(oci_archive(&[("bad:one", &bad)]));
        let complaint = orlop_tests::complaint(&done.run(), &[1], &["unpacks to|unexpected end"]);
        assert_eq!(complaint, None);
        assert_eq!(lade.ids(), [image.id()]);
        lade.whole();
    }
}

#[test]
fn a_data_root_of_somebody_else_is_refused() {
    let lade = Lade::new();
    fs::create_dir(&lade.data).must("a directory");
    for own in [false, true] {
        if own {
            lade.ok(&["images"]);
        }
        std::os::unix::fs::chown(&lade.data, Some(1000), None).must("another owner");
        for args in [&["images"][..], &["system", "check", "--repair"]] {
            lade.fails(
                args,
                &["belongs to user 1000", "name a data root of your own"],
            );
        }
        std::os::unix::fs::chown(&lade.data, Some(0), None).must("the owner");
    }
    lade.ok(&["images"]);
}

#[test]
fn the_data_root_is_nobody_elses_business() {
    use std::os::unix::fs::PermissionsExt;
    let lade = Lade::new();
    lade.ok(&["images"]);
    let mode = fs::metadata(&lade.data)
        .must("the data root")
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn damage_is_found_and_repaired_by_a_pull() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 100_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    let blob = lade
        .data
        .join("blobs/sha256")
        .join(&image.layers[0].digest()[7..]);
    let file = lade.layer(&image.layers[1].diff_id()).join("data101/text");
    fs::write(&file, "changed").must(file.display());
    let done = lade.cmd(&["image", "verify", &name]).run().exits(1);
    assert!(done.stdout().contains("data101/text"), "{done}");
    fs::remove_file(&blob).must(blob.display());
    let done = lade.cmd(&["system", "check"]).run().exits(1);
    let said = done.stdout() + &done.stderr();
    assert!(said.contains(&image.layers[0].digest()[7..19]), "{done}");
    lade.cmd(&["system", "check", "--repair"]).run();
    lade.cmd(&["rmi", "-f", &name]).run();
    lade.ok(&["pull", &name]);
    lade.whole();
}

#[test]
fn a_damaged_blob_is_neither_saved_nor_pushed() {
    let (lade, registry, other) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 2, 100_000);
    let name = registry.serve("thing:one", &image);
    let target = other.name("copy:one");
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, &target]);
    let archive = lade.env.dir.join("saved.tar");
    let path = archive.display().to_string();
    lade.ok(&["save", "-o", &path, &name]);
    let good = fs::read(&archive).must(archive.display());
    let digest = image.layers[0].digest();
    let blob = lade.data.join("blobs/sha256").join(&digest[7..]);
    let file = fs::OpenOptions::new().write(true).open(&blob);
    let changed = file.and_then(|file| file.write_all_at(b"oops", 5000));
    changed.must(blob.display());
    let said = format!("blob {digest} is damaged here");
    lade.fails(&["save", "-o", &path, &name], &[&said]);
    assert!(fs::read(&archive).must(archive.display()) == good);
    lade.fails(&["push", &target], &[&said]);
    assert_eq!(other.manifest("copy", "one"), None);
}

#[test]
fn killed_at_random_moments_pulls_end_well() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 4, 1 << 20);
    let name = registry.serve("thing:one", &image);
    for wait in [3, 10, 20, 40, 80, 15, 30, 60] {
        let mut running = lade.cmd(&["pull", &name]).spawn();
        std::thread::sleep(Duration::from_millis(wait));
        running.child.kill().must("kill");
        running.wait();
        lade.ok(&["system", "check"]);
    }
    lade.ok(&["pull", &name]);
    lade.whole();
    let most = image.size() + 8 * (2 << 20);
    assert!(
        registry.sent() <= most,
        "{} bytes for {}",
        registry.sent(),
        image.size()
    );
}
