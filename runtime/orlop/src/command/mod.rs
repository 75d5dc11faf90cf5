//! One file per command; this one finds the file.

mod checkpoint;
mod create;
mod delete;
pub mod events;
pub mod exec;
mod features;
mod kill;
mod list;
mod mounts;
mod pause;
mod plan;
mod ps;
mod restore;
mod run;
mod spec;
mod start;
mod state;
mod timings;
pub mod update;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory, Parser};
use container::{ContainerId, StateRoot};

use crate::argv::{self, Options};
use crate::global::{self, Invocation, usage};

/// The version of the runtime specification that is implemented.
pub(crate) const SPEC_VERSION: &str = "1.3.0";

/// What a command that succeeded leaves to `main`.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) output: Option<String>,
    pub(crate) warnings: Vec<String>,
    /// What was done, for `--debug`.
    pub(crate) steps: Vec<String>,
    pub(crate) code: u8,
}

impl Done {
    fn output(text: String) -> Self {
        Self {
            output: Some(text),
            ..Self::default()
        }
    }
}

/// What a command that failed leaves to `main`.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub code: u8,
}

impl Failure {
    fn usage(message: String) -> Self {
        Self { message, code: 1 }
    }
}

/// A row of the table of commands.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    run: fn(&Invocation) -> Result<Done, Failure>,
    line: fn() -> Command,
    options: Options,
    /// Whether processes of a container could get hold of this program's file, see `sys::exe`.
    seal: bool,
    /// Go before the message of a failure, behind our name if it says so.
    prefix: Prefix,
    code: u8,
}

impl Entry {
    /// Writes a help text of clap's without the brackets and dots around operands, which are counted by us: one id is not `[ID]...`.
    fn help(&self, program: &str, text: &clap::Error) -> String {
        let line = (self.line)();
        let names = line
            .get_positionals()
            .filter_map(clap::Arg::get_value_names);
        let text = names.flatten().fold(text.to_string(), |text, name| {
            text.replace(&format!("[{name}]..."), name)
        });
        format!("{program} {}: {}\n\n{text}", self.name, self.about)
    }
}

#[derive(Debug, Clone, Copy)]
enum Prefix {
    None,
    /// `runc create failed: `
    Named(&'static str),
    /// `exec failed: `
    Plain(&'static str),
}

const fn entry<Line: CommandFactory>(
    name: &'static str,
    about: &'static str,
    run: fn(&Invocation) -> Result<Done, Failure>,
) -> Entry {
    Entry {
        name,
        about,
        run,
        line: Line::command,
        options: Options::Anywhere,
        seal: false,
        prefix: Prefix::None,
        code: 1,
    }
}

/// All commands, in the order of the help.
pub(crate) const TABLE: &[Entry] = &[
    Entry {
        seal: true,
        prefix: Prefix::Named("create"),
        ..entry::<create::Create>(
            "create",
            "make a container from a bundle, not yet running its program",
            create::create,
        )
    },
    entry::<OneId>(
        "start",
        "run the program of a created container",
        start::start,
    ),
    Entry {
        seal: true,
        prefix: Prefix::Named("run"),
        ..entry::<run::Run>("run", "create and start a container", run::run)
    },
    Entry {
        options: Options::BeforeOperands,
        seal: true,
        prefix: Prefix::Plain("exec failed: "),
        code: 255,
        ..entry::<exec::Line>("exec", "run one more process in a container", exec::exec)
    },
    entry::<kill::Kill>("kill", "send a signal to a container", kill::kill),
    entry::<delete::Delete>("delete", "take away a container", delete::delete),
    entry::<OneId>("state", "print a container's state as JSON", state::state),
    entry::<list::List>("list", "list the containers", list::list),
    Entry {
        options: Options::BeforeOperands,
        ..entry::<ps::Ps>("ps", "list the processes of a container", ps::ps)
    },
    Entry {
        seal: true,
        ..entry::<mounts::Line>(
            "mounts",
            "add mounts to a container that runs, or remove them",
            mounts::mounts,
        )
    },
    entry::<events::Line>(
        "events",
        "print what a container uses, now and then, and that its memory ran out",
        events::events,
    ),
    entry::<OneId>("pause", "freeze all processes of a container", pause::pause),
    entry::<OneId>("resume", "let frozen processes go on", pause::resume),
    entry::<update::Line>("update", "change the limits of a container", update::update),
    entry::<plan::Show>(
        "plan",
        "print what would be done for a bundle, and do nothing",
        plan::plan,
    ),
    entry::<spec::Spec>("spec", "write a config.json to begin with", spec::spec),
    entry::<features::Features>(
        "features",
        "print what this runtime can do as JSON",
        features::features,
    ),
    entry::<checkpoint::Line>(
        "checkpoint",
        "save a running container by criu",
        checkpoint::checkpoint,
    ),
    Entry {
        seal: true,
        ..entry::<restore::Line>(
            "restore",
            "bring a saved container back by criu",
            restore::restore,
        )
    },
];

/// Runs the command that the invocation names.
pub(crate) fn run(invocation: &Invocation, line: &[OsString]) -> Result<Done, Failure> {
    let entry = named(invocation)?;
    if entry.seal && !asks_for_help(&invocation.line) {
        seal(line).map_err(|error| explain(entry, invocation, &error))?;
    }
    // Nothing that our caller left open may reach a hook or the payload; what they are promised is opened up again, by number.
    // Not before the sealing, which is an exec.
    sys::fs::cloexec_from(3)
        .context("close inherited descriptors")
        .map_err(|error| explain(entry, invocation, &error))?;
    (entry.run)(invocation)
}

fn asks_for_help(line: &[OsString]) -> bool {
    line.iter().any(|word| word == "--help" || word == "-h")
}

/// Goes on as a program whose file nobody can write; returns if it is one already.
fn seal(line: &[OsString]) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    if sys::exe::is_sealed().context("look at own executable")? {
        return Ok(());
    }
    let args = sys::process::CStrings::new(line.iter().map(|word| word.as_bytes()))
        .context("own arguments")?;
    let variables =
        std::env::vars_os().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat());
    let env = sys::process::CStrings::new(variables).context("own environment")?;
    match sys::exe::seal(&args, &env).context("seal own executable")? {}
}

/// Gives an error the prefix that callers know for the command.
fn explain(entry: &Entry, invocation: &Invocation, error: &anyhow::Error) -> Failure {
    explain_for(None, entry, invocation, error)
}

/// The same, of a configuration that a file other than the bundle's `config.json` has.
fn explain_for(
    config: Option<&Path>,
    entry: &Entry,
    invocation: &Invocation,
    error: &anyhow::Error,
) -> Failure {
    let prefix = match entry.prefix {
        Prefix::None => String::new(),
        Prefix::Named(verb) => format!("{} {verb} failed: ", invocation.name),
        Prefix::Plain(text) => text.to_string(),
    };
    Failure {
        message: format!("{prefix}{}", chain(config, error)),
        code: entry.code,
    }
}

/// Writes an error with its causes in one line, the kernel's reasons as all messages have them, and the file that was read in the place
/// of `config.json`, which the libraries do not know.
fn chain(config: Option<&Path>, error: &anyhow::Error) -> String {
    let text = |cause: &(dyn std::error::Error + 'static)| {
        if let Some(errno) = cause.downcast_ref::<sys::Errno>() {
            return sys::reason(*errno);
        }
        match cause.downcast_ref::<std::io::Error>() {
            Some(error) => container::bundle::lower(error),
            None => cause.to_string(),
        }
    };
    let named = |text: String| match (config, text.strip_prefix("config.json")) {
        (Some(file), Some(rest)) if rest.is_empty() || rest.starts_with(": ") => {
            format!("{}{rest}", file.display())
        }
        _ => text,
    };
    let causes = error.chain().map(text).map(named);
    causes.collect::<Vec<_>>().join(": ")
}

/// Finds the row of the command that is named.
fn named(invocation: &Invocation) -> Result<&'static Entry, Failure> {
    find(&invocation.command)
}

fn find(command: &str) -> Result<&'static Entry, Failure> {
    let entry = TABLE.iter().find(|entry| entry.name == command);
    entry.ok_or_else(|| {
        let known: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
        Failure::usage(format!(
            "{command:?} is no command; use one of {}",
            known.join(", ")
        ))
    })
}

/// Returns what a command's `--help` prints.
pub(crate) fn help(program: &str, command: &str) -> Result<String, Failure> {
    let entry = find(command)?;
    let line = [format!("{program} {command}"), "--help".to_owned()];
    let shown = (entry.line)().try_get_matches_from(line);
    Ok(shown.map_or_else(|text| entry.help(program, &text), |_| String::new()))
}

/// Returns the options of a command, and where on its line they end.
pub fn options(invocation: &Invocation) -> Result<(Command, Options), Failure> {
    let entry = named(invocation)?;
    // As runc's parser has it, the last of an option that is given twice counts.
    Ok(((entry.line)().args_override_self(true), entry.options))
}

/// Reads a command's line; the inner error is a text that was asked for instead.
pub fn read(invocation: &Invocation) -> Result<Result<ArgMatches, String>, Failure> {
    let entry = named(invocation)?;
    let (command, options) = options(invocation)?;
    let line = argv::normalize(&command, &invocation.line, options).map_err(Failure::usage)?;
    let name = format!("{} {}", invocation.name, entry.name);
    match command.try_get_matches_from(std::iter::once(OsString::from(name)).chain(line)) {
        Ok(matches) => Ok(Ok(matches)),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Ok(Err(entry.help(invocation.name, &error)))
        }
        Err(error) => Err(unusable(entry, invocation, &error)),
    }
}

fn unusable(entry: &Entry, invocation: &Invocation, error: &clap::Error) -> Failure {
    let (program, verb) = (&invocation.name, entry.name);
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) if error.kind() == ErrorKind::UnknownArgument => word,
        _ => "-",
    };
    // Of an option with one dash clap tells the first letter.
    let mut words = invocation.line.iter().filter_map(|word| word.to_str());
    let early = words
        .find(|word| word.starts_with(unknown))
        .and_then(global::option)
        .filter(|_| unknown != "-");
    Failure::usage(match early {
        Some(option) => format!(
            "{verb}: {option} goes before the command: {program} {option} ... {verb} ...; see {program} --help"
        ),
        None => format!("{verb}: {}; see {program} {verb} --help", usage(error)),
    })
}

/// Parses a command's line, answers `--help`, and runs the rest with errors explained.
fn with<A: Parser>(
    invocation: &Invocation,
    act: impl FnOnce(A) -> Result<Done>,
) -> Result<Done, Failure> {
    let entry = named(invocation)?;
    let mut matches = match read(invocation)? {
        Ok(matches) => matches,
        Err(help) => return Ok(Done::output(help)),
    };
    // Of the commands that have such an option.
    let config = matches.try_get_one::<PathBuf>("config");
    let config = config.ok().flatten().cloned();
    let args = A::from_arg_matches_mut(&mut matches)
        .map_err(|error| unusable(entry, invocation, &error))?;
    act(args).map_err(|error| match error.downcast_ref::<Usage>() {
        Some(usage) => Failure::usage(format!("{}: {:?} {}", invocation.name, entry.name, usage.0)),
        None => explain_for(config.as_deref(), entry, invocation, &error),
    })
}

/// A wrong number of operands, in runc's words.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Returns the operands of a command that takes exactly so many.
fn exactly<const N: usize>(operands: &[String]) -> Result<&[String; N]> {
    operands
        .try_into()
        .map_err(|_| Usage(format!("requires exactly {N} argument(s)")).into())
}

/// Refuses a line with too few operands.
fn at_least(operands: &[String], count: usize) -> Result<()> {
    if operands.len() < count {
        Err(Usage(format!("requires a minimum of {count} argument(s)")).into())
    } else {
        Ok(())
    }
}

// The operand of most commands.
#[derive(Debug, Parser)]
struct OneId {
    /// Id of the container
    #[arg(value_name = "ID")]
    id: Vec<String>,
}

fn on_container(
    invocation: &Invocation,
    id: &[String],
    act: impl FnOnce(&StateRoot, &ContainerId) -> Result<Done>,
) -> Result<Done> {
    let [id] = exactly(id)?;
    let id = ContainerId::parse(id)?;
    let (root, _) = invocation.root()?;
    act(&root, &id)
}
