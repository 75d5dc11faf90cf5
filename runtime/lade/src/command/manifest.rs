//! `lade manifest`.

use clap::{Args, Subcommand};
use engine::{Annotate, ManifestCreate, ManifestInspect, ManifestPush};

use super::inspect::indented;
use crate::failure::{Failure, print, print_lines};
use crate::session::Session;

/// What may stand after `lade manifest`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Inspect(Inspect),
    Create(Create),
    Annotate(Change),
    Push(Push),
    Rm(Remove),
}

/// Show a manifest, or a manifest list
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Name of a manifest; with a list before it: of a member of that list
    #[arg(value_name = "[MANIFEST_LIST] MANIFEST", required = true, num_args = 1..=2)]
    names: Vec<String>,
    /// Speak to a registry without TLS, too
    #[arg(long)]
    insecure: bool,
    /// Show layers and platform, too
    #[arg(long, short = 'v')]
    verbose: bool,
}

/// Make a manifest list here
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name of the list
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
    /// Names of what is in it
    #[arg(value_name = "MANIFEST", required = true)]
    members: Vec<String>,
    /// Add to a list that is there
    #[arg(long, short = 'a')]
    amend: bool,
    /// Speak to a registry without TLS, too
    #[arg(long)]
    insecure: bool,
}

/// Say for which platform a member of a list is
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Name of the list
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
    /// Name of its member
    #[arg(value_name = "MANIFEST")]
    member: String,
    /// Architecture
    #[arg(long)]
    arch: Option<String>,
    /// Operating system
    #[arg(long)]
    os: Option<String>,
    /// Features that the operating system has to have
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// Variant of the architecture
    #[arg(long)]
    variant: Option<String>,
}

/// Push a manifest list to a registry
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Name of the list
    #[arg(value_name = "MANIFEST_LIST")]
    list: String,
    /// Speak to a registry without TLS, too
    #[arg(long)]
    insecure: bool,
    /// Remove the list here afterwards
    #[arg(long, short = 'p')]
    purge: bool,
}

/// Remove manifest lists here
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Names of lists
    #[arg(value_name = "MANIFEST_LIST", required = true)]
    lists: Vec<String>,
}

impl Command {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let engine = session.engine()?;
        match self {
            Self::Inspect(args) => inspect(&args, session),
            Self::Create(args) => {
                let options = ManifestCreate {
                    amend: args.amend,
                    insecure: args.insecure,
                };
                print_lines([engine.manifest_create(&args.list, &args.members, &options)?])
            }
            Self::Annotate(args) => {
                let options = Annotate {
                    os: args.os,
                    arch: args.arch,
                    variant: args.variant,
                    os_version: args.os_version,
                    os_features: args.os_features,
                };
                Ok(engine.manifest_annotate(&args.list, &args.member, &options)?)
            }
            Self::Push(args) => {
                let options = ManifestPush {
                    purge: args.purge,
                    insecure: args.insecure,
                };
                print_lines([engine.manifest_push(&args.list, &options)?])
            }
            Self::Rm(args) => Ok(engine.manifest_remove(&args.lists)?),
        }
    }
}

fn inspect(args: &Inspect, session: &Session) -> Result<(), Failure> {
    let options = ManifestInspect {
        verbose: args.verbose,
        insecure: args.insecure,
    };
    let Some(name) = args.names.last() else {
        return Ok(());
    };
    let shown = session.engine()?.manifest_inspect(name, &options)?;
    print(&format!("{}\n", indented(shown, b"\t")?))
}
