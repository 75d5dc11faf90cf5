//! `kill`.

use anyhow::{Result, bail};
use clap::Parser;
use container::{ContainerId, verbs};

use super::{Done, Failure, at_least, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Kill {
    /// Signal all processes of the container (obsolete: for a container that is not running this succeeds)
    #[arg(long, short, hide = true)]
    all: bool,
    /// Take the id for a regular expression and signal all that match
    #[arg(long, short)]
    regex: bool,
    /// Id of the container, and a signal by number or name (TERM without one)
    #[arg(value_name = "ID [SIGNAL]", allow_hyphen_values = true)]
    operands: Vec<String>,
}

pub(super) fn kill(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Kill| {
        at_least(&args.operands, 1)?;
        let signal = match args.operands.get(1) {
            Some(text) if args.operands.len() == 2 => verbs::signal(text)?,
            Some(_) => bail!(
                "kill: {:?} follows the signal; use kill ID [SIGNAL]",
                args.operands[2]
            ),
            None => verbs::signal("TERM")?,
        };
        let (root, _) = invocation.root()?;
        let ids = if args.regex {
            super::delete::matching(&root, &args.operands[0])?
        } else {
            vec![ContainerId::parse(&args.operands[0])?]
        };
        for id in ids {
            verbs::kill(&root, &id, signal, args.all)?;
        }
        Ok(Done::default())
    })
}
