//! The tree keeps to docs/architecture.md: who depends on whom, and where `unsafe` may be.

use orlop_tests::Must;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

type Edges = BTreeMap<String, BTreeSet<String>>;

/// The only crate that may contain `unsafe`.
const UNSAFE: &str = "sys";

/// What the table of attacks on images stands below.
const IMAGES: &str = "## Known attacks on images";

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .must("the tree")
        .to_owned()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").must("CARGO");
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(tree())
        .output();
    let output = output.must("cargo metadata");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).must("JSON");
    metadata["packages"].as_array().must("packages").clone()
}

fn text(value: &Value) -> String {
    value.as_str().must("a string").to_owned()
}

/// Returns the crates of the workspace that each of them depends on; what only tests use does not ship and does not count.
fn edges(packages: &[Value]) -> Edges {
    let ours: BTreeSet<String> = packages
        .iter()
        .map(|package| text(&package["name"]))
        .collect();
    let depends = |package: &Value| {
        let ships = package["dependencies"]
            .as_array()
            .must("dependencies")
            .iter()
            .filter(|dependency| dependency["kind"] != "dev");
        ships
            .map(|dependency| text(&dependency["name"]))
            .filter(|name| ours.contains(name))
            .collect()
    };
    packages
        .iter()
        .map(|package| (text(&package["name"]), depends(package)))
        .collect()
}

/// Reads the table: the rows between its header and the next empty line.
fn table(page: &str) -> Edges {
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| crate | knows |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "a row of the table: {line}");
        let depends = cells[3]
            .split(',')
            .map(str::trim)
            .filter(|name| *name != "–")
            .map(str::to_owned)
            .collect();
        (cells[0].to_owned(), depends)
    };
    rows.map(row).collect()
}

#[test]
fn crates_depend_on_what_the_table_says() {
    let page =
        std::fs::read_to_string(tree().join("docs/architecture.md")).must("docs/architecture.md");
    let (said, found) = (table(&page), edges(&packages()));
    let names: BTreeSet<&String> = said.keys().chain(found.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| said.get(*name) != found.get(*name));
    let lines: Vec<String> = differing
        .map(|name| {
            format!(
                "{name}: the table says {:?}, Cargo.toml {:?}",
                said.get(name),
                found.get(name)
            )
        })
        .collect();
    assert!(
        lines.is_empty(),
        "docs/architecture.md and the workspace disagree:\n{}",
        lines.join("\n")
    );
}

#[test]
fn only_sys_may_be_unsafe() {
    for package in packages() {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        if !manifest.starts_with(tree().join("runtime")) || package["name"] == UNSAFE {
            continue;
        }
        let targets = package["targets"].as_array().must("targets").iter();
        let ships = targets.filter(|target| {
            target["kind"]
                .as_array()
                .must("kinds")
                .iter()
                .any(|kind| kind == "lib" || kind == "bin")
        });
        for root in ships.map(|target| text(&target["src_path"])) {
            let source = std::fs::read_to_string(&root).must(&root);
            assert!(
                source.lines().any(|line| line == "#![forbid(unsafe_code)]"),
                "{root}: lacks #![forbid(unsafe_code)]"
            );
        }
    }
}

#[test]
fn scripts_are_short_and_files_are_rooms() {
    let mut too_long = Vec::new();
    for file in files() {
        let Ok(content) = std::fs::read_to_string(tree().join(&file)) else {
            continue;
        };
        let own = content
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .must("the beginning");
        let most =
            if content.starts_with("#!/bin/bash") || content.starts_with("#!/usr/bin/env bash") {
                50
            } else {
                600
            };
        if own.lines().count() > most
            && (most == 50 || file.ends_with(".rs") || file.ends_with(".py"))
        {
            too_long.push(format!(
                "{file}: {} lines, at most {most}",
                own.lines().count()
            ));
        }
    }
    assert!(too_long.is_empty(), "{}", too_long.join("\n"));
}

#[test]
fn patches_that_take_out_a_defence_apply() {
    apply("tests/attacks/without");
}

#[test]
fn patches_that_plant_a_fault_apply() {
    apply("tests/fuzz/planted");
}

fn apply(dir: &str) {
    let dir = tree().join(dir);
    for entry in std::fs::read_dir(&dir).must(dir.display()) {
        let patch = entry.must("a patch").path();
        let checked = Command::new("git")
            .args(["-c", "safe.directory=*", "apply", "--check"])
            .arg(&patch)
            .current_dir(tree())
            .output()
            .must("git apply");
        let why = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {why}", patch.display());
    }
}

/// Returns the names of the test functions of a group: `tests/GROUP` or `runtime/CRATE/tests/GROUP`, a folder or a file.
fn tests_of(group: &str, files: &[String]) -> BTreeSet<String> {
    match group.split_once('/') {
        Some((name, group)) => tests_in(&format!("runtime/{name}/tests/{group}"), files),
        None => tests_in(&format!("tests/{group}"), files),
    }
}

/// Returns the names of the test functions of a folder or a file.
fn tests_in(place: &str, files: &[String]) -> BTreeSet<String> {
    let sources = files
        .iter()
        .filter(|file| **file == format!("{place}.rs") || file.starts_with(&format!("{place}/")));
    let mut names = BTreeSet::new();
    for file in sources.filter(|file| file.ends_with(".rs")) {
        let source = std::fs::read_to_string(tree().join(file)).must(file);
        let after = source.split("#[test]").skip(1);
        names.extend(after.filter_map(|text| {
            let (name, _) = text.split_once("fn ")?.1.split_once('(')?;
            Some(name.to_owned())
        }));
    }
    names
}

#[test]
fn every_row_of_the_contract_names_tests_that_exist() {
    let page = std::fs::read_to_string(tree().join("docs/contract.md")).must("docs/contract.md");
    let files = files();
    let mut wrong = Vec::new();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    for row in rows.filter(|row| !row.ends_with("| shown by |")) {
        let cells: Vec<&str> = row.trim_matches('|').rsplit(" | ").collect();
        for test in cells[0].split(',').map(str::trim) {
            let exists = match test.split_once("::") {
                Some((group, name)) => tests_of(group, &files).contains(name),
                None => test.starts_with("integration/") && files.iter().any(|file| file == test),
            };
            if !exists || cells.len() != 6 {
                wrong.push(format!("no test {test}, or not six cells: {row}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `GROUP::NAME` is a test of `tests/GROUP` or of the crate of that name. A row may say that there is none.
#[test]
fn every_attack_on_images_names_tests_that_exist() {
    let page = std::fs::read_to_string(tree().join("docs/security.md")).must("docs/security.md");
    let files = files();
    let exists = |test: &str| {
        test.split_once("::").is_some_and(|(group, name)| {
            let places = [format!("tests/{group}"), format!("runtime/{group}")];
            places
                .iter()
                .any(|place| tests_in(place, &files).contains(name))
        })
    };
    let mut wrong = Vec::new();
    let below = page.lines().skip_while(|line| *line != IMAGES).skip(1);
    let rows = below
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with("| "));
    for row in rows.filter(|row| !row.ends_with("| test |")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let shown = cells[cells.len() - 1];
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        let none = tests.is_empty() && !shown.contains("no test");
        if cells.len() != 4 || none || !tests.iter().all(|test| exists(test)) {
            wrong.push(row);
        }
    }
    assert!(page.lines().any(|line| line == IMAGES), "no {IMAGES}");
    assert!(
        wrong.is_empty(),
        "a test that is not there, or not four cells:\n{}",
        wrong.join("\n")
    );
}

/// The sweep of `hack/rows` takes long; what can be said without it, is.
#[test]
fn every_row_of_the_contract_says_what_can_be_taken_away() {
    let read = |file: &str| std::fs::read_to_string(tree().join(file)).must(file);
    let (page, features) = (read("docs/contract.md"), read("tests/rows"));
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let rows = rows.filter(|row| !row.ends_with("| shown by |"));
    let first = |row: &str| row.split(" | ").next().must(row).replacen("| ", "", 1);
    let said: Vec<String> = rows.map(first).collect();
    let lines = || {
        features
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    };
    let have: Vec<&str> = lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(have, said, "the rows of tests/rows and of docs/contract.md");
    let mut before = "    ";
    for line in lines().chain([""]) {
        let one_is_named = line.starts_with("    ") || before.starts_with("    ");
        assert!(one_is_named, "{before}: nothing is taken away");
        before = line;
    }
    for line in lines().filter_map(|line| line.strip_prefix("    source ")) {
        let (file, change) = line.split_once(": ").must(line);
        let (text, _) = change.split_once(" => ").must(line);
        assert_eq!(read(file).matches(text).count(), 1, "{file}: {text}");
    }
}

/// Returns the files under version control.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files"])
        .current_dir(tree())
        .output()
        .must("git ls-files");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}
