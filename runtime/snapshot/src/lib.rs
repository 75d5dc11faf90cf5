//! A container's root, made of an image's layers: one overlay mount that is attached nowhere yet.
//!
//! The crate knows directories: those of the layers, which are only read, and one that takes the changes. What layers mean, who keeps
//! their directories and where the mount goes are for others.
#![forbid(unsafe_code)]

mod old;
mod overlay;

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::mount::{Attr, Extent, Loose};

/// The most layers that the kernel stacks (OVL_MAX_STACK).
pub const MOST: usize = 500;

/// What a root is made of.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The directories of the layers, the topmost last, as an image lists them.
    pub layers: Vec<&'a Path>,
    /// Where changes go; without it the files are to be looked at only: read-only, no program among them makes whoever runs it
    /// root, and no device opens.
    pub upper: Option<Upper<'a>>,
}

/// What takes the changes.
#[derive(Debug, Clone, Copy)]
pub struct Upper<'a> {
    /// A directory that [`prepare`] has made ready.
    pub dir: &'a Path,
    /// Whether nothing of it has to be there after a crash: no sync(2) of the container then reaches the disk (Linux 5.10).
    pub volatile: bool,
}

/// Makes `upper` and `work` in a directory.
///
/// The root of a container is the upper directory: it gets the owner and the mode of `root`, the topmost layer's directory, or root's
/// and 0755.
pub fn prepare(dir: &Path, root: Option<&Path>) -> Result<()> {
    let make = |name: &str, mode| {
        let path = dir.join(name);
        let made = DirBuilder::new().mode(mode).create(&path);
        made.map_err(|why| said("make", &path, &why)).map(|()| path)
    };
    make("work", 0o700)?;
    let upper = make("upper", 0o755)?;
    let (owner, mode) = match root {
        Some(root) => {
            let stat = root.metadata().map_err(|why| said("read", root, &why))?;
            (Some((stat.uid(), stat.gid())), stat.mode() & 0o7777)
        }
        None => (None, 0o755),
    };
    let owned = owner.map_or(Ok(()), |(uid, gid)| chown(&upper, Some(uid), Some(gid)));
    owned
        // After the owner, whose change takes the set-id bits away; and whatever the umask was.
        .and_then(|()| std::fs::set_permissions(&upper, Permissions::from_mode(mode)))
        .map_err(|why| said("set owner and mode of", &upper, &why))
}

/// Makes the mount, attached nowhere yet.
///
/// A single layer without changes is bound; layers are not bound as a container's root, so what one layer marks as removed
/// shows there as the device 0:0 that the mark is. Needs the new mount interface (Linux 5.2), or [`sys::mount::claim_namespace`]; [`show`]
/// needs neither.
pub fn mount(plan: &Plan<'_>, userxattr: bool) -> Result<Loose> {
    if plan.layers.len() > MOST {
        bail!(
            "mount an image of {} layers: the kernel stacks at most {MOST}; build the image with fewer, or squash it",
            plan.layers.len()
        );
    }
    match (plan.layers.as_slice(), plan.upper) {
        ([], None) => bail!("mount an image of no layers: it has no files to show"),
        ([], Some(upper)) => bind(&upper.dir.join("upper"), Attr::empty()),
        ([layer], None) => bind(layer, to_look_at()),
        _ => overlay::mount(plan, userxattr),
    }
}

/// Makes the mount of what is to be looked at, and puts it on an empty directory. Where the kernel has no mounts that are attached
/// nowhere (before Linux 5.12), one mount(2) does both.
pub fn show(layers: Vec<&Path>, userxattr: bool, at: &Path) -> Result<()> {
    let plan = Plan {
        layers,
        upper: None,
    };
    if !(1..=MOST).contains(&plan.layers.len()) || has_loose(at) {
        let loose = mount(&plan, userxattr)?;
        let attached = sys::fs::open_path(at).and_then(|point| loose.attach(point));
        return attached
            .map(drop)
            .map_err(|errno| refused("mount on", at, errno));
    }
    old::mount_on(&plan, userxattr, at)
}

/// Whether a mount can be made that is attached nowhere, and be given attributes. What else is wrong is said by whoever makes one.
fn has_loose(at: &Path) -> bool {
    let made = sys::mount::clone_path(at, Extent::One).and_then(|mut loose| {
        loose.set(Extent::One, to_look_at(), Attr::empty(), None)?;
        Ok(!loose.is_promise())
    });
    made.unwrap_or_else(|errno| errno != Errno::ENOSYS)
}

/// What a mount is that belongs to no container: its files are an image's, and the host's users could use them.
pub(crate) fn to_look_at() -> Attr {
    Attr::RDONLY | Attr::NOSUID | Attr::NODEV
}

fn bind(path: &Path, attr: Attr) -> Result<Loose> {
    let bound = sys::mount::clone_path(path, Extent::One).and_then(|mut loose| {
        loose.set(Extent::One, attr, Attr::empty(), None)?;
        Ok(loose)
    });
    bound.map_err(|errno| refused("bind", path, errno))
}

fn refused(what: &str, path: &Path, errno: Errno) -> anyhow::Error {
    let why = match errno {
        Errno::EPERM => format!(
            "{}; this needs root, or a user namespace of one's own",
            sys::reason(errno)
        ),
        _ => sys::reason(errno),
    };
    anyhow::anyhow!("{what} {}: {why}", path.display())
}

fn said(what: &str, path: &Path, why: &io::Error) -> anyhow::Error {
    match why.raw_os_error() {
        Some(errno) => refused(what, path, Errno::from_raw(errno)),
        None => anyhow::anyhow!("{what} {}: {why}", path.display()),
    }
}

/// Takes away the mark that a volatile mount has left, so that the kernel mounts the directory again.
fn forget_volatile(upper: &Upper<'_>) -> Result<()> {
    let mark = volatile_mark(upper);
    match std::fs::remove_dir_all(&mark) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.with_context(|| format!("remove {}", mark.display()))?,
    }
    // The marks of other features stay, and the kernel goes on to refuse those.
    match mark.parent().map(std::fs::remove_dir) {
        None | Some(_) => Ok(()),
    }
}

/// Where the kernel leaves it.
fn volatile_mark(upper: &Upper<'_>) -> std::path::PathBuf {
    upper.dir.join("work/work/incompat/volatile")
}

#[cfg(test)]
mod tests;
