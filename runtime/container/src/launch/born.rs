//! The one clone of a launch, and joining namespaces before or after it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use sys::fs::{self, Mode, OFlag};
use sys::process::{self, Birth, CgroupDoor, Child, Handle, Namespaces, Pid};

use super::protocol::{At, Failure, Step};

/// What a process is born into.
#[derive(Debug)]
pub(super) struct Cradle<'a> {
    pub(super) new: Namespaces,
    pub(super) joins: &'a [(Namespaces, OwnedFd)],
    /// Whether a joined user namespace is what gives the privileges to join the others, rather than what would take them.
    pub(super) user_first: bool,
    /// Whether this process must not leave its namespaces, because it could not come back.
    pub(super) one_way: bool,
    /// Whether nobody may look into the child from its first moment on.
    pub(super) hidden: bool,
    /// The cgroup of version 2.
    pub(super) cgroup: Option<CgroupDoor<'a>>,
}

impl Cradle<'_> {
    /// New namespaces belong to the user namespace in which they are made, and other namespaces can be joined only with
    /// privileges over their owner. Both orders cannot be had from one clone when a user namespace is joined, or when one is
    /// made while others are joined: then a process in between joins first and has the child as its sibling.
    fn needs_go_between(&self) -> bool {
        let joins = |kind| self.joins.iter().any(|(known, _)| *known == kind);
        joins(Namespaces::USER)
            || (joins(Namespaces::PID) && self.one_way)
            || (self.new.contains(Namespaces::USER) && !self.joins.is_empty())
    }
}

/// Clones the child that runs `body`.
///
/// The cgroup namespace is not made here: its root is the cgroup that the process is in at that moment, and the child joins
/// its own only after it is born.
pub(super) fn clone(cradle: &Cradle<'_>, body: impl FnOnce() -> i32) -> Result<Child> {
    let birth = Birth {
        namespaces: cradle.new - Namespaces::CGROUP,
        cgroup: cradle.cgroup,
        sibling: false,
    };
    if cradle.needs_go_between() {
        return through_go_between(cradle, birth, body);
    }
    let pid_namespace = cradle
        .joins
        .iter()
        .find(|(kind, _)| *kind == Namespaces::PID);
    let Some((kind, pid_namespace)) = pid_namespace else {
        return process::clone3(birth, body).with_context(|| {
            let switches = if birth.namespaces.contains(Namespaces::USER) {
                " with a user namespace, which kernel.unprivileged_userns_clone or user.max_user_namespaces may deny"
            } else {
                ""
            };
            format!("clone the container's process{switches}")
        });
    };
    // A pid namespace is joined by children only; the parent goes back to have hooks as its own children.
    let own = fs::open(
        "/proc/self/ns/pid",
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    )
    .context("open own pid namespace")?;
    process::setns(pid_namespace, *kind).context("join pid namespace")?;
    let child = if cradle.hidden {
        clone_hidden(birth, body)
    } else {
        process::clone3(birth, body)
    };
    process::setns(&own, *kind).context("return to own pid namespace")?;
    child.context("clone the container's process")
}

/// Clones a child that nobody may look into from its first moment on: it takes that over from this process, as it comes to its own
/// first step only when there is a processor for it (CVE-2016-9962).
pub(super) fn clone_hidden(birth: Birth<'_>, body: impl FnOnce() -> i32) -> sys::Result<Child> {
    process::set_dumpable(false)?;
    let child = process::clone3(birth, body);
    process::set_dumpable(true)?;
    child
}

fn through_go_between(
    cradle: &Cradle<'_>,
    birth: Birth<'_>,
    body: impl FnOnce() -> i32,
) -> Result<Child> {
    let join = |_: BorrowedFd<'_>| join_all(cradle.joins, cradle.user_first);
    through(cradle.hidden, join, birth, body).map(|(child, _)| child)
}

/// A process in between, which ends by itself; whoever drops this waits for that.
#[derive(Debug)]
pub(super) struct Between(Handle);

impl Drop for Between {
    fn drop(&mut self) {
        // It was cloned by us and nobody else waits for it.
        self.0.wait().ok();
    }
}

/// Clones the child that runs `body` through a process that first joins namespaces, so that this one stays where it is. The
/// child is this one's all the same. `join` is told by which descriptor that process speaks; if `hidden`, nobody may look into the child from
/// its first moment on. The process in between goes into the cgroup of version 2, too, and counts there for
/// a moment.
pub(super) fn through(
    hidden: bool,
    join: impl FnOnce(BorrowedFd<'_>) -> Result<(), Failure>,
    birth: Birth<'_>,
    body: impl FnOnce() -> i32,
) -> Result<(Child, Between)> {
    let (reader, writer) = fs::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let door = birth.cgroup;
    let between = process::clone3(
        Birth {
            cgroup: door,
            ..Birth::default()
        },
        || {
            enter_cgroup(door);
            let made = join(writer.as_fd()).and_then(|()| {
                if hidden {
                    // After the change of ids, which takes it back (fs.suid_dumpable).
                    process::set_dumpable(false).at(Step::Hide, "")?;
                }
                let birth = Birth {
                    sibling: true,
                    cgroup: None,
                    ..birth
                };
                process::clone3(birth, body).at(Step::Namespace, "clone")
            });
            let (bytes, code) = match made {
                Ok(child) => ([&[0][..], &child.pid.as_raw().to_le_bytes()].concat(), 0),
                Err(failure) => ([&[1][..], &failure.encode()].concat(), 1),
            };
            match fs::write(&writer, &bytes) {
                Ok(_) => code,
                Err(_) => 1,
            }
        },
    );
    let between = Between(
        between
            .context("clone the process that joins namespaces")?
            .handle,
    );
    drop(writer);
    let mut buffer = [0; 512];
    let length = fs::read(&reader, &mut buffer).context("read the child's process id")?;
    match buffer[..length].split_first() {
        Some((0, &[a, b, c, d])) => {
            // CLONE_PARENT made it our child: its id cannot be given to another process before we wait for it. Who is in its namespaces may
            // have spoken in the place of the process in between, but of no other child.
            let pid = Pid::from_raw(i32::from_le_bytes([a, b, c, d]));
            let handle = Handle::open(pid).context("take hold of the child")?;
            anyhow::ensure!(
                handle.is_child(),
                "join namespaces: process {pid} is not the one that was cloned"
            );
            Ok((Child { pid, handle }, between))
        }
        Some((1, failure)) => Err(Failure::decode(failure).into()),
        _ => anyhow::bail!("join namespaces: the joining process was killed"),
    }
}

/// Enters the cgroup where the clone could not: in other namespaces this process may not be allowed to. Where that fails, too, the child
/// tries once more, in its own way.
fn enter_cgroup(door: Option<CgroupDoor<'_>>) {
    if let Some(door) = door.filter(|door| door.closed.get()) {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let procs = fs::openat(door.dir, "cgroup.procs", flags, Mode::empty());
        let written = procs.and_then(|procs| fs::write(&procs, b"0"));
        door.closed.set(written.is_err());
    }
}

/// Joins all namespaces, the user namespace last: what the others allow is decided by the privileges held before it. Who has none
/// gets them from it, and joins it first.
fn join_all(joins: &[(Namespaces, OwnedFd)], user_first: bool) -> Result<(), Failure> {
    let is_early = |kind: Namespaces| (kind == Namespaces::USER) == user_first;
    let (early, late): (Vec<_>, Vec<_>) = joins.iter().partition(|(kind, _)| is_early(*kind));
    for (kind, fd) in early.into_iter().chain(late) {
        process::setns(fd, *kind).at(Step::Namespace, format!("{kind:?}"))?;
        if *kind == Namespaces::USER {
            become_root()?;
        }
    }
    Ok(())
}

/// Takes the ids of root in a user namespace that was just entered or mapped.
pub(super) fn become_root() -> Result<(), Failure> {
    let (root, root_group) = (fs::Uid::from_raw(0), fs::Gid::from_raw(0));
    process::setresgid(root_group, root_group, root_group).at(Step::Become, "(gid 0)")?;
    process::setresuid(root, root, root).at(Step::Become, "(uid 0)")
}

/// Joins in the child itself what needs no process in between; pid namespaces were the parent's to join.
pub(super) fn join_in_child(cradle: &Cradle<'_>) -> Result<(), Failure> {
    if cradle.needs_go_between() {
        return Ok(());
    }
    for (kind, fd) in cradle
        .joins
        .iter()
        .filter(|(kind, _)| *kind != Namespaces::PID)
    {
        process::setns(fd, *kind).at(Step::Namespace, format!("{kind:?}"))?;
    }
    Ok(())
}
