//! What is kept of a container between commands.
//!
//! ```text
//! ROOT/                    0700, the caller's own; /run/orlop, or for an ordinary user orlop in $XDG_RUNTIME_DIR, then 01700
//!   ID/                    0711; made first, removed last
//!     intent.json          written before anything else is made: whose creation it is and where its cgroups will be
//!     exec.fifo            0622; there until the container is started
//!     seccomp.bpf          the compiled filter, for later processes; absent without one
//!     notify/              the socket directory for NOTIFY_SOCKET; absent without one
//!     criu-root/           a place for a mount that criu makes, while it restores
//!     criu.json            which criu works on the container, while one does (`criu/mark.rs`)
//!     state.json           the record, put in place by rename(2): from that moment on the container exists
//! ```
//!
//! A directory without `state.json` is a creation that did not end. Its intent names the creator, by process id and start
//! time, and the cgroups, so that `delete --force` can clean up from it alone. Status is never stored: it is computed from the process
//! (whether it lives, whether it has executed its program), the cgroup and the fifo.

mod process;
mod record;
mod reservation;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};

pub(crate) use process::awaits_program;
pub use process::{Identity, is_alive};
pub(crate) use record::map_text;
pub use record::{Intent, OciState, Record, Status};
pub use reservation::{Replacement, Reservation};

use crate::ContainerId;
use crate::bundle::lower;
use crate::text;

pub const FIFO: &str = "exec.fifo";
pub const NOTIFY: &str = "notify";
/// Where the root file system lies for criu while it restores; in its own mount namespace only.
pub(crate) const CRIU_ROOT: &str = "criu-root";
/// Which criu works on the container.
pub(crate) const CRIU: &str = "criu.json";
const STATE: &str = "state.json";
const INTENT: &str = "intent.json";
const FILTER: &str = "seccomp.bpf";

/// Writes a file of a container's directory.
pub(crate) fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    reservation::write(&open_dir(dir)?, dir, name, bytes)
}

/// Opens a container's directory.
fn open_dir(dir: &Path) -> Result<OwnedFd> {
    let gone = || anyhow::anyhow!("open {}: {}", dir.display(), sys::reason(Errno::ENOENT));
    find_dir(dir)?.ok_or_else(gone)
}

/// Opens a container's directory, if it is there; one that somebody else could have made or filled is refused.
fn find_dir(dir: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = match fs::open(dir, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other.with_context(|| format!("open {}", dir.display()))?,
    };
    refuse_foreign(&fd, "").with_context(|| dir.display().to_string())?;
    Ok(Some(fd))
}

/// Opens the state root, if it is there, and refuses one in which others could put a record in place.
fn open_root(dir: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // Whoever needs it says what is wrong with one that cannot be opened.
    let Ok(fd) = fs::open(dir, flags, Mode::empty()) else {
        return Ok(None);
    };
    refuse_foreign(&fd, "; name one of your own by --root")
        .with_context(|| format!("state root {}", dir.display()))?;
    Ok(Some(fd))
}

/// Refuses what belongs to somebody else, or to which somebody else may write: whoever writes records says which hooks run, and as whom.
fn refuse_foreign(fd: &OwnedFd, hint: &str) -> Result<()> {
    let own = sys::process::geteuid().as_raw();
    let found = fs::fstat(fd).context("look at it")?;
    if found.st_uid != own {
        let other = found.st_uid;
        bail!("belongs to user {other}, and we are user {own}{hint}");
    }
    if found.st_mode & 0o022 != 0 {
        let mode = found.st_mode & 0o7777;
        bail!(
            "others may write to it, its mode is {mode:o}{hint}, or see what is in it and chmod go-w"
        );
    }
    Ok(())
}

/// Reads a file of a container's directory, if it is there.
pub(crate) fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    find_dir(dir)?.map_or(Ok(None), |fd| read_at(&fd, dir, name))
}

fn read_at(fd: &OwnedFd, dir: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let file = || dir.join(name).display().to_string();
    // Not waiting: what is no file of ours may be a fifo of somebody's.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = match fs::openat(fd, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other.map_err(|errno| anyhow::anyhow!("{}: {}", file(), sys::reason(errno)))?,
    };
    refuse_foreign(&fd, "").with_context(file)?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::fs::File::from(fd), &mut bytes)
        .map_err(|error| anyhow::anyhow!("{}: {}", file(), lower(&error)))?;
    Ok(Some(bytes))
}

fn is_denied(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

/// The directory that holds one directory per container.
#[derive(Debug, Clone)]
pub struct StateRoot {
    dir: PathBuf,
    /// The permissions with which it is made.
    mode: u32,
}

/// What is found under an id.
#[derive(Debug)]
pub enum Found {
    Container(Box<Record>),
    /// A creation that goes on or was cut off; without an intent, before it made anything.
    Unfinished(Option<Box<Intent>>),
    Nothing,
}

impl StateRoot {
    /// Names a state root; nothing is made.
    pub fn new(dir: &Path) -> Result<Self> {
        let dir =
            std::path::absolute(dir).with_context(|| format!("state root {}", dir.display()))?;
        if dir == Path::new("/") {
            bail!("state root /: choose a directory of its own, such as /run/orlop");
        }
        open_root(&dir)?;
        Ok(Self { dir, mode: 0o700 })
    }

    /// Names a state root in a user's runtime directory. Its sticky bit keeps it from being cleared as old (XDG Base Directory
    /// Specification).
    pub fn in_runtime_dir(dir: &Path) -> Result<Self> {
        Ok(Self {
            mode: 0o1700,
            ..Self::new(dir)?
        })
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.dir.join(id)
    }

    /// Takes an id for a creation. The intent is on disk when this returns; dropping the reservation frees the id.
    pub fn reserve(&self, id: &ContainerId, intent: &Intent) -> Result<Reservation> {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), self.mode)
            .create(&self.dir)
            .map_err(|error| self.unusable(&error))?;
        // Looked at once more, now that it is there for certain: somebody else may have made it meanwhile.
        let root = open_root(&self.dir)?
            .with_context(|| format!("state root {}: it cannot be opened", self.dir.display()))?;
        Reservation::take(&root, self.container_dir(id), intent)
    }

    fn unusable(&self, error: &std::io::Error) -> anyhow::Error {
        let hint = if is_denied(error) {
            "; set XDG_RUNTIME_DIR, or name another by --root"
        } else {
            ""
        };
        anyhow::anyhow!("state root {}: {}{hint}", self.dir.display(), lower(error))
    }

    /// Looks an id up.
    pub fn find(&self, id: &ContainerId) -> Result<Found> {
        let path = self.container_dir(id);
        let Some(dir) = find_dir(&path)? else {
            return Ok(Found::Nothing);
        };
        if let Some(bytes) = read_at(&dir, &path, STATE)? {
            let record = Record::parse(&bytes, &path.join(STATE))?;
            return Ok(Found::Container(Box::new(record)));
        }
        let intent = read_at(&dir, &path, INTENT)?;
        let intent = intent.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // Somebody else may be deleting it.
        if intent.is_none() && !path.is_dir() {
            return Ok(Found::Nothing);
        }
        Ok(Found::Unfinished(intent))
    }

    /// Returns the record of a container that exists.
    pub fn load(&self, id: &ContainerId) -> Result<Record> {
        match self.find(id)? {
            Found::Container(record) => Ok(*record),
            Found::Unfinished(_) | Found::Nothing => bail!("{}: {id}", text::NOT_EXIST),
        }
    }

    /// Returns all ids, sorted.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        let entries = std::fs::read_dir(&self.dir).map_err(|error| self.unusable(&error))?;
        let mut ids: Vec<_> = entries
            .filter_map(std::result::Result::ok)
            .filter_map(|entry| ContainerId::parse(entry.file_name().to_str()?).ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// Waits until no other command changes the container from one status to another; the lock lasts as long as the descriptor.
    pub fn lock(&self, id: &ContainerId) -> Result<Option<OwnedFd>> {
        let dir = self.container_dir(id);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // What is not there cannot be locked, nor changed.
        let Ok(fd) = fs::open(&dir, flags, Mode::empty()) else {
            return Ok(None);
        };
        refuse_foreign(&fd, "").with_context(|| dir.display().to_string())?;
        fs::lock(&fd).with_context(|| format!("lock {}", dir.display()))?;
        Ok(Some(fd))
    }

    /// Opens a container's directory.
    pub fn open_dir(&self, id: &ContainerId) -> Result<OwnedFd> {
        open_dir(&self.container_dir(id))
    }

    /// Computes a container's status.
    pub fn status(&self, id: &ContainerId, record: &Record) -> Status {
        if !is_alive(&record.process) {
            return Status::Stopped;
        }
        if record
            .cgroup
            .as_ref()
            .is_some_and(|cgroup| cgroup.is_frozen().unwrap_or(false))
        {
            return Status::Paused;
        }
        // The fifo alone does not tell: a start that is killed may leave it beside a program that runs.
        if self.container_dir(id).join(FIFO).exists() && awaits_program(&record.process) {
            Status::Created
        } else {
            Status::Running
        }
    }

    /// Keeps the compiled filter for later processes of the container.
    pub fn save_filter(dir: &OwnedFd, program: &[sys::seccomp::Instruction]) -> Result<()> {
        let bytes: Vec<u8> = program
            .iter()
            .flat_map(|i| {
                let (code, k) = (i.code.to_le_bytes(), i.k.to_le_bytes());
                [code[0], code[1], i.jt, i.jf, k[0], k[1], k[2], k[3]]
            })
            .collect();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = fs::openat(dir, FILTER, flags, Mode::from_bits_truncate(0o600))
            .context("create seccomp.bpf")?;
        std::io::Write::write_all(&mut std::fs::File::from(file), &bytes)
            .context("write seccomp.bpf")
    }

    /// Reads the filter back.
    pub fn load_filter(&self, id: &ContainerId) -> Result<Vec<sys::seccomp::Instruction>> {
        let path = self.container_dir(id).join(FILTER);
        let bytes = read(&self.container_dir(id), FILTER)?
            .with_context(|| format!("{}: it is gone", path.display()))?;
        if bytes.is_empty() || bytes.len() % 8 != 0 {
            bail!(
                "{}: not a filter; delete the container and create it again",
                path.display()
            );
        }
        let instruction = |raw: &[u8]| sys::seccomp::Instruction {
            code: u16::from_le_bytes([raw[0], raw[1]]),
            jt: raw[2],
            jf: raw[3],
            k: u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]),
        };
        Ok(bytes.chunks_exact(8).map(instruction).collect())
    }

    /// Writes a new record for a container that exists, beside the one that is in force until [`Replacement::commit`].
    pub fn replace(&self, id: &ContainerId, record: &Record) -> Result<Replacement> {
        Replacement::write(self.container_dir(id), self.open_dir(id)?, record)
    }

    /// Removes all that is kept of a container, its record last: until then `delete` can be repeated.
    pub fn remove(&self, id: &ContainerId) -> Result<()> {
        reservation::remove(&self.container_dir(id))
    }
}
