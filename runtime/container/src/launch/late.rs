//! What the parent has looked at and its child copies, in a mount namespace of its own: where the creator has no say over its own mounts,
//! or the kernel makes no copies that are attached nowhere. Only the very objects that were looked at will do.

use std::os::fd::AsFd;
use std::path::Path;

use sys::Errno;
use sys::fs;
use sys::mount::{Extent, Loose, clone_path};

use super::protocol::{At, Failure, Step};
use super::{Start, sealed_window};
use crate::check::{self, Opened, Source};
use crate::plan::{Copier, Plan, Refusal};

type Result<T> = std::result::Result<T, Failure>;

/// Exchanges everything that was only looked at, or promised; natively, for a creator who owns its mounts, nothing.
pub(super) fn copy(plan: &Plan, opened: Opened, start: Start) -> Result<(Opened, Start)> {
    match plan.copier {
        Copier::Parent => find(plan, opened, start),
        // The sources of mounts have attributes of their own, and their turn later.
        Copier::Child => copy_all(plan, opened, &start),
    }
}

fn copy_all(plan: &Plan, mut opened: Opened, start: &Start) -> Result<(Opened, Start)> {
    let refused = |step| {
        move |refusal: Refusal| Failure::new(step, format!("{}: {}", refusal.at, refusal.why))
    };
    let root = check::root(&plan.root.path, Copier::Parent).map_err(refused(Step::Root))?;
    same(&opened.root, &root).at(Step::Root, plan.root.path.display())?;
    opened.root = root;
    // Told by their numbers, both times.
    opened.devices = check::devices(plan, Copier::Parent).map_err(refused(Step::Device))?;
    opened.null = check::null(plan, Copier::Parent).map_err(refused(Step::Mask))?;
    let start = match start {
        Start::AtOnce => Start::AtOnce,
        Start::OnFifo { dir, path } => {
            let window = window(dir, path).at(Step::Start, path.display())?;
            Start::OnFifo {
                dir: window,
                path: path.clone(),
            }
        }
    };
    Ok((opened, start))
}

fn window(dir: &Loose, path: &Path) -> sys::Result<Loose> {
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

/// Looks up again what is promised.
fn find(plan: &Plan, mut opened: Opened, start: Start) -> Result<(Opened, Start)> {
    let root = plan.root.path.display();
    opened.root = opened.root.here().at(Step::Root, root)?;
    let sources = opened.sources.into_iter().zip(&plan.mounts);
    let sources = sources.map(|(source, mount)| {
        let object = || format!("{}.source: look it up in the container's mounts", mount.at);
        Ok(match source {
            Source::Directory(tree) => Source::Directory(tree.here().at(Step::Mount, object())?),
            Source::File(tree) => Source::File(tree.here().at(Step::Mount, object())?),
            other => other,
        })
    });
    opened.sources = sources.collect::<Result<_>>()?;
    for (node, device) in opened.devices.iter_mut().zip(&plan.devices) {
        let found = node.take().map(Loose::here).transpose();
        *node = found.at(Step::Device, device.path.display())?;
    }
    let null = opened.null.map(Loose::here).transpose();
    opened.null = null.at(Step::Mask, "/dev/null of the host")?;
    let start = match start {
        Start::AtOnce => Start::AtOnce,
        Start::OnFifo { dir, path } => {
            let dir = dir.here().at(Step::Start, path.display())?;
            Start::OnFifo { dir, path }
        }
    };
    Ok((opened, start))
}
