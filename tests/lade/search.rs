//! `lade search`: what a registry finds, as a table and otherwise.

use orlop_tests::registry::{Fault, Registry, Rule, What};
use orlop_tests::{Lade, complaint};
use serde_json::{Value, json};

/// A registry that finds three repositories.
fn filled() -> Registry {
    let long = "what its owner says of it ".repeat(4);
    Registry::new().with(|manner| {
        manner.found = Some(vec![
            json!({"name": "team/box", "description": "small", "star_count": 7, "is_official": false, "is_automated": true}),
            json!({"name": "box", "description": long, "star_count": 90, "is_official": true, "is_automated": false}),
            json!({"name": "other/box", "star_count": 3}),
        ]);
    })
}

#[test]
fn the_table_has_dockers_columns() {
    let (lade, registry) = (Lade::new(), filled());
    let text = lade.says(&["search", &registry.name("box")]);
    let lines: Vec<&str> = text.lines().collect();
    let columns: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        columns,
        ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
    );
    let words = |line: &str| -> Vec<String> {
        line.split("  ")
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    };
    assert_eq!(words(lines[1]), ["team/box", "small", "7", "[OK]"]);
    assert_eq!(words(lines[3]), ["other/box", "3"]);
    assert!(
        lines[2].starts_with("box ") && lines[2].contains("…"),
        "{text}"
    );
    let whole = lade.says(&["search", "--no-trunc", &registry.name("box")]);
    assert!(
        whole.contains(&"what its owner says of it ".repeat(3)),
        "{whole}"
    );
    let seen = registry.seen().into_iter();
    let asked: Vec<_> = seen.filter_map(|seen| seen.request.asked("q")).collect();
    assert_eq!(asked, ["box", "box"]);
}

#[test]
fn filters_limits_and_templates() {
    let (lade, registry) = (Lade::new(), filled());
    let term = registry.name("box");
    let table: [(&[&str], &[&str]); 8] = [
        (&[], &["team/box", "box", "other/box"]),
        (&["--limit", "1"], &["team/box"]),
        (&["-f", "stars=7"], &["team/box", "box"]),
        (&["--filter", "is-official=true"], &["box"]),
        (&["--filter", "is-automated=true"], &["team/box"]),
        (
            &["--filter", "is-official=false", "--filter", "stars=5"],
            &["team/box"],
        ),
        (&["--filter", "stars=1000"], &[]),
        (&["--limit", "100"], &["team/box", "box", "other/box"]),
    ];
    for (args, wanted) in table {
        let mut all = vec!["search", "--format", "{{.Name}}"];
        all.extend(args);
        all.push(&term);
        let text = lade.says(&all);
        assert_eq!(text.lines().collect::<Vec<_>>(), wanted, "{args:?}");
    }
    // As many are asked for as are wanted; 0 is docker's own number.
    for (limit, wanted) in [("0", "25"), ("7", "7"), ("100", "100")] {
        registry.forget();
        lade.ok(&["search", "--limit", limit, &term]);
        let seen = registry.seen().into_iter();
        let asked: Vec<_> = seen.filter_map(|seen| seen.request.asked("n")).collect();
        assert_eq!(asked, [wanted], "{limit}");
    }
    let text = lade.says(&["search", "--format", "json", "-f", "stars=90", &term]);
    let row: Value = serde_json::from_str(&text).expect("a line of JSON");
    assert_eq!(
        (&row["Name"], &row["StarCount"], &row["IsOfficial"]),
        (&json!("box"), &json!("90"), &json!("true"))
    );
}

#[test]
fn what_cannot_be_searched_is_said_in_a_line() {
    let (lade, registry) = (Lade::new(), filled());
    let (host, term) = (registry.host(), registry.name("box"));
    for (args, parts) in [
        (&["--limit", "101"] as &[&str], &["101", "100"] as &[&str]),
        (&["-f", "stars=many"], &["many"]),
        (&["-f", "nosuch=1"], &["nosuch"]),
    ] {
        let mut all = vec!["search"];
        all.extend(args);
        all.push(&term);
        let done = lade.cmd(&all).run();
        assert_eq!(complaint(&done, &[1, 125], parts), None, "{done}");
    }
    assert!(
        registry.seen().iter().all(|seen| seen.what != What::Other),
        "nothing was asked"
    );
    let hostile = b"{\"results\": [{\"name\": \"a\\u001b[31m\\nb\"}]}".to_vec();
    for (fault, parts) in [
        (Fault::Status(500), &[host.as_str(), "500"] as &[&str]),
        (Fault::Page(403), &[&host, "403"]),
        (Fault::Body(b"<html>".to_vec()), &[&host, "not a list"]),
        (Fault::Endless, &[&host]),
    ] {
        registry.mend();
        registry.fault(Rule::always(What::Other, fault.clone()));
        let done = lade.cmd(&["search", &term]).run();
        assert_eq!(complaint(&done, &[1], parts), None, "{fault:?}: {done}");
    }
    registry.mend();
    registry.fault(Rule::once(What::Other, Fault::Body(hostile)));
    let text = lade.says(&["search", &term]);
    assert!(
        text.lines().count() == 2 && !text.contains('\u{1b}'),
        "{text:?}"
    );
    let none = Registry::new();
    lade.fails(&["search", &none.name("box")], &[&none.host(), "no search"]);
}
