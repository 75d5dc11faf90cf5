//! `restore`: a new container from a bundle and an image.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;
use container::criu::Restoring;
use container::foreground::Foreground;
use container::launch::PidFile;
use container::timing::Timing;
use container::verbs::{self, Restore};
use container::{Bundle, ContainerId, Host, Plan};

use super::checkpoint::Common;
use super::create::{Terminal, beside_an_error, console, refuse_ordinary_user};
use super::{Done, Failure, exactly, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Line {
    #[command(flatten)]
    common: Common,
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Return as soon as the container runs
    #[arg(long, short)]
    detach: bool,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Do not become a subreaper
    #[arg(long)]
    no_subreaper: bool,
    /// Accepted for callers of runc; criu changes the root in its own way
    #[arg(long)]
    no_pivot: bool,
    /// LSM profile for the restored processes
    #[arg(long, value_name = "TYPE:NAME")]
    lsm_profile: Option<String>,
    /// LSM context for restored mounts
    #[arg(long, value_name = "CONTEXT")]
    lsm_mount_context: Option<String>,
    /// Id of the container
    #[arg(value_name = "ID")]
    id: Vec<String>,
}

pub(super) fn restore(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Line| {
        let [id] = exactly(&args.id)?;
        let id = ContainerId::parse(id)?;
        refuse_ordinary_user("restore")?;
        let (root, _) = invocation.root()?;
        let restoring = restoring(&args)?;
        let options = args.common.options()?;
        let bundle = Bundle::load(&args.bundle, None)?;
        let flags = container::Options {
            no_pivot: args.no_pivot,
            no_cgroup: invocation.no_cgroup(),
            systemd: invocation.systemd(),
            ..container::Options::default()
        };
        let plan = Plan::new(&id, &bundle, &Host::probe()?, &flags)?;
        let terminal = if args.detach {
            Terminal::Handed
        } else {
            Terminal::Ours
        };
        let process = plan.process.as_ref();
        let wanted = process.is_some_and(|process| process.terminal.is_some());
        let request = Restore {
            id: &id,
            bundle: &bundle,
            plan: &plan,
            root: &root,
            console: console(wanted, args.console_socket.as_deref(), terminal)?,
            pid_file: args.pid_file.as_deref().map(PidFile::open).transpose()?,
            options: &options,
            restoring: &restoring,
        };
        let mut done = Done {
            warnings: plan.warnings.clone(),
            ..Done::default()
        };
        if args.detach {
            let created = verbs::restore(request, &mut done.warnings)
                .inspect_err(|_| beside_an_error(&done.warnings))?;
            done.warnings.extend(created.warnings);
            return Ok(done);
        }
        // Before the container exists: a signal that comes early is for it.
        let foreground = Foreground::begin(!args.no_subreaper)?;
        let mut created = verbs::restore(request, &mut done.warnings)
            .inspect_err(|_| beside_an_error(&done.warnings))?;
        done.warnings.extend(created.warnings.iter().cloned());
        let attended = foreground.attend(&created.child, created.terminal.take());
        // Nobody would know of a container that runs on after this command has failed.
        let exit = attended.or_else(|error| verbs::delete(&root, &id, true).and(Err(error)))?;
        let warnings = verbs::discard(&root, &id, &created.record, &Timing::default())?;
        done.warnings.extend(warnings);
        done.code = u8::try_from(exit.code()).unwrap_or(u8::MAX);
        Ok(done)
    })
}

fn restoring(args: &Line) -> Result<Restoring> {
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let lsm_profile = given(&args.lsm_profile);
    if let Some(profile) = &lsm_profile
        && !profile.contains(':')
    {
        bail!("--lsm-profile: {profile:?} is no profile; use TYPE:NAME, such as apparmor:NAME");
    }
    Ok(Restoring {
        lsm_profile,
        lsm_mount_context: given(&args.lsm_mount_context),
    })
}
