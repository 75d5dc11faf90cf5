//! What goes wrong with layers, in one line each.

use std::io;

use sys::Errno;

/// Why an archive was not unpacked, packed or compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry of the archive, or the file that it stands for, in the reader's own spelling: `entry "a/b": what: why`.
    #[error("entry {}: {what}: {why}", quote(.name))]
    Entry {
        /// The entry's name as the archive has it.
        name: Vec<u8>,
        /// What was done, or which part of the entry it is.
        what: String,
        /// What was wrong with it.
        why: String,
        /// The kernel's answer, where it was the kernel that refused: `ENOSPC` is a full disk.
        errno: Option<Errno>,
    },
    /// An entry's owner is none that this process can give: an ordinary user, or root of a user namespace that has no such id.
    #[error("entry {}: its owner {uid}:{gid} is none that can be set here", quote(.name))]
    Owner {
        /// The entry's name as the archive has it.
        name: Vec<u8>,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The archive itself, at a byte of the uncompressed stream where no entry's name is known.
    #[error("archive, byte {at}: {why}")]
    Archive {
        /// Where the block begins.
        at: u64,
        /// What was wrong with it.
        why: String,
    },
    /// More than a layer may hold, which protects the disk from archives that are made to fill it.
    #[error("{what}: {found} is over the limit of {limit}")]
    Limit {
        /// What is counted, with the entry where there is one.
        what: String,
        /// How much there is, or would be.
        found: u64,
        /// How much there may be.
        limit: u64,
    },
    /// The stream's form is not what was declared.
    #[error("layer is {found}, but its media type says {declared}")]
    Form {
        /// What the first bytes say.
        found: &'static str,
        /// What the media type says.
        declared: &'static str,
    },
    /// The source of the stream, or the decompressor.
    #[error("read the archive: {0}")]
    Read(#[source] io::Error),
    /// The receiver of a stream.
    #[error("write the archive: {0}")]
    Write(#[source] io::Error),
}

impl Error {
    /// Makes an error about an entry.
    pub(crate) fn entry(name: &[u8], what: impl Into<String>, why: impl Into<String>) -> Self {
        let (name, what, why) = (name.to_vec(), what.into(), why.into());
        Self::Entry {
            name,
            what,
            why,
            errno: None,
        }
    }

    /// Makes an error about an entry from the kernel's answer.
    pub(crate) fn kernel(name: &[u8], what: impl Into<String>, errno: Errno) -> Self {
        let (name, what, why) = (name.to_vec(), what.into(), sys::reason(errno));
        let errno = Some(errno);
        Self::Entry {
            name,
            what,
            why,
            errno,
        }
    }

    /// Makes an error from what a reader said, which may be one of ours that passed through it.
    pub(crate) fn read(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) => Self::Read(error),
        }
    }

    /// Returns the kernel's answer, where there was one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Entry { errno, .. } => *errno,
            Self::Owner { errno, .. } => Some(*errno),
            Self::Read(error) | Self::Write(error) => error.raw_os_error().map(Errno::from_raw),
            Self::Archive { .. } | Self::Limit { .. } | Self::Form { .. } => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// Of a name that is longer, both ends are told.
const LONGEST: usize = 255;

/// Spells a name so that it stays on its line, and leaves room on it.
pub(crate) fn quote(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    if text.len() <= LONGEST {
        return format!("{text:?}");
    }
    let half = LONGEST / 2;
    let head = &text[..text.floor_char_boundary(half)];
    let tail = &text[text.ceil_char_boundary(text.len() - half)..];
    format!("{head:?}...{tail:?} ({} bytes)", name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_end() {
        for (name, want) in [
            ("a\nb".to_owned(), "\"a\\nb\"".to_owned()),
            ("a".repeat(255), format!("\"{}\"", "a".repeat(255))),
            (
                "ab".repeat(5000),
                format!("\"{0}a\"...\"b{0}\" (10000 bytes)", "ab".repeat(63)),
            ),
            (
                "é".repeat(200),
                format!("\"{0}\"...\"{0}\" (400 bytes)", "é".repeat(63)),
            ),
        ] {
            assert_eq!(quote(name.as_bytes()), want);
        }
    }
}
