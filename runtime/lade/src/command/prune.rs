//! `lade image prune`.

use std::io::{self, BufRead, Read};

use engine::{Filters, Prune};

use crate::failure::{Failure, print};
use crate::session::Session;
use crate::sizes;

/// Remove images that nobody uses
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all images that no container uses, not only those without a name
    #[arg(long, short = 'a')]
    all: bool,
    /// Only images of which this is true: until or label, with =VALUE
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let options = Prune {
        all: args.all,
        filters: Filters::parse(&args.filter)?,
    };
    let mut text = String::new();
    let mut reclaimed = 0;
    if args.force || agreed(args.all)? {
        let pruned = session.engine()?.prune(&options)?;
        reclaimed = pruned.reclaimed;
        if !pruned.lines.is_empty() {
            text.push_str("Deleted Images:\n");
            for line in pruned.lines {
                text.push_str(&lower_first(&line.to_string()));
                text.push('\n');
            }
            text.push('\n');
        }
    }
    text.push_str(&format!(
        "Total reclaimed space: {}\n",
        sizes::human(reclaimed)
    ));
    print(&text)
}

/// `Untagged: x` is `untagged: x` here.
fn lower_first(line: &str) -> String {
    let mut letters = line.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn agreed(all: bool) -> Result<bool, Failure> {
    let which = if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    print(&format!(
        "WARNING! This will remove {which}.\nAre you sure you want to continue? [y/N] "
    ))?;
    let mut answer = String::new();
    let read = io::stdin().lock().take(1 << 10).read_line(&mut answer);
    read.map_err(|error| {
        Failure::new(format!("read the answer: {error}")).hint("--force does not ask")
    })?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
