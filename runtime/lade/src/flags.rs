//! Docker's options against ours, both ways: each of docker's is one of ours or refused with a reason, and each of ours is docker's or in the
//! list below.

use std::collections::BTreeMap;

use clap::{ArgAction, Command};

use crate::mistake::REFUSED;

/// What docker's own `--help` names, as `tests/lade/record` writes it down.
const THEIRS: &str = include_str!("../../../tests/lade/flags.txt");

/// Options of commands that docker has, too, and options that docker does not have.
const OURS: &[(&str, &str)] = &[
    // Of newer docker clients.
    ("load", "--platform"),
    ("push", "--platform"),
    ("save", "--platform"),
    ("run", "--annotation"),
    ("run", "--quiet"),
    ("image load", "--platform"),
    ("image push", "--platform"),
    ("image save", "--platform"),
];

/// Commands that docker does not have: whatever they take is ours.
const OUR_COMMANDS: &[&str] = &[
    "completion",
    "image mount",
    "image unmount",
    "image verify",
    "import-docker",
    "internal complete",
    "internal sweep",
    "system check",
];

#[derive(Debug, PartialEq, Eq)]
struct Flag {
    letter: Option<char>,
    value: bool,
}

type Flags = BTreeMap<(String, String), Flag>;

fn theirs() -> Flags {
    let lines = THEIRS.lines().filter(|line| !line.starts_with('#'));
    let flags = lines.map(|line| {
        let mut fields = line.split('|');
        let mut next = || fields.next().unwrap().to_owned();
        let name = (next(), next());
        let letter = next().chars().next().filter(|letter| *letter != '-');
        let value = next() == "value";
        (name, Flag { letter, value })
    });
    flags.collect()
}

fn ours(command: &Command, path: &str, flags: &mut Flags) {
    for inner in command.get_subcommands() {
        let path = format!("{path} {}", inner.get_name());
        let path = path.trim();
        for arg in inner.get_arguments() {
            let Some(long) = arg.get_long().filter(|long| *long != "help") else {
                continue;
            };
            let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
            let flag = Flag {
                letter: arg.get_short(),
                value: takes && !arg.is_require_equals_set(),
            };
            flags.insert((path.to_owned(), format!("--{long}")), flag);
        }
        ours(inner, path, flags);
    }
}

#[test]
fn every_option_of_docker_is_ours_or_refused_and_every_one_of_ours_is_known() {
    let theirs = theirs();
    assert!(theirs.len() > 170, "{} options of docker", theirs.len());
    let mut ours_all = Flags::new();
    ours(&crate::commands(), "", &mut ours_all);
    let mut wrong = Vec::new();
    for ((command, flag), docker) in &theirs {
        let lade = ours_all.get(&(command.clone(), flag.clone()));
        let leaf = command.split(' ').next_back().unwrap_or_default();
        let refused = REFUSED
            .iter()
            .find(|row| row.command == leaf && row.flag == flag);
        match (lade, refused) {
            (Some(lade), None) if lade == docker => {}
            (Some(lade), None) => {
                wrong.push(format!("{command} {flag}: {lade:?}, docker has {docker:?}"))
            }
            (None, Some(row)) if row.letter == docker.letter => {}
            (None, Some(row)) => wrong.push(format!(
                "{command} {flag}: refused with the letter {:?}",
                row.letter
            )),
            (Some(_), Some(_)) => wrong.push(format!("{command} {flag}: ours, and refused")),
            (None, None) => wrong.push(format!("{command} {flag}: neither ours nor refused")),
        }
    }
    for (command, flag) in ours_all.keys() {
        let known = theirs.contains_key(&(command.clone(), flag.clone()))
            || OURS.contains(&(command, flag))
            || OUR_COMMANDS.contains(&command.as_str());
        if !known {
            wrong.push(format!(
                "{command} {flag}: not docker's, and in no list of ours"
            ));
        }
    }
    for row in REFUSED {
        let of_docker = |(command, flag): &(String, String)| {
            command.split(' ').next_back() == Some(row.command) && flag == row.flag
        };
        if !theirs.keys().any(of_docker) {
            wrong.push(format!(
                "{} {}: refused, and docker has no such option",
                row.command, row.flag
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
