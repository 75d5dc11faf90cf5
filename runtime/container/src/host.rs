//! What this kernel, with these privileges, can do.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sys::process::Namespaces;

use crate::{Bundle, resctrl};

/// A machine, as far as plans depend on it. All fields are values, so that a test can make up a machine.
#[derive(Debug, Clone)]
pub struct Host {
    pub cgroups: cgroup::Layout,
    /// The capabilities that we hold, one bit each: no more can be given to a container without a user namespace.
    pub capabilities: u64,
    pub namespaces: Namespaces,
    pub apparmor: bool,
    pub selinux: bool,
    /// Whether `/proc/kcore` exists, which decides about the link `/dev/core`.
    pub kcore: bool,
    /// Where the resource control file system is mounted; looked for where a bundle asks for it.
    pub resctrl: Option<PathBuf>,
}

/// The name of each kind of namespace in `/proc/PID/ns`.
pub(crate) const NAMESPACE_FILES: [(&str, Namespaces); 8] = [
    ("user", Namespaces::USER),
    ("ipc", Namespaces::IPC),
    ("uts", Namespaces::UTS),
    ("net", Namespaces::NETWORK),
    ("pid", Namespaces::PID),
    ("mnt", Namespaces::MOUNT),
    ("cgroup", Namespaces::CGROUP),
    ("time", Namespaces::TIME),
];

/// Tells whether the kernel applies AppArmor profiles; its file system may not be mounted here.
fn apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
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
            capabilities: sys::capability::get()
                .context("read own capabilities")?
                .permitted,
            namespaces: namespaces().context("list /proc/self/ns")?,
            apparmor: apparmor(),
            // The kernel makes this directory when SELinux is on, mounted or not.
            selinux: Path::new("/sys/fs/selinux").exists(),
            kcore: Path::new("/proc/kcore").exists(),
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

    /// Whether cgroups of version 2 are all there are.
    #[must_use]
    pub fn has_only_cgroup2(&self) -> bool {
        self.cgroups.kind() == cgroup::Kind::V2
    }
}
