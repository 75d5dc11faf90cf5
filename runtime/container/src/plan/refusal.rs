//! Saying no before anything is done.

use std::fmt;

use serde::Serialize;

/// A field that cannot be carried out: where it is, what is wrong, what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The JSON path, such as `process.capabilities.bounding[3]`.
    pub at: String,
    pub why: String,
}

impl Refusal {
    pub fn new(at: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            at: at.into(),
            why: why.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config.json: {}: {}", self.at, self.why)
    }
}

impl std::error::Error for Refusal {}

impl From<cgroup::Refusal> for Refusal {
    fn from(refusal: cgroup::Refusal) -> Self {
        Self::new(refusal.json_path, refusal.message)
    }
}

impl From<seccomp::Refusal> for Refusal {
    fn from(refusal: seccomp::Refusal) -> Self {
        Self::new(refusal.json_path, refusal.what)
    }
}

/// A step that is right but that this host cannot do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lack {
    pub at: String,
    pub why: String,
}

/// Refuses a version that is not a semantic version, or that is of another major version than ours.
pub(super) fn oci_version(version: &str) -> Result<(), Refusal> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<_> = core.split('.').map(str::parse::<u32>).collect();
    match numbers.as_slice() {
        [Ok(1), Ok(_), Ok(_)] => Ok(()),
        [Ok(major), Ok(_), Ok(_)] => Err(Refusal::new(
            "ociVersion",
            format!("{version}: version {major} of the specification is not known; 1.x.y is"),
        )),
        _ => Err(Refusal::new(
            "ociVersion",
            format!("{version:?} is not a version; write one such as \"1.2.0\""),
        )),
    }
}
