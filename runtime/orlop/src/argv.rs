//! The command line as runc's callers write it.
//!
//! runc's parser takes one dash before a long name (`-no-subreaper`, as go-runc sends it), a value on a switch (`--rootless=true`,
//! `--detach=false`), and leaves everything behind the first operand alone. This turns such a line into one that clap reads the same way.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{ArgAction, Command};

/// Where options end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Options {
    /// Anywhere on the line.
    Anywhere,
    /// Before the first operand, because what follows is another program's line.
    BeforeOperands,
}

/// Rewrites a line for clap; the message is for the user, in runc's words where podman matches them.
pub fn normalize(
    command: &Command,
    line: &[OsString],
    options: Options,
) -> Result<Vec<OsString>, String> {
    let mut out: Vec<OsString> = Vec::with_capacity(line.len() + 2);
    let mut words = line.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            out.push(word.clone());
            out.extend(words.cloned());
            return Ok(out);
        }
        if !word.as_bytes().starts_with(b"-") || word == "-" {
            if options == Options::BeforeOperands {
                out.push(OsString::from("--"));
                out.push(word.clone());
                out.extend(words.cloned());
                return Ok(out);
            }
            out.push(word.clone());
            continue;
        }
        let (name, value) = split(word);
        let found = name.to_str().and_then(|name| find(command, name));
        let Some(known) = found else {
            // clap knows better what is wrong with it, and what was meant.
            out.push(word.clone());
            continue;
        };
        let name = name.display();
        match (known.takes_value, value) {
            (true, Some(value)) => out.push(joined(&known.flag, value)),
            (true, None) => match words.next() {
                Some(value) => out.push(joined(&known.flag, value)),
                None => return Err(format!("flag needs an argument: {name}")),
            },
            (false, None) => out.push(known.flag),
            (false, Some(value)) => match value.to_str().and_then(truth) {
                Some(true) => out.push(known.flag),
                Some(false) => {}
                None => return Err(format!("{name}: {value:?} is neither true nor false")),
            },
        }
    }
    Ok(out)
}

/// Splits a word into an option and its value. Bytes are kept as they are: a path need not be text.
fn split(word: &OsStr) -> (&OsStr, Option<&OsStr>) {
    let bytes = word.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]),
            Some(OsStr::from_bytes(&bytes[at + 1..])),
        ),
        None => (word, None),
    }
}

/// Writes option and value as one word, so that a value may begin with a dash.
fn joined(flag: &OsStr, value: &OsStr) -> OsString {
    let mut word = flag.to_os_string();
    word.push("=");
    word.push(value);
    word
}

/// Returns the long name of the option that a word is, with or without a value.
pub(crate) fn name(command: &Command, word: &str) -> Option<String> {
    let (name, _) = split(OsStr::new(word));
    let known = find(command, name.to_str()?)?;
    known.flag.into_string().ok()
}

struct Known {
    flag: OsString,
    takes_value: bool,
}

/// Finds an option by its name with one or two dashes.
fn find(command: &Command, name: &str) -> Option<Known> {
    let bare = name.strip_prefix('-')?;
    let bare = bare.strip_prefix('-').unwrap_or(bare);
    let known = |arg: &&clap::Arg| {
        let long = arg.get_long() == Some(bare)
            || arg.get_all_aliases().is_some_and(|all| all.contains(&bare));
        let short = arg
            .get_short()
            .is_some_and(|short| bare.chars().eq([short]));
        long || short
    };
    let arg = command.get_arguments().find(known)?;
    let flag = arg
        .get_long()
        .map_or_else(|| format!("-{bare}"), |long| format!("--{long}"));
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    Some(Known {
        flag: OsStr::new(&flag).to_os_string(),
        takes_value,
    })
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
    use clap::Arg;

    fn check(line: &str, options: Options, want: Result<&str, &str>) {
        let command = Command::new("x")
            .arg(
                Arg::new("detach")
                    .long("detach")
                    .short('d')
                    .action(ArgAction::SetTrue),
            )
            .arg(
                Arg::new("no-subreaper")
                    .long("no-subreaper")
                    .action(ArgAction::SetTrue),
            )
            .arg(
                Arg::new("bundle")
                    .long("bundle")
                    .short('b')
                    .action(ArgAction::Set),
            );
        let line: Vec<_> = line.split_whitespace().map(OsString::from).collect();
        let got = normalize(&command, &line, options).map(|line| {
            line.iter()
                .map(|w| w.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        });
        assert_eq!(got.as_deref().map_err(String::as_str), want, "{line:?}");
    }

    #[test]
    fn lines_of_callers_are_read_as_runc_reads_them() {
        use Options::{Anywhere, BeforeOperands};
        check("-no-subreaper id", Anywhere, Ok("--no-subreaper id"));
        check(
            "--detach=true -bundle=/b id",
            Anywhere,
            Ok("--detach --bundle=/b id"),
        );
        check("--detach=false id", Anywhere, Ok("id"));
        check("-b /b id -d", Anywhere, Ok("--bundle=/b id --detach"));
        check(
            "-d id sh -c -b",
            BeforeOperands,
            Ok("--detach -- id sh -c -b"),
        );
        check(
            "--bundle",
            Anywhere,
            Err("flag needs an argument: --bundle"),
        );
        check(
            "--detach=maybe",
            Anywhere,
            Err("--detach: \"maybe\" is neither true nor false"),
        );
        check("--unknown x", Anywhere, Ok("--unknown x"));
        check("---detach", Anywhere, Ok("---detach"));
        check("-- -d", Anywhere, Ok("-- -d"));
    }

    #[test]
    fn a_value_that_is_no_text_stays_what_it_is() {
        let command =
            Command::new("x").arg(Arg::new("bundle").long("bundle").action(ArgAction::Set));
        let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_os_string();
        for line in [
            vec![word(b"-bundle=/b\xff=\xfe")],
            vec![word(b"--bundle"), word(b"/b\xff=\xfe")],
        ] {
            let got = normalize(&command, &line, Options::Anywhere);
            assert_eq!(got, Ok(vec![word(b"--bundle=/b\xff=\xfe")]));
        }
    }
}
