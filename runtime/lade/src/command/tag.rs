//! `lade tag`.

use crate::failure::Failure;
use crate::session::Session;

/// Give an image another name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image, by name or id
    #[arg(value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    /// The new name
    #[arg(value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    Ok(session.engine()?.tag(&args.source, &args.target)?)
}
