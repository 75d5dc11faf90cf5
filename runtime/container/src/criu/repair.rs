//! Attributes that criu loses: it mounts a second copy of one external mount without the options that the first one got. A masked file would
//! be writable again, and with it the inode of the host's `/dev/null`.
//!
//! This only ever takes rights away, and goes by what is mounted and not by its path: the container may have moved directories since.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sys::fs::{self, Inside, Mode, OFlag};
use sys::mount::{Attr, Extent, set_attr};
use sys::mountinfo::Entry;
use sys::process::{Birth, Exit, Namespaces};

use super::mounts;
use crate::plan::Plan;

const NAMES: [(&str, Attr); 5] = [
    ("ro", Attr::RDONLY),
    ("nosuid", Attr::NOSUID),
    ("nodev", Attr::NODEV),
    ("noexec", Attr::NOEXEC),
    ("nosymfollow", Attr::NOSYMFOLLOW),
];

/// Gives the external mounts of a restored process, which does not run yet, the attributes that the configuration wants.
pub(crate) fn repair(plan: &Plan, pid: i32) -> Result<()> {
    let host = mounts::table("/proc/self/mountinfo")?;
    let table = mounts::table(&format!("/proc/{pid}/mountinfo"))?;
    let root = format!("/proc/{pid}/root");
    let root = fs::open_path(root.as_str()).context("open the container's root")?;
    let shared: Vec<_> = mounts::shared(plan)
        .into_iter()
        .map(|shared| Known {
            what: mounts::origin(&host, &shared.source),
            place: mounts::found(&table, &root, &shared.name).map(|entry| entry.id),
            set: shared.set,
        })
        .collect();
    let lacking: Vec<_> = table
        .iter()
        .map(|entry| {
            (
                entry.id,
                entry.point.clone(),
                wanted(entry, &shared) - has(entry),
            )
        })
        .filter(|(_, _, attr)| !attr.is_empty())
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    apply(pid, &lacking)
}

/// An external mount as the configuration has it: what it shows, and where it was found.
struct Known {
    what: Option<mounts::What>,
    place: Option<u64>,
    set: Attr,
}

/// Returns the attributes that a mount has to have. One that is found nowhere any more, because the container has moved the directories
/// above it, gets what any mount of the same thing asks for.
fn wanted(entry: &Entry, shared: &[Known]) -> Attr {
    let all = |known: Vec<&Known>| {
        known
            .iter()
            .fold(Attr::empty(), |all, known| all | known.set)
    };
    let what = mounts::What::of(entry);
    let same = shared
        .iter()
        .filter(|known| known.what.as_ref() == Some(&what));
    let (here, elsewhere): (Vec<_>, Vec<_>) = same.partition(|known| known.place == Some(entry.id));
    all(if here.is_empty() { elsewhere } else { here })
}

fn has(entry: &Entry) -> Attr {
    let named = |name: &str| entry.options.split(',').any(|option| option == name);
    // Access times and the like protect nobody.
    let other = !NAMES
        .iter()
        .fold(Attr::empty(), |all, (_, attr)| all | *attr);
    NAMES
        .iter()
        .filter(|(name, _)| named(name))
        .fold(other, |all, (_, attr)| all | *attr)
}

/// Sets attributes from inside of the container's mount namespace, where alone they can be set.
fn apply(pid: i32, lacking: &[(u64, PathBuf, Attr)]) -> Result<()> {
    let path = format!("/proc/{pid}/ns/mnt");
    let namespace = fs::open(
        path.as_str(),
        OFlag::O_RDONLY | OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    let namespace = namespace.with_context(|| format!("open {path}"))?;
    let child = sys::process::clone3(Birth::default(), || {
        let done = sys::process::setns(&namespace, Namespaces::MOUNT).and_then(|()| {
            sys::mount::claim_namespace();
            let root = fs::open_path("/")?;
            lacking
                .iter()
                .try_for_each(|(id, point, attr)| one(&root, *id, point, *attr))
        });
        done.map_or_else(|errno| errno as i32, |()| 0)
    })
    .context("clone a process that protects mounts")?;
    match child.handle.wait().context("wait for it")? {
        Exit::Code(0) => Ok(()),
        Exit::Code(errno) => bail!(
            "protect mounts of the container: {}",
            sys::reason(sys::Errno::from_raw(errno))
        ),
        Exit::Signal(signal) => bail!("protect mounts of the container: ended by signal {signal}"),
    }
}

fn one(root: &OwnedFd, id: u64, point: &Path, attr: Attr) -> sys::Result<()> {
    let below = point.strip_prefix("/").unwrap_or(point);
    let mount = fs::open_inside(
        root,
        below,
        OFlag::O_PATH,
        Mode::empty(),
        Inside::NoSymlinks,
    )?;
    // Covered by another one it cannot be reached, neither by us nor by the container.
    if fs::mount_id(&mount)? != id {
        return Ok(());
    }
    set_attr(&mount, Extent::One, attr, Attr::empty(), None)
}
