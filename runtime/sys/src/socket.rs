//! Unix sockets and the descriptors that travel over them.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
};
use nix::sys::socket::{recvmsg, sendmsg, setsockopt, socketpair, sockopt::SendTimeout};
use nix::sys::time::TimeVal;

use crate::{Errno, NixPath, Result};

/// Makes a connected pair whose messages keep their borders and whose end is noticed by the other side.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
}

/// Connects to a Unix stream socket at a path of any length below 108 bytes.
pub fn connect<P: ?Sized + NixPath>(path: &P) -> Result<OwnedFd> {
    let socket = stream()?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// The name of a Unix socket.
#[derive(Debug, Clone, Copy)]
pub enum UnixName<'a> {
    Path(&'a Path),
    /// Bytes that are no path (unix(7)).
    Abstract(&'a [u8]),
}

/// Connects to a Unix stream socket; neither this nor any later write waits longer than `patience` (then: `EAGAIN`).
pub fn connect_within(name: UnixName<'_>, patience: Duration) -> Result<OwnedFd> {
    let address = match name {
        UnixName::Path(path) => UnixAddr::new(path)?,
        UnixName::Abstract(bytes) => UnixAddr::new_abstract(bytes)?,
    };
    let socket = stream()?;
    let seconds = patience.as_secs().try_into().unwrap_or(i64::MAX);
    setsockopt(&socket, SendTimeout, &TimeVal::new(seconds, 0))?;
    nix::sys::socket::connect(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

fn stream() -> Result<OwnedFd> {
    nix::sys::socket::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
}

/// Sends one message, with at most one descriptor.
pub fn send(socket: impl AsFd, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let raw = fd.map(|fd| [fd.as_raw_fd()]);
    let control: Vec<_> = raw
        .iter()
        .map(|raw| ControlMessage::ScmRights(raw))
        .collect();
    let data = [IoSlice::new(bytes)];
    loop {
        match sendmsg::<()>(
            socket.as_fd().as_raw_fd(),
            &data,
            &control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Writes to a stream what it takes without waiting; `EAGAIN` if that is nothing.
pub fn write_now(socket: impl AsFd, bytes: &[u8]) -> Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    nix::sys::socket::send(socket.as_fd().as_raw_fd(), bytes, flags)
}

/// Receives one message and its descriptor, if it carries one; no bytes mean that the other side is gone.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<(&[u8], Option<OwnedFd>)> {
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let (length, fd) = loop {
        let mut data = [IoSliceMut::new(buffer)];
        match recvmsg::<()>(
            socket.as_fd().as_raw_fd(),
            &mut data,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(message) => {
                let raw = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                    _ => None,
                });
                // SAFETY: the kernel has just installed this descriptor for us; the control buffer has room for one only.
                break (
                    message.bytes,
                    raw.map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }),
                );
            }
        }
    };
    Ok((&buffer[..length], fd))
}
