//! `exec`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{ArgMatches, FromArgMatches, Parser};
use container::exec::{Changes, Exec, What, wants_terminal};
use container::foreground::Foreground;
use container::launch::PidFile;
use container::{ContainerId, bundle};

use super::create::{Terminal, check_descriptors, connect, console};
use super::{Done, Failure, at_least, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
pub(super) struct Line {
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a pidfd of the process to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set a variable, NAME=VALUE; more than once for more
    #[arg(long, short, value_name = "VARIABLE")]
    env: Vec<String>,
    /// Give the process a terminal
    #[arg(long, short)]
    tty: bool,
    /// User id, and group id behind a colon
    #[arg(long, short, value_name = "UID[:GID]")]
    user: Option<String>,
    /// One more group; more than once for more
    #[arg(long, short = 'g', value_name = "GID")]
    additional_gids: Vec<String>,
    /// Read the process from a process.json
    #[arg(long, short, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return as soon as the process runs
    #[arg(long, short)]
    detach: bool,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Let the process gain no privileges by executing files
    #[arg(long)]
    no_new_privs: bool,
    /// Add a capability; more than once for more
    #[arg(long, short, value_name = "CAPABILITY")]
    cap: Vec<String>,
    /// Give the process this many more descriptors, from 3 upwards
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Run in a cgroup below the container's
    #[arg(long, value_name = "[CONTROLLERS:]PATH")]
    cgroup: Vec<String>,
    /// Allow a paused container
    #[arg(long)]
    ignore_paused: bool,
    /// Id of the container, and the program with its arguments
    #[arg(value_name = "ID [PROGRAM [ARGUMENT]...]", trailing_var_arg = true)]
    operands: Vec<String>,
}

pub(super) fn exec(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |line: Line| {
        at_least(&line.operands, 1)?;
        let id = ContainerId::parse(&line.operands[0])?;
        check_descriptors(0, line.preserve_fds)?;
        let (root, _) = invocation.root()?;
        let what = what(&line)?;
        let terminal = if line.detach {
            Terminal::Handed
        } else {
            Terminal::Ours
        };
        let console = console(
            wants_terminal(&what),
            line.console_socket.as_deref(),
            terminal,
        )?;
        let exec = Exec {
            root: &root,
            id: &id,
            what,
            ignore_paused: line.ignore_paused,
            preserve_fds: line.preserve_fds,
            sub_cgroups: line.cgroup.clone(),
            pid_file: line.pid_file.as_deref().map(PidFile::open).transpose()?,
            pidfd_socket: line
                .pidfd_socket
                .as_deref()
                .map(|path| connect("--pidfd-socket", path))
                .transpose()?,
        };
        if line.detach {
            let running = container::exec::exec(exec, console)?;
            return Ok(Done {
                warnings: running.warnings,
                ..Done::default()
            });
        }
        // Before the process exists: a signal that comes early is for it. Its orphans are the container's, not ours.
        let foreground = Foreground::begin(false)?;
        let running = container::exec::exec(exec, console)?;
        let exit = foreground.attend(&running.child, running.terminal)?;
        Ok(Done {
            warnings: running.warnings,
            code: u8::try_from(exit.code()).unwrap_or(u8::MAX),
            ..Done::default()
        })
    })
}

fn what(line: &Line) -> Result<What> {
    if let Some(file) = &line.process {
        return Ok(What::Process(Box::new(bundle::load_process(file)?)));
    }
    of_options(line).map(What::Changed)
}

/// Returns what options other than `--process` say of the process.
pub fn changes(matches: &ArgMatches) -> Result<Changes> {
    of_options(&Line::from_arg_matches(matches)?)
}

fn of_options(line: &Line) -> Result<Changes> {
    if line.operands.len() < 2 {
        bail!("no program; name one behind the id, or use --process FILE");
    }
    Ok(Changes {
        args: line.operands[1..].to_vec(),
        cwd: line.cwd.clone(),
        env: line.env.clone(),
        tty: line.tty,
        user: line.user.as_deref().map(user).transpose()?,
        additional_gids: line
            .additional_gids
            .iter()
            .map(|gid| {
                id(gid).with_context(|| format!("--additional-gids: {gid:?} is not a numeric id"))
            })
            .collect::<Result<_>>()?,
        apparmor: line.apparmor.clone(),
        selinux: line.process_label.clone(),
        no_new_privileges: line.no_new_privs,
        capabilities: line.cap.clone(),
    })
}

fn user(text: &str) -> Result<(u32, Option<u32>)> {
    let ids = match text.split_once(':') {
        None => id(text).map(|uid| (uid, None)),
        Some((uid, gid)) => id(uid).zip(id(gid)).map(|(uid, gid)| (uid, Some(gid))),
    };
    ids.with_context(|| {
        format!(
            "--user: {text:?} is not a numeric user id, with or without a group id behind a colon"
        )
    })
}

/// Parses a user or group id strictly: an id that is read wrongly runs the program as somebody else (CVE-2026-30892).
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}
