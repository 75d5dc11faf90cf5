//! `lade run`.

mod env;
mod image;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use engine::run::{Ended, Run};
use engine::spec;

use super::Trust;
use crate::failure::{FAILED, Failure, USAGE};
use crate::session::Session;
use crate::settings::{LogFormat, Settings};

/// Run a command in a new container, in the foreground
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Say something of the container to the runtime and its hooks
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// Name or id; what is not here is pulled
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Command and its arguments, instead of the image's own
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
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
    #[arg(long, alias = "net", value_name = "NETWORK", default_value = "host")]
    network: String,
    /// Take the image for this platform: os/architecture[/variant]
    #[arg(long)]
    platform: Option<String>,
    /// When to pull the image: always, missing or never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: String,
    /// Say nothing of a pull
    #[arg(long, short = 'q')]
    quiet: bool,
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

impl Args {
    /// Lets the runtime that was named here count.
    pub(super) fn settle(&self, settings: &mut Settings) {
        if let Some(runtime) = &self.runtime {
            settings.runtime.clone_from(runtime);
        }
    }
}

/// Runs a container and ends with its exit code. Whatever keeps it from being run is 125, as docker has it.
pub(crate) fn run(args: Args, session: &Session) -> Result<(), Failure> {
    // Docker's words and its code, which scripts know.
    if args.tty && args.interactive && !io::stdin().is_terminal() {
        return Err(Failure::new("the input device is not a TTY").hint("leave out -i, or -t"));
    }
    let ended = foreground(args, session).map_err(|failure| match failure.code {
        FAILED => failure.code(USAGE),
        _ => failure,
    })?;
    for warning in &ended.warnings {
        session.warn(warning);
    }
    match (ended.code, ended.refused) {
        (0, _) => Ok(()),
        // The runtime has said it plainly; who asked for objects wants one.
        (code, Some(why)) if session.settings.log_format == LogFormat::Json => {
            Err(Failure::new(why).code(code))
        }
        (code, _) => Err(Failure::silent(code)),
    }
}

fn foreground(args: Args, session: &Session) -> Result<Ended, Failure> {
    args.trust.check()?;
    if !args.sig_proxy {
        let failure = Failure::new("--sig-proxy=false: signals always reach the container");
        return Err(failure.hint("setsid lade run ... keeps those of a terminal away"));
    }
    let network = args.network.parse();
    let network = network.map_err(|error| Failure::new(format!("--network: {error:#}")))?;
    let here = |name: &str| std::env::var(name).ok();
    let env = env::all(&args.env_file, &args.env, &here)?;
    let annotations = args.annotation.iter().map(|text| annotation(text));
    let annotations = annotations.collect::<Result<_, _>>()?;
    let image = image::image(&args, session)?;
    if args.platform.is_none() {
        image::warn_of_platform(&image, session);
    }
    let run = Run {
        options: spec::Options {
            annotations,
            command: args.command,
            entrypoint: args.entrypoint,
            env,
            working_dir: args.workdir,
            user: args.user,
            hostname: args.hostname,
            network,
            terminal: args.tty,
        },
        interactive: args.interactive,
        remove: args.rm,
    };
    Ok(session.engine()?.run(&image.id, &run)?)
}

fn annotation(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::new(format!(
            "--annotation: {text:?} is not KEY=VALUE"
        ))),
    }
}
