//! `lade system check`.

use crate::failure::{Failure, print};
use crate::session::Session;

/// Look for what is lost or left over in the data root; what is harmless is no failure
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Put right what can be
    #[arg(long)]
    repair: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let checked = session.engine()?.check(args.repair)?;
    let mut text = String::new();
    for problem in &checked.problems {
        text.push_str(&problem.line);
        text.push('\n');
    }
    if checked.problems.is_empty() {
        text.push_str("No problems found.\n");
    }
    print(&text)?;
    if !checked.is_bad() {
        return Ok(());
    }
    let hint = if args.repair {
        "lade rmi and lade pull get an image again"
    } else {
        "lade system check --repair"
    };
    Err(Failure::new("something is lost or broken").hint(hint))
}
