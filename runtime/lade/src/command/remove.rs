//! `lade rmi`, `lade image rm`.

use engine::{Kind, Remove};

use crate::failure::{Failure, print_lines, report};
use crate::session::Session;

/// Remove images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Remove it even when it has several names, or is not there
    #[arg(long, short = 'f')]
    force: bool,
    /// Keep the images without a name that it was made of
    #[arg(long)]
    no_prune: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let options = Remove {
        force: args.force,
        no_prune: args.no_prune,
        ..Remove::default()
    };
    let removed = session.engine()?.remove(&args.images, &options);
    print_lines(removed.lines)?;
    if removed.errors.is_empty() {
        return Ok(());
    }
    let failure = Failure::all(&removed.errors);
    // With --force, what is not there is as good as removed: said, and no failure.
    let only_missing = |error: &engine::Error| error.kind() == Kind::NotFound;
    if args.force && removed.errors.iter().all(only_missing) {
        report(&failure, session.settings.log_format);
        return Ok(());
    }
    Err(failure)
}
