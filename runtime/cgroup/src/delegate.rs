//! A cgroup below the container's that is the container's own to manage: its processes begin there, limits stay above.

use std::path::Path;

use crate::error::Refusal;
use crate::plan::{Dir, Plan};

impl Plan {
    /// Has the container's processes begin in a cgroup of their own below the one that is limited. `at` is the JSON path of `path`.
    ///
    /// On cgroup v1 whoever manages a cgroup can give away the limits above it, so there it is refused.
    pub fn delegate(&mut self, path: &str, at: &str) -> Result<(), Refusal> {
        if !self.dirs.iter().all(Dir::is_unified) {
            let why =
                "a cgroup can be left to a container on a host with cgroup v2 alone; remove it";
            return Err(Refusal::new(at, why));
        }
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        if names.is_empty() || !names.iter().all(|name| is_name(name)) {
            let why = format!(
                "{path:?} is not the path of a cgroup below the container's; use one such as payload"
            );
            return Err(Refusal::new(at, why));
        }
        self.delegated = Some(names.iter().collect());
        Ok(())
    }

    /// Returns the cgroup that the container's processes begin in.
    #[must_use]
    pub fn home(&self, dir: &Dir) -> Dir {
        dir.inner(self.delegated.as_deref())
    }
}

impl Dir {
    /// Returns the cgroup at `below`, in the hierarchy that can have one.
    pub(crate) fn inner(&self, below: Option<&Path>) -> Self {
        match below.filter(|_| self.is_unified()) {
            Some(below) => Self {
                relative: self.relative.join(below),
                path: self.path.join(below),
                ..self.clone()
            },
            None => self.clone(),
        }
    }
}

/// Whether a cgroup may have this name: systemd and the kernel have names of their own with a dot in them.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['/', '\0', '\n'])
        && !name.starts_with('.')
        && name.len() <= 255
}
