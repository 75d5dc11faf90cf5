//! Telling callers which process is the container's: by number, in a file, and by descriptor, over a socket.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use sys::process::Child;

use super::Request;

/// Sends the pidfd of the container's process to the socket of the command line and to that of an annotation.
pub(super) fn send_pidfd(
    request: &Request<'_>,
    child: &Child,
    receiver: Option<OwnedFd>,
) -> Result<()> {
    if let Some(socket) = &request.pidfd_socket {
        tell_socket(socket, child)?;
    }
    receiver.map_or(Ok(()), |socket| tell_receiver(&socket, child))
}

/// Sends a process's pidfd to the socket of the command line.
pub(crate) fn tell_socket(socket: &OwnedFd, child: &Child) -> Result<()> {
    send(socket, child).context("send the pidfd to --pidfd-socket")
}

fn send(socket: &OwnedFd, child: &Child) -> Result<()> {
    let pidfd = child.handle.pidfd();
    let pidfd = pidfd
        .context("it needs pidfd_open(2), which this kernel lacks or a filter hides (Linux 5.3)")?;
    Ok(sys::socket::send(socket, b"pidfd", Some(pidfd))?)
}

/// Sends the container's pidfd to who has asked for it in an annotation.
pub(crate) fn tell_receiver(socket: &OwnedFd, child: &Child) -> Result<()> {
    let at = crate::plan::annotations::PIDFD_RECEIVER;
    send(socket, child).with_context(|| format!("config.json: annotations[{at:?}]: send the pidfd"))
}

/// Writes a process id, without a newline (go-runc reads the whole file as a number), in place at once.
pub(crate) fn write_pid_file(file: &Path, pid: i32) -> Result<()> {
    let name = file
        .file_name()
        .with_context(|| format!("pid file {}: not a file name", file.display()))?;
    let new = file.with_file_name(format!(".{}", name.to_string_lossy()));
    let put = std::fs::write(&new, pid.to_string()).and_then(|()| std::fs::rename(&new, file));
    put.map_err(|error| {
        anyhow::anyhow!(
            "pid file {}: {}",
            file.display(),
            crate::bundle::lower(&error)
        )
    })
}
