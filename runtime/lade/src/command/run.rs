//! `lade run`.

mod env;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use engine::run::{Ended, Run};
use engine::{Found, Kind, Pull, spec};
use image::{Platform, Reference};

use super::{Trust, platform};
use crate::failure::{FAILED, Failure, USAGE, say};
use crate::progress::{self, Place};
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
    let image = image(&args, session)?;
    if args.platform.is_none() {
        warn_of_platform(&image, session);
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

/// Says in docker's words that an image was made for another machine: what comes of it is seldom more than "exec format error".
fn warn_of_platform(image: &Found, session: &Session) {
    let (host, image) = (Platform::host(), image.record.platform.as_deref());
    let Some(image) = image.and_then(|text| text.parse::<Platform>().ok()) else {
        return;
    };
    if !host.runs(&image) {
        session.warn(&format!(
            "The requested image's platform ({image}) does not match the detected host platform ({host}) and no specific platform was requested"
        ));
    }
}

/// Finds the image, and pulls it when that is needed and allowed.
fn image(args: &Args, session: &Session) -> Result<Found, Failure> {
    let wanted = platform(args.platform.as_ref())?;
    let engine = session.engine()?;
    let found = match engine.find(&args.image) {
        Ok(found) => Ok(found),
        Err(error) if error.kind() == Kind::NotFound => Err(error),
        Err(error) => return Err(error.into()),
    };
    let fits = |found: &Found| {
        let here = found.record.platform.as_ref();
        wanted
            .as_ref()
            .is_none_or(|wanted| here == Some(&wanted.to_string()))
    };
    match (args.pull.as_str(), found) {
        ("missing", Ok(found)) if fits(&found) => return Ok(found),
        ("never", Ok(found)) => return Ok(found),
        ("never", Err(error)) => return Err(error.into()),
        ("missing", _) => {
            let name = args.image.parse::<Reference>().map(Reference::or_latest);
            let name = name.map_or_else(|_| args.image.clone(), |name| name.to_string());
            if !args.quiet {
                say(&format!("Unable to find image '{name}' locally\n"));
            }
        }
        ("always", _) => {}
        (other, _) => {
            let text = format!("--pull: {other:?} is not known; use always, missing or never");
            return Err(Failure::new(text));
        }
    }
    let options = Pull {
        platform: wanted,
        ..Pull::default()
    };
    let progress = progress::show(Place::Errors, args.quiet, session);
    let pulled = progress.during(|progress| engine.pull(&args.image, &options, progress))?;
    for line in pulled.lines.iter().filter(|_| !args.quiet) {
        say(&format!("{line}\n"));
    }
    let image = pulled.images.first();
    let none = || Failure::new(format!("pull {}: there is no image behind it", args.image));
    Ok(engine.find(&image.ok_or_else(none)?.id.to_string())?)
}
