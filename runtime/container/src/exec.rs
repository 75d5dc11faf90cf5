//! `exec`: planning one more process for a container, and starting it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cgroup::SubPaths;
use oci_spec::runtime as oci;
use sys::process::{Child, Namespaces};

use crate::launch::enter::{Request, enter};
use crate::launch::{Console, PidFile, tell_socket};
use crate::plan::{self, Base, Common, Process, Seccomp};
use crate::state::{Record, StateRoot, Status};
use crate::{ContainerId, Host, check, text, verbs};

/// What the command line says about the process; what it leaves open comes from the container's own.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub args: Vec<String>,
    pub cwd: Option<PathBuf>,
    pub env: Vec<String>,
    pub tty: bool,
    pub user: Option<(u32, Option<u32>)>,
    pub additional_gids: Vec<u32>,
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
    pub no_new_privileges: bool,
    /// Capability names, added to the bounding, effective and permitted sets. Never to the inheritable one: a program
    /// with file capabilities would gain them (CVE-2022-29162).
    pub capabilities: Vec<String>,
}

/// Which process to run.
#[derive(Debug)]
pub enum What {
    /// As a `process.json` says.
    Process(Box<oci::Process>),
    /// The container's own process, changed.
    Changed(Changes),
}

/// One exec.
#[derive(Debug)]
pub struct Exec<'a> {
    pub root: &'a StateRoot,
    pub id: &'a ContainerId,
    pub what: What,
    pub ignore_paused: bool,
    pub preserve_fds: u32,
    /// Cgroups below the container's that the process joins: `PATH` or `CONTROLLER[,CONTROLLER...]:PATH`.
    pub sub_cgroups: Vec<String>,
    pub pid_file: Option<PidFile>,
    pub pidfd_socket: Option<OwnedFd>,
}

/// A process that runs in the container.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    pub terminal: Option<OwnedFd>,
    pub warnings: Vec<String>,
}

/// Says whether the process wants a terminal, before anything is opened for it.
#[must_use]
pub fn wants_terminal(what: &What) -> bool {
    match what {
        What::Process(process) => process.terminal().unwrap_or(false),
        What::Changed(changes) => changes.tty,
    }
}

/// Starts a process in a running container; returns once its program is being executed.
pub fn exec(exec: Exec<'_>, console: Console) -> Result<Running> {
    let record = exec.root.load(exec.id)?;
    match exec.root.status(exec.id, &record) {
        Status::Stopped | Status::Creating => bail!("{}: {}", text::EXEC_STOPPED, exec.id),
        Status::Paused if !exec.ignore_paused => bail!("{}: {}", text::EXEC_PAUSED, exec.id),
        _ => {}
    }
    let init = verbs::open(&record.process)?;
    let mut warnings = Vec::new();
    let host = Host::probe_for_process()?;
    let process = plan(&exec, &record, &host, &mut warnings)?;
    let sub_cgroups = sub_cgroups(&exec, &record)?;
    let mut request = Request {
        record: &record,
        process: &process,
        listener: check::listener(process.seccomp.as_ref())
            .map_err(|refusal| anyhow::anyhow!("{}: {}", refusal.at, refusal.why))?,
        init: &init,
        root: root_of(&record)?,
        console,
        preserve_fds: exec.preserve_fds,
        sub_cgroups: &sub_cgroups,
        copier: host.copier(),
        rootless: host.is_rootless(),
    };
    let mut added = enter(&mut request)?;
    warnings.extend(added.warning.take());
    if let Some(socket) = &exec.pidfd_socket {
        tell_socket(socket, added.child()?)?;
    }
    if let Some(file) = &exec.pid_file {
        file.write(added.child()?.pid.as_raw())?;
    }
    let terminal = added.terminal.take();
    Ok(Running {
        child: added.go()?,
        terminal,
        warnings,
    })
}

/// Returns the process that is asked for, completed by the container's own one, `base`.
pub fn configured(what: &What, base: Option<&oci::Process>) -> Result<oci::Process> {
    match what {
        What::Process(process) => Ok(with_defaults(process, base)),
        What::Changed(changes) => changed(base, changes),
    }
}

fn plan(
    exec: &Exec<'_>,
    record: &Record,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Result<Process> {
    let process = configured(&exec.what, record.base.as_ref())?;
    let seccomp = match record.seccomp_flags {
        None => None,
        Some(flags) => {
            let program = exec.root.load_filter(exec.id)?;
            Some(Seccomp {
                instructions: program.len(),
                program,
                flags,
                listener: record.seccomp_listener.clone(),
            })
        }
    };
    let user_namespace =
        Namespaces::from_bits_truncate(record.namespaces).contains(Namespaces::USER);
    let base = Base {
        at: "process",
        host,
        user_namespace,
        seccomp,
        common: Common {
            memory_policy: record.memory_policy.as_ref(),
            personality: record.personality.as_ref(),
        },
        extra_env: Vec::new(),
        keep_groups: plan::annotations::keeps_groups(&record.annotations)?,
    };
    plan::process(&process, base, warnings)
        .map_err(|refusal| anyhow::anyhow!("{}: {}", refusal.at, refusal.why))
}

/// Finds the cgroups that the process joins instead of the container's.
fn sub_cgroups(exec: &Exec<'_>, record: &Record) -> Result<SubPaths> {
    let refused =
        |refusal: cgroup::Refusal| anyhow::anyhow!("{}: {}", refusal.json_path, refusal.message);
    let paths = SubPaths::parse(&exec.sub_cgroups).map_err(refused)?;
    match &record.cgroup {
        Some(cgroup) => paths.check(cgroup).map_err(refused)?,
        None if exec.sub_cgroups.is_empty() => {}
        None => bail!("--cgroup: the container has no cgroup; leave it out"),
    }
    Ok(paths)
}

/// Completes a process from a file by what the container's own has: an absent profile must not mean an unconfined process.
fn with_defaults(process: &oci::Process, base: Option<&oci::Process>) -> oci::Process {
    let mut process = process.clone();
    let Some(base) = base else {
        return process;
    };
    if process.capabilities().is_none() {
        process.set_capabilities(base.capabilities().clone());
    }
    if process
        .apparmor_profile()
        .as_ref()
        .is_none_or(String::is_empty)
    {
        process.set_apparmor_profile(base.apparmor_profile().clone());
    }
    if process
        .selinux_label()
        .as_ref()
        .is_none_or(String::is_empty)
    {
        process.set_selinux_label(base.selinux_label().clone());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(base.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*base.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(base.exec_cpu_affinity().clone());
    }
    if process.rlimits().is_none() {
        process.set_rlimits(base.rlimits().clone());
    }
    process
}

/// Opens the root of a container that shares the host's mounts, through its process.
fn root_of(record: &Record) -> Result<Option<OwnedFd>> {
    if Namespaces::from_bits_truncate(record.namespaces).contains(Namespaces::MOUNT) {
        return Ok(None);
    }
    let path = format!("/proc/{}/root", record.process.pid);
    let root = sys::fs::open_path(path.as_str()).with_context(|| format!("open {path}"))?;
    // After opening: had the process ended meanwhile, the path might have been another's.
    verbs::open(&record.process)?;
    Ok(Some(root))
}

fn changed(base: Option<&oci::Process>, changes: &Changes) -> Result<oci::Process> {
    let mut process = base
        .cloned()
        .context("the container has no process to take defaults from; use --process")?;
    process.set_terminal(Some(changes.tty));
    process.set_args(Some(changes.args.clone()));
    if !changes.tty {
        process.set_console_size(None);
    }
    if let Some(cwd) = &changes.cwd {
        process.set_cwd(cwd.clone());
    }
    if !changes.env.is_empty() {
        let mut env = process.env().clone().unwrap_or_default();
        env.extend(changes.env.iter().cloned());
        process.set_env(Some(env));
    }
    let mut user = process.user().clone();
    if let Some((uid, gid)) = changes.user {
        user.set_uid(uid);
        // As runc does: a user without a group keeps the container's.
        if let Some(gid) = gid {
            user.set_gid(gid);
        }
    }
    if !changes.additional_gids.is_empty() {
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(&changes.additional_gids);
        user.set_additional_gids(Some(groups));
    }
    process.set_user(user);
    if let Some(profile) = &changes.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &changes.selinux {
        process.set_selinux_label(Some(label.clone()));
    }
    if changes.no_new_privileges {
        process.set_no_new_privileges(Some(true));
    }
    if !changes.capabilities.is_empty() {
        process.set_capabilities(Some(with_capabilities(
            process.capabilities().as_ref(),
            &changes.capabilities,
        )?));
    }
    Ok(process)
}

fn with_capabilities(
    base: Option<&oci::LinuxCapabilities>,
    names: &[String],
) -> Result<oci::LinuxCapabilities> {
    let none: Option<oci::Capabilities> = None;
    let mut sets = oci::LinuxCapabilities::default();
    sets.set_bounding(base.map_or(none.clone(), |base| base.bounding().clone()));
    sets.set_effective(base.map_or(none.clone(), |base| base.effective().clone()));
    sets.set_permitted(base.map_or(none.clone(), |base| base.permitted().clone()));
    sets.set_inheritable(base.map_or(none.clone(), |base| base.inheritable().clone()));
    sets.set_ambient(base.map_or(none, |base| base.ambient().clone()));
    for name in names {
        let upper = name.to_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let capability: oci::Capability = short.parse().map_err(|_| {
            anyhow::anyhow!("--cap: unknown capability {name:?}; use a name such as CAP_NET_ADMIN")
        })?;
        let add = |set: &Option<oci::Capabilities>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective, permitted) = (
            add(sets.bounding()),
            add(sets.effective()),
            add(sets.permitted()),
        );
        sets.set_bounding(bounding)
            .set_effective(effective)
            .set_permitted(permitted);
    }
    Ok(sets)
}
