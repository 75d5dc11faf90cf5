//! `pause` and `resume`.

use anyhow::Result;
use container::verbs;

use super::{Done, Failure, OneId, on_container, with};
use crate::global::Invocation;

pub(super) fn pause(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: OneId| {
        on_container(invocation, &args.id, |root, id| {
            verbs::pause(root, id).map(|()| Done::default())
        })
    })
}

pub(super) fn resume(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: OneId| {
        on_container(invocation, &args.id, |root, id| {
            verbs::resume(root, id).map(|()| Done::default())
        })
    })
}
