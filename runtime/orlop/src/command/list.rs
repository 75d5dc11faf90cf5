//! `list`.

use anyhow::{Context, Result, bail};
use clap::Parser;
use container::state::OciState;
use container::verbs;

use super::{Done, Failure, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct List {
    /// table or json
    #[arg(long, short, value_name = "FORM", default_value = "table")]
    format: String,
    /// Print ids only
    #[arg(long, short)]
    quiet: bool,
}

pub(super) fn list(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: List| {
        if !matches!(args.format.as_str(), "table" | "json") {
            bail!(
                "invalid format option: {:?}: use table or json",
                args.format
            );
        }
        let (root, explicit) = invocation.root()?;
        // Without a state root of our own there was never a container; a wrong --root is a mistake.
        // One that cannot be looked at may hold some.
        let absent = matches!(root.dir().try_exists(), Ok(false));
        let (states, warnings) = if !explicit && absent {
            (Vec::new(), Vec::new())
        } else {
            verbs::list(&root)?
        };
        let output = match args.format.as_str() {
            _ if args.quiet => states
                .iter()
                .map(|state| format!("{}\n", state.id))
                .collect(),
            // What runc prints for an empty list, and go-runc reads.
            "json" if states.is_empty() => "null\n".to_owned(),
            "json" => serde_json::to_string(&states).context("write the list as JSON")? + "\n",
            _ => table(&states),
        };
        Ok(Done {
            warnings,
            ..Done::output(output)
        })
    })
}

fn table(states: &[OciState]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from);
    let row = |state: &OciState| {
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            state.bundle.display().to_string(),
            state.created.clone().unwrap_or_default(),
            state.owner.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = std::iter::once(header)
        .chain(states.iter().map(row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<_> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        cells.join("   ").trim_end().to_string() + "\n"
    };
    rows.iter().map(line).collect()
}
