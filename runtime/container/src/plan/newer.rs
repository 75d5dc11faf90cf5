//! What missing system calls mean for a plan.

use sys::newer::Newer;
use sys::process::Namespaces;

use super::{Lack, Mount, Plan};

/// What is the matter where the attributes of a tree cannot be changed.
pub(crate) const NO_TREE: &str =
    "rro needs mount_setattr(2), which this kernel lacks or a filter hides (Linux 5.12); use ro";

/// What is the matter where ids cannot be mapped.
pub(crate) const NO_IDMAP: &str = "an idmapped mount needs mount_setattr(2), which this kernel lacks or a filter hides (Linux 5.12)";

/// What is the matter where a root file system cannot be mounted but in a namespace of its own.
pub(crate) const NO_ROOT: &str = "a container without a mount namespace in linux.namespaces needs open_tree(2), which this kernel lacks or a filter hides (Linux 5.2; 6.15 for mounts)";

impl Plan {
    /// Says what these missing calls mean, for a reader of the plan; whoever carries it out finds them missing on the way.
    pub fn explain(&mut self, missing: &[Newer]) {
        let said = |call: &Newer| format!("{} is missing: {}", call.name(), call.stand_in());
        self.stand_ins = missing.iter().map(said).collect();
        if missing.contains(&Newer::MountSetattr) {
            self.lacks
                .extend(self.mounts.iter().filter_map(needs_setattr));
        }
        if missing.contains(&Newer::OpenTree) && !self.namespaces.has(Namespaces::MOUNT) {
            self.lacks.push(lack("linux.namespaces", NO_ROOT));
        }
    }
}

fn needs_setattr(mount: &Mount) -> Option<Lack> {
    if let Some(idmap) = &mount.idmap {
        return Some(lack(&idmap.at, NO_IDMAP));
    }
    let tree = mount.set_tree | mount.clear_tree;
    (!tree.is_empty()).then(|| lack(&format!("{}.options", mount.at), NO_TREE))
}

fn lack(at: &str, why: &str) -> Lack {
    Lack {
        at: at.to_owned(),
        why: why.to_owned(),
    }
}
