//! The network namespace of a container, made while the container makes its mounts.
//!
//! A network namespace takes the kernel longer than all others together, and nothing before the first mount that shows the network looks at it. So it is
//! the parent that makes it, at the same time on another processor, and hands it over. It belongs to the user namespace in
//! which it is made: where the container has one of its own, it is made by the clone like the others; likewise where we could not come back.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};
use sys::process::{self, Namespaces};

use super::protocol::{At, Channel, Failure, Step, ToChild};
use crate::plan::{Mount, MountKind, NamespacePlan};

/// File systems that are the same in every network namespace.
const INDIFFERENT: [&str; 4] = ["proc", "tmpfs", "devpts", "mqueue"];

/// Tells whether the parent makes the network namespace.
pub(super) fn is_apart(plan: &NamespacePlan) -> bool {
    plan.new.contains(Namespaces::NETWORK) && !plan.has_user() && !plan.one_way
}

/// Makes the namespace, if it is ours to make, with `lo` up, and hands it to the child; this process comes back to its own.
pub(super) fn make(plan: &NamespacePlan, child: &Channel) -> Result<()> {
    if !is_apart(plan) {
        return Ok(());
    }
    let own = current().context("open own network namespace")?;
    process::unshare(Namespaces::NETWORK).context("make a network namespace")?;
    let made = sys::net::loopback_up()
        .context("bring up lo")
        .and_then(|()| current().context("open the container's network namespace"));
    process::setns(&own, Namespaces::NETWORK).context("return to own network namespace")?;
    match child.hand_child(ToChild::Network, &made?) {
        // It has failed meanwhile, and what it has said will be heard.
        Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
        handed => handed.context("hand over the network namespace"),
    }
}

/// Enters the namespace, in the child.
pub(super) fn enter(parent: &Channel) -> Result<(), Failure> {
    let namespace = parent.receive(ToChild::Network)?;
    process::setns(namespace, Namespaces::NETWORK).at(Step::Namespace, "NETWORK")
}

/// Returns how many of the first mounts can be made before the namespace is entered.
pub(super) fn before(mounts: &[Mount]) -> usize {
    let shows_network = |mount: &Mount| match &mount.kind {
        MountKind::Fs { fstype, .. } => !INDIFFERENT.contains(&fstype.as_str()),
        _ => false,
    };
    mounts
        .iter()
        .position(shows_network)
        .unwrap_or(mounts.len())
}

fn current() -> sys::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    fs::open("/proc/self/ns/net", flags, Mode::empty())
}
