//! The user namespace that this process is in, and who writes the id maps of another one.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Pid;

/// Where the helpers of Debian's package uidmap are, and of others. Engines start a runtime with an empty environment, and elsewhere PATH is the
/// caller's: a program that root has made able to write maps is not looked for there.
pub const HELPERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// Reads how our user ids are those of the namespace above; `None` where they are the host's. A kernel without user namespaces has
/// no such file.
#[must_use]
pub fn uid_map() -> Option<String> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    // The host maps all ids to themselves.
    let full = map.split_whitespace().eq(["0", "0", "4294967295"]);
    (!full).then_some(map)
}

/// Tells whether our user namespace is not the host's first one.
#[must_use]
pub fn is_inner() -> bool {
    uid_map().is_some()
}

/// Which ids a map is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    Users,
    Groups,
}

/// Why a helper has not written a map.
#[derive(Debug)]
pub enum Unhelpful {
    /// It is in none of the places.
    Missing,
    /// It could not be started.
    NotStarted(PathBuf, io::Error),
    /// What it said, without its own name.
    Refused(String),
}

impl Ids {
    /// Returns the name of the program that writes a map for an ordinary user.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Users => "newuidmap",
            Self::Groups => "newgidmap",
        }
    }

    /// Returns the file of the ranges that are a user's.
    #[must_use]
    pub fn ranges(self) -> &'static str {
        match self {
            Self::Users => "/etc/subuid",
            Self::Groups => "/etc/subgid",
        }
    }

    /// Looks for the program.
    #[must_use]
    pub fn helper(self) -> Option<PathBuf> {
        let mut places = HELPERS
            .iter()
            .map(|dir| Path::new(dir).join(self.program()));
        places.find(|path| path.exists())
    }

    /// Has newuidmap(1) or newgidmap(1) write the map of a process: of each range the first id inside, the first one outside, and how many.
    pub fn map_by_helper(self, pid: Pid, ranges: &[[u32; 3]]) -> Result<(), Unhelpful> {
        let program = self.helper().ok_or(Unhelpful::Missing)?;
        let numbers = ranges.iter().flatten().map(u32::to_string);
        let mut command = Command::new(&program);
        command.arg(pid.to_string()).args(numbers);
        command.env_clear().stdin(Stdio::null());
        let output = match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => output,
            Err(error) => return Err(Unhelpful::NotStarted(program, error)),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("failed");
        // It begins with its own name.
        let own = format!("{}: ", self.program());
        let said = said.strip_prefix(&own).unwrap_or(said);
        Err(Unhelpful::Refused(said.to_owned()))
    }
}
