//! `lade logout`.

use crate::failure::{Failure, print_lines};
use crate::session::Session;

/// Forget the login of a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, as HOST[:PORT]; Docker Hub without
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    print_lines([session.registries().logout(args.server.as_deref())?])
}
