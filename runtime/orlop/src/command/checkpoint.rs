//! `checkpoint` and `restore`: not built yet, but asked about by podman, which probes their help and one of their options.

use anyhow::{Result, bail};
use clap::Parser;

use super::{Done, Failure, with};
use crate::global::Invocation;

// Their options, named so that callers who probe for one find it.
#[derive(Debug, Parser)]
struct Line {
    /// Directory of the image
    #[arg(long, value_name = "DIR")]
    image_path: Option<String>,
    /// LSM profile for the restored processes
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// LSM context for restored mounts
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
    /// Everything else
    #[arg(
        value_name = "OPTIONS AND ID",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    rest: Vec<String>,
}

pub(super) fn checkpoint(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |_: Line| {
        bail!("checkpoint: not supported by this version; stop the container instead")
    })
}

pub(super) fn restore(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |_: Line| {
        bail!("restore: not supported by this version; create the container anew")
    })
}
