//! `lade run`.

use std::path::{Path, PathBuf};

use engine::spec;

use super::{Trust, platform};
use crate::failure::{Failure, USAGE, say};
use crate::progress::{self, Place, Show};
use crate::session::Session;

/// Run a command in a new container, in the foreground
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Name or id; what is not here is pulled
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Command and its arguments, instead of the image's own
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Run this program instead of the image's entrypoint; an empty one runs none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set a variable; without =VALUE: to what it is here
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Set the variables that a file has, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Name of the host inside
    #[arg(long, short = 'h', value_name = "NAME")]
    hostname: Option<String>,
    /// Pass standard input on
    #[arg(long, short = 'i')]
    interactive: bool,
    /// Network: host, or none
    #[arg(long, value_name = "NETWORK", default_value = "host")]
    network: String,
    /// Take the image for this platform: os/architecture[/variant]
    #[arg(long)]
    platform: Option<String>,
    /// When to pull the image: always, missing or never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: String,
    /// Remove the container at its end, as ever
    #[arg(long)]
    rm: bool,
    /// OCI runtime that runs it
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<PathBuf>,
    /// Pass signals on, as ever
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,
    /// Give it a terminal
    #[arg(long, short = 't')]
    tty: bool,
    /// User inside: a name or a number, and :GROUP
    #[arg(long, short = 'u', value_name = "USER")]
    user: Option<String>,
    /// Directory that the program starts in
    #[arg(long, short = 'w', value_name = "DIR")]
    workdir: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<(), Failure> {
    let _ = (args, session);
    Ok(())
}
