//! `lade manifest`.

use clap::{Args, Subcommand};
use engine::{Annotate, ManifestCreate, ManifestInspect, ManifestPush};

use image::Reference;

use super::inspect::indented;
use crate::failure::{Failure, print, print_lines};
use crate::session::Session;
use crate::settings::Settings;

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
    /// Lets `--insecure` count for the registries that the names are of.
    pub(super) fn settle(&self, settings: &mut Settings) {
        let (insecure, names): (_, Vec<&String>) = match self {
            Self::Inspect(args) => (args.insecure, args.names.iter().collect()),
            Self::Create(args) => {
                let names = args.members.iter().chain([&args.list]);
                (args.insecure, names.collect())
            }
            Self::Push(args) => (args.insecure, vec![&args.list]),
            Self::Annotate(_) | Self::Rm(_) => return,
        };
        // A name that is none is refused by the engine.
        let parsed = names
            .into_iter()
            .filter_map(|name| name.parse::<Reference>().ok());
        let hosts = parsed.map(|name| name.repository.host);
        settings.network.insecure.extend(hosts.filter(|_| insecure));
    }

    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let engine = || session.engine();
        match self {
            Self::Inspect(args) => inspect(&args, session),
            Self::Create(args) => {
                let options = ManifestCreate { amend: args.amend };
                print_lines([engine()?.manifest_create(&args.list, &args.members, &options)?])
            }
            Self::Annotate(args) => {
                let options = Annotate {
                    os: args.os,
                    architecture: args.arch,
                    variant: args.variant,
                    os_version: args.os_version,
                    os_features: args.os_features,
                };
                Ok(engine()?.manifest_annotate(&args.list, &args.member, &options)?)
            }
            Self::Push(args) => {
                let options = ManifestPush { purge: args.purge };
                print_lines([engine()?.manifest_push(&args.list, &options)?])
            }
            Self::Rm(args) => print_lines(engine()?.manifest_remove(&args.lists)?),
        }
    }
}

fn inspect(args: &Inspect, session: &Session) -> Result<(), Failure> {
    let (list, name) = match args.names.as_slice() {
        [name] => (None, name),
        [list, name, ..] => (Some(list.clone()), name),
        [] => return Ok(()),
    };
    let options = ManifestInspect {
        verbose: args.verbose,
        list,
    };
    let shown = session.registries().manifest_inspect(name, &options)?;
    print(&format!("{}\n", indented(shown, b"\t")?))
}
