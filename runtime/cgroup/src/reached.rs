//! Which limits a container has come up against.

use crate::error::Error;
use crate::file;
use crate::make::Cgroup;
use crate::plan::Dir;

/// A limit that was in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Its controller: `memory` or `pids`.
    pub limit: &'static str,
    /// Bytes or processes; as the kernel spells it, so `max` for one that has been lifted since.
    pub value: String,
    /// The most that was ever in use, where the kernel keeps it.
    pub peak: Option<String>,
    /// How many processes the kernel has killed, or has refused to make.
    pub count: u64,
}

impl Cgroup {
    /// Returns the memory limit if the kernel has killed for it, and none if not.
    pub fn reached_memory(&self) -> Result<Option<Reached>, Error> {
        let [value, peak] = match self.dirs.iter().find(|dir| dir.has("memory")) {
            Some(dir) if dir.is_unified() => ["memory.max", "memory.peak"],
            _ => ["memory.limit_in_bytes", "memory.max_usage_in_bytes"],
        };
        let killed = self.oom_kill_count()?.unwrap_or_default();
        Ok(self.reached("memory", killed, value, peak))
    }

    /// Returns the limit of processes if one was refused for it.
    pub fn reached_pids(&self) -> Result<Option<Reached>, Error> {
        let Some(dir) = self.dirs.iter().find(|dir| dir.has("pids")) else {
            return Ok(None);
        };
        let path = dir.path.join("pids.events");
        let refused = match file::read(&path) {
            Ok(text) => text
                .lines()
                .find_map(|line| line.strip_prefix("max ")?.parse().ok()),
            Err(errno) if file::gone(errno) => None,
            Err(errno) => return Err(Error::call("read", &path, errno)),
        };
        Ok(self.reached("pids", refused.unwrap_or_default(), "pids.max", "pids.peak"))
    }

    fn reached(&self, limit: &'static str, count: u64, value: &str, peak: &str) -> Option<Reached> {
        let dir = self.dirs.iter().find(|dir| dir.has(limit))?;
        let read = |dir: &Dir, name: &str| file::read(&dir.path.join(name)).ok();
        (count > 0).then(|| Reached {
            limit,
            value: read(dir, value).unwrap_or_default(),
            peak: read(dir, peak),
            count,
        })
    }
}
