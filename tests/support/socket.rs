//! The sockets that an engine listens on for a runtime: console and pidfd, and the service manager's notify socket.

use crate::wait::PATIENCE;
use crate::{Must, patient, sys};
use std::fs::{self, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;

/// A listening stream socket that is sent exactly one fd.
#[derive(Debug)]
pub struct ConsoleSocket {
    pub path: PathBuf,
    listener: UnixListener,
}

impl ConsoleSocket {
    /// Listens at `path`.
    pub fn listen(path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).must(path.display());
        Self { path, listener }
    }

    /// Returns the one fd that was sent, with the payload; checks that the payload is there and below 4096 bytes.
    #[track_caller]
    pub fn receive(&self) -> (Vec<u8>, OwnedFd) {
        self.listener.set_nonblocking(true).must("set non-blocking");
        let (stream, _) =
            crate::until("a connection to the socket", || self.listener.accept().ok());
        stream.set_nonblocking(false).must("set blocking");
        stream
            .set_read_timeout(Some(patient(PATIENCE)))
            .must("set the time-out");
        let (payload, mut fds) = sys::receive_fds(&stream).must("receive an fd");
        assert!(
            (1..4096).contains(&payload.len()),
            "the payload has {} bytes, wanted 1 to 4095",
            payload.len()
        );
        assert_eq!(fds.len(), 1, "exactly one fd is sent");
        // The container may hold its end until it is started, so there need not be an end yet.
        stream.set_nonblocking(true).must("set non-blocking");
        let (more, late) = sys::receive_fds(&stream).unwrap_or_default();
        assert!(
            more.is_empty() && late.is_empty(),
            "one message only, but a second one came: {more:?}, {late:?}"
        );
        (payload, fds.remove(0))
    }
}

/// A service manager's datagram socket.
#[derive(Debug)]
pub struct NotifySocket {
    pub path: PathBuf,
    socket: UnixDatagram,
}

impl NotifySocket {
    /// Binds `path` for everybody.
    pub fn bind(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).must(path.display());
        fs::set_permissions(&path, Permissions::from_mode(0o777)).must(path.display());
        socket
            .set_read_timeout(Some(patient(PATIENCE)))
            .must("set the time-out");
        Self { path, socket }
    }

    /// Returns the next message and its fds.
    #[track_caller]
    pub fn receive(&self) -> (String, Vec<OwnedFd>) {
        let (text, fds) = sys::receive_datagram(&self.socket).must("a message to NOTIFY_SOCKET");
        (String::from_utf8_lossy(&text).into_owned(), fds)
    }
}
