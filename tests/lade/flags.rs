//! Docker's flags one by one: each has a test of its effect, which `effects.txt` names, or is refused by name.

use orlop_tests::registry::image::{OCI_INDEX, index, oci_archive};
use orlop_tests::registry::{Auth, Image, Layer, Registry};
use orlop_tests::{Cmd, Lade, Must, Pty, complaint, disk};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;

/// `command|flag` and the other fields of a line.
fn rows(text: &'static str) -> impl Iterator<Item = (String, Vec<&'static str>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut fields = line.split('|');
        let mut next = || fields.next().must(line);
        let name = format!("{}|{}", next(), next());
        (name, fields.collect())
    })
}

/// The source of a test, by the name that the table gives it.
fn source(test: &str) -> Option<String> {
    let (module, function) = test.split_once("::")?;
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("lade");
    let text = fs::read_to_string(dir.join(format!("{module}.rs"))).ok()?;
    let (_, body) = text.split_once(&format!("#[test]\nfn {function}() {{\n"))?;
    let (body, _) = body.split_once("\n}\n")?;
    Some(body.to_owned())
}

#[test]
fn every_flag_of_docker_has_a_test_of_its_effect_or_is_refused() {
    let lade = Lade::new();
    let effects: BTreeMap<String, Vec<&str>> = rows(include_str!("effects.txt")).collect();
    let flags: BTreeMap<String, Vec<&str>> = rows(include_str!("flags.txt")).collect();
    let mut wrong: Vec<String> = Vec::new();
    wrong.extend(
        effects
            .keys()
            .filter(|name| !flags.contains_key(*name))
            .map(|name| format!("{name}: docker has no such flag")),
    );
    for (name, fields) in &flags {
        let (command, flag) = name.split_once('|').must(name);
        let letter = format!("\"-{}\"", fields[0]);
        let Some(test) = effects.get(name).and_then(|fields| fields.first()) else {
            wrong.push(format!("{name}: effects.txt does not say which test"));
            continue;
        };
        if let Some(same) = test.strip_prefix("= ") {
            // One command under two names: the same options, so the same tests.
            let options = |command: &str| {
                let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
                let help = lade.says(&words);
                let (_, options) = help.split_once("Options:").must("options");
                options.to_owned()
            };
            if !flags.contains_key(&format!("{same}|{flag}")) || options(command) != options(same) {
                wrong.push(format!("{name}: is not the same as of {same}"));
            }
        } else if *test == "refused" {
            let mut words: Vec<&str> = command.split(' ').collect();
            words.push(flag);
            words.extend((fields[1] == "value").then_some("1"));
            words.push("image");
            let done = lade.cmd(&words).run();
            let refused = complaint(&done, &[125], &[flag]);
            wrong.extend(refused.map(|why| format!("{name}: {why}\n{done}")));
            if done.stderr().contains("unknown flag") {
                wrong.push(format!("{name}: refused as if nobody knew it"));
            }
        } else {
            match source(test) {
                None => wrong.push(format!("{name}: there is no test {test}")),
                Some(body) if body.contains(flag) || body.contains(&letter) => {}
                Some(_) => wrong.push(format!("{name}: {test} does not use it")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Says what a command says on a terminal, of everything that it has done.
fn on_a_terminal(lade: &Lade, args: &[&str]) -> String {
    let mut terminal = Pty::open();
    let shell = "\"$0\" \"$@\"; echo 'rc='$?";
    let cmd = lade.cmd(args).before("sh", &["-c", shell]);
    let running = cmd.on(&terminal).spawn();
    let said = terminal.expect("rc=0");
    running.wait().ok();
    said
}

#[test]
fn quiet_says_less() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 2_000_000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    let (one, two) = (registry.name("copy:one"), registry.name("copy:two"));
    lade.ok(&["tag", &name, &one]);
    lade.ok(&["tag", &name, &two]);
    let said = lade.says(&["push", &one]);
    assert!(
        said.contains("The push refers to repository") && said.contains("digest: sha256:"),
        "{said}"
    );
    assert_eq!(lade.says(&["push", "--quiet", &two]), two);
    let archive = lade.env.dir.join("image.tar");
    fs::write(&archive, oci_archive(&[("given/it:one", &image)])).must("an archive");
    let archive = archive.display().to_string();
    let load = |more: &[&str]| {
        let other = Lade::new();
        on_a_terminal(
            &other,
            &[&["load", "--input", &archive] as &[&str], more].concat(),
        )
    };
    let (loud, quiet) = (load(&[]), load(&["--quiet"]));
    assert!(
        loud.contains("Pull complete") && loud.contains("archive: Loading"),
        "{loud:?}"
    );
    assert!(
        quiet.contains("Loaded image: given/it:one") && !quiet.contains("complete"),
        "{quiet:?}"
    );
}

#[test]
fn history_is_for_people_or_exact() {
    let lade = Lade::new();
    let long = format!("/bin/sh -c {}", "x".repeat(60));
    let image = Image::with(vec![Layer::noise(1, 3000)], |config| {
        config["history"][0]["created_by"] = long.as_str().into();
    });
    lade.cmd(&["load"])
        .stdin(oci_archive(&[("t/it:one", &image)]))
        .run()
        .ok();
    let row = |more: &[&str]| {
        let text = lade.says(&[&["history"] as &[&str], more, &["t/it:one"]].concat());
        text.lines().last().unwrap_or_default().to_owned()
    };
    let (short, id) = (row(&[]), image.id());
    assert!(
        short.starts_with(&id[7..19])
            && short.contains("ago")
            && short.contains("kB")
            && short.contains("x…"),
        "{short}"
    );
    let exact = row(&["--human=false"]);
    assert!(
        exact.contains("2024-05-06T07:08:09Z") && !exact.contains("kB"),
        "{exact}"
    );
    let whole = row(&["--no-trunc"]);
    assert!(whole.starts_with(&id) && whole.contains(&long), "{whole}");
    assert_eq!(row(&["--quiet"]), id[7..19]);
}

#[test]
fn some_flags_are_taken_and_change_nothing_here() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &Image::noise(1, 2, 1000));
    lade.ok(&["pull", &name]);
    // There are no images below images, and no containers with a size.
    assert_eq!(lade.says(&["images", "--all"]), lade.says(&["images"]));
    assert_eq!(
        lade.says(&["inspect", "--size", &name]),
        lade.says(&["inspect", &name])
    );
    // What an image is made of goes with the last that has it, whoever that is.
    let said = lade.says(&["rmi", "--no-prune", &name]);
    assert!(
        said.contains("Untagged: ") && lade.ids().is_empty(),
        "{said}"
    );
}

#[test]
fn signatures_are_not_checked_and_that_is_said() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    lade.ok(&["pull", "--disable-content-trust", &name]);
    lade.ok(&["push", "--disable-content-trust=true", &name]);
    lade.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--disable-content-trust",
        &name,
        "true",
    ]);
    for command in ["pull", "push", "run"] {
        let done = lade
            .cmd(&[command, "--disable-content-trust=false", &name])
            .run();
        let why = complaint(
            &done,
            &[1, 125],
            &["--disable-content-trust=false", "signatures"],
        );
        assert_eq!(why, None, "{done}");
    }
}

#[test]
fn only_images_are_inspected() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 1000);
    let name = registry.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    assert_eq!(
        lade.says(&["inspect", "--type", "image", "-f", "{{.Id}}", &name]),
        image.id()
    );
    lade.fails(
        &["inspect", "--type", "image", "nosuch"],
        &["No such image: nosuch"],
    );
    lade.fails(
        &["inspect", "--type", "container", &name],
        &["--type container", "images"],
    );
    lade.fails(&["inspect", "--type", "nosuch", &name], &["nosuch"]);
}

#[test]
fn an_import_says_why_and_for_whom() {
    let lade = Lade::new();
    lade.cmd(&[
        "import",
        "--message",
        "because",
        "--platform",
        "linux/arm64",
        "-",
        "made:one",
    ])
    .stdin(Layer::noise(1, 1000).tar)
    .run()
    .ok();
    assert_eq!(
        lade.inspect("made:one", "{{.Comment}} {{.Architecture}}"),
        "because arm64"
    );
    assert_eq!(
        lade.says(&["history", "--format", "{{.Comment}}", "made:one"]),
        "because"
    );
}

#[test]
fn manifests_without_tls_only_where_that_is_said() {
    let (lade, registry) = (Lade::new(), Registry::new());
    registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let (name, list) = ("plain.test/thing:one", "plain.test/thing:all");
    let through = |args: &[&str]| {
        let cmd = lade.cmd(&[&["manifest"], args].concat());
        cmd.env("http_proxy", registry.url())
            .env("LADE_RETRIES", "0")
            .run()
    };
    for (args, insecure) in [
        (
            &["inspect", name] as &[&str],
            &["inspect", "--insecure", name] as &[&str],
        ),
        (
            &["create", list, name],
            &["create", "--insecure", list, name],
        ),
        (&["push", list], &["push", "--insecure", list]),
    ] {
        let done = through(args);
        assert_eq!(complaint(&done, &[1], &["plain.test"]), None, "{done}");
        through(insecure).ok();
    }
    assert!(registry.manifest("thing", "all").is_some());
}

#[test]
fn what_each_image_takes_adds_up_to_the_disk() {
    let (lade, registry) = (Lade::new(), Registry::new());
    for seed in 1..4 {
        let image = Image::noise(seed, 2, 700_000);
        lade.ok(&["pull", &registry.serve(&format!("thing:t{seed}"), &image)]);
    }
    let short = lade.says(&["system", "df"]);
    let text = lade.says(&["system", "df", "--verbose"]);
    assert!(
        text.contains("Images space usage:") && !short.contains("thing"),
        "{text}"
    );
    let bytes = |size: &str| -> f64 {
        let unit = size.find(|c: char| c.is_alphabetic()).must(size);
        let number: f64 = size[..unit].parse().must(size);
        let power = ["B", "kB", "MB", "GB"]
            .iter()
            .position(|known| *known == &size[unit..]);
        number * 1000f64.powi(i32::try_from(power.must(size)).must(size))
    };
    let cells = |line: &str| -> Vec<String> {
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let (images, others) = text.split_once("Containers space usage:").must("images");
    let (_, others) = others.split_once("Other space usage:").must("others");
    let unique = images
        .lines()
        .filter(|line| line.contains("thing"))
        .map(|line| bytes(&cells(line)[6]));
    let rest = others
        .lines()
        .filter(|line| line.contains('B') && !line.contains("TYPE"));
    let sum: f64 = unique.chain(rest.map(|line| bytes(&cells(line)[1]))).sum();
    let disk = disk(&lade.data) as f64;
    assert!(
        (sum - disk).abs() < disk / 100.0 + 8192.0,
        "{sum}, du {disk}:\n{text}"
    );
}

/// `lade run` of busybox.
fn run(lade: &Lade, args: &[&str]) -> Cmd {
    lade.cmd(&[&["run", "--rm", "--network", "none"], args].concat())
}

#[track_caller]
fn refused(lade: &Lade, args: &[&str], parts: &[&str]) {
    let done = run(lade, args).run();
    assert_eq!(complaint(&done, &[125], parts), None, "{done}");
}

#[test]
fn a_container_is_what_the_flags_say() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    lade.ok(&["pull", &name]);
    let file = lade.env.dir.join("env");
    fs::write(&file, "# none\nA=of the file\nB=two\n").must("a file");
    let file = file.display().to_string();
    let said = |args: &[&str]| run(&lade, args).run().ok().stdout().trim_end().to_owned();
    let given = [
        "--env-file",
        &file,
        "--env",
        "B=nearer",
        &name,
        "sh",
        "-c",
        "echo $A, $B",
    ];
    assert_eq!(said(&given), "of the file, nearer");
    assert_eq!(
        said(&["--hostname", "called.so", &name, "hostname"]),
        "called.so"
    );
    assert_eq!(
        said(&[
            "--user",
            "ann",
            "--workdir",
            "/tmp",
            &name,
            "sh",
            "-c",
            "id -un; pwd"
        ]),
        "ann\n/tmp"
    );
    assert_eq!(said(&["--entrypoint", "echo", &name, "it"]), "it");
    let done = run(&lade, &["--tty", &name, "sh", "-c", "test -t 1 && tty"]).run();
    done.ok().prints("/dev/pts/0");
    let done = run(&lade, &["--tty", "--interactive", &name, "true"]).run();
    let said = "Error: the input device is not a TTY\nhint: leave out -i, or -t\n";
    assert_eq!((done.rc, done.stderr().as_str()), (1, said), "{done}");
    refused(
        &lade,
        &["--runtime", "/no/such/runtime", &name, "true"],
        &["/no/such/runtime"],
    );
    refused(
        &lade,
        &["--sig-proxy=false", &name, "true"],
        &["--sig-proxy"],
    );
}

#[test]
fn an_image_is_pulled_when_the_flags_say() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    refused(
        &lade,
        &["--pull", "never", &name, "true"],
        &["No such image"],
    );
    run(&lade, &["--pull", "missing", &name, "true"]).run().ok();
    // The name leads elsewhere now.
    let new = Image::new(vec![Layer::busybox(), Layer::noise(1, 100)]);
    registry.serve("box:one", &new);
    run(&lade, &["--pull", "missing", &name, "true"]).run().ok();
    assert_ne!(lade.inspect(&name, "{{.Id}}"), new.id());
    run(&lade, &["--pull", "always", &name, "true"]).run().ok();
    assert_eq!(lade.inspect(&name, "{{.Id}}"), new.id());
    refused(&lade, &["--pull", "perhaps", &name, "true"], &["perhaps"]);
    let arm = Image::with(vec![Layer::busybox()], |config| {
        config["architecture"] = "arm64".into()
    });
    let entries = [
        new.entry(&json!({"os": "linux", "architecture": "amd64"})),
        arm.entry(&json!({"os": "linux", "architecture": "arm64"})),
    ];
    registry.serve("many:amd64", &new);
    registry.serve("many:arm64", &arm);
    registry.put("many", "all", OCI_INDEX, &index(&entries));
    let many = registry.name("many:all");
    run(&lade, &["--platform", "linux/arm64", &many, "true"])
        .run()
        .ok();
    assert_eq!(lade.inspect(&many, "{{.Architecture}}"), "arm64");
}

#[test]
fn a_login_takes_user_and_password() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", "secret"));
    let host = registry.host();
    let login = |args: &[&str]| lade.cmd(&[&["login"], args, &[&host]].concat());
    for (user, password, rc) in [
        ("ann", "secret", 0),
        ("ann", "wrong", 1),
        ("bob", "secret", 1),
    ] {
        let done = login(&["--username", user, "--password", password])
            .run()
            .exits(rc);
        assert!(
            done.stderr().contains("--password via the CLI is insecure"),
            "{done}"
        );
        let piped = login(&["--username", user, "--password-stdin"]).stdin(password);
        piped.run().exits(rc);
    }
}
