//! The nodes and links of `/dev`.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sys::Errno;
use sys::fs::{self, AtFlags, Gid, Inside, Mode, SFlag, Uid};
use sys::mount::Loose;

use super::protocol::{At, Failure, Step};
use super::tree::{Tree, kind};
use crate::plan::{Device, DeviceKind, Link, Plan};

type Result<T> = std::result::Result<T, Failure>;

pub(super) fn link(parents: &mut Parents<'_>, path: &Path, to: &Path) -> sys::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::EINVAL);
    };
    let parent = parents.open(parent)?;
    match fs::symlinkat(to, parent, name) {
        // The image may bring the very link; anything else at its place is left alone and reported.
        Err(Errno::EEXIST)
            if fs::readlinkat(parent, name).is_ok_and(|there| Path::new(&there) == to) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// The directory that the last node was made in: nearly all of them lie in `/dev`, which is opened once (CVE-2026-41579: and not
/// found anew, by name, after something in it has changed).
pub(super) struct Parents<'a> {
    pub(super) tree: &'a Tree,
    pub(super) last: Option<(PathBuf, OwnedFd)>,
}

impl Parents<'_> {
    fn open(&mut self, path: &Path) -> sys::Result<&OwnedFd> {
        let fd = match self.last.take() {
            Some((last, fd)) if last == path => fd,
            _ => self.tree.directory(path, Inside::Root)?,
        };
        Ok(&self.last.insert((path.to_path_buf(), fd)).1)
    }
}

/// Makes the nodes and links of `/dev`.
pub(super) fn make(plan: &Plan, opened: Vec<Option<Loose>>, tree: &Tree) -> Result<()> {
    let mut parents = Parents { tree, last: None };
    for (device, bound) in plan.devices.iter().zip(opened) {
        let object = || {
            format!(
                "{} ({}.path)",
                device.path.display(),
                if device.at.is_empty() {
                    "default device"
                } else {
                    &device.at
                }
            )
        };
        match bound {
            Some(node) => {
                let target = tree
                    .file(&device.path, Inside::Root)
                    .at(Step::Device, object())?;
                node.attach(target).at(Step::Device, object())?;
            }
            None => node(device, &mut parents).at(Step::Device, object())?,
        }
    }
    for Link { path, target } in &plan.links {
        match link(&mut parents, path, target) {
            // An image's own /dev/ptmx or /dev/core stays: it is only reached by those who ask for it.
            Err(Errno::EEXIST) => {}
            other => other.at(Step::Link, path.display())?,
        }
    }
    Ok(())
}

fn node(device: &Device, parents: &mut Parents<'_>) -> sys::Result<()> {
    let (Some(parent), Some(name)) = (device.path.parent(), device.path.file_name()) else {
        return Err(Errno::EINVAL);
    };
    let (sort, rdev) = match device.kind {
        DeviceKind::Char { major, minor } => (SFlag::S_IFCHR, fs::makedev(major, minor)),
        DeviceKind::Block { major, minor } => (SFlag::S_IFBLK, fs::makedev(major, minor)),
        DeviceKind::Fifo => (SFlag::S_IFIFO, 0),
    };
    let parent = parents.open(parent)?;
    match fs::mknodat(
        parent,
        name,
        sort,
        Mode::from_bits_truncate(device.mode),
        rdev,
    ) {
        Ok(()) => {}
        Err(Errno::EEXIST) => {
            // The image's own node will do if it is that very device; a symlink or a file in its place will not (CVE-2026-41579).
            let stat = fs::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            return if kind(&stat) == sort && (sort == SFlag::S_IFIFO || stat.st_rdev == rdev) {
                Ok(())
            } else {
                Err(Errno::EEXIST)
            };
        }
        Err(errno) => return Err(errno),
    }
    if (device.uid, device.gid) != (0, 0) {
        fs::fchownat(
            parent,
            name,
            Some(Uid::from_raw(device.uid)),
            Some(Gid::from_raw(device.gid)),
            AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}
