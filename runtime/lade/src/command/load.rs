//! `lade load`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use engine::Load;

use super::platform;
use crate::failure::{Failure, print_lines};
use crate::progress::{self, Place};
use crate::session::Session;

/// Take images from an archive: of docker or OCI, also compressed, or a directory
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Read this file or directory instead of standard input
    #[arg(long, short = 'i', value_name = "FILE")]
    input: Option<PathBuf>,
    /// Take only the image for this platform: os/architecture[/variant]
    #[arg(long)]
    platform: Option<String>,
    /// Show no progress
    #[arg(long, short = 'q')]
    quiet: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let options = Load {
        platform: platform(args.platform.as_ref())?,
    };
    if args.input.is_none() && io::stdin().is_terminal() {
        let failure = Failure::new("an archive does not come from a terminal");
        return Err(failure.hint("lade load -i FILE, or send the archive in by a pipe"));
    }
    let engine = session.engine()?;
    // Elsewhere than on a terminal docker is quiet by itself.
    let quiet = args.quiet || !Place::Output.is_terminal();
    let progress = progress::show(Place::Output, quiet, session);
    let loaded = progress.during(|progress| match &args.input {
        Some(path) => engine.load_path(path, &options, progress),
        None => engine.load(&mut io::stdin(), &options, progress),
    })?;
    print_lines(loaded.lines)
}
