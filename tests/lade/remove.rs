//! Removing: what goes, what stays, and that disk and accounts agree afterwards.

use orlop_tests::registry::image::docker_archive;
use orlop_tests::registry::{Image, Layer, Registry};
use orlop_tests::{Lade, Must};
use std::time::{Duration, Instant};

#[test]
fn a_name_goes_and_with_the_last_the_image() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 10_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, "other:name"]);
    let said = lade.says(&["rmi", "other:name"]);
    assert_eq!(said, "Untagged: other:name");
    assert_eq!(lade.names(), [name.as_str()]);
    let said = lade.says(&["rmi", &name]);
    assert!(said.contains(&format!("Untagged: {name}")), "{said}");
    assert!(said.contains(&format!("Deleted: {}", image.id())), "{said}");
    assert!(lade.ids().is_empty());
    lade.swept();
    lade.ok(&["system", "check"]);
    lade.fails(&["rmi", &name], &["No such image|no such image", &name]);
    lade.cmd(&["rmi", "-f", &name]).run().ok();
}

#[test]
fn by_id_only_what_has_one_name() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 1000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, "other:name"]);
    lade.fails(&["rmi", &image.id()], &["force|-f"]);
    lade.ok(&["rmi", "-f", &image.id()]);
    assert!(lade.ids().is_empty());
}

#[test]
fn layers_stay_while_anybody_has_them() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let one = Image::noise(1, 2, 10_000);
    let mut layers = one.layers.clone();
    layers.push(Layer::noise(77, 10_000));
    let two = Image::new(layers);
    for (name, image) in [("thing:one", &one), ("thing:two", &two)] {
        lade.ok(&["pull", &registry.serve(name, image)]);
    }
    lade.ok(&["rmi", &registry.name("thing:two")]);
    lade.swept();
    for layer in &one.layers {
        assert!(lade.layer(&layer.diff_id()).is_dir());
    }
    assert!(!lade.layer(&two.layers[2].diff_id()).exists());
    lade.whole();
    lade.ok(&["rmi", &registry.name("thing:one")]);
    lade.swept();
    assert!(!lade.layer(&one.layers[0].diff_id()).exists());
}

#[test]
fn prune_takes_what_has_no_name() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let (old, new) = (Image::noise(1, 1, 10_000), Image::noise(2, 1, 10_000));
    let name = registry.serve("thing:one", &old);
    lade.ok(&["pull", &name]);
    registry.serve("thing:one", &new);
    lade.ok(&["pull", &name]);
    // Nobody says yes.
    lade.cmd(&["image", "prune"]).run().ok();
    assert_eq!(lade.ids().len(), 2);
    let said = lade.says(&["image", "prune", "-f"]);
    assert!(
        said.contains(&old.id()) && said.contains("Total reclaimed space"),
        "{said}"
    );
    assert_eq!(lade.ids(), [new.id()]);
    let said = lade.says(&["image", "prune", "-a", "-f", "--filter", "label=nosuch"]);
    assert!(said.contains("0B"), "{said}");
    lade.ok(&["image", "prune", "-a", "-f"]);
    assert!(lade.ids().is_empty());
}

/// Sums up what `system df` counts, in bytes.
fn counted(lade: &Lade) -> u64 {
    let lines = lade.says(&["system", "df", "--format", "{{.Bytes}}"]);
    let numbers = lines.lines().map(|line| line.parse::<u64>().must(line));
    numbers.sum()
}

#[test]
fn the_accounts_equal_the_disk() {
    let (lade, registry) = (Lade::new(), Registry::new());
    for seed in 1..4 {
        let image = Image::noise(seed, 2, 700_000);
        lade.ok(&["pull", &registry.serve(&format!("thing:t{seed}"), &image)]);
    }
    let near = |when: &str| {
        let (counted, disk) = (counted(&lade), lade.disk());
        let most = disk / 100 + 4096;
        assert!(
            counted.abs_diff(disk) <= most,
            "{when}: system df says {counted}, du {disk}"
        );
    };
    near("with three images");
    lade.ok(&["rmi", &registry.name("thing:t1")]);
    lade.swept();
    near("after rmi");
}

#[test]
fn what_is_done_leaves_nothing_unfinished() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let none = |when: &str| {
        let said = lade.says(&["system", "df", "--format", "{{.Type}} {{.Bytes}}"]);
        assert!(said.contains("Unfinished 0\n"), "{when}: {said}");
    };
    lade.ok(&[
        "pull",
        &registry.serve("thing:one", &Image::noise(1, 2, 50_000)),
    ]);
    none("a pull");
    // One whose layers are kept as they come, and one whose layers can be packed again.
    let images = [Image::busybox(), Image::new(vec![Layer::noise(2, 300_000)])];
    for (number, image) in images.iter().enumerate() {
        let name = format!("loaded:{number}");
        let archive = docker_archive(&[(&name, image)]);
        lade.cmd(&["load"]).stdin(archive).run().ok();
        none(&name);
    }
    let tar = Layer::noise(3, 50_000).tar;
    lade.cmd(&["import", "-", "made:one"]).stdin(tar).run().ok();
    none("an import");
    lade.ok(&["image", "prune", "-a", "-f"]);
    lade.swept();
    none("a prune");
    let said = lade.says(&["system", "df", "--format", "{{.Type}} {{.Reclaimable}}"]);
    assert!(
        said.contains("Containers 0B") && said.contains("Images 0B"),
        "{said}"
    );
    assert!(!said.contains("100%"), "{said}");
}

#[test]
fn when_all_is_gone_it_is_as_when_new() {
    let (lade, registry) = (Lade::new(), Registry::new());
    lade.ok(&["images"]);
    let (files, disk) = (lade.files(), lade.disk());
    for seed in 1..4 {
        let image = Image::noise(seed, 3, 300_000);
        lade.ok(&["pull", &registry.serve(&format!("thing:t{seed}"), &image)]);
    }
    let names = lade.names();
    let mut args = vec!["rmi"];
    args.extend(names.iter().map(String::as_str));
    let begin = Instant::now();
    lade.ok(&args);
    assert!(
        begin.elapsed() < orlop_tests::patient(Duration::from_secs(2)),
        "rmi deletes beside us"
    );
    lade.ok(&["image", "prune", "-a", "-f"]);
    lade.swept();
    lade.no_process();
    // The folder of this boot comes with the first work.
    let known = |path: &std::path::PathBuf| {
        path.starts_with(lade.data.join("ready")) || files.contains(path)
    };
    let left: Vec<_> = lade
        .files()
        .into_iter()
        .filter(|path| !known(path))
        .collect();
    assert!(left.is_empty(), "left: {left:?}");
    let now = lade.disk();
    assert!(now <= disk + (256 << 10), "{now} bytes, {disk} when new");
    lade.ok(&["system", "check"]);
}

#[test]
fn a_killed_sweep_is_taken_up_by_the_next_command() {
    let (lade, registry) = (Lade::new(), Registry::new());
    lade.ok(&[
        "pull",
        &registry.serve("thing:one", &Image::noise(1, 2, 100_000)),
    ]);
    // As if a sweep had been killed: something lies there to be deleted.
    let left = lade.data.join("trash/left-by-a-kill");
    std::fs::create_dir_all(left.join("deep/er")).must("a directory");
    std::fs::write(left.join("deep/er/file"), "x").must("a file");
    lade.ok(&["rmi", &registry.name("thing:one")]);
    lade.swept();
    assert!(!left.exists());
}
