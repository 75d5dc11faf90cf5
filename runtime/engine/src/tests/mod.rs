//! The verbs together, against a real registry on loopback and other people's programs. What is not installed is skipped, and said.

#![expect(
    clippy::print_stderr,
    reason = "a test that is skipped says so, and why"
)]

mod archives;
mod names;
mod registry;
mod support;

pub(crate) use support::{Scratch, engine, import, tar};
