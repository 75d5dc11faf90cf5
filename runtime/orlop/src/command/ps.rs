//! `ps`.

use anyhow::{Context, Result, bail};
use clap::Parser;
use container::{ContainerId, verbs};

use super::{Done, Failure, at_least, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Ps {
    /// table or json
    #[arg(long, short, value_name = "FORM", default_value = "table")]
    format: String,
    /// Id of the container, and options for ps (-ef without any)
    #[arg(value_name = "ID [PS OPTIONS]", allow_hyphen_values = true)]
    operands: Vec<String>,
}

pub(super) fn ps(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Ps| {
        at_least(&args.operands, 1)?;
        let id = ContainerId::parse(&args.operands[0])?;
        let (root, _) = invocation.root()?;
        let pids = verbs::processes(&root, &id)?;
        let output = match args.format.as_str() {
            "json" => serde_json::to_string(&pids).context("write the list as JSON")? + "\n",
            "table" => {
                let options = args.operands.get(1..).filter(|options| !options.is_empty());
                verbs::table(&pids, options.unwrap_or(&["-ef".to_string()]))?
            }
            other => bail!("invalid format option: {other:?}: use table or json"),
        };
        Ok(Done::output(output))
    })
}
