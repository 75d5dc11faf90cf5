//! `lade pull`.

use engine::{Pull, Pulled};

use super::{Trust, default_tag, platform};
use crate::failure::{Failure, print_lines};
use crate::progress::{self, Place};
use crate::session::Session;

/// Pull an image or a repository from a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the image
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
    /// Pull all tags of the repository
    #[arg(long, short = 'a')]
    all_tags: bool,
    /// Take the image for this platform: os/architecture[/variant]
    #[arg(long)]
    platform: Option<String>,
    /// Print only the image's name
    #[arg(long, short = 'q')]
    quiet: bool,
    #[command(flatten)]
    trust: Trust,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    args.trust.check()?;
    let options = Pull {
        platform: platform(args.platform.as_ref())?,
        all_tags: args.all_tags,
    };
    let engine = session.engine()?;
    default_tag(&args.name, args.quiet, args.all_tags)?;
    let progress = progress::show(Place::Output, args.quiet, session);
    let Pulled { images, lines, .. } =
        progress.during(|progress| engine.pull(&args.name, &options, progress))?;
    let names = images.into_iter().map(|image| image.canonical);
    if args.quiet {
        return print_lines(names);
    }
    print_lines(lines.into_iter().chain(names))
}
