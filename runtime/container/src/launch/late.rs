//! For a creator that has no say over its own mounts: what it has looked at, copied by its child in a mount namespace that belongs to
//! the container's user namespace. Only the very objects that were looked at will do.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sys::Errno;
use sys::fs;
use sys::mount::{Extent, clone_path};

use super::protocol::{At, Failure, Step};
use super::{Start, sealed_window};
use crate::check::{self, Opened};
use crate::plan::{Copier, Plan, Refusal};

type Result<T> = std::result::Result<T, Failure>;

/// Exchanges everything but the sources of mounts, which have attributes of their own.
pub(super) fn copy(plan: &Plan, opened: &mut Opened) -> Result<()> {
    let refused = |step| {
        move |refusal: Refusal| Failure::new(step, format!("{}: {}", refusal.at, refusal.why))
    };
    let root = check::root(&plan.root.path, Copier::Parent).map_err(refused(Step::Root))?;
    same(&opened.root, &root).at(Step::Root, plan.root.path.display())?;
    opened.root = root;
    // Told by their numbers, both times.
    opened.devices = check::devices(plan, Copier::Parent).map_err(refused(Step::Device))?;
    opened.null = check::null(plan, Copier::Parent).map_err(refused(Step::Mask))?;
    Ok(())
}

/// Returns the wait for the start, with a copy of the state directory that no `..` leads out of.
pub(super) fn start(start: &Start) -> Result<Start> {
    let Start::OnFifo { dir, path } = start else {
        return Ok(Start::AtOnce);
    };
    let window = window(dir, path).at(Step::Start, path.display())?;
    Ok(Start::OnFifo {
        dir: window,
        path: path.clone(),
    })
}

fn window(dir: &OwnedFd, path: &Path) -> sys::Result<OwnedFd> {
    let window = clone_path(path, Extent::One)?;
    same(dir, &window)?;
    sealed_window(window)
}

fn same(looked_at: impl AsFd, copied: impl AsFd) -> sys::Result<()> {
    let (was, is) = (fs::fstat(looked_at)?, fs::fstat(copied)?);
    if (was.st_dev, was.st_ino) == (is.st_dev, is.st_ino) {
        Ok(())
    } else {
        Err(Errno::ESTALE)
    }
}
