//! Wrong command lines: one line each, and what to type instead.

use orlop_tests::{Lade, complaint};

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let lade = Lade::new();
    let table: [(&[&str], &[&str]); 23] = [
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
