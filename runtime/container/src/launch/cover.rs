//! Paths that are masked or made read-only.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use sys::Errno;
use sys::fs::{self, Inside, SFlag};
use sys::mount::{Attr, Extent, Loose, NewFs, clone_tree};

use super::protocol::{At, Failure, Step};
use super::tree::{Tree, kind};

type Result<T> = std::result::Result<T, Failure>;

/// Makes paths read-only; one that is not there needs no protection.
pub(super) fn read_only(paths: &[PathBuf], tree: &Tree) -> Result<()> {
    for (index, path) in paths.iter().enumerate() {
        let object = || format!("{} (linux.readonlyPaths[{index}])", path.display());
        let target = match tree.open(path, Inside::Root) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            other => found(other, Step::ReadOnly, &object())?,
        };
        let mut copy = clone_tree(&target, "", Extent::Tree).at(Step::ReadOnly, object())?;
        copy.set(Extent::One, Attr::RDONLY, Attr::empty(), None)
            .at(Step::ReadOnly, object())?;
        copy.attach(target).at(Step::ReadOnly, object())?;
    }
    Ok(())
}

/// Says more about a path than the kernel does where it ends in a link that is none, such as `/proc/self/exe`.
fn found(opened: sys::Result<OwnedFd>, step: Step, object: &str) -> Result<OwnedFd> {
    match opened {
        Err(Errno::ELOOP) => {
            let why = "leads through too many symlinks, or through one of /proc/PID that names what is open; name the file itself";
            Err(Failure::new(step, format!("{object}: {why}")))
        }
        other => other.at(step, object),
    }
}

/// Hides directories under one empty read-only tmpfs and files under the host's `/dev/null` (CVE-2025-31133: not the container's).
pub(super) fn mask(paths: &[PathBuf], null: Option<Loose>, tree: &Tree) -> Result<()> {
    let mut null = Cover {
        first: null,
        attached: None,
    };
    let mut empty = Cover {
        first: None,
        attached: None,
    };
    for (index, path) in paths.iter().enumerate() {
        let object = || format!("{} (linux.maskedPaths[{index}])", path.display());
        let target = match tree.open(path, Inside::Root) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            other => found(other, Step::Mask, &object())?,
        };
        let stat = fs::fstat(&target).at(Step::Mask, object())?;
        if kind(&stat) == SFlag::S_IFDIR {
            if empty.first.is_none() && empty.attached.is_none() {
                empty.first = Some(empty_directory().at(Step::Mask, "empty directory")?);
            }
            empty.over(target).at(Step::Mask, object())?;
        } else {
            null.over(target).at(Step::Mask, object())?;
        }
    }
    Ok(())
}

fn empty_directory() -> sys::Result<Loose> {
    let mut new = NewFs::open("tmpfs")?;
    new.set("mode", "555")?;
    new.set("nr_inodes", "1")?;
    new.mount(Attr::RDONLY | Attr::NOSUID | Attr::NODEV | Attr::NOEXEC)
}

/// A mount that is laid over many paths. Only a mount that is attached in our namespace can be copied, hence the first one
/// goes to the first path and the rest are copies of it.
struct Cover {
    first: Option<Loose>,
    attached: Option<OwnedFd>,
}

impl Cover {
    fn over(&mut self, target: impl AsFd) -> sys::Result<()> {
        match (&self.attached, self.first.take()) {
            (Some(attached), _) => {
                let copy = clone_tree(attached, "", Extent::One)?;
                copy.attach(target).map(drop)
            }
            (None, Some(first)) => {
                self.attached = Some(first.attach(target)?);
                Ok(())
            }
            (None, None) => Err(Errno::EBADF),
        }
    }
}
