//! An id that is taken while its container is being made.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};

use super::{CRIU, CRIU_ROOT, FIFO, FILTER, INTENT, Intent, NOTIFY, Record, STATE};
use crate::text;

/// The record before its container exists.
const NEW: &str = "state.json.new";

/// A new record beside the one of a container that exists; dropping it leaves the old one in force.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    dir: OwnedFd,
    put: bool,
}

impl Replacement {
    pub(super) fn write(path: PathBuf, dir: OwnedFd, record: &Record) -> Result<Self> {
        let bytes = serde_json::to_vec(record).context("write the record as JSON")?;
        write(&dir, &path, NEW, &bytes)?;
        let put = false;
        Ok(Self { path, dir, put })
    }

    /// Puts the new record in force.
    pub fn commit(mut self) -> Result<()> {
        self.put = true;
        put_in_place(&self.dir)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.put {
            // The error that brought us here is the one to report; the next replacement writes over it.
            drop(std::fs::remove_file(self.path.join(NEW)));
        }
    }
}

/// A directory that is removed again unless the creation ends well.
#[derive(Debug)]
pub struct Reservation {
    path: PathBuf,
    pub dir: OwnedFd,
    keep: bool,
}

impl Reservation {
    pub(super) fn take(root: &OwnedFd, path: PathBuf, intent: &Intent) -> Result<Self> {
        // 0711: the payload's user, who may not be root, opens the fifo by the directory's descriptor.
        match fs::mkdirat(root, intent.id.as_str(), Mode::from_bits_truncate(0o711)) {
            Ok(()) => {}
            Err(Errno::EEXIST) => bail!("{}: {}", text::ALREADY_EXISTS, intent.id),
            Err(errno) => bail!(
                "state root: make {}: {}",
                path.display(),
                sys::reason(errno)
            ),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = fs::openat(root, intent.id.as_str(), flags, Mode::empty())
            .with_context(|| format!("open {}", path.display()))?;
        // Whatever the caller's umask is.
        fs::fchmod(&dir, Mode::from_bits_truncate(0o711))
            .with_context(|| format!("open up {}", path.display()))?;
        let reservation = Self {
            path,
            dir,
            keep: false,
        };
        let bytes = serde_json::to_vec(intent).context("write the intent as JSON")?;
        write(&reservation.dir, &reservation.path, INTENT, &bytes)?;
        Ok(reservation)
    }

    /// Makes the fifo that the container waits on.
    pub fn make_fifo(&self) -> Result<()> {
        // Open to every user for writing, because the payload's user opens it; the state root lets nobody else come near.
        let mode = Mode::from_bits_truncate(0o622);
        fs::mknodat(&self.dir, FIFO, fs::SFlag::S_IFIFO, mode, 0)
            .with_context(|| format!("make {FIFO}"))?;
        fs::fchmodat(&self.dir, FIFO, mode, fs::FchmodatFlags::FollowSymlink)
            .with_context(|| format!("open up {FIFO}"))
    }

    /// Writes the record beside its place.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).context("write the record as JSON")?;
        write(&self.dir, &self.path, NEW, &bytes)
    }

    /// Puts the record in place: from here on the container exists.
    pub fn commit(&self) -> Result<()> {
        put_in_place(&self.dir)
    }

    /// Keeps the directory: the container lives.
    pub fn keep(mut self) {
        self.keep = true;
    }
}

pub(super) fn write(dir: &OwnedFd, path: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let file = || path.join(name).display().to_string();
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = fs::openat(dir, name, flags, Mode::from_bits_truncate(0o600))
        .with_context(|| format!("create {}", file()))?;
    std::fs::File::from(fd)
        .write_all(bytes)
        .map_err(|error| anyhow::anyhow!("write {}: {}", file(), crate::bundle::lower(&error)))
}

fn put_in_place(dir: &OwnedFd) -> Result<()> {
    fs::renameat(dir, NEW, dir, STATE).context("put state.json in place")
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.keep {
            // The error that brought us here is the one to report; what is left, `delete --force` removes.
            drop(remove(&self.path));
        }
    }
}

/// Removes a container's directory; the record goes last but for the directory itself.
pub(super) fn remove(dir: &Path) -> Result<()> {
    let gone = |result: std::io::Result<()>, what: &Path| match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => bail!(
            "remove {}: {}",
            what.display(),
            crate::bundle::lower(&error)
        ),
        _ => Ok(()),
    };
    let notify = dir.join(NOTIFY);
    gone(std::fs::remove_dir_all(&notify), &notify)?;
    for name in [FIFO, FILTER, NEW, INTENT, STATE] {
        let file = dir.join(name);
        gone(std::fs::remove_file(&file), &file)?;
    }
    match std::fs::remove_dir(dir) {
        // Rare: a restore was killed, or a criu could not be relieved.
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            let mark = dir.join(CRIU);
            gone(std::fs::remove_file(&mark), &mark)?;
            let root = dir.join(CRIU_ROOT);
            gone(std::fs::remove_dir(&root), &root)?;
            gone(std::fs::remove_dir(dir), dir)
        }
        other => gone(other, dir),
    }
}
