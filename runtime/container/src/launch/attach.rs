//! Mounts of a container that runs: attached and detached by a process that enters it.
//!
//! Nothing of the container's is executed or read, and no path is resolved twice: sources and file systems are made on the host,
//! attached nowhere; only then the process enters the container's mount namespace, opens each target below its root and attaches to,
//! or detaches, what it has opened. It joins the container's cgroup no more than its pid namespace: processes of the
//! container do not see it. A procfs, which shows the pid namespace of its maker, is made by another one (`procs`), but where a user
//! namespace is between them.

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use sys::Errno;
use sys::fs::{self, Inside, Mode, OFlag};
use sys::mount::{Loose, MntFlags};
use sys::process::{self, Birth, Child, Handle, Namespaces, Signal};

use super::born::{self, become_root};
use super::child::close_others;
use super::idmap::Mapped;
use super::mounts::{directory, file, locked, mount_point, new_file_system, place};
use super::protocol::{At, Channel, Failure, Step, ToParent};
use super::rootfs::private_proc;
use super::tree::Tree;
use crate::check::{Source, Terms};
use crate::plan::{Mount, MountKind};

/// What enters a container, and whose it is.
#[derive(Debug)]
pub(crate) struct Visit<'a> {
    /// The container's process.
    pub(crate) init: &'a Handle,
    /// The kinds of namespaces in which the container differs from the host.
    pub(crate) namespaces: Namespaces,
}

/// Attaches mounts, all or none.
pub(crate) fn add(
    visit: &Visit<'_>,
    mounts: &[Mount],
    sources: Vec<Source>,
    terms: Terms<'_>,
) -> Result<()> {
    let mut mapped = Mapped::of(mounts, &sources, terms)?;
    let proc =
        |mount: &Mount| matches!(&mount.kind, MountKind::Fs { fstype, .. } if fstype == "proc");
    let pids = visit.namespaces & Namespaces::PID;
    let (pids, procs) = if pids.is_empty() || !mounts.iter().any(proc) {
        (Namespaces::empty(), Vec::new())
    } else if visit.namespaces.contains(Namespaces::USER) {
        // Nobody in there has a say over what has not yet entered the user namespace.
        (pids, Vec::new())
    } else {
        (
            Namespaces::empty(),
            procs(visit, mounts.iter().filter(|mount| proc(mount)))?,
        )
    };
    let (child, channel) = send(visit, pids, |channel| {
        attach_all(visit, mounts, (sources, procs), terms, channel)
    })?;
    attend(&child, &channel, || match mapped.take() {
        Some(mapped) => mapped.send(mounts, Some(&child.handle), &channel),
        None => Ok(()),
    })
}

/// Makes procfs mounts that show the container's pid namespace, by a process that is there with nothing of the host: others in there may
/// be allowed to trace it (CVE-2016-9962).
fn procs<'a>(visit: &Visit<'_>, mounts: impl Iterator<Item = &'a Mount>) -> Result<Vec<OwnedFd>> {
    let (ours, theirs) = sys::socket::pair().context("socket pair")?;
    let (ours, theirs) = (RefCell::new(Some(ours)), RefCell::new(Some(theirs)));
    let mounts: Vec<_> = mounts.collect();
    let join = |speaks: BorrowedFd<'_>| {
        drop(ours.take());
        let theirs = theirs.borrow();
        let mut keep: Vec<_> = theirs.iter().map(AsFd::as_fd).chain([speaks]).collect();
        keep.extend(visit.init.pidfd());
        close_others(&keep, 0)?;
        let kinds = visit.namespaces;
        visit
            .init
            .enter(kinds)
            .at(Step::Namespace, format!("{kinds:?}"))
    };
    let body = || {
        drop(ours.take());
        let Some(channel) = theirs.take().map(Channel) else {
            return 1;
        };
        let make = |mount: &&Mount| {
            let made = new_file_system(mount, None)?
                .keep()
                .at(Step::Mount, &mount.at)?;
            channel
                .tell_parent(&ToParent::FileSystem(made))
                .at(Step::Parent, "socket")
        };
        match mounts.iter().try_for_each(make) {
            Ok(()) => 0,
            // The parent is told, unless it is gone; nobody else listens.
            Err(failure) => channel
                .tell_parent(&ToParent::Failed(failure))
                .map_or(1, |()| 1),
        }
    };
    let (child, _) = born::through(true, join, Birth::default(), body)?;
    drop(theirs.take());
    let channel = Channel(ours.take().context("own end of the socket pair")?);
    let mut made = Vec::new();
    let done = loop {
        match channel.hear_child().context("hear the process")? {
            Some(ToParent::FileSystem(proc)) => made.push(proc),
            Some(ToParent::Failed(failure)) => break Err(failure.into()),
            _ if made.len() == mounts.len() => break Ok(made),
            _ => break Err(anyhow!("the process that entered the container died")),
        }
    };
    child.handle.wait().context("wait for the process")?;
    done
}

/// Tells whether it was for want of a system call.
pub(crate) fn is_lacking(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| failure.errno == Some(Errno::ENOSYS))
}

/// Detaches what is mounted at paths, after all of them have been found.
pub(crate) fn remove(visit: &Visit<'_>, targets: &[(PathBuf, String)]) -> Result<()> {
    let none = Namespaces::empty();
    let (child, channel) = send(visit, none, |channel| detach_all(visit, targets, channel))?;
    attend(&child, &channel, || Ok(()))
}

/// Clones the process, into the container's pid namespace if it is among `join`.
fn send(
    visit: &Visit<'_>,
    join: Namespaces,
    steps: impl FnOnce(&Channel) -> Result<(), Failure>,
) -> Result<(Child, Channel)> {
    let (ours, theirs) = sys::socket::pair().context("socket pair")?;
    let (mut ours, mut theirs) = (Some(ours), Some(theirs));
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let own = fs::open("/proc/self/ns/pid", flags, Mode::empty());
    let own = own.context("open own pid namespace")?;
    if !join.is_empty() {
        visit
            .init
            .enter(join)
            .context("join the container's pid namespace")?;
    }
    let child = born::clone_hidden(Birth::default(), || {
        // The child's copy of our end would keep the pair alive when we die.
        drop(ours.take());
        let Some(channel) = theirs.take().map(Channel) else {
            return 1;
        };
        let done = match steps(&channel) {
            Ok(()) => ToParent::Ready,
            Err(failure) => ToParent::Failed(failure),
        };
        // The parent is told, unless it is gone; nobody else listens.
        channel.tell_parent(&done).map_or(1, |()| 0)
    });
    if !join.is_empty() {
        process::setns(&own, join).context("return to own pid namespace")?;
    }
    let child = child.context("clone the process that enters the container")?;
    drop(theirs);
    let ours = ours.context("own end of the socket pair")?;
    Ok((child, Channel(ours)))
}

/// Answers the process until it is done.
fn attend(child: &Child, channel: &Channel, mut give: impl FnMut() -> Result<()>) -> Result<()> {
    let said = loop {
        match channel.hear_child().context("hear the process")? {
            Some(ToParent::Mounted) => {
                if let Err(error) = give() {
                    // It waits for what it will not get.
                    child.handle.signal(Signal::SIGKILL as i32).ok();
                    child.handle.wait().ok();
                    return Err(error);
                }
            }
            other => break other,
        }
    };
    child.handle.wait().context("wait for the process")?;
    match said {
        Some(ToParent::Ready) => Ok(()),
        Some(ToParent::Failed(failure)) => bail!(failure),
        _ => bail!("the process that entered the container died"),
    }
}

/// What both kinds of visitors do first; returns a procfs that the container has never seen.
fn prepare(visit: &Visit<'_>, keep: &[std::os::fd::BorrowedFd<'_>]) -> Result<OwnedFd, Failure> {
    // Before the container can see us: a process of it must not trace us or open our descriptors (CVE-2016-9962).
    process::set_dumpable(false).at(Step::Hide, "")?;
    process::set_pdeathsig(Some(Signal::SIGKILL)).at(Step::Parent, "watch")?;
    let own: Vec<_> = visit.init.pidfd().into_iter().collect();
    close_others(&[keep, &own].concat(), 0)?;
    private_proc().at(Step::Mount, "private proc")
}

/// A mount before it is attached.
enum Ready {
    Directory(Loose),
    File(Loose),
    Fs(Loose),
    /// A tmpfs, which takes its permissions from its target.
    Late,
}

fn attach_all(
    visit: &Visit<'_>,
    mounts: &[Mount],
    (sources, procs): (Vec<Source>, Vec<OwnedFd>),
    terms: Terms<'_>,
    channel: &Channel,
) -> Result<(), Failure> {
    let mut keep = vec![channel.0.as_fd()];
    keep.extend(sources.iter().filter_map(Source::fd));
    keep.extend(procs.iter().map(AsFd::as_fd));
    keep.extend(terms.users.fds());
    let proc = prepare(visit, &keep)?;
    // With the host's privileges: these may belong to another user namespace than the container's. They decide what a sysfs and an
    // mqueue show.
    let shown = visit.namespaces & (Namespaces::NETWORK | Namespaces::IPC);
    if !shown.is_empty() {
        visit
            .init
            .enter(shown)
            .at(Step::Namespace, format!("{shown:?}"))?;
    }
    let sources = if terms.locks {
        let user = Namespaces::USER;
        visit.init.enter(user).at(Step::Namespace, "USER")?;
        // A copy of the host's mounts that belongs to the container's user namespace, in which the kernel has locked them.
        process::unshare(Namespaces::MOUNT).at(Step::Namespace, "MOUNT")?;
        channel
            .tell_parent(&ToParent::Mounted)
            .at(Step::Parent, "socket")?;
        let sources = locked(mounts, sources, terms, channel)?;
        become_root()?;
        // The change of ids has cleared the signal, and may have made this process visible again (fs.suid_dumpable).
        process::set_dumpable(false).at(Step::Hide, "")?;
        process::set_pdeathsig(Some(Signal::SIGKILL)).at(Step::Parent, "watch")?;
        sources
    } else {
        sources
    };
    // Before the container's mounts are entered: what file systems lie on is named by paths of the host.
    let mut procs = procs.into_iter();
    let ready = mounts
        .iter()
        .zip(sources)
        .map(|(mount, source)| make(mount, source, &mut procs));
    let ready = ready.collect::<Result<Vec<_>, _>>()?;
    fs::umask(Mode::empty());
    visit
        .init
        .enter(Namespaces::MOUNT)
        .at(Step::Namespace, "MOUNT")?;
    let tree = Tree(fs::open_path("/").at(Step::Root, "/")?);
    let mut attached = Vec::new();
    for (mount, ready) in mounts.iter().zip(ready) {
        match attach_one(mount, ready, &tree) {
            Ok(made) => attached.push(made),
            Err(failure) => {
                for made in attached.iter().rev() {
                    // What the container has meanwhile taken away itself is gone as well.
                    detach(made, &proc).ok();
                }
                return Err(failure);
            }
        }
    }
    Ok(())
}

fn make(
    mount: &Mount,
    source: Source,
    procs: &mut impl Iterator<Item = OwnedFd>,
) -> Result<Ready, Failure> {
    match (&mount.kind, source) {
        (_, Source::Directory(fd)) => Ok(Ready::Directory(fd)),
        (_, Source::File(fd)) => Ok(Ready::File(fd)),
        (MountKind::Fs { fstype, .. }, _) if fstype == "tmpfs" => Ok(Ready::Late),
        (MountKind::Fs { fstype, .. }, _) if fstype == "proc" => match procs.next() {
            Some(made) => Ok(Ready::Fs(made.into())),
            None => new_file_system(mount, None).map(Ready::Fs),
        },
        _ => new_file_system(mount, None).map(Ready::Fs),
    }
}

fn attach_one(mount: &Mount, ready: Ready, tree: &Tree) -> Result<OwnedFd, Failure> {
    let (made, target) = match ready {
        Ready::Directory(fd) => (fd, directory(mount, tree)?),
        Ready::File(fd) => (fd, file(mount, tree)?),
        Ready::Fs(fd) => (fd, mount_point(mount, tree)?),
        Ready::Late => {
            let target = mount_point(mount, tree)?;
            (new_file_system(mount, Some(&target))?, target)
        }
    };
    place(made, &target, mount)
}

fn detach_all(
    visit: &Visit<'_>,
    targets: &[(PathBuf, String)],
    channel: &Channel,
) -> Result<(), Failure> {
    let proc = prepare(visit, &[channel.0.as_fd()])?;
    visit
        .init
        .enter(Namespaces::MOUNT)
        .at(Step::Namespace, "MOUNT")?;
    let tree = Tree(fs::open_path("/").at(Step::Root, "/")?);
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (target, at) in targets {
        let object = format!("{} ({at})", target.display());
        let refuse = |why: &str| Err(Failure::new(Step::Unmount, format!("{object}: {why}")));
        // No symlink on the way: the container could lead it to a mask or to a mount that its root must not take away.
        let fd = match tree.open(target, Inside::NoSymlinks) {
            Err(Errno::ELOOP) => {
                return refuse("leads through a symlink of the container; name the place itself");
            }
            other => other.at(Step::Unmount, &object)?,
        };
        if !fs::is_mount_root(&fd).at(Step::Unmount, &object)? {
            return refuse("nothing is mounted there");
        }
        if !seen.insert(target) {
            return refuse("named twice; keep one of them");
        }
        found.push((target.components().count(), fd, object));
    }
    // What lies below another goes first: it would go with it, and then not be found.
    found.sort_by_key(|(depth, ..)| std::cmp::Reverse(*depth));
    for (_, fd, object) in &found {
        detach(fd, &proc).at(Step::Unmount, object)?;
    }
    Ok(())
}

/// Detaches the very mount that was opened, by way of a procfs that is not the container's.
fn detach(mount: &OwnedFd, proc: &OwnedFd) -> sys::Result<()> {
    fs::fchdir(proc)?;
    let path = format!("self/fd/{}", mount.as_raw_fd());
    sys::mount::umount2(path.as_str(), MntFlags::MNT_DETACH)
}
