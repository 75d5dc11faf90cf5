//! `lade push`.

use engine::{Push, Pushed};

use super::{Trust, default_tag, platform};
use crate::failure::{Failure, print_lines};
use crate::progress::{self, Place};
use crate::session::Session;

/// Push an image or a repository to a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the image
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// Push all tags of the repository
    #[arg(long, short = 'a')]
    all_tags: bool,
    /// Push only the image for this platform: os/architecture[/variant]
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
    let options = Push {
        all_tags: args.all_tags,
        platform: platform(args.platform.as_ref())?,
        ..Push::default()
    };
    let engine = session.engine()?;
    default_tag(&args.name, args.quiet, args.all_tags)?;
    let progress = progress::show(Place::Output, args.quiet, session);
    let Pushed { tags, lines, .. } =
        progress.during(|progress| engine.push(&args.name, &options, progress))?;
    if args.quiet {
        return print_lines(tags.into_iter().map(|tag| tag.name));
    }
    print_lines(lines)
}
