//! Wrong command lines: one line each, and what to type instead.

use orlop_tests::registry::{Debian, DebianOptions, Fault, Image, Proxy, Registry, Rule, What};
use orlop_tests::{Lade, Must, complaint};
use std::fs;

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let lade = Lade::new();
    let table: [(&[&str], &[&str]); 26] = [
        (&["nosuch"], &["nosuch"]),
        (&["image", "images"], &["images|ls"]),
        (&["image", "lst"], &["lst"]),
        (&["pul", "x"], &["pull"]),
        (&["image", "delete"], &["delete"]),
        (&["ps"], &["ps"]),
        (&["pull"], &["NAME|argument|required"]),
        (&["pull", "a", "b"], &["b"]),
        (&["pull", "--nosuch", "a"], &["nosuch"]),
        (&["pull", "--platform"], &["platform"]),
        (&["tag", "a"], &["argument|required|TARGET"]),
        (&["rmi"], &["argument|required|IMAGE"]),
        (&["images", "--filter", "x"], &["x"]),
        (
            &["images", "-f", "dangling=maybe"],
            &["dangling=maybe", "dangling is true or false"],
        ),
        (&["manifest", "ls"], &["see lade manifest --help"]),
        (
            &["image", "unmount", "/no/such"],
            &["mounted nothing on /no/such"],
        ),
        (&["images", "--format", "{{"], &["template|unclosed"]),
        (&["login", "-u", "ann"], &["password"]),
        (&["save"], &["argument|required|IMAGE"]),
        (&["load", "-i", "/no/such/file"], &["/no/such/file"]),
        (&["import", "/no/such/file"], &["/no/such/file"]),
        (&["run"], &["argument|required|IMAGE"]),
        (
            &["run", "--network", "bridge-of-mine", "x"],
            &["bridge-of-mine"],
        ),
        (
            &["manifest", "inspect"],
            &["argument|required|NAME|LIST|MANIFEST"],
        ),
        (&["--log-format", "xml", "images"], &["xml"]),
        (&["system", "nosuch"], &["nosuch"]),
    ];
    let mut wrong = Vec::new();
    for (args, parts) in table {
        let done = lade.cmd(args).run();
        wrong.extend(complaint(&done, &[1, 2, 125], parts).map(|why| format!("{why}\n{done}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_data_root_that_cannot_be_is_said() {
    let lade = Lade::new();
    for root in ["/proc/nosuch", "/dev/null/x"] {
        let done = lade.at(root.as_ref(), &["images"]).run();
        assert_eq!(complaint(&done, &[1], &[root]), None, "{done}");
    }
    let file = lade.env.dir.join("file");
    fs::write(&file, "x").must("a file");
    let done = lade.at(&file, &["images"]).run();
    let parts = ["file: is not a directory", "hint: --data-root"];
    assert_eq!(complaint(&done, &[1], &parts), None, "{done}");
}

#[test]
fn help_and_version_are_no_errors() {
    let lade = Lade::new();
    for args in [
        &["--help"] as &[&str],
        &["pull", "--help"],
        &["image", "--help"],
        &["version"],
        &["info"],
        &["--version"],
    ] {
        let done = lade.ok(args);
        assert!(
            !done.stdout().is_empty() && done.stderr().is_empty(),
            "{done}"
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let lade = Lade::new();
    let script = format!(
        "{} --data-root {} --help | true; exit ${{PIPESTATUS[0]}}",
        orlop_tests::lade().display(),
        lade.data.display()
    );
    let done = lade.other("bash").args(["-c", &script]).run();
    assert!(
        done.stderr().is_empty() && [0, 141].contains(&done.rc),
        "{done}"
    );
}

#[test]
fn messages_as_json() {
    let lade = Lade::new();
    let done = lade
        .cmd(&["--log-format", "json", "image", "inspect", "nosuch"])
        .run()
        .exits(1);
    let line: serde_json::Value =
        serde_json::from_str(done.stderr().trim()).expect("JSON on stderr");
    assert_eq!(line["level"], "error");
    assert!(
        line["msg"]
            .as_str()
            .is_some_and(|text| text.contains("nosuch")),
        "{line}"
    );
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let lade = Lade::new();
    let missing = lade.env.dir.join("missing").display().to_string();
    for (name, value, part) in [
        ("LADE_CONNECTIONS", "0", "from 1 to 100"),
        ("LADE_CONNECTIONS", "1000", "from 1 to 100"),
        ("LADE_CONNECTIONS", "six", "whole number"),
        ("LADE_RETRIES", "-1", "whole number"),
        ("LADE_DEBUG", "perhaps", "neither true nor false"),
        ("LADE_REGISTRIES", &missing, "not there"),
        ("LADE_CONFIG", &missing, "no such file"),
    ] {
        let done = lade.cmd(&["images"]).env(name, value).run();
        let parts = [name, value, part];
        // Which file the program was told of is all that its message can say.
        let parts = if name == "LADE_CONFIG" {
            &parts[1..]
        } else {
            &parts[..]
        };
        let complaint = complaint(&done, &[125], parts);
        assert_eq!(complaint, None, "{done}");
    }
}

#[test]
fn what_names_no_setting_is_said_with_the_one_that_was_meant() {
    let lade = Lade::new();
    for (name, warned) in [
        ("LADE_DATAROOT", "did you mean LADE_DATA_ROOT?"),
        ("LADE_ZZZZZZZZZZZZ", "changes nothing"),
        ("LADE_RETRIES", ""),
    ] {
        let said = lade.cmd(&["images"]).env(name, "3").run().ok().stderr();
        assert_eq!(
            said.contains(&format!("WARNING: {name} is no setting")),
            !warned.is_empty(),
            "{said}"
        );
        assert!(
            said.contains(warned) && said.is_empty() == warned.is_empty(),
            "{said}"
        );
    }
    let secret = "ftp://ann:hunter2@proxy";
    let done = lade
        .cmd(&["pull", "far.example/x"])
        .env("https_proxy", secret)
        .run();
    assert_eq!(complaint(&done, &[1], &["https_proxy"]), None, "{done}");
    assert!(!done.stderr().contains("hunter2"), "{done}");
}

#[test]
fn a_name_without_a_tag_is_said_to_mean_the_latest() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:latest", &Image::noise(1, 1, 1000));
    let bare = name.trim_end_matches(":latest");
    for command in ["pull", "push"] {
        for (args, said) in [
            (&[bare] as &[&str], true),
            (&["-q", bare], false),
            (&[&*name], false),
        ] {
            let out = lade.says(&[&[command], args].concat());
            assert_eq!(
                out.starts_with("Using default tag: latest\n"),
                said,
                "{out}"
            );
        }
    }
}

#[test]
fn what_is_no_registry_is_said() {
    let (lade, registry) = (Lade::new(), Registry::new());
    for what in [What::Ping, What::Manifest] {
        registry.fault(Rule::always(what, Fault::Page(404)));
    }
    let host = registry.host();
    let done = lade
        .cmd(&["login", "-u", "ann", "--password-stdin", &host])
        .stdin("x")
        .run();
    let parts = [&*host, "is no registry (it answered 404 to /v2/)"];
    assert_eq!(complaint(&done, &[1], &parts), None, "{done}");
    assert!(!done.stderr().contains("tag"), "{done}");
    let done = lade.cmd(&["pull", &registry.name("thing:one")]).run();
    let parts = ["404", "whether", "is a registry"];
    assert_eq!(complaint(&done, &[1], &parts), None, "{done}");
}

#[test]
fn an_empty_data_root_has_nothing_to_free() {
    let lade = Lade::new();
    let said = lade.says(&["system", "df", "--format", "{{.Reclaimable}}"]);
    assert!(said.lines().all(|line| line.starts_with("0B")), "{said}");
}

#[test]
fn what_asks_registries_only_makes_no_data_root() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let host = registry.host();
    for args in [
        &["login", "-u", "ann", "-p", "secret", &host] as &[&str],
        &["logout", &host],
        &["manifest", "inspect", &name],
        &["version"],
        &["completion", "bash"],
        &["completion", "zsh"],
        &["completion", "fish"],
    ] {
        lade.ok(args);
    }
    lade.cmd(&["search", &registry.name("x")]).run().exits(1);
    lade.fails(
        &["manifest", "inspect", &registry.name("nosuch")],
        &["nosuch"],
    );
    assert!(!lade.data.exists() && !lade.run.exists());
    // Nor do they need one that is in order.
    fs::create_dir(&lade.data).must("a directory");
    fs::write(lade.data.join("letter"), "dear").must("a file");
    lade.ok(&["manifest", "inspect", &name]);
    lade.fails(
        &["manifest", "inspect", &registry.name("nosuch")],
        &["nosuch"],
    );
}

#[test]
fn debug_says_what_was_asked_of_whom() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 1000);
    let name = registry.serve("thing:one", &image);
    let at = registry.url();
    let done = lade.cmd(&["--debug", "pull", &name]).run().ok();
    let said = done.stderr();
    let asked = |what: &str| {
        let begin = format!(
            "debug: GET {}/v2/thing/{what}: 200, ",
            at.trim_end_matches('/')
        );
        said.lines()
            .any(|line| line.starts_with(&begin) && line.ends_with(" ms"))
    };
    assert!(
        asked("manifests/one") && asked(&format!("blobs/{}", image.id())),
        "{done}"
    );
    let blobs = said.lines().filter(|line| line.contains("/blobs/")).count();
    assert!(blobs >= 3, "{done}");
    let done = lade
        .cmd(&[
            "--debug",
            "--log-format",
            "json",
            "search",
            &registry.name("x"),
        ])
        .run();
    let lines: Vec<serde_json::Value> = done
        .stderr()
        .lines()
        .map(|line| serde_json::from_str(line).must(line))
        .collect();
    assert!(
        lines
            .iter()
            .any(|line| line["level"] == "debug" && line["msg"].to_string().contains("GET ")),
        "{done}"
    );
    assert!(
        !lade
            .cmd(&["pull", &name])
            .run()
            .ok()
            .stderr()
            .contains("GET ")
    );
}

#[test]
fn what_the_runtime_refuses_is_json_too() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("box:one", &Image::busybox());
    lade.ok(&["pull", &name]);
    let args = [
        "--log-format",
        "json",
        "run",
        "--rm",
        "--network",
        "none",
        &name,
        "nosuchprogram",
    ];
    let done = lade.cmd(&args).run().exits(127);
    let said = done.stderr();
    let line = said.lines().next_back().unwrap_or_default();
    let line: serde_json::Value = serde_json::from_str(line).must(line);
    assert_eq!(line["level"], "error");
    assert!(line["msg"].to_string().contains("nosuchprogram"), "{done}");
}

#[test]
fn shells_complete_names_of_images_and_options() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    lade.ok(&["pull", &name]);
    for tag in ["box:one", "box:two", "other:one"] {
        lade.ok(&["tag", &name, tag]);
    }
    // Each shell reads the script as a user has it read, and is asked what a line may become.
    let bash = r#". <("$0" completion bash)
        complete_line() { COMP_LINE=$1 COMP_POINT=${#1}; _lade; printf '%s\n' "${COMPREPLY[@]}"; }"#;
    let zsh = r#"compdef() {}; _files() {}; compadd() { shift; print -rl -- "$@" }
        . <("$0" completion zsh)
        complete_line() { words=("${(@s: :)1}"); CURRENT=$#words PREFIX=$words[-1]; _lade }"#;
    let fish = r#""$argv[1]" completion fish | source
        function complete_line; complete -C $argv[1]; end"#;
    let dir = lade.env.dir.join("bin");
    fs::create_dir(&dir).must("a directory");
    std::os::unix::fs::symlink(orlop_tests::lade(), dir.join("lade")).must("a link");
    let search = format!("{}:{}", dir.display(), std::env::var("PATH").must("PATH"));
    for (shell, script) in [("bash", bash), ("zsh", zsh), ("fish", fish)] {
        if lade.other("which").arg(shell).run().rc != 0 {
            orlop_tests::skip(shell, "not here");
            continue;
        }
        let asked = |line: &str| {
            let script = format!("{script}\ncomplete_line '{line}'");
            let done = lade.other(shell).args(["-c", &script, "lade"]);
            let done = done
                .env("PATH", &search)
                .env("LADE_DATA_ROOT", &lade.data)
                .env("LADE_RUN_ROOT", &lade.run)
                .run()
                .ok();
            assert_eq!(done.stderr(), "", "{done}");
            done.stdout()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (line, words) in [
            ("lade rmi bo", "box:one box:two"),
            ("lade pu", "pull push"),
            ("lade images --no", "--no-trunc"),
            ("lade image unm", "unmount"),
        ] {
            assert_eq!(asked(line), words, "{shell}: {line}");
        }
        // bash takes a colon for the end of a word.
        let ends = if shell == "bash" { "two" } else { "box:two" };
        assert_eq!(asked("lade rmi box:tw"), ends, "{shell}");
    }
}

#[test]
fn a_version_is_of_the_program_and_of_the_runtime() {
    let lade = Lade::new();
    let said = lade.says(&["version"]);
    let begins = |line: &str| said.lines().any(|other| other.starts_with(line));
    for line in ["Client:", " Version: ", "Runtime:", " orlop version "] {
        assert!(begins(line), "{line:?}: {said}");
    }
    // It answers whatever there is.
    let none = lade.says(&["--runtime", "/no/such/runtime", "version"]);
    assert!(none.contains("Runtime:\n /no/such/runtime: "), "{none}");
    for (template, same) in [
        ("{{.Server.Version}}", "{{.Client.Version}}"),
        (
            "{{.Server.Os}}/{{.Server.Arch}}",
            "{{.Client.Os}}/{{.Client.Arch}}",
        ),
    ] {
        let says = |template| lade.says(&["version", "--format", template]);
        assert_eq!(says(template), says(same));
    }
}

#[test]
fn a_hint_names_the_file_that_is_read() {
    let lade = Lade::new();
    // It answers in plain HTTP whatever it gets.
    let registry = Debian::start(&lade.env, DebianOptions::default());
    let proxy = Proxy::new(&[("far.test:443", registry.host())], None);
    let own = lade.env.dir.join("registries.toml");
    fs::write(&own, "").must("a file");
    let own = own.display().to_string();
    for (given, file) in [("", "/etc/lade/registries.toml"), (own.as_str(), &own)] {
        let pull = lade.cmd(&["pull", "far.test/thing:one"]);
        let pull = pull.env("https_proxy", proxy.url());
        let done = pull.env("LADE_REGISTRIES", given).run();
        let hint = format!("`insecure = true` below [registry.\"far.test\"] in {file}, or LADE_");
        let parts = ["does not speak TLS", &hint];
        assert_eq!(complaint(&done, &[1], &parts), None, "{done}");
        assert_eq!(
            done.stderr().matches("registries.toml").count(),
            1,
            "{done}"
        );
    }
}

#[test]
fn an_outage_is_told_once_however_many_connections_it_ends() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 1 << 20);
    let name = registry.serve("thing:one", &image);
    let layer = image.layers[0].digest();
    // The first connection gives its piece; the two others meet it at once.
    let rule = Rule::times(What::Blob, 2, Fault::Status(503)).only(&layer);
    registry.fault(rule.after(1));
    let done = lade
        .cmd(&["pull", &name])
        .env("LADE_PIECE", "65536")
        .run()
        .ok();
    let said = done.stdout();
    let begin = format!("blob {}: 503", &layer[7..19]);
    let told = said.lines().filter(|line| line.contains(&begin));
    assert_eq!(told.count(), 1, "{done}");
    let refused = registry
        .seen()
        .into_iter()
        .filter(|seen| seen.status == 503);
    assert_eq!(refused.count(), 2, "{done}");
    lade.whole();
}

#[test]
fn a_name_that_is_suggested_is_one() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("base:one", &Image::noise(1, 1, 1000));
    lade.ok(&["pull", &name]);
    lade.fails(&["tag", &name, "BadName"], &["\"badname\" would be"]);
    let done = lade.fails(&["tag", &name, "Bad Name"], &["is not a-z and 0-9"]);
    assert!(!done.stderr().contains("would be"), "{done}");
    let wrong = format!("{}@sha256:{}", registry.name("base"), "0".repeat(64));
    lade.fails(&["pull", &wrong], &["check the name and the digest"]);
    lade.fails(
        &["pull", &registry.name("base:two")],
        &["check the name and the tag"],
    );
}

#[test]
fn a_directory_where_nothing_is_mounted_is_no_image() {
    let (lade, registry) = (Lade::new(), Registry::new());
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    lade.ok(&["pull", &name]);
    let dir = lade.env.dir.join("mnt2");
    fs::create_dir(&dir).must("a directory");
    for given in ["mnt2", "./mnt2", &dir.display().to_string()] {
        let unmount = lade.cmd(&["image", "unmount", given]);
        let unmount = unmount.with(|command| {
            command.current_dir(&lade.env.dir);
        });
        let done = unmount.run();
        let said = format!("image unmount: lade has mounted nothing on {given}");
        assert_eq!(complaint(&done, &[1], &[&said]), None, "{done}");
    }
    lade.fails(&["image", "unmount", &name], &["is mounted nowhere"]);
    lade.fails(
        &["image", "unmount", "mnt3"],
        &["No such image: mnt3:latest"],
    );
}
