//! The program of device rules at its cgroup.

use std::path::Path;

use sys::{Errno, bpf};

use super::{Devices, program};
use crate::error::Error;
use crate::file;

/// By this name our programs are told from those of others, systemd's for one.
const NAME: &str = "orlop_devices";

/// Attaches the rules to a cgroup; those that we attached before go when the new ones are in force. Returns a warning where
/// the kernel does not let us and nothing is lost.
pub(crate) fn attach(dir: &Path, devices: &Devices) -> Result<Option<String>, Error> {
    let failed = |verb: &str, errno: Errno| Error::Call {
        call: format!("{verb} the device rules of {}", dir.display()),
        errno,
        why: hint(errno).to_owned(),
    };
    let new = match bpf::load_cgroup_device(&program(&devices.rules), NAME) {
        Err(Errno::EPERM) if !devices.denies && is_rootless() => {
            // Every configuration has these, and nobody here can make another device's node.
            return Ok((!devices.usual).then(|| {
                format!(
                    "linux.resources.devices: not enforced on {}, which takes privileges on the host; nodes of devices cannot be made here",
                    dir.display()
                )
            }));
        }
        other => other.map_err(|errno| failed("load", errno))?,
    };
    let cgroup = sys::fs::open_path(dir).map_err(|errno| Error::call("open", dir, errno))?;
    bpf::attach(&cgroup, &new).map_err(|errno| failed("attach", errno))?;
    let own = bpf::info(&new).map_err(|errno| failed("look at", errno))?;
    let mut found = false;
    for id in bpf::attached(&cgroup).map_err(|errno| failed("query", errno))? {
        if id == own.id {
            found = true;
        } else {
            let old = bpf::open(id).map_err(|errno| failed("open", errno))?;
            if bpf::info(&old).is_ok_and(|info| info.name == own.name) {
                bpf::detach(&cgroup, &old).map_err(|errno| failed("detach", errno))?;
            }
        }
    }
    // The call that attached it has said so; but without rules a container may do what its user believes to be forbidden.
    if found {
        Ok(None)
    } else {
        Err(failed("find", Errno::ENOENT))
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => {
            "; it takes CAP_SYS_ADMIN on the host, or CAP_BPF with CAP_NET_ADMIN (linux.resources.devices)"
        }
        Errno::EINVAL | Errno::ENOSYS => {
            "; this kernel may lack CONFIG_CGROUP_BPF (linux.resources.devices)"
        }
        _ => " (linux.resources.devices)",
    }
}

/// Whether we are not the host's root, or only in name.
fn is_rootless() -> bool {
    // The host maps all ids to themselves; not being able to tell must not leave rules out.
    !sys::process::geteuid().is_root()
        || file::read(Path::new("/proc/self/uid_map"))
            .is_ok_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}
