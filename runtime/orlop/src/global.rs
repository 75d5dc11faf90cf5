//! The options before the command, and what they mean together with the environment.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser};
use container::StateRoot;

use crate::argv::{self, Options};
use crate::command;
use crate::log::{Format, Level};

/// runs containers according to the OCI runtime specification
#[derive(Debug, Parser)]
#[command(disable_help_flag = true, disable_help_subcommand = true)]
pub(crate) struct Global {
    /// Print more about what is done
    #[arg(long)]
    debug: bool,
    /// Write messages to a file too
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Form of that file, or without one of standard error: text or json
    #[arg(long, value_name = "FORM", default_value = "text")]
    log_format: String,
    /// Least level of messages: debug, warning or error
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Directory for the state of containers
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Make cgroups through systemd
    #[arg(long)]
    systemd_cgroup: bool,
    /// cgroupfs, systemd or disabled
    #[arg(long, value_name = "NAME")]
    cgroup_manager: Option<String>,
    /// Do without what only root may have, but for limits that are asked for: true, false or auto (for an ordinary user)
    #[arg(long, value_name = "WHEN")]
    rootless: Option<String>,
    /// Path of criu (accepted for old callers; criu is found by PATH)
    #[arg(long, value_name = "PATH")]
    criu: Option<PathBuf>,
    /// Print the version
    #[arg(long, short = 'v')]
    version: bool,
    /// Print this help
    #[arg(long, short = 'h')]
    help: bool,
}

/// One call of the program, understood as far as the command.
#[derive(Debug)]
pub struct Invocation {
    /// `orlop`, or `runc` when called so.
    pub(crate) name: &'static str,
    pub(crate) global: Global,
    pub log_format: Format,
    pub log_level: Level,
    pub command: String,
    /// What follows the command.
    pub line: Vec<OsString>,
    pub warnings: Vec<String>,
}

impl Invocation {
    /// Parses the line up to the command; the inner error is a text that was asked for instead.
    pub fn parse(name: &'static str, line: &[OsString]) -> Result<Result<Self, String>, String> {
        let normal = argv::normalize(
            &Global::command(),
            line.get(1..).unwrap_or_default(),
            Options::BeforeOperands,
        )?;
        let split = normal
            .iter()
            .position(|word| word == "--")
            .unwrap_or(normal.len());
        let (options, rest) = normal.split_at(split);
        let matches = Global::command()
            .args_override_self(true)
            .try_get_matches_from(std::iter::once(&OsString::from(name)).chain(options));
        let global = matches
            .and_then(|mut matches| Global::from_arg_matches_mut(&mut matches))
            .map_err(|error| format!("{}; see {name} --help", usage(&error)))?;
        let mut rest = rest.iter().skip(1).cloned();
        let command = rest
            .next()
            .map(|command| command.to_string_lossy().into_owned());
        match command {
            _ if global.version => Ok(Err(version(name))),
            None => Ok(Err(help(name))),
            Some(_) if global.help => Ok(Err(help(name))),
            Some(command) if command == "help" || command == "h" => {
                match rest
                    .next()
                    .map(|topic| topic.to_string_lossy().into_owned())
                {
                    Some(topic) if topic != command && !topic.starts_with('-') => {
                        let text = command::help(name, &topic);
                        text.map(Err).map_err(|failure| failure.message)
                    }
                    _ => Ok(Err(help(name))),
                }
            }
            Some(command) => {
                let log_format =
                    Format::parse(&global.log_format).map_err(|error| format!("{error:#}"))?;
                let log_level = global.level().map_err(|error| format!("{error:#}"))?;
                let warnings = global.check()?;
                Ok(Ok(Self {
                    name,
                    log_format,
                    log_level,
                    command,
                    line: rest.collect(),
                    warnings,
                    global,
                }))
            }
        }
    }

    /// Returns the state root, and whether the caller named it.
    pub(crate) fn root(&self) -> Result<(StateRoot, bool)> {
        if let Some(named) = &self.global.root {
            return Ok((StateRoot::new(named)?, true));
        }
        let root = match runtime_dir() {
            Some(dir) => StateRoot::in_runtime_dir(&dir.join(self.name))?,
            None => StateRoot::new(&PathBuf::from("/run").join(self.name)).map_err(|error| {
                if sys::process::geteuid().is_root() {
                    return error;
                }
                anyhow::anyhow!("{error:#}, or set XDG_RUNTIME_DIR to a directory of your own")
            })?,
        };
        Ok((root, false))
    }

    /// Whether the caller has said that it is, or is not, without the host's privileges.
    pub(crate) fn rootless(&self) -> Option<bool> {
        match self.global.rootless.as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        }
    }

    pub(crate) fn no_cgroup(&self) -> bool {
        self.global.cgroup_manager.as_deref() == Some("disabled")
    }

    /// Returns the systemd that was asked for: an ordinary user's own, or the system's.
    pub(crate) fn systemd(&self) -> Option<cgroup::Systemd> {
        if !self.global.wants_systemd() {
            return None;
        }
        let user = container::host::ordinary_user();
        let addresses = match user {
            None => cgroup::Address::system(),
            Some(_) => cgroup::Address::user(
                std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
                std::env::var("DBUS_SESSION_BUS_ADDRESS").ok().as_deref(),
            ),
        };
        Some(cgroup::Systemd {
            addresses,
            prefix: self.name.to_owned(),
            user,
        })
    }
}

/// Returns the runtime directory of an ordinary user, as runc decides it: root's own counts only in a user namespace, and not for a
/// user that is called root there.
fn runtime_dir() -> Option<PathBuf> {
    let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty())?;
    let named_root = || std::env::var_os("USER").is_some_and(|user| user == "root");
    let ordinary = !sys::process::geteuid().is_root()
        || (container::host::in_user_namespace() && !named_root());
    ordinary.then(|| dir.into())
}

impl Global {
    fn level(&self) -> Result<Level> {
        match &self.log_level {
            _ if self.debug => Ok(Level::Debug),
            Some(name) => Level::parse(name),
            None => Ok(Level::Warning),
        }
    }

    /// Whether systemd has to make cgroups; a manager that is named counts more than the switch.
    fn wants_systemd(&self) -> bool {
        match self.cgroup_manager.as_deref() {
            Some(name) => name == "systemd",
            None => self.systemd_cgroup,
        }
    }

    /// Refuses what is not built, and returns warnings about what is accepted and has no effect.
    fn check(&self) -> Result<Vec<String>, String> {
        match self.cgroup_manager.as_deref() {
            None | Some("cgroupfs" | "systemd" | "disabled") => {}
            Some(other) => {
                return Err(format!(
                    "--cgroup-manager: {other:?} is not known; use cgroupfs, systemd or disabled"
                ));
            }
        }
        match self.rootless.as_deref() {
            None | Some("true" | "false" | "auto") => {}
            Some(other) => {
                return Err(format!(
                    "--rootless: {other:?} is not known; use true, false or auto"
                ));
            }
        }
        let criu = self
            .criu
            .as_ref()
            .map(|_| "--criu is obsolete and has no effect; criu is found by PATH".to_string());
        Ok(criu.into_iter().collect())
    }
}

/// Returns the text of `--version`; go-runc and moby read its first line.
fn version(name: &str) -> String {
    format!(
        "{name} version {}\ncommit: orlop {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_VERSION"),
        command::SPEC_VERSION
    )
}

fn help(name: &str) -> String {
    let mut text = format!(
        "{name} runs containers according to the OCI runtime specification\n\nUsage: {name} [OPTIONS] COMMAND [ARGUMENTS]\n\nCommands:\n"
    );
    for command in command::TABLE {
        text.push_str(&format!("  {:<11} {}\n", command.name, command.about));
    }
    text.push_str("\nOptions:\n");
    for arg in Global::command().get_arguments() {
        let short = arg.get_short();
        let short = short.map_or(String::new(), |short| format!("-{short}, "));
        let long = arg.get_long().unwrap_or_default();
        let value = arg
            .get_value_names()
            .filter(|_| arg.get_action().takes_values())
            .and_then(|names| names.first());
        let value = value.map_or(String::new(), |value| format!(" {value}"));
        let about = arg.get_help().map_or(String::new(), ToString::to_string);
        text.push_str(&format!(
            "  {:<24} {about}\n",
            format!("{short}--{long}{value}")
        ));
    }
    text.push_str(&format!(
        "\n{name} COMMAND --help tells more about a command.\n"
    ));
    text
}

/// Returns the name of the option before the command that a word is, if it is one.
pub(crate) fn option(word: &str) -> Option<String> {
    argv::name(&Global::command(), word)
}

/// Turns clap's paragraph into one line.
pub(crate) fn usage(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or(&text);
    let line: Vec<_> = paragraph
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let line = line.join(" ");
    let line = line.replace(" is not in 0..=", " is not a whole number from 0 to ");
    // The words of Rust's number parser, for its largest sort among our options.
    let no_number = "not a whole number from 0 to 4294967295";
    [
        "invalid digit found in string",
        "number too large to fit in target type",
        "number too small to fit in target type",
        "cannot parse integer from empty string",
    ]
    .iter()
    .fold(line, |line, theirs| line.replace(theirs, no_number))
    .trim_start_matches("error: ")
    .to_string()
}
