//! What can go wrong here, each as one line that says what to do.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use image::Digest;
use sys::Errno;

/// What the calls of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A newer version has written here.
    #[error(
        "{}: written by a newer version (its form is {found}, this one knows up to {known}): use that version, or another data root", path.display()
    )]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// The version of the form that was found.
        found: u64,
        /// The newest one known here.
        known: u64,
    },
    /// The directory holds other things and is not a data root.
    #[error("{}: not empty, and not a data root: name another directory, or an empty one", .0.display())]
    NotOurs(PathBuf),
    /// The disk, or what this user may use of it, is full.
    #[error("{}: {}", path.display(), reason(source))]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// What was asked for is not there.
    #[error("{0}: not in the store: pull it again, or see what `system check` says")]
    Missing(String),
    /// Some content has another digest than it should have.
    #[error("{expected}: what came has the digest {found}: fetch it again")]
    Wrong {
        /// What was asked for.
        expected: Box<Digest>,
        /// What came.
        found: Box<Digest>,
    },
    /// Another process has held the database for many minutes.
    #[error("{}: held by another process for a long time: is one stopped in the middle?", .0.display())]
    Busy(PathBuf),
    /// Anything else.
    #[error("{0:#}")]
    Other(anyhow::Error),
}

impl Error {
    /// Makes the error of a call on a file: [`Error::Full`] where it is that, else `path: reason`.
    #[must_use]
    pub fn at(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => Self::Full {
                path,
                source: error,
            },
            _ => Self::other(format!("{}: {}", path.display(), reason(&error))),
        }
    }

    pub(crate) fn other(text: impl Display) -> Self {
        Self::Other(anyhow::anyhow!("{text}"))
    }

    pub(crate) fn missing(what: &str, digest: &Digest) -> Self {
        Self::Missing(format!("{what} {digest}"))
    }
}

/// Returns an error's text in lower case, without the number that std adds.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => sys::reason(Errno::from_raw(number)),
        None => error.to_string().to_lowercase(),
    }
}

/// Says on which file a call failed.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|error| Error::at(path, error))
    }
}

impl<T> At<T> for sys::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|errno| Error::at(path, errno.into()))
    }
}

/// Takes "it is not there" for an answer.
pub(crate) trait Absent<T> {
    fn absent(self) -> io::Result<Option<T>>;
}

impl<T> Absent<T> for io::Result<T> {
    fn absent(self) -> io::Result<Option<T>> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
