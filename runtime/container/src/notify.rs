//! `NOTIFY_SOCKET`: passing on that a container's service is ready (sd_notify(3)).
//!
//! The container sees the directory `notify` of its state directory at `/run/notify`. The socket in it is made by whoever starts
//! the container and waits for its message; the host's socket itself is never shown to it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sys::fs::OFlag;
use sys::process::{Handle, PollFd, PollFlags, PollTimeout};

use crate::ContainerId;
use crate::state::{NOTIFY, StateRoot};

/// How long the host may take to have processed our message (systemd's own limit for the barrier).
const BARRIER: Duration = Duration::from_secs(30);

/// The socket of one container, and the host's that its message goes to.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    host: PathBuf,
}

impl Notify {
    /// Makes the socket in a container's state directory; `None` where the container was created without one.
    pub fn bind(root: &StateRoot, id: &ContainerId, host: &Path) -> Result<Option<Self>> {
        let dir = root.container_dir(id).join(NOTIFY);
        let Ok(fd) = sys::fs::open_path(&dir) else {
            return Ok(None);
        };
        // By descriptor: the path itself may be longer than a socket address can be.
        let path = PathBuf::from(format!(
            "/proc/self/fd/{}/notify.sock",
            std::os::fd::AsRawFd::as_raw_fd(&fd)
        ));
        // One that a starter left behind when it was killed.
        drop(std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path)
            .with_context(|| format!("bind {}/notify.sock", dir.display()))?;
        // The payload may run as any user.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(&path, open)
            .with_context(|| format!("open up {}/notify.sock", dir.display()))?;
        Ok(Some(Self {
            socket,
            host: host.to_path_buf(),
        }))
    }

    /// Waits until the container says that it is ready, or ends, and passes that on.
    pub fn wait(&self, pid: i32, handle: &Handle) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let mut fds = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            handle
                .or_ready(&mut fds, PollTimeout::NONE)
                .context("wait for the notify socket")?;
            if !fds[0].any().unwrap_or(false) {
                return Ok(());
            }
            let length = self
                .socket
                .recv(&mut buffer)
                .context("read the notify socket")?;
            let ready = buffer[..length]
                .split(|byte| *byte == b'\n')
                .find(|line| line.starts_with(b"READY="));
            if let Some(ready) = ready {
                return self.pass_on(ready, pid);
            }
        }
    }

    /// Sends the message, then the process that the host shall watch, then waits until the host has seen both.
    fn pass_on(&self, ready: &[u8], pid: i32) -> Result<()> {
        let host = UnixDatagram::unbound().context("socket")?;
        host.connect(&self.host)
            .with_context(|| format!("connect to NOTIFY_SOCKET {}", self.host.display()))?;
        host.send(&[ready, b"\n"].concat())
            .context("pass READY on")?;
        host.send(format!("MAINPID={pid}").as_bytes())
            .context("pass MAINPID on")?;
        let (reader, writer) = sys::fs::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
        sys::socket::send(&host, b"BARRIER=1", Some(writer.as_fd())).context("send the barrier")?;
        drop(writer);
        let timeout = PollTimeout::try_from(BARRIER).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        sys::process::wait_ready(&mut fds, timeout).context("wait for the barrier")?;
        Ok(())
    }
}
