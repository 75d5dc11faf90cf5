//! `delete`.

use anyhow::{Context, Result};
use clap::Parser;
use container::{ContainerId, StateRoot, verbs};

use super::{Done, Failure, exactly, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Delete {
    /// Kill it first if it runs; succeed if there is none
    #[arg(long, short)]
    force: bool,
    /// Take the id for a regular expression and delete all that match
    #[arg(long, short)]
    regex: bool,
    /// Id of the container
    #[arg(value_name = "ID")]
    id: Vec<String>,
}

pub(super) fn delete(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Delete| {
        let [id] = exactly(&args.id)?;
        let (root, _) = invocation.root()?;
        let ids = if args.regex {
            matching(&root, id)?
        } else {
            vec![ContainerId::parse(id)?]
        };
        let mut warnings = Vec::new();
        for id in ids {
            warnings.extend(verbs::delete(&root, &id, args.force)?);
        }
        Ok(Done {
            warnings,
            ..Done::default()
        })
    })
}

/// Returns the ids that an expression matches somewhere, as crun's callers expect.
pub(super) fn matching(root: &StateRoot, expression: &str) -> Result<Vec<ContainerId>> {
    let expression =
        regex_lite::Regex::new(expression).with_context(|| format!("--regex {expression:?}"))?;
    let ids = match root.dir().try_exists() {
        Ok(false) => Vec::new(),
        // One that cannot be looked at may hold some.
        _ => root.ids()?,
    };
    Ok(ids
        .into_iter()
        .filter(|id| expression.is_match(id.as_str()))
        .collect())
}
