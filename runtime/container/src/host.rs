//! What this kernel, with these privileges, can do.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sys::capability::SYS_ADMIN;
use sys::mount::Extent;
use sys::newer::Newer;
pub(crate) use sys::process::NAMESPACE_FILES;
use sys::process::Namespaces;
pub use sys::userns::is_inner as in_user_namespace;
use sys::userns::uid_map;

use crate::plan::Copier;
use crate::{Bundle, resctrl};

/// A machine, as far as plans depend on it. All fields are values, so that a test can make up a machine.
#[derive(Debug, Clone)]
pub struct Host {
    pub cgroups: cgroup::Layout,
    /// Who we are, as our own user namespace has it.
    pub uid: u32,
    pub gid: u32,
    /// The capabilities that we hold, one bit each: no more can be given to a container without a user namespace.
    pub capabilities: u64,
    /// Whether our user namespace is not the host's first one: what it gives counts in it alone.
    pub user_namespace: bool,
    /// Whether we may copy mounts of our own mount namespace.
    pub mounts: bool,
    pub namespaces: Namespaces,
    pub apparmor: bool,
    pub selinux: bool,
    /// Whether `/proc/kcore` exists, which decides about the link `/dev/core`.
    pub kcore: bool,
    /// Where the resource control file system is mounted; looked for where a bundle asks for it.
    pub resctrl: Option<PathBuf>,
}

/// Tells whether the kernel applies AppArmor profiles; its file system may not be mounted here.
fn apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

/// Returns the user, as the host has it, who is not its root and runs us; from a user namespace, as the namespace above has it.
#[must_use]
pub fn ordinary_user() -> Option<u32> {
    let own = sys::process::geteuid().as_raw();
    match uid_map() {
        None => Some(own).filter(|own| *own != 0),
        Some(map) => Some(above(&map, own).unwrap_or(own)),
    }
}

/// Looks an id up in the text of a map.
fn above(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().flat_map(str::parse).collect();
        let [inside, outside, size] = numbers[..] else {
            return None;
        };
        let offset = id.checked_sub(inside)?;
        // A map that leads beyond the last id is none.
        outside.checked_add(offset).filter(|_| offset < size)
    })
}

/// Tells whether our mount namespace belongs to our user namespace, or to one inside: there is no other way to ask than to try.
fn owns_mounts() -> bool {
    sys::mount::clone_path(Path::new("/"), Extent::One).is_ok_and(|copy| !copy.is_promise())
}

fn namespaces() -> std::io::Result<Namespaces> {
    let mut known = Namespaces::empty();
    for entry in std::fs::read_dir("/proc/self/ns")? {
        let name = entry?.file_name();
        known |= NAMESPACE_FILES
            .iter()
            .filter(|(file, _)| name == *file)
            .map(|(_, kind)| *kind)
            .collect::<Namespaces>();
    }
    Ok(known)
}

impl Host {
    /// Looks at this machine; some ten cheap system calls.
    pub fn probe() -> Result<Self> {
        Ok(Self {
            cgroups: cgroup::Layout::probe()
                .context("find the cgroup hierarchies in /proc/self/mountinfo")?,
            namespaces: namespaces().context("list /proc/self/ns")?,
            kcore: Path::new("/proc/kcore").exists(),
            ..Self::probe_for_process()?
        })
    }

    /// Looks at what one more process of a container depends on: its cgroups and namespaces are those of the record, so of cgroups,
    /// namespaces and kcore the result knows nothing.
    pub(crate) fn probe_for_process() -> Result<Self> {
        let capabilities = sys::capability::get()
            .context("read own capabilities")?
            .permitted;
        let user_namespace = in_user_namespace();
        Ok(Self {
            cgroups: cgroup::Layout::default(),
            uid: sys::process::geteuid().as_raw(),
            gid: sys::process::getegid().as_raw(),
            capabilities,
            user_namespace,
            mounts: capabilities & 1 << SYS_ADMIN != 0 && (!user_namespace || owns_mounts()),
            namespaces: Namespaces::empty(),
            apparmor: apparmor(),
            // The kernel makes this directory when SELinux is on, mounted or not.
            selinux: Path::new("/sys/fs/selinux").exists(),
            kcore: false,
            resctrl: None,
        })
    }

    /// Looks at this machine, and at what only this bundle asks of it.
    pub fn probe_for(bundle: &Bundle) -> Result<Self> {
        let rdt = bundle.spec.linux().as_ref();
        let rdt = rdt.and_then(|linux| linux.intel_rdt().as_ref());
        Ok(Self {
            resctrl: rdt.map_or(Ok(None), |_| resctrl::find())?,
            ..Self::probe()?
        })
    }

    /// Asks for each newer system call; whoever makes a container finds out on the way.
    #[must_use]
    pub fn missing_calls() -> Vec<Newer> {
        Newer::missing()
    }

    /// Whether we hold a capability, in our own user namespace at least.
    pub(crate) fn holds(&self, capability: u32) -> bool {
        self.capabilities & 1 << capability != 0
    }

    /// Whether we are not the host's root, or only in name: what takes its privileges cannot be had.
    #[must_use]
    pub fn is_rootless(&self) -> bool {
        self.uid != 0 || self.user_namespace || !self.holds(SYS_ADMIN)
    }

    /// Who may copy mounts of the host for a container.
    #[must_use]
    pub fn copier(&self) -> Copier {
        if self.mounts {
            Copier::Parent
        } else {
            Copier::Child
        }
    }

    /// Whether cgroups of version 2 are all there are.
    #[must_use]
    pub fn has_only_cgroup2(&self) -> bool {
        self.cgroups.kind() == cgroup::Kind::V2
    }
}

#[cfg(test)]
mod tests {
    use super::above;

    #[test]
    fn an_id_is_looked_up_in_all_ranges() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        let check = |id, want| assert_eq!(above(map, id), want, "{id}");
        check(0, Some(1000));
        check(1, Some(100_000));
        check(65536, Some(165_535));
        check(65537, None);
    }

    #[test]
    fn a_range_beyond_the_last_id_leads_nowhere() {
        let map = "0 4294967295 2\n10 20 5\n";
        assert_eq!(above(map, 0), Some(u32::MAX));
        assert_eq!(above(map, 1), None);
        assert_eq!(above(map, 11), Some(21));
    }
}
