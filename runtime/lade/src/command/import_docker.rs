//! `lade import-docker`.

use std::path::PathBuf;

use engine::ImportDocker;

use crate::failure::{Failure, print_lines};
use crate::progress::{self, Place};
use crate::session::Session;

/// Copy the images of a Docker installation on this host
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these images; all without
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Docker's socket [default: /var/run/docker.sock]
    #[arg(long, value_name = "PATH", conflicts_with = "program")]
    socket: Option<PathBuf>,
    /// Ask this program (`docker save`) instead of a socket
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short = 'q')]
    quiet: bool,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<(), Failure> {
    let quiet = args.quiet || !Place::Output.is_terminal();
    let options = ImportDocker {
        socket: args.socket,
        names: args.images,
        program: args.program,
    };
    let engine = session.engine()?;
    let progress = progress::show(Place::Output, quiet, session);
    let loaded = progress.during(|progress| engine.import_docker(&options, progress))?;
    print_lines(loaded.lines)
}
