//! Messages of rtnetlink(7) as bytes. Pure: no length that is read is believed before it is compared with what is there.
//!
//! ```text
//! message    length u32, kind u16, flags u16, sequence u32, port u32, then a fixed part that its kind has, then attributes
//! attribute  length u16, kind u16, value; both lengths count their own fields, and each begins at a multiple of 4
//! ```
//! All numbers are in the machine's own order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{Errno, Result};

const HEADER: usize = 16;
const ATTRIBUTE: usize = 4;
/// struct ifinfomsg: family u8, padding u8, type u16, index i32, flags u32, change u32.
const LINK: usize = 16;
/// struct ifaddrmsg: family u8, prefix u8, flags u8, scope u8, index u32.
const ADDRESS: usize = 8;

/// NLMSG_ERROR: an errno, negative, or 0, which says that all is done.
pub const ERROR: u16 = 2;
/// NLMSG_DONE: the end of a list.
pub const DONE: u16 = 3;
pub const NEW_LINK: u16 = 16;
pub const GET_LINK: u16 = 18;
pub const SET_LINK: u16 = 19;
pub const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;

/// NLM_F_REQUEST, NLM_F_ACK.
const REQUEST: u16 = 0x01 | 0x04;
/// NLM_F_ROOT and NLM_F_MATCH: a list of all.
const DUMP: u16 = 0x300;
/// NLM_F_CREATE and NLM_F_EXCL.
const CREATE: u16 = 0x400 | 0x200;
/// NLM_F_DUMP_INTR: what is listed has changed meanwhile.
pub const INTERRUPTED: u16 = 0x10;

pub const IFLA_IFNAME: u16 = 3;
pub const IFLA_MTU: u16 = 4;
pub const IFLA_NET_NS_FD: u16 = 28;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
/// What an address is made again from.
const KEPT: [u16; 6] = [
    IFA_ADDRESS,
    IFA_LOCAL,
    IFA_LABEL,
    IFA_BROADCAST,
    IFA_CACHEINFO,
    IFA_RT_PRIORITY,
];
/// IFA_F_PERMANENT
const PERMANENT: u32 = 0x80;
/// What was asked for when the address was added: IFA_F_NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN. The kernel sets the others.
const ASKED: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

/// A message on its way to the kernel.
#[derive(Debug)]
pub struct Request {
    bytes: Vec<u8>,
    fits: bool,
}

impl Request {
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | flags).to_ne_bytes());
        Self { bytes, fits: true }
    }

    /// A message about a link; `flags` and `change` are those of netdevice(7).
    pub fn of_link(kind: u16, index: i32, (flags, change): (u32, u32)) -> Self {
        let mut request = Self::new(kind, 0);
        request.bytes.extend([0; 4]);
        request.bytes.extend(index.to_ne_bytes());
        request.bytes.extend(flags.to_ne_bytes());
        request.bytes.extend(change.to_ne_bytes());
        request
    }

    /// A message that adds an address to a link.
    pub fn of_address(address: &Address, index: u32) -> Self {
        let mut request = Self::new(NEW_ADDRESS, CREATE);
        // The flags of this part are 8 bits wide; all of them follow as an attribute.
        let fixed = [address.family, address.prefix, 0, address.scope];
        request.bytes.extend(fixed);
        request.bytes.extend(index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            request = request.attribute(*kind, value);
        }
        request.attribute(IFA_FLAGS, &(address.flags & ASKED).to_ne_bytes())
    }

    /// A message that lists the addresses of all devices.
    pub fn of_addresses() -> Self {
        let mut request = Self::new(GET_ADDRESS, DUMP);
        // No family: all of them.
        request.bytes.extend([0; ADDRESS]);
        request
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let Ok(length) = u16::try_from(ATTRIBUTE + value.len()) else {
            self.fits = false;
            return self;
        };
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
        self
    }

    /// Adds a text, which the kernel wants with a zero at its end.
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Returns the bytes to send.
    pub fn finish(mut self, sequence: u32) -> Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).ok().filter(|_| self.fits);
        let length = length.ok_or(Errno::EMSGSIZE)?;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        Ok(self.bytes)
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A message from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub body: &'a [u8],
}

impl Reply<'_> {
    /// Returns the error that the message reports, if it is one that does, and `Ok` where it says that all went well.
    pub fn outcome(&self) -> Result<()> {
        let errno = self.body.get(..4).and_then(|raw| raw.try_into().ok());
        match errno.map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(errno) => Err(Errno::from_raw(errno.wrapping_neg())),
            None => Err(Errno::EBADMSG),
        }
    }
}

/// Splits what was received at once into messages; `EBADMSG` where a length is wrong.
pub fn replies(mut bytes: &[u8]) -> Result<Vec<Reply<'_>>> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let length = number(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let whole = length.filter(|length| *length >= HEADER);
        let whole = whole.and_then(|length| bytes.get(..length));
        let whole = whole.ok_or(Errno::EBADMSG)?;
        list.push(Reply {
            kind: short(whole, 4).ok_or(Errno::EBADMSG)?,
            flags: short(whole, 6).ok_or(Errno::EBADMSG)?,
            sequence: number(whole, 8).ok_or(Errno::EBADMSG)?,
            body: &whole[HEADER..],
        });
        bytes = bytes.get(aligned(whole.len())..).unwrap_or_default();
    }
    Ok(list)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let raw = bytes.get(at..at.checked_add(4)?)?;
    raw.try_into().ok().map(u32::from_ne_bytes)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let raw = bytes.get(at..at.checked_add(2)?)?;
    raw.try_into().ok().map(u16::from_ne_bytes)
}

/// Splits what follows a message's fixed part into attributes.
fn attributes(mut bytes: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    // NLA_F_NESTED and NLA_F_NET_BYTEORDER say how the value is to be read, not what it is.
    const KIND: u16 = 0x3fff;
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(short(bytes, 0)?);
        let whole = bytes.get(..length).filter(|_| length >= ATTRIBUTE)?;
        list.push((short(whole, 2)? & KIND, &whole[ATTRIBUTE..]));
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Some(list)
}

/// A network device, as its network namespace shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: i32,
    pub name: String,
    /// Whether it is switched on (IFF_UP), which says nothing of a cable.
    pub up: bool,
    /// Bytes.
    pub mtu: u32,
}

impl Link {
    pub fn parse(body: &[u8]) -> Option<Self> {
        let index = number(body, 4)?.cast_signed();
        let up = number(body, 8)? & 1 != 0;
        let (mut name, mut mtu) = (None, 0);
        for (kind, value) in attributes(body.get(LINK..)?)? {
            match kind {
                IFLA_IFNAME => name = Some(text(value)),
                IFLA_MTU => mtu = number(value, 0)?,
                _ => {}
            }
        }
        Some(Self {
            index,
            name: name?,
            up,
            mtu,
        })
    }
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

/// An address of a network device, with all that it was added with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    pub index: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    pub fn parse(body: &[u8]) -> Option<Self> {
        let fixed = body.get(..ADDRESS)?;
        let mut address = Self {
            family: fixed[0],
            prefix: fixed[1],
            flags: u32::from(fixed[2]),
            scope: fixed[3],
            index: number(fixed, 4)?,
            attributes: Vec::new(),
        };
        for (kind, value) in attributes(&body[ADDRESS..])? {
            if kind == IFA_FLAGS {
                address.flags = number(value, 0)?;
            } else if KEPT.contains(&kind) {
                address.attributes.push((kind, value.to_vec()));
            }
        }
        Some(address)
    }

    /// Whether somebody has given it to the device for good and for the whole world: no lease, and not one that the device makes for its own link.
    #[must_use]
    pub fn is_permanent_and_global(&self) -> bool {
        // RT_SCOPE_UNIVERSE is 0.
        self.flags & PERMANENT != 0 && self.scope == 0
    }

    /// Returns the same address for a device with another name, which is in the label of one of IPv4.
    #[must_use]
    pub fn renamed(&self, from: &str, to: &str) -> Self {
        let mut address = self.clone();
        for (_, value) in address
            .attributes
            .iter_mut()
            .filter(|(kind, _)| *kind == IFA_LABEL)
        {
            let label = text(value);
            let rest = label.strip_prefix(from);
            if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with(':')) {
                *value = format!("{to}{rest}\0").into_bytes();
            }
        }
        // A label has no more room than a name: one that has become too long is only the name.
        address
            .attributes
            .retain(|(kind, value)| *kind != IFA_LABEL || value.len() <= 16);
        address
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |kind| self.attributes.iter().find(|(known, _)| *known == kind);
        let bytes = value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS));
        let bytes = bytes.map_or(&[][..], |(_, bytes)| bytes);
        let v4 = <[u8; 4]>::try_from(bytes).map(|raw| IpAddr::from(Ipv4Addr::from(raw)));
        let v6 = <[u8; 16]>::try_from(bytes).map(|raw| IpAddr::from(Ipv6Addr::from(raw)));
        match v4.or(v6) {
            Ok(address) => write!(f, "{address}/{}", self.prefix),
            Err(_) => write!(f, "an address of family {}", self.family),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reply as the kernel sends it, from what a request looks like.
    fn reply(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut request = Request::new(kind, 0);
        request.bytes.extend(body);
        request.bytes.resize(aligned(request.bytes.len()), 0);
        request.finish(7).unwrap()
    }

    fn link_body() -> Vec<u8> {
        let request = Request::of_link(NEW_LINK, 5, (1, 0));
        let request = request.text(IFLA_IFNAME, "eth0");
        let request = request.attribute(IFLA_MTU, &1400_u32.to_ne_bytes());
        request.finish(0).unwrap()[HEADER..].to_vec()
    }

    fn address() -> Address {
        Address {
            family: 2,
            prefix: 24,
            scope: 0,
            flags: PERMANENT | 0x200,
            index: 5,
            attributes: vec![
                (IFA_LOCAL, vec![10, 1, 2, 3]),
                (IFA_LABEL, b"eth0:1\0".to_vec()),
            ],
        }
    }

    #[test]
    fn messages_are_split() {
        let both = [reply(NEW_LINK, &link_body()), reply(ERROR, &[0; 4])].concat();
        let list = replies(&both).unwrap();
        let kinds: Vec<_> = list
            .iter()
            .map(|reply| (reply.kind, reply.sequence))
            .collect();
        assert_eq!(kinds, [(NEW_LINK, 7), (ERROR, 7)]);
        assert_eq!(list[1].outcome(), Ok(()));
        let refused = reply(ERROR, &(-(Errno::ENODEV as i32)).to_ne_bytes());
        assert_eq!(replies(&refused).unwrap()[0].outcome(), Err(Errno::ENODEV));
        let link = Link::parse(list[0].body).unwrap();
        let wanted = Link {
            index: 5,
            name: "eth0".into(),
            up: true,
            mtu: 1400,
        };
        assert_eq!(link, wanted);
    }

    #[test]
    fn an_address_survives_the_wire() {
        let bytes = Request::of_address(&address(), 9).finish(1).unwrap();
        let back = Address::parse(&bytes[HEADER..]).unwrap();
        assert_eq!(back.to_string(), "10.1.2.3/24");
        // What the kernel sets itself is not asked for.
        assert_eq!((back.flags, back.index), (0x200, 9));
        assert_eq!(back.attributes, address().attributes);
        assert!(address().is_permanent_and_global());
        assert!(!back.is_permanent_and_global());
    }

    #[test]
    fn labels_follow_the_name() {
        let label = |from: &str, to: &str| {
            let renamed = address().renamed(from, to);
            let found = renamed
                .attributes
                .iter()
                .find(|(kind, _)| *kind == IFA_LABEL);
            found.map(|(_, value)| text(value))
        };
        assert_eq!(label("eth0", "net1").as_deref(), Some("net1:1"));
        assert_eq!(label("eth", "net").as_deref(), Some("eth0:1"));
        assert_eq!(label("eth0", "fourteen-chars"), None);
    }

    #[test]
    fn lengths_are_not_believed() {
        let good = reply(NEW_LINK, &link_body());
        // Every cut, and every value of every byte: an error or a value, and never a panic.
        for cut in 0..good.len() {
            check(&good[..cut]);
        }
        for at in 0..good.len() {
            for byte in [0, 1, 3, 4, 5, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                check(&bytes);
            }
        }
        assert_eq!(replies(&[1, 0, 0, 0]), Err(Errno::EBADMSG));
        let long = vec![0; 70000];
        let request = Request::new(SET_LINK, 0).attribute(IFLA_IFNAME, &long);
        assert_eq!(request.finish(1), Err(Errno::EMSGSIZE));
    }

    fn check(bytes: &[u8]) {
        for reply in replies(bytes).unwrap_or_default() {
            let link = Link::parse(reply.body);
            let address = Address::parse(reply.body);
            drop((link, address.map(|it| it.to_string()), reply.outcome()));
        }
    }
}
