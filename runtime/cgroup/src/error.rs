//! What can be wrong with a request (known before anything is touched) and what the kernel can say to an action.

use std::path::{Path, PathBuf};

use sys::Errno;

use crate::bus::BusError;

/// A value of config.json that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{json_path}: {message}")]
pub struct Refusal {
    /// Where the value stands, such as `linux.resources.memory.limit`.
    pub json_path: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(json_path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            json_path: json_path.into(),
            message: message.into(),
        }
    }
}

/// Why an action on a cgroup did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cgroup that a new container asks for belongs to somebody: engines look for these words.
    #[error("{}: container's cgroup is not empty: {processes} process(es) found", path.display())]
    Occupied { path: PathBuf, processes: usize },

    /// A process that joined would stop at once and never say why.
    #[error("{}: container's cgroup unexpectedly frozen; write {value} to its {file}", path.display())]
    Frozen {
        path: PathBuf,
        /// What thaws it, and where that is written.
        value: &'static str,
        file: &'static str,
    },

    /// Below a cgroup that distributes threads there is no way to limit a whole process.
    #[error("{}: is in a threaded subtree, which has no {controller} controller; use a cgroupsPath outside of it ({json_path})", path.display())]
    Threaded {
        path: PathBuf,
        controller: String,
        json_path: String,
    },

    /// A limit needs a cgroup that this user may not make or enter.
    #[error("{call}: {}: the {controller} controller is not delegated to this user; have it delegated (on cgroup v2 --systemd-cgroup asks the user's systemd for that), or remove the field ({json_path})", sys::reason(*errno))]
    NotDelegated {
        call: String,
        errno: Errno,
        controller: String,
        json_path: String,
    },

    /// Processes appeared faster than they could be frozen.
    #[error("freeze {}: still not frozen after {seconds} s; it is thawed again", path.display())]
    Restless { path: PathBuf, seconds: u64 },

    /// The cgroup outlived its removal.
    #[error("remove {}: in use by processes {pids:?}; kill them first", path.display())]
    InUse { path: PathBuf, pids: Vec<i32> },

    #[error(transparent)]
    Systemd(#[from] BusError),

    /// A kernel interface file or directory refused a call; `why` is empty or begins with what separates it.
    #[error("{call}: {}{why}", sys::reason(*errno))]
    Call {
        call: String,
        errno: Errno,
        why: String,
    },

    /// An update failed, and what it had set already could not all be set back.
    #[error("{first}; not as before: {}", list(left))]
    HalfDone { first: Box<Error>, left: Vec<Error> },

    /// An action failed, and so did the attempt to leave no trace of it.
    #[error("{first}; and when cleaning up: {second}")]
    Twice {
        first: Box<Error>,
        second: Box<Error>,
    },
}

impl Error {
    pub(crate) fn call(verb: &str, path: &Path, errno: Errno) -> Self {
        Self::Call {
            call: format!("{verb} {}", path.display()),
            errno,
            why: String::new(),
        }
    }

    /// Returns the kernel's reason where one is behind this error.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call { errno, .. } | Self::NotDelegated { errno, .. } => Some(*errno),
            Self::Twice { first, .. } | Self::HalfDone { first, .. } => first.errno(),
            _ => None,
        }
    }
}

fn list(errors: &[Error]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
