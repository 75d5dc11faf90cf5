//! The name of a container.

use std::fmt;

use anyhow::{Result, bail};

use crate::text;

/// A container id that is safe as a file name: letters, digits and `_+.-`, neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// The longest name that a directory can have (NAME_MAX).
    const LONGEST: usize = 255;

    /// Parses an id; the message is one that callers match.
    pub fn parse(id: &str) -> Result<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "_+.-".contains(c);
        if id.is_empty()
            || id == "."
            || id == ".."
            || id.len() > Self::LONGEST
            || !id.chars().all(legal)
        {
            bail!(
                "{}: {id:?}: use 1 to {} of the characters A-Z a-z 0-9 _ + . -",
                text::INVALID_ID,
                Self::LONGEST
            );
        }
        Ok(Self(id.to_string()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<std::path::Path> for ContainerId {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}
