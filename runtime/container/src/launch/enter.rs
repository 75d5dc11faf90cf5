//! One more process in a container that exists: the same launch with a shorter list.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use sys::process::{self, Birth, Child, Handle, Namespaces, Signal};

use super::adopt::{self, LentScore};
use super::born::{self, become_root};
use super::child::{await_go, become_payload, close_others, execute, join_cgroups, send_master};
use super::protocol::{At, Channel, Failure, Step, ToChild, ToParent};
use super::rootfs::private_proc;
use super::tree::Tree;
use super::{Console, Newborn, console, labels, listener, scheduling};
use crate::plan::{Copier, Process};
use crate::state::{Record, Status};

/// One more process.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) record: &'a Record,
    pub(crate) process: &'a Process,
    /// The container's process.
    pub(crate) init: &'a Handle,
    /// The container's root, where it has no mount namespace that would lead there.
    pub(crate) root: Option<OwnedFd>,
    pub(crate) console: Console,
    pub(crate) preserve_fds: u32,
    /// Connected to whoever listens to the filter.
    pub(crate) listener: Option<OwnedFd>,
    pub(crate) sub_cgroups: &'a cgroup::SubPaths,
    /// Who may copy mounts of the host, and so has privileges there.
    pub(crate) copier: Copier,
    /// Whether what takes the host's root is passed over with a warning.
    pub(crate) rootless: bool,
}

/// A process that was added, waiting for [`Added::go`].
#[derive(Debug)]
pub(crate) struct Added {
    newborn: Newborn,
    parent: Channel,
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) warning: Option<String>,
}

impl Added {
    pub(crate) fn child(&self) -> Result<&Child> {
        self.newborn.child()
    }

    /// Lets the process execute its program, and returns once it does.
    pub(crate) fn go(self) -> Result<Child> {
        self.parent
            .tell_child(ToChild::Go)
            .context("let the process go")?;
        match self.parent.hear_child().context("hear the process")? {
            Some(ToParent::Failed(failure)) => bail!(failure),
            _ => self.newborn.keep(),
        }
    }
}

/// Makes the process, up to the moment before it executes its program.
pub(crate) fn enter(request: &mut Request<'_>) -> Result<Added> {
    let record = request.record;
    let entry = record
        .cgroup
        .as_ref()
        .map(|cgroup| cgroup.entry_beside(record.process.pid, request.sub_cgroups))
        .transpose()?;
    // Before the clone, which joins the cgroup of version 2: the child is to be there already when it moves.
    let affinity = &request.process.scheduling.affinity;
    if let Some(cpus) = &affinity.initial {
        sys::scheduler::set_affinity(&cpus.words)
            .with_context(|| format!("process.execCPUAffinity.initial: {cpus}"))?;
    }
    let score = request.process.oom_score_adj;
    let mut lent = LentScore::take(score.filter(|_| request.copier == Copier::Child))?;
    let mut warning = lent.warning.take();
    let (newborn, parent) = bear(request, entry.as_ref())?;
    drop(lent);
    if let Some(groups) = &record.resctrl {
        groups.join(newborn.child()?.pid.as_raw())?;
    }
    if let (Some(score), Copier::Parent) = (score, request.copier) {
        warning = adopt::score(newborn.child()?, score, request.rootless)?;
    }
    let terminal = accompany(request, newborn.child()?, &parent)?;
    Ok(Added {
        newborn,
        parent,
        terminal,
        warning,
    })
}

/// Clones the process, which walks the list in [`added`].
fn bear(request: &mut Request<'_>, entry: Option<&cgroup::Entry>) -> Result<(Newborn, Channel)> {
    let kinds = Namespaces::from_bits_truncate(request.record.namespaces);
    let init = request.init;
    // An ordinary user may join the others only from the user namespace, into which this process must not go itself.
    let through = request.copier == Copier::Child && kinds.contains(Namespaces::USER);
    let early = kinds & (Namespaces::USER | Namespaces::PID);
    let rest = if through {
        kinds - early
    } else {
        kinds - Namespaces::PID
    };
    if !through && kinds.contains(Namespaces::PID) {
        // Joined by children only, so the parent does it; it makes no other child afterwards.
        init.enter(Namespaces::PID)
            .context("join the container's pid namespace")?;
    }
    let (ours, theirs) = sys::socket::pair().context("socket pair")?;
    let mut ours = Some(ours);
    let mut theirs = Some(theirs);
    let birth = Birth {
        cgroup: entry.and_then(cgroup::Entry::door),
        ..Birth::default()
    };
    let body = || {
        // The child's copy of our end would keep the pair alive when we die.
        drop(ours.take());
        // Likewise: a listener there may wait for the end of the connection.
        drop(request.listener.take());
        let Some(theirs) = theirs.take() else {
            return 1;
        };
        let channel = Channel(theirs);
        match added(request, (kinds, rest), entry, &channel) {
            Ok(()) => 0,
            Err(failure) => {
                // The parent is told, unless it is gone; nobody else listens.
                channel.tell_parent(&ToParent::Failed(failure)).ok();
                1
            }
        }
    };
    let child = if through {
        let join = || {
            // The container does not see this process, which is not in its pid namespace; but it may see the child at once.
            process::set_dumpable(false).at(Step::Hide, "")?;
            init.enter(early).at(Step::Namespace, format!("{early:?}"))
        };
        born::through(join, birth, body)
    } else {
        process::clone3(birth, body).context("clone the process")
    };
    let newborn = Newborn(Some(child?));
    drop(theirs);
    let ours = ours.context("own end of the socket pair")?;
    Ok((newborn, Channel(ours)))
}

/// Hears the child until it is ready; returns the terminal's master if it was sent here.
fn accompany(
    request: &mut Request<'_>,
    child: &Child,
    parent: &Channel,
) -> Result<Option<OwnedFd>> {
    let mut terminal = None;
    loop {
        match parent.hear_child().context("hear the process")? {
            Some(ToParent::Terminal(master)) => terminal = Some(master),
            Some(ToParent::Listener(descriptor)) => listener::introduce(
                request.listener.take(),
                request.process.seccomp.as_ref(),
                &descriptor,
                child.pid,
                &request.record.state(Status::Running),
            )?,
            Some(ToParent::Ready) => {
                scheduling::set(request.process, child.pid)?;
                return Ok(terminal);
            }
            Some(ToParent::Failed(failure)) => bail!(failure),
            Some(ToParent::Mounted | ToParent::Clocks | ToParent::Limited) | None => {
                bail!("the process died before it was ready")
            }
        }
    }
}

/// The steps of the child.
fn added(
    request: &Request<'_>,
    (kinds, join): (Namespaces, Namespaces),
    cgroups: Option<&cgroup::Entry>,
    channel: &Channel,
) -> Result<(), Failure> {
    let process = request.process;
    // Before the container can see us: a process of it must not trace us or open our descriptors (CVE-2016-9962).
    process::set_dumpable(false).at(Step::Hide, "")?;
    join_cgroups(cgroups)?;
    // After that: a cpuset resets what was set before (cpuset(7)).
    if let Some(cpus) = &process.scheduling.affinity.last {
        sys::scheduler::set_affinity(&cpus.words).at(
            Step::Affinity,
            format!("{cpus} (process.execCPUAffinity.final)"),
        )?;
    }
    process::set_pdeathsig(Some(Signal::SIGKILL)).at(Step::Parent, "watch")?;
    process::setsid().at(Step::Session, "")?;
    let mut keep = vec![channel.0.as_fd()];
    keep.extend(request.init.pidfd());
    keep.extend(
        request
            .console
            .fd()
            .into_iter()
            .chain(request.root.as_ref().map(AsFd::as_fd)),
    );
    close_others(&keep, request.preserve_fds)?;
    // Before the root becomes the container's, whose /proc may be anything.
    let proc = if labels::needed(Some(process)) {
        Some(private_proc().at(Step::Mount, "private proc")?)
    } else {
        None
    };
    if !join.is_empty() {
        let joined = request.init.enter(join);
        joined.at(Step::Namespace, format!("{join:?}"))?;
    }
    if let Some(root) = &request.root {
        // A container that shares the host's mounts has its root to itself all the same.
        sys::fs::fchdir(root)
            .and_then(|()| process::chroot("."))
            .at(Step::Pivot, "its root")?;
    }
    if kinds.contains(Namespaces::USER) {
        become_root()?;
        process::set_pdeathsig(Some(Signal::SIGKILL)).at(Step::Parent, "watch")?;
    }
    if request.record.new_keyring {
        labels::keyring(proc.as_ref(), Some(process), &request.record.id)?;
    }
    if let Some(terminal) = process.terminal {
        let root = sys::fs::open_path("/").at(Step::Terminal, "/")?;
        let pty = console::open(&Tree(root), terminal)?;
        send_master(pty.master, &request.console, channel)?;
        console::take(&pty.peer, process.user.uid)?;
    }
    labels::on_exec(proc.as_ref(), process)?;
    drop(proc);
    let listeners = [channel.0.as_fd()].into_iter();
    let (payload, program) = become_payload(process, request.preserve_fds, listeners)?;
    let rest = || {
        await_go(channel)?;
        sys::signal::reset().at(Step::Exec, "signals")?;
        Ok(None)
    };
    execute(process, &payload, &program, channel, rest)
}
