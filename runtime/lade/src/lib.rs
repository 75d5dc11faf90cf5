//! `lade`: images and containers from the command line, with docker's words.
//!
//! A line becomes an `Args` of one command (`command/`), which calls one verb of the engine and prints what came of it. What the engine answers
//! is data; how it looks is decided here, and nothing else is. It is a library so that what reads lines and writes tables can be tested without
//! a process; the program is [`main`].
#![forbid(unsafe_code)]

mod argv;
mod command;
mod detach;
mod failure;
mod format;
mod mistake;
mod own;
mod progress;
mod session;
mod settings;
mod sizes;
mod table;
pub mod template;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use failure::Failure;
use session::Session;
use settings::{LogFormat, Options, Settings, Surroundings};

/// Pulls, keeps, pushes and runs container images
#[derive(Debug, Parser)]
#[command(
    name = "lade",
    version = concat!("version ", env!("CARGO_PKG_VERSION")),
    disable_version_flag = true,
    arg_required_else_help = true,
    subcommand_value_name = "COMMAND",
    after_help = "A command's own options: lade COMMAND --help. Each setting above has a variable, too (LADE_DATA_ROOT), as have LADE_CONNECTIONS, LADE_REGISTRIES and more: docs/images.md."
)]
struct Line {
    #[command(flatten)]
    options: Options,
    /// Print the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    command: command::Command,
}

/// Runs the program by its own arguments, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let line: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Until the settings are known: what the line or the environment says of messages is looked for by hand, so that a mistake is told in that form.
    let format = early_format(&line);
    let line = match parse(&line) {
        Ok(Ok(line)) => line,
        // Help and version.
        Ok(Err(text)) => return end(failure::print(&text), format),
        Err(failure) => return end(Err(failure), format),
    };
    let around = Surroundings {
        variable: &|name| std::env::var_os(name),
        root: own::is_root(std::env::var("USER").ok().as_deref()),
    };
    let mut settings = match Settings::resolve(&line.options, &around) {
        Ok(settings) => settings,
        Err(failure) => return end(Err(failure.code(failure::USAGE)), format),
    };
    line.command.settle(&mut settings);
    let format = settings.log_format;
    for (name, hint) in settings::unknown_variables(std::env::vars_os()) {
        let message = format!("{name} is no setting of lade and changes nothing");
        failure::advise(failure::Level::Warning, &message, hint.as_deref(), format);
    }
    // Before there is a thread or an open file.
    let prepared = match line.command.prepare() {
        Ok(prepared) => prepared,
        Err(failure) => return end(Err(failure), format),
    };
    let session = Session::new(settings);
    if let Some(why) = prepared {
        session.warn(&why);
    }
    let result = line.command.run(&session);
    let own = session.settings.registries_file();
    let result = result.map_err(|failure| failure.placing("registries.toml", own));
    session.leave();
    end(result, format)
}

fn end(result: Result<(), Failure>, format: LogFormat) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure::report(&failure, format);
            ExitCode::from(failure.code)
        }
    }
}

/// Returns the commands, with docker's rule that the last of an option's values counts.
fn commands() -> clap::Command {
    fn last_counts(command: clap::Command) -> clap::Command {
        command
            .args_override_self(true)
            .mut_subcommands(last_counts)
    }
    last_counts(Line::command())
}

/// Parses a line; the inner error is a text that was asked for instead.
fn parse(line: &[OsString]) -> Result<Result<Line, String>, Failure> {
    let root = commands();
    let normal = argv::normalize(&root, line)?;
    let words = std::iter::once(OsString::from("lade")).chain(normal.words.iter().cloned());
    let parsed = root.clone().try_get_matches_from(words);
    match parsed.and_then(|mut matches| Line::from_arg_matches_mut(&mut matches)) {
        Ok(line) => Ok(Ok(line)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(Err(error.to_string())),
            _ => Err(mistake::explain(&root, &normal, &error)),
        },
    }
}

fn early_format(line: &[OsString]) -> LogFormat {
    let named = |word: &OsString| word == "--log-format=json";
    let before = line.iter().position(|word| word == "--log-format");
    let next = before.and_then(|at| line.get(at + 1));
    let variable = std::env::var_os("LADE_LOG_FORMAT");
    if line.iter().any(named)
        || next
            .or(variable.as_ref())
            .is_some_and(|word| word == "json")
    {
        LogFormat::Json
    } else {
        LogFormat::Text
    }
}

#[cfg(test)]
mod flags;
#[cfg(test)]
mod tests;
