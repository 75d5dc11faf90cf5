//! The network namespace of a container, made while the container makes its mounts.
//!
//! A network namespace takes the kernel longer than all others together, and nothing before the first mount that shows the network looks at it. So it is
//! the parent that makes it, at the same time on another processor, and hands it over. It belongs to the user namespace in
//! which it is made: where the container has one of its own, it is made by the clone like the others; likewise where we could not come back.
//!
//! Devices of the host move into it before the container goes on: what it sets up may depend on them.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use sys::Errno;
use sys::process::{self, Child, Namespaces};

use super::net_devices::{self, NetDevices, current};
use super::protocol::{At, Channel, Failure, Step, ToChild};
use crate::plan::{Mount, MountKind, NamespacePlan, Plan};

/// File systems that are the same in every network namespace.
const INDIFFERENT: [&str; 4] = ["proc", "tmpfs", "devpts", "mqueue"];

/// Tells whether the parent makes the network namespace.
pub(super) fn is_apart(plan: &NamespacePlan) -> bool {
    plan.new.contains(Namespaces::NETWORK) && !plan.has_user() && !plan.one_way
}

/// Tells whether the child waits for devices in a namespace that it was born into.
pub(super) fn awaits_devices(plan: &Plan) -> bool {
    let made = plan.namespaces.new.contains(Namespaces::NETWORK);
    !plan.net_devices.is_empty() && made && !is_apart(&plan.namespaces)
}

/// Makes the namespace, if it is ours to make, with `lo` up, moves devices into it, and hands it to the child; this process comes back to
/// its own.
pub(super) fn make(
    plan: &Plan,
    (child, channel): (&Child, &Channel),
    devices: Option<&mut NetDevices>,
) -> Result<()> {
    if awaits_devices(plan) {
        let namespace = net_devices::of(child).context("open the container's network namespace")?;
        fill(devices, namespace)?;
        return heard(channel.tell_child(ToChild::Devices));
    }
    if !is_apart(&plan.namespaces) {
        return Ok(());
    }
    let own = current().context("open own network namespace")?;
    process::unshare(Namespaces::NETWORK).context("make a network namespace")?;
    let made = sys::net::loopback_up()
        .context("bring up lo")
        .and_then(|()| current().context("open the container's network namespace"));
    process::setns(&own, Namespaces::NETWORK).context("return to own network namespace")?;
    let made = made?;
    if devices.is_some() {
        fill(
            devices,
            made.try_clone().context("copy the network namespace")?,
        )?;
    }
    heard(channel.hand_child(ToChild::Network, &made))
}

fn heard(handed: sys::Result<()>) -> Result<()> {
    match handed {
        // It has failed meanwhile, and what it has said will be heard.
        Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
        handed => handed.context("hand over the network namespace"),
    }
}

fn fill(devices: Option<&mut NetDevices>, namespace: OwnedFd) -> Result<()> {
    devices.map_or(Ok(()), |devices| {
        devices.aim(namespace)?;
        devices.go()
    })
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
