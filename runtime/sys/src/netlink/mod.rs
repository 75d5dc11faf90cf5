//! Network devices and their addresses, by rtnetlink(7): what it takes to move a device from one network namespace to another.
//!
//! A socket stays in the network namespace in which it was opened, wherever its process goes afterwards.

pub mod wire;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, send, socket,
};

pub use wire::{Address, Link};
use wire::{Reply, Request};

use crate::{Errno, Result};

/// The longest name of a device, in bytes (IFNAMSIZ without the zero at its end).
pub const LONGEST_NAME: usize = 15;
/// What the kernel fills at most with one part of a list (NLMSG_GOODSIZE is less).
const BUFFER: usize = 64 * 1024;
/// How often a list may change while it is read.
const RACES: usize = 100;
/// The flag of netdevice(7) that switches a device on.
const IFF_UP: u32 = 1;

/// A socket to the routing part of the kernel, in one network namespace.
#[derive(Debug)]
pub struct Route {
    socket: OwnedFd,
    sequence: u32,
}

impl Route {
    /// Opens one in the current network namespace.
    pub fn open() -> Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Looks a device up; `ENODEV` if there is none of that name.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        let request = Request::of_link(wire::GET_LINK, 0, (0, 0));
        let mut found = None;
        self.ask(request.text(wire::IFLA_IFNAME, name), |reply| {
            if reply.kind == wire::NEW_LINK {
                found = Link::parse(reply.body);
            }
        })?;
        found.ok_or(Errno::ENODEV)
    }

    /// Returns the addresses of a device, of every family, in the order in which they were added.
    pub fn addresses(&mut self, link: &Link) -> Result<Vec<Address>> {
        for _ in 0..RACES {
            let mut list = Vec::new();
            let mut torn = false;
            self.ask(Request::of_addresses(), |reply| {
                torn |= reply.flags & wire::INTERRUPTED != 0;
                if reply.kind == wire::NEW_ADDRESS {
                    list.extend(Address::parse(reply.body));
                }
            })?;
            if !torn {
                let index = link.index.cast_unsigned();
                list.retain(|address| address.index == index);
                return Ok(list);
            }
        }
        Err(Errno::EBUSY)
    }

    /// Moves a device into another network namespace and gives it a name there. It loses its addresses and routes and is off then.
    ///
    /// `EEXIST` if the name is in use there, `EINVAL` for a device that cannot be moved. With `EEXIST` it may have moved under its old name.
    pub fn move_link(&mut self, link: &Link, into: impl AsFd, name: &str) -> Result<()> {
        let request = Request::of_link(wire::SET_LINK, link.index, (0, 0));
        let fd = into.as_fd().as_raw_fd().to_ne_bytes();
        let request = request.attribute(wire::IFLA_NET_NS_FD, &fd);
        self.ask(request.text(wire::IFLA_IFNAME, name), |_| {})
    }

    /// Switches a device on.
    pub fn switch_on(&mut self, link: &Link) -> Result<()> {
        let request = Request::of_link(wire::SET_LINK, link.index, (IFF_UP, IFF_UP));
        self.ask(request, |_| {})
    }

    /// Adds an address that another device had, or the same one elsewhere; one that is there already is none to add.
    pub fn add_address(&mut self, link: &Link, address: &Address) -> Result<()> {
        let request = Request::of_address(address, link.index.cast_unsigned());
        match self.ask(request, |_| {}) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Sends a request and hears all of the answer.
    fn ask(&mut self, request: Request, mut hear: impl FnMut(&Reply<'_>)) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence)?;
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let raw = self.socket.as_raw_fd();
            let (length, from) = match recvfrom::<NetlinkAddr>(raw, &mut buffer) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            // Other processes may write to this socket, too.
            if from.is_none_or(|from| from.pid() != 0) {
                continue;
            }
            for reply in wire::replies(&buffer[..length])? {
                match reply.kind {
                    _ if reply.sequence != self.sequence => {}
                    wire::ERROR | wire::DONE => return reply.outcome(),
                    _ => hear(&reply),
                }
            }
        }
    }
}
