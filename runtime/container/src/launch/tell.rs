//! Telling callers which process is the container's: by number, in a file, and by descriptor, over a socket.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{self, AccessFlags, AtFlags, Mode, OFlag, SFlag, UnlinkatFlags};
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

/// A file that gets a process id. Its directory is open from the start, so that a wrong one is known before anything is made.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    dir: OwnedFd,
    name: OsString,
}

impl PidFile {
    /// Opens the file's directory, and makes sure that the file can be put there.
    pub fn open(path: &Path) -> Result<Self> {
        let path =
            std::path::absolute(path).with_context(|| format!("pid file {}", path.display()))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            bail!("pid file {}: not a file name", path.display());
        };
        let name = name.to_os_string();
        let open = || {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let dir = fs::open(parent, flags, Mode::empty())?;
            let found = fs::fstatat(&dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
            let kind = SFlag::from_bits_truncate(found.map_or(0, |stat| stat.st_mode));
            if kind & SFlag::S_IFMT == SFlag::S_IFDIR {
                return Err(Errno::EISDIR);
            }
            fs::faccessat(&dir, ".", AccessFlags::W_OK, AtFlags::AT_EACCESS)?;
            Ok(dir)
        };
        let dir = open().map_err(|errno| wrong(&path, errno))?;
        Ok(Self { path, dir, name })
    }

    /// Writes a process id, without a newline (go-runc reads the whole file as a number), in place at once.
    pub(crate) fn write(&self, pid: i32) -> Result<()> {
        let mut new = OsString::from(".");
        new.push(&self.name);
        let (dir, new) = (&self.dir, new.as_os_str());
        // With the name of nobody else's file: it may be a link that somebody has left there.
        let file = fs::replace(dir, new, Mode::from_bits_truncate(0o666));
        let put = file.and_then(|file| {
            let written = fs::write(&file, pid.to_string().as_bytes());
            let put = written.and_then(|_| fs::renameat(dir, new, dir, self.name.as_os_str()));
            // What is left is of no use to anybody.
            put.inspect_err(|_| {
                fs::unlinkat(dir, new, UnlinkatFlags::NoRemoveDir).ok();
            })
        });
        put.map_err(|errno| wrong(&self.path, errno))
    }
}

fn wrong(path: &Path, errno: Errno) -> anyhow::Error {
    anyhow::anyhow!("pid file {}: {}", path.display(), sys::reason(errno))
}
