//! `mounts add` and `mounts remove`, in crun's form.

use std::path::Path;

use anyhow::bail;
use clap::Parser;
use container::{ContainerId, bundle, verbs};

use super::create::refuse_ordinary_user;
use super::{Done, Failure, exactly, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Line {
    /// add or remove, id of the container, and a JSON file with a list like `mounts` of config.json (remove looks at destinations only)
    #[arg(value_name = "add|remove ID FILE")]
    operands: Vec<String>,
}

pub(super) fn mounts(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |line: Line| {
        let [verb, id, file] = exactly(&line.operands)?;
        let id = ContainerId::parse(id)?;
        refuse_ordinary_user("mounts")?;
        let (root, _) = invocation.root()?;
        let read = || bundle::load_mounts(Path::new(file));
        let warnings = match verb.as_str() {
            "add" => verbs::add_mounts(&root, &id, &read()?)?,
            "remove" => {
                verbs::remove_mounts(&root, &id, &read()?)?;
                Vec::new()
            }
            other => bail!("{other:?} is neither add nor remove"),
        };
        Ok(Done {
            warnings,
            ..Done::default()
        })
    })
}
