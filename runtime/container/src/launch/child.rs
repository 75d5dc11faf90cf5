//! The child of a launch: one flat list of steps from its first instruction to the payload.
//!
//! Nothing here can be undone by the child; on the first failure it tells its parent and exits.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::Errno;
use sys::fs::{self, Inside, Mode, OFlag};
use sys::process::{self, Namespaces, Signal};

use super::born::{self, Cradle};
use super::console::{self, Pty};
use super::network;
use super::payload::Payload;
use super::protocol::{At, Channel, Failure, Step, ToChild, ToParent};
use super::rootfs;
use super::tree::Tree;
use super::{Console, Start, hooks, labels, late, listener, privileges, scheduling};
use super::{clocks, cover, dev, mounts};
use crate::check::{Opened, Source, Terms};
use crate::foreground::ENDING;
use crate::plan::{Plan, Process};
use crate::state::OciState;
use crate::timing::{Phase, Timing};

type Result<T> = std::result::Result<T, Failure>;

/// What the child takes over from its parent.
#[derive(Debug)]
pub(super) struct Inheritance<'a> {
    pub(super) plan: &'a Plan,
    pub(super) opened: Opened,
    pub(super) cradle: &'a Cradle<'a>,
    pub(super) cgroups: Option<&'a cgroup::Entry>,
    pub(super) console: Console,
    pub(super) start: Start,
    pub(super) output: &'a hooks::Output,
    pub(super) state: &'a OciState,
    pub(super) timing: &'a Timing,
}

/// Runs the steps; returns the exit code if they end without a payload.
pub(super) fn run(inheritance: Inheritance<'_>, channel: Channel) -> i32 {
    match container(inheritance, &channel) {
        Ok(()) => 0,
        Err(failure) => {
            // The parent is told, unless it is gone; nobody else listens.
            channel.tell_parent(&ToParent::Failed(failure)).ok();
            1
        }
    }
}

#[expect(clippy::too_many_lines, reason = "step list")]
fn container(inheritance: Inheritance<'_>, channel: &Channel) -> Result<()> {
    let Inheritance {
        plan,
        opened,
        cradle,
        cgroups,
        console,
        start,
        output,
        state,
        timing,
    } = inheritance;
    timing.child(Phase::Born);

    // Before a process of a joined pid namespace can look at this one, at its descriptors above all (CVE-2016-9962). Where an
    // ordinary user writes the maps, who has to own this process's files in /proc for that, nobody else is in its namespaces yet.
    if !plan.namespaces.is_mapped_by_its_owner() {
        process::set_dumpable(false).at(Step::Hide, "")?;
    }
    // Then: every later step is already accounted to the container, and the cgroup namespace below needs it.
    join_cgroups(cgroups)?;
    // Until the commit this process must not outlive its parent. Steps that wait notice the socket's end; this is for the others.
    process::set_pdeathsig(Some(Signal::SIGKILL)).at(Step::Parent, "watch")?;
    process::setsid().at(Step::Session, "")?;
    born::join_in_child(cradle)?;
    timing.child(Phase::Join);
    // In its own mount namespace at last; the ids are still those with which its parent has looked at all this.
    let (opened, start) = late::copy(plan, opened, start)?;
    // What lies on the host and is not needed any more must not wait here, open, for somebody to find it (CVE-2024-21626).
    let mut keep = vec![channel.0.as_fd(), opened.root.as_fd()];
    keep.extend(opened.null.iter().map(AsFd::as_fd));
    keep.extend(opened.devices.iter().flatten().map(AsFd::as_fd));
    keep.extend(opened.sources.iter().filter_map(Source::fd));
    keep.extend(opened.users.fds());
    keep.extend(console.fd().into_iter().chain(start.fd()));
    keep.extend(output.fds());
    close_others(&keep, plan.preserve_fds)?;
    timing.child(Phase::Close);
    let Opened {
        root,
        sources,
        devices,
        users,
        null,
        ..
    } = opened;
    let terms = Terms::of(plan, &users);
    // Before the ids change: the paths of the host are still reached as its root.
    let sources = if terms.copies_late() {
        mounts::locked(&plan.mounts, sources, terms, channel)?
    } else {
        sources
    };
    if plan.namespaces.new.contains(Namespaces::USER) {
        // Before anything that needs privileges: without its maps the namespace gives none.
        channel.expect(ToChild::Mapped)?;
        born::become_root()?;
        // The change of ids has cleared the signal, and from now on nobody has to look at this process.
        process::set_dumpable(false).at(Step::Hide, "")?;
        process::set_pdeathsig(Some(Signal::SIGKILL)).at(Step::Parent, "watch")?;
    }
    // Before the root changes, see private_proc.
    let clocks = clocks::are_apart(plan);
    let proc = if !plan.sysctl.is_empty() || clocks || labels::needed(plan.process.as_ref()) {
        Some(rootfs::private_proc().at(Step::Mount, "private proc")?)
    } else {
        None
    };
    if plan.new_keyring {
        labels::keyring(proc.as_ref(), plan.process.as_ref(), &plan.id)?;
    }
    timing.child(Phase::Identity);
    if plan.cgroup.as_ref().is_some_and(|plan| plan.unit.is_some()) {
        // Before the cgroup namespace, whose root is where this process is now, and before anything that uses much.
        channel.expect(ToChild::Joined)?;
        timing.child(Phase::Unit);
    }
    if plan.namespaces.new.contains(Namespaces::CGROUP) {
        process::unshare(Namespaces::CGROUP).at(Step::Namespace, "CGROUP")?;
    }
    let network_apart = network::is_apart(&plan.namespaces);
    if plan.namespaces.new.contains(Namespaces::NETWORK) && !network_apart {
        sys::net::loopback_up().at(Step::Network, "lo")?;
    }
    if network::awaits_devices(plan) {
        channel.expect(ToChild::Devices)?;
    }
    if let Some(name) = &plan.hostname {
        process::sethostname(name).at(Step::Name, "hostname")?;
    }
    if let Some(name) = &plan.domainname {
        process::setdomainname(name).at(Step::Name, "domainname")?;
    }
    // Nodes and directories get exactly the modes of the plan.
    fs::umask(Mode::empty());
    timing.child(Phase::Namespaces);
    let own_mounts = plan.namespaces.has(Namespaces::MOUNT);
    let tree = if own_mounts {
        rootfs::attach_root(&plan.root, root)?
    } else {
        rootfs::detached_root(&plan.root, root)?
    };
    let start = start.keep().at(Step::Start, "its state directory")?;
    timing.child(Phase::Root);
    let mut list = plan.mounts.iter().zip(sources).enumerate();
    if network_apart {
        let first = network::before(&plan.mounts);
        mounts::make(list.by_ref().take(first), (&tree, terms), timing)?;
        // Not before it is needed: until now it was in the making.
        network::enter(channel)?;
        timing.child(Phase::Network);
    }
    mounts::make(list, (&tree, terms), timing)?;
    drop(users);
    dev::make(plan, devices, &tree)?;
    timing.child(Phase::Dev);
    if clocks {
        // Before hooks: they find the container as it will be.
        clocks::enter(proc.as_ref(), plan.copier, channel)?;
        timing.child(Phase::Clocks);
    }
    if let Some(process) = &plan.process {
        // Before read-only steps: a missing working directory is made, as runc's users expect.
        tree.directory(&process.cwd, Inside::Root)
            .or_else(missing_is_checked_later)
            .at(Step::Cwd, process.cwd.display())?;
    }
    let pty = terminal(plan, &tree)?;
    timing.child(Phase::Terminal);
    if has_early_hooks(plan) {
        channel
            .tell_parent(&ToParent::Mounted)
            .at(Step::Parent, "socket")?;
        channel.expect(ToChild::Continue)?;
        timing.child(Phase::Wait);
    }
    // Before pivot: paths of createContainer hooks are the host's.
    run_hooks(&plan.hooks.create_container, state, output)?;
    for sysctl in &plan.sysctl {
        let at = format!("{} = {:?} ({})", sysctl.path, sysctl.value, sysctl.at);
        write_proc(
            proc.as_ref(),
            &format!("sys/{}", sysctl.path),
            &sysctl.value,
        )
        .at(Step::Sysctl, at)?;
    }
    cover::read_only(&plan.read_only_paths, &tree)?;
    cover::mask(&plan.masked_paths, null, &tree)?;
    // After every change below the root.
    rootfs::protect(&plan.root, &tree)?;
    timing.child(Phase::Cover);
    rootfs::enter(&plan.root, &tree, own_mounts)?;
    rootfs::propagate(&plan.root, &tree, own_mounts)?;
    timing.child(Phase::Pivot);
    drop(tree);

    if let Some(pty) = pty {
        send_master(pty.master, &console, channel)?;
        console::take(
            &pty.peer,
            plan.process.as_ref().map_or(0, |process| process.user.uid),
        )?;
    }
    let Some(process) = &plan.process else {
        // Nothing to execute: the namespaces live until start, which has to fail.
        end_when_told(start.as_ref())?;
        await_go(channel)?;
        let starter = wait_for_start(start.as_ref())?;
        let nothing = Failure::new(
            Step::Exec,
            "nothing to execute, as the configuration has no process",
        );
        tell(starter.as_ref(), &nothing);
        return Err(nothing);
    };
    labels::on_exec(proc.as_ref(), process)?;
    drop(proc);
    if process.scheduling.memory_policy.is_some() {
        // The limits first, which are written while this process works: nodes that the cgroup does not have are refused, and a later
        // change of the cgroup's nodes would move those of the policy.
        channel
            .tell_parent(&ToParent::Limited)
            .at(Step::Parent, "socket")?;
        channel.expect(ToChild::Continue)?;
    }
    let listeners = [channel.0.as_fd()].into_iter();
    let listeners = listeners.chain(start.iter().map(AsFd::as_fd));
    let listeners = listeners.chain(output.fds());
    let (payload, program) = become_payload(process, plan.preserve_fds, listeners)?;
    timing.child(Phase::Privileges);
    let rest = || {
        end_when_told(start.as_ref())?;
        await_go(channel)?;
        timing.child(Phase::Wait);
        // From here on the container lives on without its parent.
        let starter = wait_for_start(start.as_ref())?;
        // The starter's end of the fifo, not the parent's socket, is where somebody listens from now on.
        run_hooks(&plan.hooks.start_container, state, output)
            .and_then(|()| sys::signal::reset().at(Step::Exec, "signals"))
            .inspect_err(|failure| tell(starter.as_ref(), failure))?;
        timing.child(Phase::Last);
        Ok(starter)
    };
    execute(process, &payload, &program, channel, rest)
}

/// Does the rest, loads the filter and replaces this program; a filter with a listener is loaded before the rest is done.
pub(super) fn execute(
    process: &Process,
    payload: &Payload,
    program: &Path,
    channel: &Channel,
    rest: impl FnOnce() -> Result<Option<OwnedFd>> + Send,
) -> Result<()> {
    let leave = |starter: &Option<OwnedFd>| {
        let never = payload
            .execute(program)
            .at(Step::Exec, format!("{:?}", payload.name))
            .inspect_err(|failure| tell(starter.as_ref(), failure))?;
        match never {}
    };
    let listened = process
        .seccomp
        .as_ref()
        .filter(|filter| filter.listener.is_some());
    if let Some(filter) = listened {
        return listener::load(filter, channel, rest, leave);
    }
    let starter = rest()?;
    privileges::load_filter(process).inspect_err(|failure| tell(starter.as_ref(), failure))?;
    leave(&starter)
}

/// Becomes the payload in all but its program: user, capabilities, directory, descriptors.
pub(super) fn become_payload<'a>(
    process: &Process,
    preserve_fds: u32,
    listeners: impl Iterator<Item = BorrowedFd<'a>>,
) -> Result<(Payload, PathBuf)> {
    let payload = Payload::prepare(process)?;
    // Not last, before the filter, which may forbid both calls.
    scheduling::set_own(process)?;
    // As root, who may enter what the payload's user may not; what root may not enter (a file server's), that user perhaps may.
    let entered = match fs::chdir(&process.cwd) {
        Err(Errno::EACCES | Errno::EPERM) => false,
        other => other.at(Step::Cwd, process.cwd.display()).map(|()| true)?,
    };
    privileges::drop_to(process)?;
    if !entered {
        fs::chdir(&process.cwd).at(Step::Cwd, process.cwd.display())?;
    }
    // Before the filter, which may forbid getcwd(2).
    verify_cwd(&process.cwd)?;
    // Before the program is looked up: a path through one of our descriptors would lead out of the container.
    keep_descriptors(preserve_fds, listeners)?;
    let program = payload.find()?;
    Ok((payload, program))
}

/// Reports that all is ready and waits for the parent's word.
pub(super) fn await_go(channel: &Channel) -> Result<()> {
    // Before the parent is told: it may end at once, and this process waits for a message that only a live parent sends.
    process::set_pdeathsig(None).at(Step::Parent, "watch")?;
    channel
        .tell_parent(&ToParent::Ready)
        .at(Step::Parent, "socket")?;
    channel.expect(ToChild::Go)
}

fn missing_is_checked_later(errno: Errno) -> sys::Result<OwnedFd> {
    // A read-only root, or a file in the way: entering the directory gives the better message.
    match errno {
        Errno::EROFS | Errno::ENOTDIR | Errno::EACCES | Errno::ELOOP => fs::open_path("/"),
        other => Err(other),
    }
}

/// Moves this process into the container's cgroups of version 1; it was born in that of version 2, if the kernel could do that.
pub(super) fn join_cgroups(entry: Option<&cgroup::Entry>) -> Result<()> {
    entry.map_or(Ok(()), |entry| {
        let entered = entry.enter();
        entered.map_err(|(hierarchy, errno)| Failure::at_cgroup(hierarchy, errno))
    })
}

pub(super) fn new_keyring(id: &str) -> Result<()> {
    match sys::process::new_session_keyring(&format!("_ses.{id}")) {
        // A kernel without keys has nothing to hide.
        Err(Errno::ENOSYS) => Ok(()),
        other => other.at(Step::Keyring, ""),
    }
}

fn has_early_hooks(plan: &Plan) -> bool {
    !plan.hooks.prestart.is_empty() || !plan.hooks.create_runtime.is_empty()
}

fn run_hooks(list: &[crate::plan::Hook], state: &OciState, output: &hooks::Output) -> Result<()> {
    let state = OciState {
        pid: process::getpid().as_raw(),
        ..state.clone()
    };
    hooks::run(list, &state, None, output)
        .map_err(|error| Failure::new(Step::Hook, format!("{error:#}")))
}

fn terminal(plan: &Plan, tree: &Tree) -> Result<Option<Pty>> {
    let Some(terminal) = plan.process.as_ref().and_then(|process| process.terminal) else {
        return Ok(None);
    };
    let pty = console::open(tree, terminal)?;
    console::bind(&pty, tree)?;
    Ok(Some(pty))
}

/// Gives the terminal's master to whoever keeps it.
pub(super) fn send_master(master: OwnedFd, console: &Console, channel: &Channel) -> Result<()> {
    match console {
        Console::Socket(socket) => sys::socket::send(socket, b"/dev/ptmx", Some(master.as_fd())),
        Console::None => channel.tell_parent(&ToParent::Terminal(master)),
        Console::Parent(size) => {
            // Before the payload runs: a change of size later is a signal, which would interrupt its first read.
            let sized = size.map_or(Ok(()), |size| sys::pty::set_size(&master, size));
            sized.and_then(|()| channel.tell_parent(&ToParent::Terminal(master)))
        }
    }
    .at(Step::Terminal, "send its master")
}

/// Writes a file of the private procfs.
pub(super) fn write_proc(proc: Option<&OwnedFd>, path: &str, value: &str) -> sys::Result<()> {
    let proc = proc.ok_or(Errno::ENOENT)?;
    let file = fs::open_inside(proc, path, OFlag::O_WRONLY, Mode::empty(), Inside::Root)?;
    fs::write(&file, value.as_bytes()).map(drop)
}

/// Makes sure that the working directory lies in the container (CVE-2024-21626).
fn verify_cwd(cwd: &Path) -> Result<()> {
    match fs::getcwd() {
        // The kernel answers with a path that does not start at the root, "(unreachable)…", for a directory outside of it.
        Ok(path) if path.is_absolute() => Ok(()),
        Ok(_) | Err(Errno::ENOENT) => Err(Failure::new(
            Step::Cwd,
            format!("{}: lies outside of the container", cwd.display()),
        )),
        Err(errno) => Err(errno).at(Step::Cwd, cwd.display()),
    }
}

/// Returns the descriptors that the payload was promised.
fn promised(count: u32) -> Result<Vec<BorrowedFd<'static>>> {
    let number = |number: i32| {
        fs::inherited(number)
            .ok_or(Errno::EBADF)
            .at(Step::Descriptor, number)
    };
    (3..)
        .take(usize::try_from(count).unwrap_or(0))
        .map(number)
        .collect()
}

/// Closes every descriptor but the standard streams, those that the payload was promised and those to keep.
pub(super) fn close_others(keep: &[BorrowedFd<'_>], preserve_fds: u32) -> Result<()> {
    let mut all: Vec<BorrowedFd<'_>> = promised(preserve_fds)?;
    all.extend(keep);
    fs::close_all_but(3, &all).at(Step::Descriptor, "close")
}

/// Leaves open what the payload was promised, and until it is executed those who listen.
fn keep_descriptors<'a>(count: u32, listeners: impl Iterator<Item = BorrowedFd<'a>>) -> Result<()> {
    close_others(&listeners.collect::<Vec<_>>(), count)?;
    for fd in promised(count)? {
        fs::set_cloexec(fd, false).at(Step::Descriptor, "keep")?;
    }
    Ok(())
}

/// Before anybody can start the container: one who stops it without that need not wait until their patience ends and KILL comes.
fn end_when_told(start: Option<&OwnedFd>) -> Result<()> {
    start.map_or(Ok(()), |_| {
        sys::signal::end_on(&ENDING).at(Step::Start, "signals")
    })
}

/// Waits until the container is started: the fifo opens when a reader comes, and the byte tells it that it found a live
/// container. The descriptor stays open until exec closes it: its end without another byte says that the payload runs.
fn wait_for_start(dir: Option<&OwnedFd>) -> Result<Option<OwnedFd>> {
    let Some(dir) = dir else {
        return Ok(None);
    };
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let fifo = fs::openat(dir, crate::state::FIFO, flags, Mode::empty())
        .at(Step::Start, crate::state::FIFO)?;
    match fs::write(&fifo, b"0") {
        // A starter that died meanwhile started the container all the same.
        Ok(_) | Err(Errno::EPIPE) => Ok(Some(fifo)),
        Err(errno) => Err(errno).at(Step::Start, crate::state::FIFO),
    }
}

/// Tells the starter, if there is one; a starter that is gone needs no answer.
fn tell(starter: Option<&OwnedFd>, failure: &Failure) {
    if let Some(fifo) = starter {
        fs::write(fifo, failure.to_string().as_bytes()).ok();
    }
}
