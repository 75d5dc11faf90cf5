//! Carrying out a plan: [`create`] and, for one more process in a container, `exec`.
//!
//! The parent opens everything, makes the cgroup, clones once and then answers the child; the child walks its list of steps.
//! Until the record is in place the child dies with its parent. What may be left when the parent is killed: the state
//! directory with its intent, and the cgroups that the intent names; `delete --force` removes both.

pub(crate) mod adopt;
pub(crate) mod attach;
mod born;
mod cgroups;
mod child;
mod clocks;
mod console;
mod copy_up;
mod cover;
mod dev;
pub(crate) mod enter;
pub(crate) mod hooks;
mod idmap;
mod labels;
mod late;
mod listener;
mod mounts;
mod net_devices;
mod network;
mod newborn;
mod payload;
pub(crate) mod points;
mod privileges;
mod protocol;
mod rootfs;
mod scheduling;
mod tell;
mod tree;

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use sys::mount::{Attr, Extent, Loose, Propagation};
use sys::process::{Child, Namespaces, PollTimeout};
use sys::pty::Size;

use crate::check;
use crate::notify::Notify;
use crate::plan::{Copier, Plan};
use crate::state::{Identity, Intent, Record, Reservation, StateRoot, Status};
use crate::timing::{Phase, Timing};
use crate::{Bundle, ContainerId};
use adopt::LentScore;
use born::Cradle;
pub(crate) use cgroups::CgroupGuard;
use child::Inheritance;
use net_devices::NetDevices;
use newborn::ClassGuard;
pub(crate) use newborn::Newborn;
pub use payload::home;
use protocol::{Channel, ToChild, ToParent};
pub use tell::PidFile;
use tell::send_pidfd;
pub(crate) use tell::{tell_receiver, tell_socket};

/// Who keeps the master of the payload's terminal.
#[derive(Debug)]
pub enum Console {
    /// There is no terminal.
    None,
    /// Whoever listens at the socket.
    Socket(OwnedFd),
    /// The caller of [`create`], whose own terminal has this size.
    Parent(Option<Size>),
}

impl Console {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Socket(socket) => Some(socket.as_fd()),
            Self::None | Self::Parent(_) => None,
        }
    }
}

/// When the payload starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// As soon as the container exists.
    AtOnce,
    /// When `start` comes.
    OnStart,
}

/// What the child waits for before it executes the payload.
#[derive(Debug)]
enum Start {
    AtOnce,
    /// The fifo in the container's state directory, of which this is a read-only copy that is attached nowhere: no `..` leads out.
    /// ([`Copier::Child`]: the directory itself, until the child has made the copy.)
    OnFifo {
        dir: Loose,
        path: PathBuf,
    },
}

impl Start {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::AtOnce => None,
            Self::OnFifo { dir, .. } => Some(dir.as_fd()),
        }
    }

    /// Returns the directory, as it is to be left open.
    fn keep(self) -> sys::Result<Option<OwnedFd>> {
        match self {
            Self::AtOnce => Ok(None),
            Self::OnFifo { dir, .. } => dir.keep().map(Some),
        }
    }
}

/// One creation.
#[derive(Debug)]
pub struct Request<'a> {
    pub id: &'a ContainerId,
    pub bundle: &'a Bundle,
    pub plan: &'a Plan,
    pub root: &'a StateRoot,
    pub console: Console,
    pub when: When,
    pub pid_file: Option<PidFile>,
    /// A connected socket that gets the pidfd of the container's process.
    pub pidfd_socket: Option<OwnedFd>,
    /// The host's NOTIFY_SOCKET, if there is one.
    pub notify: Option<PathBuf>,
    pub timing: &'a Timing,
}

/// A container that exists.
#[derive(Debug)]
pub struct Created {
    pub child: Child,
    pub record: Record,
    /// The master of the terminal, if the parent keeps it.
    pub terminal: Option<OwnedFd>,
    /// The socket that the payload will say on that it is ready, if it was started at once.
    pub notify: Option<Notify>,
    /// What this kernel made us ignore.
    pub warnings: Vec<String>,
}

/// Makes a container. Whatever fails, nothing is left of it; `warnings` gets what is to be said beside the error.
pub fn create(request: Request<'_>, warnings: &mut Vec<String>) -> Result<Created> {
    let (plan, begun) = (request.plan, Cell::new(false));
    make(request, &begun).inspect_err(|_| {
        if begun.get() {
            warnings.extend(hooks::undo(plan));
        }
    })
}

/// Takes the steps, and notes when the first hooks are about to run.
#[expect(clippy::too_many_lines, reason = "step list")]
fn make(mut request: Request<'_>, begun: &Cell<bool>) -> Result<Created> {
    let plan = request.plan;
    let timing = request.timing;
    plan.possible()?;
    let reservation = request.root.reserve(request.id, &Intent::of(plan))?;
    let notify = prepare_notify(&request)?;
    timing.parent(Phase::Reserve);
    let mut opened = check::open(plan)?;
    // They stay with the parent.
    let (listener, receiver) = (opened.listener.take(), opened.receiver.take());
    let mut net_devices = NetDevices::find(plan, &opened.joins)?;
    timing.parent(Phase::Open);
    let mut cgroup = CgroupGuard::make(plan)?;
    timing.parent(Phase::Cgroups);
    let start = prepare_start(&request, &reservation)?;
    let output = std::mem::take(&mut opened.output);

    if let (Some(devices), true) = (&mut net_devices, plan.namespaces.joins(Namespaces::NETWORK)) {
        // Nobody waits for them there: before there is a process of the container.
        devices.go()?;
    }
    let terms = check::Terms::of(plan, &opened.users);
    let mapped = idmap::Mapped::of(&plan.mounts, &opened.sources, terms)?;
    let mut lent = lent_score(plan)?;
    let mut warnings: Vec<String> = lent.warning.take().into_iter().collect();
    let (parent, newborn) = bear(&mut request, opened, &mut cgroup, (start, &output))?;
    drop(lent);
    timing.parent(Phase::Clone);
    if let Some(mapped) = mapped {
        let own = plan.namespaces.has(Namespaces::MOUNT);
        let namespace = own.then_some(&newborn.child()?.handle);
        mapped.send(&plan.mounts, namespace, &parent)?;
    }
    warnings.extend(adopt::adopt(plan, newborn.child()?, &parent)?);
    let mut classes = ClassGuard::make(plan, newborn.child()?)?;
    timing.parent(Phase::Adopt);
    settle(&request, newborn.child()?, &parent, &mut cgroup)?;
    network::make(plan, (newborn.child()?, &parent), net_devices.as_mut())?;
    timing.parent(Phase::Network);
    // Written while the child is at work, put in place when it is done.
    let record = Record {
        resctrl: classes.groups.clone(),
        ..record(&request, newborn.child()?, &cgroup)?
    };
    reservation.write_record(&record)?;
    timing.parent(Phase::Record);
    let told = (listener, &output, begun);
    let terminal = accompany(&request, newborn.child()?, &parent, &mut cgroup, told)?;
    send_pidfd(&request, newborn.child()?, receiver)?;
    reservation.commit()?;
    timing.parent(Phase::Commit);
    if let Some(file) = &request.pid_file {
        file.write(newborn.child()?.pid.as_raw())?;
    }
    parent
        .tell_child(ToChild::Go)
        .context("let the container go")?;
    if request.when == When::AtOnce {
        await_payload(&parent)?;
        timing.parent(Phase::Program);
    }

    reservation.keep();
    classes.keep = true;
    if let Some(devices) = net_devices {
        devices.keep();
    }
    warnings.extend(cgroup.keep());
    Ok(Created {
        child: newborn.keep()?,
        record,
        terminal,
        notify,
        warnings,
    })
}

/// Makes the socket directory that is shown to the payload, before the plan's mount of it is opened; the socket in it belongs
/// to the one who starts the container.
fn prepare_notify(request: &Request<'_>) -> Result<Option<Notify>> {
    let Some(host) = &request.notify else {
        return Ok(None);
    };
    let dir = request
        .root
        .container_dir(request.id)
        .join(crate::state::NOTIFY);
    std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&dir, open).with_context(|| format!("open up {}", dir.display()))?;
    match request.when {
        When::AtOnce => Notify::bind(request.root, request.id, host),
        When::OnStart => Ok(None),
    }
}

/// Takes the score that the child is to be born with, where its parent could not write it later.
fn lent_score(plan: &Plan) -> Result<LentScore> {
    let process = plan.process.as_ref();
    let score = process.and_then(|process| process.oom_score_adj);
    LentScore::take(score.filter(|_| plan.copier == Copier::Child)).context("config.json")
}

fn prepare_start(request: &Request<'_>, reservation: &Reservation) -> Result<Start> {
    if let Some(filter) = request
        .plan
        .process
        .as_ref()
        .and_then(|process| process.seccomp.as_ref())
    {
        StateRoot::save_filter(&reservation.dir, &filter.program)?;
    }
    match request.when {
        When::AtOnce => Ok(Start::AtOnce),
        When::OnStart => {
            reservation.make_fifo()?;
            let path = request.root.container_dir(request.id);
            let dir = match request.plan.copier {
                Copier::Parent => window(&reservation.dir)
                    .context("state directory")?
                    .found_at(&path),
                Copier::Child => reservation
                    .dir
                    .try_clone()
                    .context("state directory")?
                    .into(),
            };
            Ok(Start::OnFifo { dir, path })
        }
    }
}

/// Copies the mount of the state directory, for a child that may be found by the container it becomes.
fn window(dir: &OwnedFd) -> sys::Result<Loose> {
    sealed_window(sys::mount::clone_tree(dir, "", Extent::One)?)
}

fn sealed_window(mut window: Loose) -> sys::Result<Loose> {
    let private = Some(Propagation::Private);
    window.set(Extent::One, Attr::RDONLY, Attr::empty(), private)?;
    Ok(window)
}

/// Clones the child, which walks the list in `child`, and asks for its unit where systemd makes that.
fn bear(
    request: &mut Request<'_>,
    mut opened: check::Opened,
    cgroup: &mut CgroupGuard,
    (start, output): (Start, &hooks::Output),
) -> Result<(Channel, Newborn)> {
    let plan = request.plan;
    let (ours, theirs) = sys::socket::pair().context("socket pair")?;
    let mut ours = Some(ours);
    let mut theirs = Some(theirs);
    let joins = std::mem::take(&mut opened.joins);
    let entry = cgroup.entry()?;
    let mut new = plan.namespaces.new;
    if network::is_apart(&plan.namespaces) {
        new -= Namespaces::NETWORK;
    }
    if clocks::are_apart(plan) {
        new -= Namespaces::TIME;
    }
    let cradle = Cradle {
        new,
        joins: &joins,
        user_first: plan.copier == Copier::Child,
        one_way: plan.namespaces.one_way,
        hidden: !plan.namespaces.is_mapped_by_its_owner(),
        cgroup: entry.as_ref().and_then(cgroup::Entry::door),
    };
    let state = state_of(request.plan);
    let child = born::clone(&cradle, || {
        // The child's copy of our end would keep the pair alive when we die.
        drop(ours.take());
        // Likewise: a listener there may wait for the end of the connection.
        drop(request.pidfd_socket.take());
        let console = std::mem::replace(&mut request.console, Console::None);
        let Some(theirs) = theirs.take() else {
            return 1;
        };
        let inheritance = Inheritance {
            plan,
            opened,
            cradle: &cradle,
            cgroups: entry.as_ref(),
            console,
            start,
            output,
            state: &state,
            timing: request.timing,
        };
        child::run(inheritance, Channel(theirs))
    })?;
    let newborn = Newborn(Some(child));
    drop(theirs);
    // At once: systemd works while we do.
    cgroup.ask(plan, newborn.child()?)?;
    let ours = ours.context("own end of the socket pair")?;
    Ok((Channel(ours), newborn))
}

/// The state of a container that is being made, as its hooks receive it.
pub(crate) fn state_of(plan: &Plan) -> crate::state::OciState {
    crate::state::OciState {
        oci_version: plan.oci_version.clone(),
        id: plan.id.clone(),
        pid: 0,
        // What hooks before the start are promised by the specification's test suite, though the state file comes later.
        status: Status::Created,
        bundle: plan.bundle.clone(),
        rootfs: None,
        created: None,
        annotations: plan.annotations.clone(),
        owner: None,
    }
}

/// Answers the child until it is ready; returns the terminal's master if it was sent here.
fn accompany(
    request: &Request<'_>,
    child: &Child,
    parent: &Channel,
    cgroup: &mut CgroupGuard,
    (mut listener, output, begun): (Option<OwnedFd>, &hooks::Output, &Cell<bool>),
) -> Result<Option<OwnedFd>> {
    let plan = request.plan;
    let mut terminal = None;
    cgroup.limit(plan)?;
    request.timing.parent(Phase::Limits);
    loop {
        let heard = parent
            .hear_child()
            .context("hear the container's process")?;
        request.timing.parent(Phase::Wait);
        match heard {
            Some(ToParent::Mounted) => {
                cgroup.complete(plan)?;
                begun.set(true);
                let state = crate::state::OciState {
                    pid: child.pid.as_raw(),
                    ..state_of(request.plan)
                };
                hooks::run(&plan.hooks.prestart, &state, Some(&plan.bundle), output)?;
                hooks::run(
                    &plan.hooks.create_runtime,
                    &state,
                    Some(&plan.bundle),
                    output,
                )?;
                request.timing.parent(Phase::Hooks);
                parent
                    .tell_child(ToChild::Continue)
                    .context("tell the container that hooks have run")?;
            }
            Some(ToParent::Terminal(master)) => terminal = Some(master),
            Some(ToParent::Clocks) => {
                clocks::set(&plan.time_offsets, child)?;
                parent
                    .tell_child(ToChild::Continue)
                    .context("tell the container that its clocks are set")?;
            }
            // Its limits are set by now.
            Some(ToParent::Limited) => parent
                .tell_child(ToChild::Continue)
                .context("tell the container that its limits are set")?,
            Some(ToParent::Listener(descriptor)) => {
                let state = crate::state::OciState {
                    pid: child.pid.as_raw(),
                    status: Status::Creating,
                    ..state_of(plan)
                };
                let filter = plan.process.as_ref().and_then(|it| it.seccomp.as_ref());
                listener::introduce(listener.take(), filter, &descriptor, child.pid, &state)?;
            }
            Some(ToParent::Ready) => {
                cgroup.complete(plan)?;
                request.timing.parent(Phase::Devices);
                if let Some(process) = &plan.process {
                    scheduling::set(process, child.pid).context("config.json")?;
                }
                return Ok(terminal);
            }
            Some(ToParent::Failed(failure)) => bail!(failed_init(explained(failure, plan))),
            Some(ToParent::FileSystem(_)) | None => bail!(died(child, cgroup)),
        }
    }
}

/// Adds what EINVAL means where the root is attached nowhere: mounts on such a tree are as new as Linux 6.15.
fn explained(mut failure: protocol::Failure, plan: &Plan) -> protocol::Failure {
    use protocol::Step;
    let mounts = [Step::Mount, Step::Device, Step::ReadOnly, Step::Mask].contains(&failure.step);
    if mounts
        && failure.errno == Some(sys::Errno::EINVAL)
        && !plan.namespaces.has(Namespaces::MOUNT)
    {
        failure.object += ": without a mount namespace in linux.namespaces this needs Linux 6.15";
    }
    failure
}

fn failed_init(failure: protocol::Failure) -> anyhow::Error {
    anyhow::Error::new(failure)
        .context("unable to start container process: error during container init")
}

/// Waits for systemd, where it makes the cgroups.
fn settle(
    request: &Request<'_>,
    child: &Child,
    parent: &Channel,
    cgroup: &mut CgroupGuard,
) -> Result<()> {
    cgroup
        .settle(request.plan, child, parent)
        .map_err(|error| blame(child, parent, error))?;
    if cgroup.is_systemds() {
        request.timing.parent(Phase::Unit);
    }
    Ok(())
}

/// Prefers the child's own words where it is the one that failed: nobody puts a dead process into a cgroup.
fn blame(child: &Child, parent: &Channel, error: anyhow::Error) -> anyhow::Error {
    // One that lives waits for us and says nothing.
    if child.handle.has_ended(PollTimeout::ZERO) != Ok(true) {
        return error;
    }
    match parent.hear_child() {
        Ok(Some(ToParent::Failed(failure))) => failed_init(failure),
        _ => error,
    }
}

/// Says how a child ended that should not have.
fn died(child: &Child, cgroup: &CgroupGuard) -> anyhow::Error {
    let how = match child.handle.wait() {
        Ok(exit) => format!("{exit:?}").to_lowercase(),
        Err(errno) => sys::reason(errno),
    };
    let kills = cgroup
        .cgroup
        .as_ref()
        .and_then(|cgroup| cgroup.oom_kill_count().ok().flatten())
        .unwrap_or(0);
    let why = if kills > 0 {
        "; it was out of memory, raise linux.resources.memory.limit"
    } else {
        ""
    };
    anyhow::anyhow!("unable to start container process: it died before it was ready: {how}{why}")
}

fn record(request: &Request<'_>, child: &Child, cgroup: &CgroupGuard) -> Result<Record> {
    let identity = Identity::of(child.pid.as_raw()).context("the container's process is gone")?;
    let created = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
    Ok(Record::new(
        request.plan,
        &request.bundle.spec,
        identity,
        cgroup
            .cgroup
            .clone()
            .filter(|cgroup| !cgroup.dirs.is_empty()),
        created,
    ))
}

/// Waits until the payload runs: the end of the pair, which exec closes.
fn await_payload(parent: &Channel) -> Result<()> {
    match parent
        .hear_child()
        .context("hear the container's process")?
    {
        Some(ToParent::Failed(failure)) => bail!(failed_init(failure)),
        _ => Ok(()),
    }
}
