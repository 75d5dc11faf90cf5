//! Images in use: containers keep them, lists count them, and whoever looks while others remove sees the one or the other.

use orlop_tests::registry::{Image, Layer, Registry, Tar};
use orlop_tests::{Cmd, Done, Lade, Must, Running, complaint};
use std::process::Stdio;

fn boxed() -> (Image, Layer) {
    let own = Layer::gzip(Tar::new().file("own", 0o644, "of the image\n"));
    (Image::new(vec![Layer::busybox(), own.clone()]), own)
}

/// A container that lives until its standard input ends, and then looks at its image.
fn living(lade: &Lade, name: &str) -> Running {
    let script = "echo ready; read line; cat /own";
    let args = [
        "run",
        "--rm",
        "-i",
        "--network",
        "none",
        name,
        "sh",
        "-c",
        script,
    ];
    let piped = |cmd: Cmd| {
        cmd.with(|command| {
            command.stdin(Stdio::piped());
        })
    };
    let running = piped(lade.cmd(&args)).spawn();
    running.expect("ready");
    running
}

fn end(mut running: Running) -> Done {
    drop(running.child.stdin.take());
    running.wait()
}

#[test]
fn the_image_of_a_running_container_stays() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let (image, _) = boxed();
    let name = registry.serve("box:one", &image);
    lade.ok(&["pull", &name]);
    let unused = registry.serve("thing:one", &Image::noise(1, 1, 300_000));
    lade.ok(&["pull", &unused]);
    let running = living(&lade, &name);
    let (id, container) = (image.id(), lade.containers().concat());
    let (id, container) = (&id[..], &container[..12]);
    let short = &id[7..19];
    lade.fails(
        &["rmi", &name],
        &[
            &format!("conflict: unable to remove repository reference \"{name}\" (must force)"),
            &format!("container {container} is using its referenced image {short}"),
        ],
    );
    for args in [&["rmi", id] as &[&str], &["rmi", "-f", id]] {
        let why = format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container {container}"
        );
        lade.fails(args, &[&why]);
    }
    lade.ok(&["tag", &name, "other:name"]);
    assert_eq!(lade.says(&["rmi", "other:name"]), "Untagged: other:name");
    lade.ok(&["image", "prune", "-a", "-f"]);
    assert_eq!(lade.ids(), [id]);
    // By force it loses its name, and nothing else.
    let said = lade.says(&["rmi", "-f", &name]);
    assert!(said.contains(&format!("Untagged: {name}")), "{said}");
    assert!(!said.contains("Deleted"), "{said}");
    lade.ok(&["image", "prune", "-f"]);
    assert_eq!(
        (lade.ids(), lade.names()),
        (vec![id.to_owned()], vec!["<none>:<none>".to_owned()])
    );
    end(running).ok().prints("ready\nof the image");
    lade.ok(&["image", "prune", "-f"]);
    assert!(lade.ids().is_empty());
    lade.swept();
    lade.ok(&["system", "check"]);
}

#[test]
fn containers_are_counted() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &boxed().0);
    let unused = registry.serve("thing:one", &Image::noise(1, 1, 300_000));
    for name in [&name, &unused] {
        lade.ok(&["pull", name]);
    }
    let df = || {
        let format = "{{.Type}} {{.TotalCount}} {{.Active}}";
        let said = lade.says(&["system", "df", "--format", format]);
        said.lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let images = || {
        lade.says(&[
            "images",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.Containers}}",
        ])
    };
    assert_eq!(df(), ["Images 2 0", "Containers 0 0"]);
    let running = [living(&lade, &name), living(&lade, &name)];
    assert_eq!(df(), ["Images 2 1", "Containers 2 2"]);
    let said = images();
    for line in [format!("{name} 2"), format!("{unused} 0")] {
        assert!(said.lines().any(|one| one == line), "{said}");
    }
    let said = lade.says(&["system", "df", "-v"]);
    let row = said.lines().find(|line| line.contains("/box")).must(&said);
    assert!(row.trim_end().ends_with(" 2"), "{said}");
    for id in lade.containers() {
        let row = said.lines().find(|line| line.starts_with(&id[..12]));
        let row = row.must(&said);
        let cells: Vec<&str> = row.split("  ").map(str::trim).collect();
        let cells: Vec<&str> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        let [_, image, command, volumes, size, created, status] = cells[..] else {
            panic!("{cells:?}: {said}");
        };
        assert_eq!(
            (image, command),
            (name.as_str(), "\"sh -c echo ready; r…\"")
        );
        assert!(volumes == "0" && size.ends_with("kB"), "{row}");
        assert!(
            created.ends_with(" ago") && status.starts_with("Up "),
            "{row}"
        );
    }
    // What would be free is the other image.
    let said = lade.says(&["system", "df", "--format", "{{.Reclaimable}}"]);
    let first = said.lines().next().must("a line");
    assert!(
        !first.contains("(100%)") && !first.starts_with("0B"),
        "{said}"
    );
    for running in running {
        end(running).ok();
    }
    assert_eq!(df(), ["Images 2 0", "Containers 0 0"]);
}

#[test]
fn what_a_killed_run_left_keeps_its_image_only_when_it_cannot_be_ended() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let (image, _) = boxed();
    let name = registry.serve("box:one", &image);
    for without in [false, true] {
        lade.ok(&["pull", "-q", &name]);
        let mut running = living(&lade, &name);
        for pid in Lade::children(running.pid()) {
            orlop_tests::sys::kill(pid, libc::SIGSTOP).must("stop the runtime");
            running.child.kill().must("kill");
            orlop_tests::sys::kill(pid, libc::SIGKILL).must("kill the runtime");
        }
        running.wait();
        if without {
            let rmi = |args: &[&str]| {
                let cmd = lade.cmd(&["--runtime", "/nowhere/orlop", "rmi"]);
                cmd.args(args).run()
            };
            let done = rmi(&[&image.id()]);
            let parts = [
                "(must be forced)",
                "image is being used by stopped container",
            ];
            assert_eq!(complaint(&done, &[1], &parts), None, "{done}");
            let done = rmi(&[&name]);
            assert_eq!(complaint(&done, &[1], &["(must force)"]), None, "{done}");
            rmi(&["-f", &name]).ok();
        } else {
            lade.ok(&["rmi", &name]);
        }
        assert!(lade.ids().is_empty());
    }
    lade.ok(&["image", "prune", "-f"]);
    assert!(lade.containers().is_empty());
    lade.swept();
    lade.ok(&["system", "check"]);
}

#[test]
fn what_is_being_removed_is_left_out_of_lists() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let names: Vec<String> = (0..3)
        .map(|seed| {
            let image = Image::noise(seed, 2, 3_000);
            registry.serve(&format!("thing:t{seed}"), &image)
        })
        .collect();
    let engine = format!(
        "{} --data-root {} --run-root {}",
        orlop_tests::lade().display(),
        lade.data.display(),
        lade.run.display()
    );
    let shell = |script: String| lade.other("sh").args(["-c", &script]).spawn();
    let ended = lade.env.dir.join("ended");
    let coming_and_going = names.iter().map(|name| {
        shell(format!(
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do {engine} pull -q {name} && {engine} rmi -f {name} || exit 1; done"
        ))
    });
    let coming_and_going: Vec<Running> = coming_and_going.collect();
    let looks = [
        "images --digests".to_owned(),
        "system df -v".to_owned(),
        "image prune -f".to_owned(),
        format!("image inspect {}", names[0]),
    ];
    let looking = looks.each_ref().map(|look| {
        // What is not there at that moment is not there.
        let missing = if look.contains("inspect") { "No such image" } else { "^$" };
        let (ended, errors) = (ended.display(), lade.env.dir.join(&look[..9]));
        let errors = errors.display();
        shell(format!(
            "until test -e {ended}; do {engine} {look} >/dev/null 2>'{errors}' || grep '{missing}' '{errors}' || {{ cat '{errors}' >&2; exit 1; }}; done"
        ))
    });
    let ends: Vec<Done> = coming_and_going.into_iter().map(Running::wait).collect();
    std::fs::write(&ended, "").must("tell that it is over");
    let looked = looking.map(Running::wait);
    for done in ends.into_iter().chain(looked) {
        done.ok();
    }
    lade.whole();
    lade.swept();
}

#[test]
fn mounts_are_those_of_their_own_data_root() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &boxed().0);
    let other = lade.env.dir.join("other");
    lade.ok(&["pull", &name]);
    lade.at(&other, &["pull", &name]).run().ok();
    let own = lade.says(&["image", "mount", &name]);
    // The same image, and the same run root.
    let done = lade.at(&other, &["image", "mount", &name]).run().ok();
    let theirs = done.stdout().trim().to_owned();
    assert_ne!(own, theirs);
    lade.at(&other, &["image", "unmount", &name]).run().ok();
    lade.at(&other, &["rmi", &name]).run().ok();
    lade.fails(&["rmi", &name], &["mounted", &own]);
    lade.ok(&["image", "unmount", &name]);
    lade.ok(&["rmi", &name]);
}
