//! `plan`: our own explainer.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use container::{Bundle, ContainerId, Host, Options, Plan, bundle};

use super::{Done, Failure, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Show {
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// Read this file instead of the bundle's config.json
    #[arg(long, short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Id that the container would have
    #[arg(long, value_name = "ID", default_value = "plan")]
    id: String,
    /// Directory of the bundle, as the other commands name it
    #[arg(long, short, value_name = "BUNDLE", default_value = ".")]
    bundle: PathBuf,
    /// Directory of the bundle
    #[arg(value_name = "BUNDLE", conflicts_with = "bundle")]
    directory: Option<PathBuf>,
}

pub(super) fn plan(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Show| {
        let bundle = Bundle::load(
            args.directory.as_ref().unwrap_or(&args.bundle),
            args.config.as_deref(),
        )?;
        let options = Options {
            no_cgroup: invocation.no_cgroup(),
            systemd: invocation.systemd(),
            rootless: invocation.rootless(),
            ..Options::default()
        };
        let mut plan = Plan::new(
            &ContainerId::parse(&args.id)?,
            &bundle,
            &Host::probe_for(&bundle)?,
            &options,
        )?;
        plan.explain(&Host::missing_calls());
        let unknown = bundle::unknown_properties(&bundle, args.config.as_deref())?;
        plan.warnings.extend(
            unknown.into_iter().map(|at| {
                format!("{at}: the specification has no such property; it is passed over")
            }),
        );
        let text = if args.json {
            serde_json::to_string_pretty(&plan).context("write the plan as JSON")? + "\n"
        } else {
            plan.show()
        };
        Ok(Done::output(text))
    })
}
