//! User namespaces that lend their maps to mounts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};
use sys::mount::{Extent, Loose};
use sys::process::{self, Birth, Child, Namespaces};

use crate::bundle::lower;
use crate::plan::newer::NO_IDMAP;
use crate::plan::{IdMap, Mapping, Mount, MountKind, Refusal};
use crate::state::map_text;

/// A user namespace for each mapping that the mounts of a container use.
#[derive(Debug, Default)]
pub struct Users(Vec<(Mapping, OwnedFd)>);

impl Users {
    /// Makes the namespaces that the mounts need; `joined` is the one that the container joins.
    pub(crate) fn open(mounts: &[Mount], joined: Option<BorrowedFd<'_>>) -> Result<Self, Refusal> {
        let mut users = Self::default();
        for idmap in mounts.iter().filter_map(|mount| mount.idmap.as_ref()) {
            if users.0.iter().any(|(known, _)| *known == idmap.by) {
                continue;
            }
            let fd = match (&idmap.by, joined) {
                (Mapping::Ranges { uid, gid }, _) => namespace(uid, gid),
                (Mapping::Joined, Some(joined)) => joined.try_clone_to_owned().context("duplicate"),
                (Mapping::Joined, None) => Err(anyhow::anyhow!("no user namespace is joined")),
            };
            let fd = fd.map_err(|error| Refusal::new(&idmap.at, format!("{error:#}")))?;
            users.0.push((idmap.by.clone(), fd));
        }
        Ok(users)
    }

    /// Maps the ids of a detached mount, if that is asked for.
    pub(crate) fn map(&self, tree: &Loose, mount: &Mount) -> sys::Result<()> {
        let Some(idmap) = &mount.idmap else {
            return Ok(());
        };
        let user = self.0.iter().find(|(by, _)| *by == idmap.by);
        let (_, user) = user.ok_or(Errno::ENOENT)?;
        tree.idmap(idmap.extent, user)
    }

    /// Returns the descriptors.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, fd)| fd.as_fd())
    }

    /// Duplicates the descriptors.
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        let each = |(by, fd): &(Mapping, OwnedFd)| Ok((by.clone(), fd.try_clone()?));
        self.0
            .iter()
            .map(each)
            .collect::<std::io::Result<_>>()
            .map(Self)
    }
}

/// Makes a user namespace with maps: it lasts as long as its descriptor, the process that it is made for does not.
fn namespace(uid: &[IdMap], gid: &[IdMap]) -> Result<OwnedFd> {
    let (reader, writer) = fs::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
    let mut theirs = Some(writer);
    let birth = Birth {
        namespaces: Namespaces::USER,
        ..Birth::default()
    };
    let child = process::clone3(birth, || {
        drop(theirs.take());
        // Until the parent has looked at the namespace, or is gone.
        fs::read(&reader, &mut [0]).map_or(1, |_| 0)
    });
    let child = child.context("make a user namespace for the ids of a mount")?;
    let made = maps(&child, uid, gid);
    drop(theirs);
    child
        .handle
        .wait()
        .context("wait for the process of a user namespace")?;
    made
}

fn maps(child: &Child, uid: &[IdMap], gid: &[IdMap]) -> Result<OwnedFd> {
    let dir = format!("/proc/{}", child.pid);
    for (file, map) in [("gid_map", gid), ("uid_map", uid)] {
        let text = map_text(map);
        if let Err(error) = std::fs::write(format!("{dir}/{file}"), &text) {
            let why = lower(&error);
            bail!("write {text:?} to the {file} of a user namespace: {why}");
        }
    }
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let path = format!("{dir}/ns/user");
    fs::open(path.as_str(), flags, Mode::empty()).with_context(|| format!("open {path}"))
}

/// Says why a mount's ids could not be mapped.
pub(crate) fn refusal(mount: &Mount, source: &Path, errno: Errno) -> Refusal {
    let at = mount.idmap.as_ref().map_or(&mount.at, |idmap| &idmap.at);
    let tree = mount
        .idmap
        .as_ref()
        .is_some_and(|idmap| idmap.extent == Extent::Tree)
        && matches!(
            &mount.kind,
            MountKind::Bind {
                extent: Extent::Tree,
                ..
            }
        );
    let types = file_systems(source, tree).unwrap_or_default().join(", ");
    let source = source.display();
    let why = match errno {
        Errno::EINVAL if tree => format!(
            "{source}: of the file systems in this tree ({types}) at least one cannot be idmapped by this kernel; remove the option, or use idmap with bind"
        ),
        Errno::EINVAL => format!(
            "{source}: its file system, {types}, cannot be idmapped by this kernel; remove the mapping"
        ),
        Errno::EPERM => format!(
            "{source}: the ids of this mount ({types}) are mapped already, or it belongs to another user namespace"
        ),
        Errno::ENOSYS => format!("{source}: {NO_IDMAP}"),
        errno => format!("{source}: map ids: {}", sys::reason(errno)),
    };
    Refusal::new(at, why)
}

/// Returns the types of the file systems at a path, or also below it, as mountinfo has them.
fn file_systems(source: &Path, tree: bool) -> Option<Vec<String>> {
    let id = fs::mount_id(fs::open_path(source).ok()?).ok()?;
    let table = sys::mountinfo::parse(&std::fs::read("/proc/self/mountinfo").ok()?)?;
    let whole = std::fs::canonicalize(source).ok()?;
    let mut types: Vec<String> = Vec::new();
    for entry in table {
        let below = tree && entry.point.starts_with(&whole);
        if (entry.id == id || below) && !types.contains(&entry.kind) {
            types.push(entry.kind);
        }
    }
    Some(types)
}
