//! `kill`.

use anyhow::{Context, Result, bail};
use clap::Parser;
use container::{ContainerId, verbs};

use super::{Done, Failure, at_least, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Kill {
    /// Signal all processes of the container (obsolete: for a container that is not running this succeeds)
    #[arg(long, short)]
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
        let signal = signal(&args.operands)?;
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

/// Returns the signal behind the id. What looks like an option may be an id, and is none of the kill(1) that people know.
fn signal(operands: &[String]) -> Result<i32> {
    const LINE: &str = "use kill ID [SIGNAL]";
    let dash = |at: usize| operands.get(at).filter(|word| word.starts_with('-'));
    match (operands, dash(0), dash(1)) {
        ([_], ..) => verbs::signal("TERM"),
        ([_, text], None, _) => verbs::signal(text),
        ([_, text], Some(id), _) => {
            verbs::signal(text).with_context(|| format!("kill: {id:?} is taken for the id; {LINE}"))
        }
        (_, Some(id), _) => bail!("kill: {id:?} is taken for the id; {LINE}"),
        (_, None, Some(word)) => bail!("kill: {word:?} is taken for the signal; {LINE}"),
        _ => bail!("kill: {:?} follows the signal; {LINE}", operands[2]),
    }
}
