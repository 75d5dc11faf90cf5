//! The command line as docker's callers write it.
//!
//! Docker's parser takes a value on a switch (`--quiet=true`), a value that begins with a dash (`--message -x`), and leaves everything behind
//! `run`'s image alone. This turns such a line into one that clap reads the same way, with each option by its long name.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, Command};

use crate::failure::{Failure, USAGE};

/// A line for clap.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) words: Vec<OsString>,
    /// The commands that it names, without the program: `["image", "ls"]`.
    pub(crate) path: Vec<String>,
}

/// Rewrites what follows the program's name.
pub(crate) fn normalize(root: &Command, line: &[OsString]) -> Result<Line, Failure> {
    let mut out = Line {
        words: Vec::with_capacity(line.len() + 1),
        path: Vec::new(),
    };
    let mut command = root;
    let mut words = line.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            out.words.push(word.clone());
            break;
        }
        if word.as_bytes().starts_with(b"-") && word != "-" {
            if out.option(command, word, &mut words)? {
                continue;
            }
            // clap ends here: with help, or with what it has to say about an option that is not known.
            break;
        }
        let inner = command.find_subcommand(word);
        if let Some(inner) = inner {
            command = inner;
            out.path.push(inner.get_name().to_owned());
        } else if ends_options(command) {
            out.words.push(OsString::from("--"));
        }
        out.words.push(word.clone());
        if inner.is_none() && (ends_options(command) || command.has_subcommands()) {
            break;
        }
    }
    out.words.extend(words.cloned());
    Ok(out)
}

/// Whether what follows the first operand is another program's line.
fn ends_options(command: &Command) -> bool {
    command.get_positionals().any(Arg::is_trailing_var_arg_set)
}

impl Line {
    /// Takes one word of options, and the next one where that is its value; tells whether it is known.
    fn option<'a>(
        &mut self,
        command: &Command,
        word: &OsStr,
        rest: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<bool, Failure> {
        let bytes = word.as_bytes();
        if let Some(long) = bytes.strip_prefix(b"--") {
            let (name, value) = split(long);
            let Some(arg) = long_named(command, name) else {
                self.words.push(word.to_owned());
                return Ok(false);
            };
            self.take(arg, value, rest)?;
            return Ok(true);
        }
        let cluster = &bytes[1..];
        for (at, letter) in cluster.iter().enumerate() {
            let Some(arg) = short_named(command, *letter) else {
                let mut unknown = OsString::from("-");
                unknown.push(OsStr::from_bytes(&cluster[at..]));
                self.words.push(unknown);
                return Ok(false);
            };
            let behind = &cluster[at + 1..];
            let value = behind.strip_prefix(b"=").or(match arg.get_action() {
                ArgAction::Set | ArgAction::Append if !is_switch(arg) && !behind.is_empty() => {
                    Some(behind)
                }
                _ => None,
            });
            self.take(arg, value.map(OsStr::from_bytes), rest)?;
            if value.is_some() {
                break;
            }
        }
        Ok(true)
    }

    fn take<'a>(
        &mut self,
        arg: &Arg,
        value: Option<&OsStr>,
        rest: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<(), Failure> {
        let name = format!("--{}", arg.get_long().unwrap_or_default());
        let mut word = OsString::from(&name);
        let value = match value {
            _ if is_switch(arg) => match value.map(|value| (value, value.to_str().and_then(truth)))
            {
                None => None,
                Some((_, Some(true))) => None,
                Some((_, Some(false))) if takes_value(arg) => Some(OsStr::new("false")),
                // The last one counts.
                Some((_, Some(false))) => {
                    self.words.retain(|word| *word != *name);
                    return Ok(());
                }
                Some((value, None)) => {
                    let text = format!("{name}: {value:?} is neither true nor false");
                    return Err(Failure::new(text).code(USAGE));
                }
            },
            Some(value) => Some(value),
            None => match rest.next() {
                Some(value) => Some(value.as_os_str()),
                None => {
                    let text = format!("flag needs an argument: {name}");
                    return Err(Failure::new(text).code(USAGE));
                }
            },
        };
        if let Some(value) = value {
            // As one word, so that a value may begin with a dash.
            word.push("=");
            word.push(value);
        }
        self.words.push(word);
        Ok(())
    }
}

/// Splits a word into an option's name and its value. Bytes are kept as they are: a path need not be text.
fn split(word: &[u8]) -> (&[u8], Option<&OsStr>) {
    match word.iter().position(|byte| *byte == b'=') {
        Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]))),
        None => (word, None),
    }
}

fn long_named<'a>(command: &'a Command, name: &[u8]) -> Option<&'a Arg> {
    let has = |arg: &&Arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        let mut names = arg.get_long().into_iter().chain(aliases);
        names.any(|known| known.as_bytes() == name)
    };
    command.get_arguments().find(has)
}

fn short_named(command: &Command, letter: u8) -> Option<&Arg> {
    let has = |arg: &&Arg| arg.get_short() == Some(char::from(letter));
    command.get_arguments().find(has)
}

/// Whether an option stands without a value: on or off.
fn is_switch(arg: &Arg) -> bool {
    !takes_value(arg) || arg.is_require_equals_set()
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

/// The spellings of Go's strconv.ParseBool.
fn truth(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands() -> Command {
        let switch = |name: &'static str, short| {
            let arg = Arg::new(name).long(name).short(short);
            arg.action(ArgAction::SetTrue)
        };
        let value = |name: &'static str, short| Arg::new(name).long(name).short(short);
        let run = Command::new("run")
            .arg(switch("tty", 't'))
            .arg(switch("interactive", 'i'))
            .arg(value("env", 'e').action(ArgAction::Append))
            .arg(Arg::new("image"))
            .arg(Arg::new("command").num_args(0..).trailing_var_arg(true));
        let human = value("human", 'H')
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
        let history = Command::new("history").arg(switch("quiet", 'q')).arg(human);
        let history = history.arg(Arg::new("image"));
        Command::new("lade")
            .arg(switch("debug", 'D'))
            .arg(value("data-root", 'r'))
            .subcommand(run)
            .subcommand(Command::new("image").subcommand(history.alias("log")))
    }

    fn check(line: &str, want: Result<(&str, &str), &str>) {
        let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        let got = normalize(&commands(), &words);
        let got = got.map(|line| {
            let words = line.words.iter().map(|word| word.to_string_lossy());
            let words: Vec<_> = words.collect();
            (words.join(" "), line.path.join(" "))
        });
        let want = want.map(|(words, path)| (words.to_owned(), path.to_owned()));
        match (&got, &want) {
            (Err(failure), Err(message)) => assert_eq!(failure.problems[0].message, **message),
            _ => assert_eq!(got.ok(), want.ok(), "{line}"),
        }
    }

    #[test]
    fn lines_are_read_as_docker_reads_them() {
        check(
            "run -it x sh -t",
            Ok(("run --interactive --tty -- x sh -t", "run")),
        );
        check("run -eA=b x", Ok(("run --env=A=b -- x", "run")));
        check(
            "run -ie -x x",
            Ok(("run --interactive --env=-x -- x", "run")),
        );
        check("run -e=A x", Ok(("run --env=A -- x", "run")));
        check("run --env A x -- y", Ok(("run --env=A -- x -- y", "run")));
        check("run -- x -t", Ok(("run -- x -t", "run")));
        check("run -tZ x", Ok(("run --tty -Z x", "run")));
        check("run --zzz x", Ok(("run --zzz x", "run")));
        check("--zzz image -q history", Ok(("--zzz image -q history", "")));
        check("imgae history", Ok(("imgae history", "")));
        check("run --env", Err("flag needs an argument: --env"));
        check(
            "run --tty=maybe x",
            Err("--tty: \"maybe\" is neither true nor false"),
        );
        check(
            "-D --data-root /x image log -q y",
            Ok((
                "--debug --data-root=/x image log --quiet y",
                "image history",
            )),
        );
        check(
            "image history y --quiet=1 --quiet=f",
            Ok(("image history y", "image history")),
        );
        check(
            "image history -H y",
            Ok(("image history --human y", "image history")),
        );
        check(
            "image history -H=false y",
            Ok(("image history --human=false y", "image history")),
        );
        check(
            "image history --human=0 y",
            Ok(("image history --human=false y", "image history")),
        );
        check("image nothing -q", Ok(("image nothing -q", "image")));
        check("image history -", Ok(("image history -", "image history")));
    }

    #[test]
    fn a_value_that_is_no_text_stays_what_it_is() {
        let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_os_string();
        for line in [
            vec![word(b"--data-root=/b\xff=\xfe")],
            vec![word(b"--data-root"), word(b"/b\xff=\xfe")],
            vec![word(b"-r/b\xff=\xfe")],
        ] {
            let got = normalize(&commands(), &line).map(|line| line.words);
            assert_eq!(got, Ok(vec![word(b"--data-root=/b\xff=\xfe")]));
        }
    }
}
