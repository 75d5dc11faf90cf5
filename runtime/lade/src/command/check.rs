//! `lade system check`.

use crate::failure::{Failure, print};
use crate::session::Session;

/// Look for what is lost, half there or left over in the data root
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Put right what can be
    #[arg(long)]
    repair: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let checked = session.engine()?.check(args.repair)?;
    let mut text = String::new();
    let mut left = 0;
    for problem in &checked.problems {
        let done = if problem.repaired { " (repaired)" } else { "" };
        left += usize::from(!problem.repaired);
        text.push_str(&format!("{}{done}\n", problem.text));
    }
    if checked.problems.is_empty() {
        text.push_str("No problems found.\n");
    }
    print(&text)?;
    match left {
        0 => Ok(()),
        1 => Err(Failure::new("1 problem").hint(hint(args))),
        left => Err(Failure::new(format!("{left} problems")).hint(hint(args))),
    }
}

fn hint(args: &Args) -> &'static str {
    if args.repair {
        "lade rmi and lade pull get an image again"
    } else {
        "lade system check --repair"
    }
}
