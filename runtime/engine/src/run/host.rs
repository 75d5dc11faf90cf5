//! What a container's config.json and files depend on of the host.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::OWNERS;
use crate::{Error, Kind, Result, spec};

#[derive(Debug)]
pub(super) struct Host {
    pub(super) host: spec::Host,
    /// The last user that our user namespace has an id for.
    last_user: u32,
    pub(super) hosts: Vec<u8>,
    pub(super) resolv_conf: Vec<u8>,
}

pub(super) fn read() -> Host {
    let line = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim_end().to_owned()
    };
    let host = spec::Host {
        name: line("/proc/sys/kernel/hostname"),
        kernel: version(&line("/proc/sys/kernel/osrelease")),
        unified: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        inner: sys::userns::is_inner(),
        groups: line("/proc/self/setgroups") != "deny",
        last_group: last(&line("/proc/self/gid_map")),
    };
    // Without these files the host knows no names by them, and neither does the container.
    let (hosts, resolv_conf) = (fs::read("/etc/hosts"), fs::read("/etc/resolv.conf"));
    Host {
        host,
        last_user: last(&line("/proc/self/uid_map")),
        hosts: hosts.unwrap_or_default(),
        resolv_conf: resolv_conf.unwrap_or_default(),
    }
}

impl Host {
    /// Refuses a user whom our user namespace has no id for, before the kernel does it with a word.
    pub(super) fn refuse_unmapped(&self, user: &Value) -> Result<()> {
        for (key, what, last) in [
            ("uid", "user", self.last_user),
            ("gid", "group", self.host.last_group),
        ] {
            let id = user[key].as_u64().unwrap_or(0);
            if id > u64::from(last) {
                let text = format!("{what} {id} of the container: there is no such id here");
                return Err(Error::new(Kind::Unsupported, text).with_hint(OWNERS));
            }
        }
        Ok(())
    }
}

/// Returns the last id of a map: lines of the first id inside, the first outside and how many.
fn last(map: &str) -> u32 {
    let last = |line: &str| {
        let mut numbers = line.split_whitespace().flat_map(str::parse::<u32>);
        let (inside, size) = (numbers.next()?, numbers.nth(1)?);
        Some(inside.saturating_add(size.saturating_sub(1)))
    };
    // A kernel without user namespaces has no such file, and all groups.
    map.lines().filter_map(last).max().unwrap_or(u32::MAX)
}

/// Reads major and minor version out of a release: `6.1.0-13-amd64`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(['.', '-']);
    let mut next = || numbers.next().and_then(|number| number.parse().ok());
    (next().unwrap_or(0), next().unwrap_or(0))
}
