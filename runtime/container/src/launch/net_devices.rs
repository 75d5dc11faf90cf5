//! Moving network devices of the host into the container's network namespace, and back if the creation fails.
//!
//! A device that changes its network namespace keeps its hardware address and MTU, is off then and has lost its addresses and routes. What was
//! found on it before is set again. From the moment when the container exists its devices are left alone: with the
//! namespace a physical one goes back to the host's first namespace, off and without addresses, and a virtual one is gone.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};
use sys::netlink::{Address, Link, Route};
use sys::process::{self, Namespaces};

use crate::plan::{NetDevice, Plan, Refusal};

/// Devices on their way. Dropped, they go back, unless they are to be kept.
#[derive(Debug)]
pub(super) struct NetDevices {
    devices: Vec<Device>,
    host: Route,
    /// The network namespace that they come from.
    home: OwnedFd,
    /// The container's, and a socket in it.
    there: Option<(OwnedFd, Route)>,
    keep: bool,
}

#[derive(Debug)]
struct Device {
    plan: NetDevice,
    link: Link,
    addresses: Vec<Address>,
    /// What it is called there, once it is on its way.
    moved: Option<String>,
}

impl NetDevices {
    /// Looks the devices up, before anything is made, and in a namespace that is joined, whether their names are free there.
    pub(super) fn find(
        plan: &Plan,
        joins: &[(Namespaces, OwnedFd)],
    ) -> Result<Option<Self>, Refusal> {
        if plan.net_devices.is_empty() {
            return Ok(None);
        }
        let lost = |errno| Refusal::new("linux.netDevices", sys::reason(errno));
        let mut host = Route::open().map_err(lost)?;
        let mut find = |plan: &NetDevice| -> Result<Device, Refusal> {
            let refused = |errno| {
                let why = match errno {
                    Errno::ENODEV => "there is no such network device on the host".to_string(),
                    other => sys::reason(other),
                };
                Refusal::new(&plan.at, why)
            };
            let link = host.link(&plan.host).map_err(refused)?;
            let mut addresses = host.addresses(&link).map_err(refused)?;
            addresses.retain(Address::is_permanent_and_global);
            Ok(Device {
                plan: plan.clone(),
                link,
                addresses,
                moved: None,
            })
        };
        let mut found = Self {
            devices: plan
                .net_devices
                .iter()
                .map(&mut find)
                .collect::<Result<_, _>>()?,
            host,
            home: current().map_err(lost)?,
            there: None,
            keep: false,
        };
        let joined = joins.iter().find(|(kind, _)| *kind == Namespaces::NETWORK);
        if let Some((_, namespace)) = joined {
            found.aim(fs::lift_copy(namespace, 0).map_err(lost)?)?;
        }
        Ok(Some(found))
    }

    /// Names the namespace that they go to, and looks whether their names are free there.
    pub(super) fn aim(&mut self, namespace: OwnedFd) -> Result<(), Refusal> {
        let lost = |errno| Refusal::new("linux.netDevices", sys::reason(errno));
        process::setns(&namespace, Namespaces::NETWORK).map_err(lost)?;
        let route = Route::open();
        // A process that stays there would hand the container's network to whatever it does next.
        process::setns(&self.home, Namespaces::NETWORK).map_err(lost)?;
        let mut route = route.map_err(lost)?;
        for device in &self.devices {
            if route.link(&device.plan.name).is_ok() {
                let name = &device.plan.name;
                let why = format!(
                    "{name} is there already, in the namespace that is joined; give the device another name"
                );
                return Err(Refusal::new(&device.plan.at, why));
            }
        }
        self.there = Some((namespace, route));
        Ok(())
    }

    /// Moves all of them; when one cannot be had as it was, all go back.
    pub(super) fn go(&mut self) -> Result<()> {
        let (namespace, route) = self.there.as_mut().context("no network namespace")?;
        let mut go = |device: &mut Device| {
            let at = format!("config.json: {}", device.plan.at);
            device.go(&mut self.host, namespace, route).context(at)
        };
        let gone = self.devices.iter_mut().try_for_each(&mut go);
        gone.map_err(|error| match self.come_back() {
            Ok(()) => error,
            Err(second) => error.context(format!("{second:#}; before that")),
        })
    }

    /// Leaves them to the container.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }

    /// Brings back whatever is there; goes on after a failure and returns the last.
    fn come_back(&mut self) -> Result<()> {
        let Some((_, route)) = &mut self.there else {
            return Ok(());
        };
        let mut last = Ok(());
        for device in self.devices.iter_mut().rev() {
            let back = device.come_back(&mut self.host, &self.home, route);
            let name = &device.plan.host;
            last = back.with_context(|| format!("bring {name} back")).and(last);
        }
        last
    }
}

impl Drop for NetDevices {
    fn drop(&mut self) {
        if !self.keep {
            // The error that brought us here is the one to report.
            drop(self.come_back());
        }
    }
}

impl Device {
    fn go(&mut self, host: &mut Route, namespace: &OwnedFd, route: &mut Route) -> Result<()> {
        let name = free(&self.plan.name, route)?;
        // Before the call: one that fails may have moved it all the same.
        self.moved = Some(name.clone());
        match host.move_link(&self.link, namespace, &name) {
            Err(Errno::EINVAL) => bail!("a device of its kind cannot leave its network namespace"),
            moved => moved.with_context(|| format!("move it into the container as {name}"))?,
        }
        let link = route
            .link(&name)
            .with_context(|| format!("find {name} in the container"))?;
        let renamed = |address: &Address| address.renamed(&self.link.name, &name);
        let addresses: Vec<_> = self.addresses.iter().map(renamed).collect();
        settle(route, &link, &addresses)?;
        // The specification's word: up, whatever it was.
        route
            .switch_on(&link)
            .with_context(|| format!("switch {name} on"))
    }

    fn come_back(&mut self, host: &mut Route, home: &OwnedFd, route: &mut Route) -> Result<()> {
        let Some(name) = self.moved.take() else {
            return Ok(());
        };
        if host.link(&self.plan.host).is_ok() {
            // It has never left.
            return Ok(());
        }
        // A move that failed at the name has it there under the old one.
        let link = route.link(&name).or_else(|_| route.link(&self.plan.host));
        let link = link.with_context(|| format!("find {name} in the container"))?;
        route
            .move_link(&link, home, &self.plan.host)
            .context("move it")?;
        let link = host.link(&self.plan.host).context("find it")?;
        settle(host, &link, &self.addresses)?;
        if self.link.up {
            host.switch_on(&link).context("switch it on")?;
        }
        Ok(())
    }
}

fn settle(route: &mut Route, link: &Link, addresses: &[Address]) -> Result<()> {
    for address in addresses {
        route
            .add_address(link, address)
            .with_context(|| format!("add its address {address}"))?;
    }
    Ok(())
}

/// Returns the name, with the first free number in the place of `%d`.
fn free(name: &str, route: &mut Route) -> Result<String> {
    let Some(stem) = name.strip_suffix("%d") else {
        return Ok(name.to_string());
    };
    let candidates = (0..).map(|number: u32| format!("{stem}{number}"));
    let fitting = candidates.take_while(|name| name.len() <= sys::netlink::LONGEST_NAME);
    for name in fitting {
        match route.link(&name) {
            Err(Errno::ENODEV) => return Ok(name),
            Err(errno) => bail!("look for {name} in the container: {}", sys::reason(errno)),
            Ok(_) => {}
        }
    }
    bail!("no name {name} is free in the container")
}

/// Opens the network namespace of this process.
pub(super) fn current() -> sys::Result<OwnedFd> {
    open("/proc/self/ns/net")
}

/// Opens the network namespace of a process that is our child.
pub(super) fn of(child: &process::Child) -> sys::Result<OwnedFd> {
    open(&format!("/proc/{}/ns/net", child.pid))
}

fn open(path: &str) -> sys::Result<OwnedFd> {
    fs::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}
