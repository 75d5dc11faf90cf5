//! One more process in a container that exists: the same launch with a shorter list.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use sys::process::{self, Birth, Child, Handle, Namespaces, Signal};

use super::adopt::{self, LentScore};
use super::born::{self, Between, become_root};
use super::child::{await_go, become_payload, close_others, execute, join_cgroups, send_master};
use super::protocol::{At, Channel, Failure, Step, ToChild, ToParent};
use super::rootfs::{private_proc, processes};
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
    // The one in between, if there is one, ends while the child goes on.
    let (newborn, parent, _between) = bear(request, entry.as_ref())?;
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

/// How the process comes into the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It joins all but the pid namespace itself, and is in there with the host's mounts until then. Nobody in there has a say over it: there is
    /// a user namespace between, or what shares the host's pid namespace sees the host anyway.
    Itself,
    /// Through a process that joins the user namespace first: only from there an ordinary user may join the others.
    ByUser,
    /// Through a process that joins everything and takes the container's root outside of its pid namespace: who may trace
    /// all that is in there (`CAP_SYS_PTRACE`) finds nothing of the host by this one (CVE-2016-9962).
    Prepared,
}

impl Way {
    fn of(request: &Request<'_>, kinds: Namespaces) -> Self {
        if request.copier == Copier::Child && kinds.contains(Namespaces::USER) {
            Self::ByUser
        } else if kinds.contains(Namespaces::USER) || !kinds.contains(Namespaces::PID) {
            Self::Itself
        } else if labels::needed(Some(request.process)) && !matches!(processes(), Ok(Some(_))) {
            // Labels are written through a procfs, which such a kernel makes only where a path leads to it (before 5.2).
            Self::Itself
        } else {
            Self::Prepared
        }
    }

    /// What is left to the process to join.
    fn rest(self, kinds: Namespaces) -> Namespaces {
        match self {
            Self::Itself => kinds - Namespaces::PID,
            Self::ByUser => kinds - Namespaces::USER - Namespaces::PID,
            Self::Prepared => Namespaces::empty(),
        }
    }
}

/// Clones the process, which walks the list in [`added`].
fn bear(
    request: &mut Request<'_>,
    entry: Option<&cgroup::Entry>,
) -> Result<(Newborn, Channel, Option<Between>)> {
    let kinds = Namespaces::from_bits_truncate(request.record.namespaces);
    let init = request.init;
    let way = Way::of(request, kinds);
    if way == Way::Itself && kinds.contains(Namespaces::PID) {
        // Joined by children only, so the parent does it; it makes no other child afterwards.
        init.enter(Namespaces::PID)
            .context("join the container's pid namespace")?;
    }
    let (ours, theirs) = sys::socket::pair().context("socket pair")?;
    let (ours, theirs) = (RefCell::new(Some(ours)), RefCell::new(Some(theirs)));
    let birth = Birth {
        cgroup: entry.and_then(cgroup::Entry::door),
        ..Birth::default()
    };
    let body = || {
        // The child's copy of our end would keep the pair alive when we die.
        drop(ours.take());
        let Some(theirs) = theirs.take() else {
            return 1;
        };
        let channel = Channel(theirs);
        match added(request, (kinds, way), entry, &channel) {
            Ok(()) => 0,
            Err(failure) => {
                // The parent is told, unless it is gone; nobody else listens.
                channel.tell_parent(&ToParent::Failed(failure)).ok();
                1
            }
        }
    };
    let child = match way {
        Way::Itself => born::clone_hidden(birth, body)
            .map(|child| (child, None))
            .context("clone the process"),
        Way::ByUser => {
            // The container does not see this process, which is not in its pid namespace.
            let early = kinds & (Namespaces::USER | Namespaces::PID);
            let join = |_: BorrowedFd<'_>| join(init, early);
            born::through(true, join, birth, body).map(|(child, between)| (child, Some(between)))
        }
        Way::Prepared => {
            let leave = |speaks: BorrowedFd<'_>| {
                drop(ours.take());
                // The child comes after it: by itself it could only with descriptors of the host's cgroups.
                join_cgroups(entry)?;
                let theirs = theirs.borrow();
                close_all_but(request, theirs.iter().map(AsFd::as_fd).chain([speaks]))?;
                // All of them: where they are found by files of `/proc` (before Linux 5.8), the child sees the container's.
                join(init, kinds)?;
                take_root(request)
            };
            born::through(true, leave, birth, body).map(|(child, between)| (child, Some(between)))
        }
    };
    let (child, between) = child?;
    let newborn = Newborn(Some(child));
    drop(theirs.take());
    let ours = Channel(ours.take().context("own end of the socket pair")?);
    Ok((newborn, ours, between))
}

fn join(init: &Handle, kinds: Namespaces) -> Result<(), Failure> {
    init.enter(kinds).at(Step::Namespace, format!("{kinds:?}"))
}

/// Closes what neither the process nor the program that it will execute needs.
fn close_all_but<'a>(
    request: &'a Request<'_>,
    ends: impl Iterator<Item = BorrowedFd<'a>>,
) -> Result<(), Failure> {
    let mut keep: Vec<_> = ends.collect();
    keep.extend(request.init.pidfd());
    keep.extend(request.console.fd());
    keep.extend(request.root.as_ref().map(AsFd::as_fd));
    close_others(&keep, request.preserve_fds)
}

/// Takes the container's root where no mount namespace has led there: who shares the host's mounts has its root to itself all the same.
fn take_root(request: &Request<'_>) -> Result<(), Failure> {
    request.root.as_ref().map_or(Ok(()), |root| {
        sys::fs::fchdir(root)
            .and_then(|()| process::chroot("."))
            .at(Step::Pivot, "its root")
    })
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
            _ => bail!("the process died before it was ready"),
        }
    }
}

/// The steps of the child.
fn added(
    request: &Request<'_>,
    (kinds, way): (Namespaces, Way),
    cgroups: Option<&cgroup::Entry>,
    channel: &Channel,
) -> Result<(), Failure> {
    let process = request.process;
    if way != Way::Prepared {
        join_cgroups(cgroups)?;
    }
    // After that: a cpuset resets what was set before (cpuset(7)).
    if let Some(cpus) = &process.scheduling.affinity.last {
        sys::scheduler::set_affinity(&cpus.words).at(
            Step::Affinity,
            format!("{cpus} (process.execCPUAffinity.final)"),
        )?;
    }
    process::set_pdeathsig(Some(Signal::SIGKILL)).at(Step::Parent, "watch")?;
    process::setsid().at(Step::Session, "")?;
    close_all_but(request, [channel.0.as_fd()].into_iter())?;
    let proc = match (labels::needed(Some(process)), way) {
        (false, _) => None,
        (true, Way::Prepared) => processes().at(Step::Mount, "private proc")?,
        // Before the root becomes the container's, whose /proc may be anything.
        (true, _) => Some(private_proc().at(Step::Mount, "private proc")?),
    };
    let rest = way.rest(kinds);
    if !rest.is_empty() {
        join(request.init, rest)?;
    }
    if way != Way::Prepared {
        take_root(request)?;
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
