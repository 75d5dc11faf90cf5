//! The container's root: an overlay in a mount namespace of this thread's own.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use snapshot::{Plan, Upper};
use sys::mount::{Loose, MsFlags};
use sys::process::Namespaces;

/// Ends the use of what stands in for mounts that are attached nowhere, where the kernel has none.
#[derive(Debug)]
pub(super) struct Stage;

impl Stage {
    /// Takes it away; nothing can be mounted any more.
    pub(super) fn strike(self) -> Result<()> {
        sys::mount::strike_stage()
            .map_err(|errno| anyhow!("take the stage away: {}", sys::reason(errno)))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The namespace is about to go, and all that is in it.
        sys::mount::strike_stage().ok();
    }
}

/// Leaves the mount namespace. What is mounted here reaches nobody; what the host mounts later is seen here.
pub(super) fn leave() -> Result<Stage> {
    let none = None::<&str>;
    let alone = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    sys::process::unshare(Namespaces::MOUNT)
        .and_then(|()| sys::mount::mount(none, "/", none, alone, none))
        .map_err(|errno| {
            anyhow!(
                "leave the mount namespace: {}; run needs root, or a user namespace of one's own",
                sys::reason(errno)
            )
        })?;
    sys::mount::claim_namespace();
    Ok(Stage)
}

/// Mounts the layers, with the changes going below `dir`, nowhere yet.
pub(super) fn mount(layers: &[PathBuf], dir: &Path, volatile: bool) -> Result<Loose> {
    snapshot::prepare(dir, layers.last().map(PathBuf::as_path))?;
    let plan = Plan {
        layers: layers.iter().map(PathBuf::as_path).collect(),
        upper: Some(Upper { dir, volatile }),
    };
    snapshot::mount(&plan, crate::unpack::options().userxattr)
}

/// Puts the mount on a directory.
pub(super) fn attach(root: Loose, target: &Path) -> Result<()> {
    let attached = sys::fs::open_path(target).and_then(|point| root.attach(point));
    attached
        .map(drop)
        .map_err(|errno| anyhow!("mount on {}: {}", target.display(), sys::reason(errno)))
}
