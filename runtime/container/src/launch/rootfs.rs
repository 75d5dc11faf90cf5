//! The container's root: how it is laid over the host's, and how it becomes this process's own.

use std::os::fd::OwnedFd;

use sys::Errno;
use sys::fs::{self, AT_FDCWD};
use sys::mount::{Attr, Extent, MsFlags, NewFs, Propagation, attach, clone_tree, set_attr};

use super::protocol::{At, Failure, Step};
use super::tree::Tree;
use crate::plan::Root;

type Result<T> = std::result::Result<T, Failure>;

/// Prepares the root of a container that shares the mount namespace of its caller: a tree that is attached nowhere, so that its
/// mounts never show on the host and go away with the last process in it (Linux 6.15).
pub(super) fn detached_root(tree: OwnedFd) -> Tree {
    Tree(tree)
}

/// Cuts the new mount namespace off the host's and lays the container's root over its `/`.
pub(super) fn attach_root(root: &Root, tree: OwnedFd) -> Result<Tree> {
    let here = |flags| {
        sys::mount::mount::<str, str, str, str>(None, "/", None, flags, None)
            .at(Step::Root, "propagation of /")
    };
    let propagation = match root.propagation {
        None => Propagation::Slave,
        // The host's tree must stay one that mounts can be copied from; the container's root becomes unbindable in the end.
        Some((Propagation::Unbindable, _)) => Propagation::Private,
        Some((propagation, _)) => propagation,
    };
    here(propagation.flag() | MsFlags::MS_REC)?;
    if propagation == Propagation::Shared {
        // Before the root is attached: a shared parent would carry it to the host.
        here(MsFlags::MS_PRIVATE)?;
    }
    let top = fs::open_path("/").at(Step::Root, "/")?;
    attach(&tree, top).at(Step::Root, root.path.display())?;
    Ok(Tree(tree))
}

/// Makes the container's root the root of this process.
pub(super) fn enter(root: &Root, tree: &Tree, own_mounts: bool) -> Result<()> {
    fs::fchdir(&tree.0).at(Step::Pivot, root.path.display())?;
    if root.pivot && own_mounts {
        let old = fs::open_path("/").at(Step::Pivot, "old root")?;
        sys::mount::pivot_root(".", ".").at(Step::Pivot, root.path.display())?;
        // The old root now lies over the new one (pivot_root(2), NOTES); what is detached here is the host's whole tree.
        fs::fchdir(&old).at(Step::Pivot, "old root")?;
        if matches!(root.propagation, Some((Propagation::Shared, _))) {
            // The host's mounts are our peers then: without this they would be detached on the host too.
            let flags = MsFlags::MS_SLAVE | MsFlags::MS_REC;
            sys::mount::mount::<str, str, str, str>(None, ".", None, flags, None)
                .at(Step::Pivot, "old root")?;
        }
        sys::mount::umount2(".", sys::mount::MntFlags::MNT_DETACH).at(Step::Pivot, "old root")?;
    } else {
        sys::process::chroot(".").at(Step::Pivot, root.path.display())?;
    }
    fs::chdir("/").at(Step::Pivot, "/")
}

/// Last touches on the root itself.
pub(super) fn finish_root(root: &Root, tree: &Tree) -> Result<()> {
    if let Some((propagation, _)) = root.propagation {
        // The root alone: the mounts below it have what they asked for.
        set_attr(
            &tree.0,
            Extent::One,
            Attr::empty(),
            Attr::empty(),
            Some(propagation),
        )
        .at(Step::Root, "propagation")?;
    }
    if root.read_only {
        set_attr(&tree.0, Extent::One, Attr::RDONLY, Attr::empty(), None)
            .at(Step::ReadOnly, "root")?;
    }
    Ok(())
}

/// Opens a procfs of our own, attached nowhere, for writes that the container must not be able to redirect
/// (CVE-2019-19921, CVE-2025-52881).
pub(super) fn private_proc() -> sys::Result<OwnedFd> {
    // In a user namespace that shares its pid namespace with the host a new procfs is refused; a copy of the host's serves
    // then, which the container cannot touch either: this is called before the root changes.
    let proc =
        NewFs::open("proc").and_then(|new| new.mount(Attr::NOSUID | Attr::NODEV | Attr::NOEXEC));
    let proc = proc.or_else(|_| clone_tree(AT_FDCWD, "/proc", Extent::One));
    // An ordinary user who enters a container has a say over no mount namespace but the container's; this is still our own's.
    let proc = proc.or_else(|_| fs::open_path("/proc"))?;
    if fs::fstatfs(&proc)?.filesystem_type() == fs::PROC_SUPER_MAGIC {
        Ok(proc)
    } else {
        Err(Errno::EXDEV)
    }
}
