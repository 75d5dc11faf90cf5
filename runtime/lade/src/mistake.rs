//! What was typed and is no command or option of ours: what was meant, or what does it instead.

mod later;
mod refused;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use crate::argv::Line;
use crate::failure::{FAILED, Failure, USAGE};

#[cfg(test)]
pub(crate) use refused::TABLE as REFUSED;

/// Turns what clap has to say about a line into a message and a hint. `path` holds the commands that the line names.
pub(crate) fn explain(root: &Command, line: &Line, error: &Error) -> Failure {
    let path = &line.path;
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let word = context(ContextKind::InvalidArg);
    let name = full(path);
    let failure = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            return unknown_command(root, path, word);
        }
        ErrorKind::UnknownArgument => match word {
            Some(flag) if flag.starts_with('-') => return unknown_flag(root, line, flag),
            word => {
                let word = word.unwrap_or_default();
                Failure::new(format!("{name} takes no argument {word:?}"))
            }
        },
        ErrorKind::MissingSubcommand => Failure::new(format!("{name} needs a command")),
        ErrorKind::MissingRequiredArgument => {
            let missing = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::Strings(names)) => names.join(" and "),
                _ => "an argument".into(),
            };
            let missing = missing.replace(['<', '>'], "");
            Failure::new(format!("{name} needs {missing}"))
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = context(ContextKind::InvalidValue).unwrap_or_default();
            let flag = word.unwrap_or_default();
            let flag = flag.split(' ').next().unwrap_or(flag);
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.map_or(String::new(), |why| format!(": {}", plainer(&why)));
            Failure::new(format!("invalid argument {value:?} for {flag}{why}"))
        }
        _ => Failure::new(one_line(&error.to_string())),
    };
    let code = if path.first().is_some_and(|first| first == "run") {
        USAGE
    } else {
        FAILED
    };
    failure.hint(usage(root, path)).code(code)
}

/// The words of Rust's number parser, as a person would say them.
fn plainer(why: &str) -> &str {
    if why.contains("digit") || why.contains("number too") || why.contains("integer") {
        return "not a whole number that is in range";
    }
    why
}

fn one_line(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let lines = paragraph.lines().map(str::trim);
    let line: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    line.join(" ").trim_start_matches("error: ").to_owned()
}

fn full(path: &[String]) -> String {
    let mut name = String::from("lade");
    for word in path {
        name.push(' ');
        name.push_str(word);
    }
    name
}

fn leaf<'a>(root: &'a Command, path: &[String]) -> Option<&'a Command> {
    let mut command = root;
    for name in path {
        command = command.find_subcommand(name)?;
    }
    Some(command)
}

/// Returns the line that shows how a command is called.
fn usage(root: &Command, path: &[String]) -> String {
    let mut built = root.clone();
    built.build();
    let usage = leaf(&built, path).map(|leaf| leaf.clone().render_usage().to_string());
    let usage = usage.unwrap_or_default();
    format!(
        "{}; see {} --help",
        usage.replace("Usage: ", "usage: "),
        full(path)
    )
}

fn unknown_command(root: &Command, path: &[String], word: &str) -> Failure {
    let name = full(path);
    if let Some((what, instead)) = later::find(path, word) {
        let failure = Failure::new(format!("{name} {word} {what}"));
        return failure.hint(instead);
    }
    let failure = Failure::new(format!("{word:?} is not a command of {name}"));
    match meant(root, path, word) {
        Some(meant) => failure.hint(format!("did you mean `lade {meant}`?")),
        None => failure.hint(format!("see {name} --help")),
    }
}

/// Finds the command that a word was meant to be: the same name elsewhere, then a near one here, then a near one elsewhere.
fn meant(root: &Command, path: &[String], word: &str) -> Option<String> {
    // Docker has no such command either, but people look for it.
    if path == ["image"] && ["images", "list-images"].contains(&word) {
        return Some("image ls".into());
    }
    let mut all = Vec::new();
    collect(root, "", &mut all);
    let group = path.join(" ");
    let exact = all.iter().find(|(_, name)| name == word);
    let here = all.iter().filter(|(parent, _)| *parent == group);
    let near_here = || {
        let near = near(word, here.map(|(_, name)| name.as_str()))?;
        all.iter()
            .find(|(parent, name)| *parent == group && name == near)
    };
    let near_elsewhere = || {
        let near = near(word, all.iter().map(|(_, name)| name.as_str()))?;
        all.iter().find(|(_, name)| name == near)
    };
    // What is elsewhere is for images, and says nothing of lists.
    if path == ["manifest"] {
        return near_here().map(|(parent, name)| format!("{parent} {name}"));
    }
    let (parent, name) = exact.or_else(near_here).or_else(near_elsewhere)?;
    Some(format!("{parent} {name}").trim().to_owned())
}

/// Lists the commands that people may call, each with the group that it is in.
fn collect(command: &Command, parent: &str, out: &mut Vec<(String, String)>) {
    for inner in command
        .get_subcommands()
        .filter(|inner| !inner.is_hide_set())
    {
        let name = inner.get_name();
        out.push((parent.to_owned(), name.to_owned()));
        collect(inner, format!("{parent} {name}").trim(), out);
    }
}

fn unknown_flag(root: &Command, line: &Line, flag: &str) -> Failure {
    let path = &line.path;
    let name = full(path);
    let flag = flag.split('=').next().unwrap_or(flag);
    if let Some(refused) = refused::find(path, flag) {
        let failure = Failure::new(format!("{name}: {flag} {}", refused.why));
        let failure = failure.code(USAGE);
        return match refused.instead {
            Some(instead) => failure.hint(instead),
            None => failure,
        };
    }
    let failure = Failure::new(format!("unknown flag: {flag}")).code(USAGE);
    if !path.is_empty()
        && let Some(typed) = before_command(root, line, flag)
    {
        let path = path.join(" ");
        return failure.hint(format!(
            "{flag} goes before the command: lade {typed} {path}"
        ));
    }
    let flags = |command: &Command| -> Vec<String> {
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let longs = shown.filter_map(|arg| Some(format!("--{}", arg.get_long()?)));
        longs.chain(["--help".into()]).collect()
    };
    let own = leaf(root, path).map(flags).unwrap_or_default();
    // `--ti` and the like: letters that were given two dashes.
    if let Some(letters) = letters(leaf(root, path), flag) {
        return failure.hint(format!("did you mean {letters}? see {name} --help"));
    }
    match near(flag, own.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean {near}? see {name} --help")),
        None => failure.hint(format!("see {name} --help")),
    }
}

/// Returns an option of lade itself that was typed behind a command, with the value that it was given.
fn before_command(root: &Command, line: &Line, flag: &str) -> Option<String> {
    let arg = root.get_arguments().find(|arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        let letter = arg.get_short().map(|letter| format!("-{letter}"));
        long.as_deref() == Some(flag) || letter.as_deref() == Some(flag)
    })?;
    let words: Vec<_> = line
        .words
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    let behind = format!("{flag}=");
    // The same option may stand before the command, too.
    let at = words
        .iter()
        .rposition(|word| *word == flag || word.starts_with(&behind))?;
    match words.get(at + 1) {
        Some(value) if words[at] == flag && arg.get_action().takes_values() => {
            Some(format!("{flag} {value}"))
        }
        _ => Some(words[at].to_string()),
    }
}

/// Returns a long option as letters behind one dash, where all of them are switches.
fn letters(command: Option<&Command>, flag: &str) -> Option<String> {
    let letters = flag
        .strip_prefix("--")
        .filter(|letters| letters.len() < 4)?;
    let is_switch = |letter| {
        command?
            .get_arguments()
            .find(|arg| arg.get_short() == Some(letter) && !arg.get_action().takes_values())
    };
    let all = letters.chars().all(|letter| is_switch(letter).is_some());
    (all && !letters.is_empty()).then(|| format!("-{letters}"))
}

/// Finds the word that was meant by another one, if one is near enough: a third of its letters may differ.
pub(crate) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.trim_start_matches('-').chars().count();
    let most = (letters / 3).max(1);
    let measured = known
        .into_iter()
        .map(|known| (distance(word, known), known));
    // Of a single letter nothing is left when one differs.
    let near = measured.filter(|(distance, _)| *distance <= most && letters > 1);
    near.min().map(|(_, known)| known)
}

/// Counts how many letters must be put in, taken out, changed or swapped with the next.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j - 1] + change)
                .min(rows[i - 1][j] + 1)
                .min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests;
