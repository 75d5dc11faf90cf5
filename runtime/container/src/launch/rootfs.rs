//! The container's root: how it is laid over the host's, and how it becomes this process's own.

use std::os::fd::OwnedFd;

use sys::Errno;
use sys::fs::{self, AT_FDCWD};
use sys::mount::{Attr, Extent, Loose, MsFlags, NewFs, Propagation, clone_tree, set_attr};

use super::protocol::{At, Failure, Step};
use super::tree::Tree;
use crate::plan::Root;
use crate::plan::newer::NO_ROOT;

type Result<T> = std::result::Result<T, Failure>;

/// Prepares the root of a container that shares the mount namespace of its caller: a tree that is attached nowhere, so that its
/// mounts never show on the host and go away with the last process in it (Linux 6.15).
pub(super) fn detached_root(root: &Root, tree: Loose) -> Result<Tree> {
    if tree.is_promise() {
        // Where the root is the host's own mount, nothing may be mounted in it.
        return Err(Failure::new(
            Step::Root,
            format!("{}: {NO_ROOT}", root.path.display()),
        ));
    }
    let tree = tree.keep().at(Step::Root, root.path.display())?;
    Ok(Tree(tree))
}

/// Cuts the new mount namespace off the host's and lays the container's root over its `/`, or leaves it on the stage there.
pub(super) fn attach_root(root: &Root, tree: Loose) -> Result<Tree> {
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
    uncover(propagation)?;
    sys::mount::claim_namespace();
    let tree = if tree.is_promise() {
        tree.stay()
    } else {
        let top = fs::open_path("/").at(Step::Root, "/")?;
        tree.attach(top)
    };
    Ok(Tree(tree.at(Step::Root, root.path.display())?))
}

/// Takes away what is mounted over `/`, where only `/..` leads. The old root goes by its place, [`enter`], which is that of whatever lies over
/// it, too: with one mount more the host's tree would stay in the container.
fn uncover(propagation: Propagation) -> Result<()> {
    let id = |path: &str| fs::open_path(path).and_then(fs::mount_id);
    // More than anybody has.
    for _ in 0..1000 {
        if id("/")
            .and_then(|root| Ok(id("/..")? == root))
            .at(Step::Root, "/")?
        {
            return Ok(());
        }
        let flags = sys::mount::MntFlags::MNT_DETACH;
        // Where it is shared, it could go on the host, too; in a new user namespace it is locked.
        if propagation == Propagation::Shared || sys::mount::umount2("/..", flags).is_err() {
            break;
        }
    }
    Err(Failure::new(
        Step::Root,
        "something is mounted over /: unmount it first",
    ))
}

/// Makes the container's root the root of this process.
pub(super) fn enter(root: &Root, tree: &Tree, own_mounts: bool) -> Result<()> {
    fs::fchdir(&tree.0).at(Step::Pivot, root.path.display())?;
    let staged = sys::mount::leave_stage();
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
        let detach = || {
            sys::mount::umount2(".", sys::mount::MntFlags::MNT_DETACH).at(Step::Pivot, "old root")
        };
        if staged {
            // What lies over the old root is what `.` means here.
            detach()?;
        }
        detach()?;
    } else {
        if staged && own_mounts {
            // Over what `..` would lead to from the new root.
            sys::mount::cover_root(&tree.0).at(Step::Pivot, root.path.display())?;
        }
        sys::process::chroot(".").at(Step::Pivot, root.path.display())?;
    }
    fs::chdir("/").at(Step::Pivot, "/")
}

/// Makes the root read-only, if it is to be.
pub(super) fn protect(root: &Root, tree: &Tree) -> Result<()> {
    if root.read_only {
        set_attr(&tree.0, Extent::One, Attr::RDONLY, Attr::empty(), None)
            .at(Step::ReadOnly, "root")?;
    }
    Ok(())
}

/// Gives the root the propagation that it is to have, once it is `/`: one that is shared could not become that.
pub(super) fn propagate(root: &Root, tree: &Tree, own_mounts: bool) -> Result<()> {
    let Some((propagation, _)) = root.propagation else {
        return Ok(());
    };
    // The root alone: the mounts below it have what they asked for.
    let done = if own_mounts {
        let flag = propagation.flag();
        sys::mount::mount::<str, str, str, str>(None, "/", None, flag, None)
    } else {
        let none = Attr::empty();
        set_attr(&tree.0, Extent::One, none, none, Some(propagation))
    };
    done.at(Step::Root, "propagation")
}

/// Opens a procfs of our own that has nothing but processes (`subset=pid`, Linux 5.8), attached nowhere. It is made without a path, so the root may be
/// anybody's; and whoever takes it away from us has no settings of the kernel. Nothing where the kernel makes none without a path.
pub(super) fn processes() -> sys::Result<Option<OwnedFd>> {
    let mut new = NewFs::open("proc")?;
    match new.set("subset", "pid") {
        // Before 5.8, where there is the whole or nothing.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => return Err(errno),
    }
    let proc = new.mount(Attr::NOSUID | Attr::NODEV | Attr::NOEXEC)?;
    if proc.is_promise() {
        return Ok(None);
    }
    proc.keep().map(Some)
}

/// Opens a procfs of our own, attached nowhere, for writes that the container must not be able to redirect
/// (CVE-2019-19921, CVE-2025-52881).
pub(super) fn private_proc() -> sys::Result<OwnedFd> {
    // In a user namespace that shares its pid namespace with the host a new procfs is refused; a copy of the host's serves
    // then, which the container cannot touch either: this is called before the root changes.
    let proc =
        NewFs::open("proc").and_then(|new| new.mount(Attr::NOSUID | Attr::NODEV | Attr::NOEXEC));
    let proc = proc.or_else(|_| clone_tree(AT_FDCWD, "/proc", Extent::One));
    // An ordinary user who enters a container has a say over no mount namespace but the container's, and some kernels copy no mounts;
    // this is still our own's.
    let proc = match proc {
        Ok(proc) if !proc.is_promise() => proc.keep()?,
        _ => fs::open_path("/proc")?,
    };
    if fs::fstatfs(&proc)?.filesystem_type() == fs::PROC_SUPER_MAGIC {
        Ok(proc)
    } else {
        Err(Errno::EXDEV)
    }
}
