//! `state`.

use anyhow::{Context, Result};
use container::verbs;

use super::{Done, Failure, OneId, on_container, with};
use crate::global::Invocation;

pub(super) fn state(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: OneId| {
        on_container(invocation, &args.id, |root, id| {
            let state = verbs::state(root, id)?;
            Ok(Done::output(
                serde_json::to_string_pretty(&state).context("write the state as JSON")? + "\n",
            ))
        })
    })
}
