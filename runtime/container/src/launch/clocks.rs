//! The time namespace of a container whose clocks are set.
//!
//! Clocks are fixed as soon as a process is in the namespace, and one that is born into it is (time_namespaces(7)). So it is not made by
//! the clone: the child makes it for its own children, the parent writes the offsets, and then the child enters. The
//! parent, because in a user namespace the child may not write to its own file, which belongs to the host's root.

use std::os::fd::OwnedFd;

use anyhow::{Result, bail};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};
use sys::process::{self, Child, Namespaces};

use super::protocol::{At, Channel, Failure, Step, ToChild, ToParent};
use crate::plan::{Copier, Plan, TimeOffset};

/// Tells whether the child makes the time namespace, and not the clone.
pub(super) fn are_apart(plan: &Plan) -> bool {
    !plan.time_offsets.is_empty()
}

/// Makes the namespace, has it set and enters it, in the child.
///
/// It enters by itself: exec does so only since Linux 6.1, and who looks at a created container shall find it there.
pub(super) fn enter(
    proc: Option<&OwnedFd>,
    copier: Copier,
    parent: &Channel,
) -> Result<(), Failure> {
    process::unshare(Namespaces::TIME).at(Step::Namespace, "TIME")?;
    // An ordinary user's parent has to own the file; nobody else is in the pid namespace, by the plan.
    let shown = copier == Copier::Child;
    if shown {
        process::set_dumpable(true).at(Step::Hide, "not yet")?;
    }
    parent
        .tell_parent(&ToParent::Clocks)
        .at(Step::Parent, "socket")?;
    parent.expect(ToChild::Continue)?;
    if shown {
        process::set_dumpable(false).at(Step::Hide, "")?;
    }
    let proc = proc.ok_or(Errno::ENOENT).at(Step::Namespace, "TIME")?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    fs::openat(proc, "self/ns/time_for_children", flags, Mode::empty())
        .and_then(|made| process::setns(made, Namespaces::TIME))
        .at(Step::Namespace, "TIME")
}

/// Writes the offsets, in the parent: all at once, because the kernel takes all or none.
pub(super) fn set(offsets: &[TimeOffset], child: &Child) -> Result<()> {
    let line = |offset: &TimeOffset| {
        let (seconds, nanoseconds) = (offset.seconds, offset.nanoseconds);
        format!("{} {seconds} {nanoseconds}", offset.clock)
    };
    let lines: Vec<_> = offsets.iter().map(line).collect();
    let file = format!("/proc/{}/timens_offsets", child.pid);
    let Err(error) = std::fs::write(&file, lines.join("\n")) else {
        return Ok(());
    };
    let why = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ERANGE) => ": a clock would be below 0, or above 146 years",
        _ => "",
    };
    bail!(
        "config.json: linux.timeOffsets: write {:?} to {file}: {}{why}",
        lines.join(", "),
        crate::bundle::lower(&error)
    )
}
