//! The commands: a file each, with its options, whose comments are the help text, and `run`.

mod check;
mod completion;
mod history;
mod images;
mod import;
mod import_docker;
mod info;
mod inspect;
mod internal;
mod load;
mod login;
mod logout;
mod manifest;
mod mount;
mod prune;
mod pull;
mod push;
mod remove;
mod run;
mod save;
mod search;
mod tag;
mod usage;
mod verify;
mod version;

use clap::Subcommand;
use image::Reference;

use crate::failure::{Failure, USAGE, print};
use crate::own;
use crate::session::Session;
use crate::settings::Settings;

/// What may stand after `lade`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<run::Args>),
    Pull(pull::Args),
    Push(push::Args),
    Images(images::Args),
    Rmi(remove::Args),
    Tag(tag::Args),
    Inspect(inspect::Args),
    History(history::Args),
    Save(save::Args),
    Load(load::Args),
    Import(import::Args),
    ImportDocker(import_docker::Args),
    Search(search::Args),
    Login(login::Args),
    Logout(logout::Args),
    Info(info::Args),
    Version(version::Args),
    /// Manage images
    #[command(
        subcommand,
        arg_required_else_help = true,
        subcommand_value_name = "COMMAND"
    )]
    Image(Image),
    /// Manage manifest lists: one name for the images of several platforms
    #[command(
        subcommand,
        arg_required_else_help = true,
        subcommand_value_name = "COMMAND"
    )]
    Manifest(manifest::Command),
    /// Manage what lade keeps on disk
    #[command(
        subcommand,
        arg_required_else_help = true,
        subcommand_value_name = "COMMAND"
    )]
    System(System),
    Completion(completion::Args),
    #[command(subcommand, hide = true)]
    Internal(internal::Command),
}

/// What may stand after `lade image`.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    #[command(visible_alias = "list")]
    Ls(images::Args),
    Pull(pull::Args),
    Push(push::Args),
    #[command(visible_aliases = ["rmi", "remove"])]
    Rm(remove::Args),
    Tag(tag::Args),
    Inspect(inspect::ImageArgs),
    History(history::Args),
    Save(save::Args),
    Load(load::Args),
    Import(import::Args),
    Prune(prune::Args),
    Verify(verify::Args),
    Mount(mount::Args),
    #[command(visible_alias = "umount")]
    Unmount(mount::UnmountArgs),
}

/// What may stand after `lade system`.
#[derive(Debug, Subcommand)]
pub(crate) enum System {
    Df(usage::Args),
    Info(info::Args),
    Check(check::Args),
}

impl Command {
    /// Lets options of a command that are settings, too, count.
    pub(crate) fn settle(&self, settings: &mut Settings) {
        match self {
            Self::Run(args) => args.settle(settings),
            Self::Manifest(command) => command.settle(settings),
            _ => {}
        }
    }

    /// Gives an ordinary user what the command needs to work on a data root. What only speaks to a registry, or lists names, needs nothing.
    /// Returns what he should know of it.
    pub(crate) fn prepare(&self) -> Result<Option<String>, Failure> {
        match self {
            Self::Search(_) | Self::Login(_) | Self::Logout(_) | Self::Version(_) => Ok(None),
            Self::Completion(_) | Self::Internal(internal::Command::Complete { .. }) => Ok(None),
            Self::Manifest(manifest::Command::Inspect(_)) => Ok(None),
            Self::Image(Image::Mount(args)) => args.refuse_unseen().and_then(|()| own::enter()),
            Self::Run(_) => own::enter().map_err(|failure| failure.code(USAGE)),
            _ => own::enter(),
        }
    }

    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Run(args) => run::run(*args, session),
            Self::Pull(args) | Self::Image(Image::Pull(args)) => pull::run(&args, session),
            Self::Push(args) | Self::Image(Image::Push(args)) => push::run(&args, session),
            Self::Images(args) | Self::Image(Image::Ls(args)) => images::run(args, session),
            Self::Rmi(args) | Self::Image(Image::Rm(args)) => remove::run(&args, session),
            Self::Tag(args) | Self::Image(Image::Tag(args)) => tag::run(&args, session),
            Self::Inspect(args) => inspect::run(&args, session),
            Self::Image(Image::Inspect(args)) => inspect::image(&args, session),
            Self::History(args) | Self::Image(Image::History(args)) => history::run(&args, session),
            Self::Save(args) | Self::Image(Image::Save(args)) => save::run(&args, session),
            Self::Load(args) | Self::Image(Image::Load(args)) => load::run(&args, session),
            Self::Import(args) | Self::Image(Image::Import(args)) => import::run(args, session),
            Self::ImportDocker(args) => import_docker::run(args, session),
            Self::Search(args) => search::run(&args, session),
            Self::Login(args) => login::run(args, session),
            Self::Logout(args) => logout::run(&args, session),
            Self::Info(args) | Self::System(System::Info(args)) => info::run(&args, session),
            Self::Version(args) => version::run(&args, session),
            Self::Image(Image::Prune(args)) => prune::run(&args, session),
            Self::Image(Image::Verify(args)) => verify::run(&args, session),
            Self::Image(Image::Mount(args)) => mount::run(&args, session),
            Self::Image(Image::Unmount(args)) => mount::unmount(&args, session),
            Self::Manifest(command) => command.run(session),
            Self::System(System::Df(args)) => usage::run(&args, session),
            Self::System(System::Check(args)) => check::run(&args, session),
            Self::Completion(args) => completion::run(&args),
            Self::Internal(command) => command.run(session),
        }
    }
}

/// Reads the platform that `--platform` names.
fn platform(text: Option<&String>) -> Result<Option<image::Platform>, Failure> {
    let parsed = text.map(|text| {
        let refused = |error| Failure::new(format!("--platform {text}: {error}"));
        text.parse().map_err(refused)
    });
    parsed.transpose()
}

/// Says as docker does which tag a name without one means.
fn default_tag(name: &str, quiet: bool, all_tags: bool) -> Result<(), Failure> {
    let name = name.parse::<Reference>();
    let without = name.is_ok_and(|name| name.tag.is_none() && name.digest.is_none());
    if without && !quiet && !all_tags {
        print("Using default tag: latest\n")?;
    }
    Ok(())
}

/// `--disable-content-trust`: docker's default, and ours always.
#[derive(Debug, clap::Args)]
struct Trust {
    /// Skip the check of signatures, as ever: what counts here are digests
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, hide_default_value = true, hide_possible_values = true)]
    disable_content_trust: bool,
}

impl Trust {
    fn check(&self) -> Result<(), Failure> {
        if self.disable_content_trust {
            return Ok(());
        }
        let text = "--disable-content-trust=false: signatures are not checked, only digests";
        Err(Failure::new(text).hint("NAME@DIGEST takes exactly one content"))
    }
}
