//! Mounts that are not part of an image: criu writes down their names, and is told by whoever restores what stands for each name.
//!
//! What a container shares with its host is external: bind mounts, its cgroups, bound devices and the host's `/dev/null` over masked
//! files. A mount's name is its destination in config.json, so that the same configuration restores it from its own sources.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sys::fs::{self, Inside, Mode, OFlag};
use sys::mount::{Attr, Extent};
use sys::mountinfo::{self, Entry};
use sys::process::Namespaces;

use crate::check;
use crate::plan::{MountKind, Plan, Refusal, Symlinks};
use crate::state::NOTIFY;

const NULL: &str = "/dev/null";

/// What is mounted: a device's numbers, and the path in its file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct What {
    device: String,
    root: PathBuf,
}

impl What {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            device: entry.device.clone(),
            root: entry.root.clone(),
        }
    }
}

/// Reads a mount table.
pub(super) fn table(path: &str) -> Result<Vec<Entry>> {
    let text = std::fs::read(path)
        .map_err(|error| anyhow::anyhow!("read {path}: {}", crate::bundle::lower(&error)))?;
    mountinfo::parse(&text).with_context(|| format!("{path}: a line is no mount's"))
}

/// Returns what a bind mount of a path of ours would mount.
pub(super) fn origin(host: &[Entry], path: &Path) -> Option<What> {
    let path = path.canonicalize().ok()?;
    let id = fs::mount_id(fs::open_path(&path).ok()?).ok()?;
    let entry = host.iter().find(|entry| entry.id == id)?;
    let inside = path.strip_prefix(&entry.point).ok()?;
    let root = entry.root.components().chain(inside.components());
    Some(What {
        device: entry.device.clone(),
        root: root.collect(),
    })
}

/// What a configuration shares with the host: its name, its place there, and the attributes that it has to have.
pub(super) struct Shared {
    pub(super) name: PathBuf,
    pub(super) source: PathBuf,
    pub(super) set: Attr,
    extent: Extent,
}

impl Shared {
    fn one(name: &Path, source: &Path, set: Attr) -> Self {
        Self {
            name: name.to_path_buf(),
            source: source.to_path_buf(),
            set,
            extent: Extent::One,
        }
    }
}

pub(super) fn shared(plan: &Plan) -> Vec<Shared> {
    let mut all = Vec::new();
    for mount in &plan.mounts {
        match &mount.kind {
            MountKind::Bind { source, extent, .. } => all.push(Shared {
                extent: *extent,
                ..Shared::one(&mount.target, source, mount.set)
            }),
            MountKind::Cgroup { hierarchies, .. } => {
                let own = hierarchies.iter();
                all.extend(
                    own.map(|own| {
                        Shared::one(&mount.target.join(&own.name), &own.source, mount.set)
                    }),
                );
            }
            MountKind::Cgroup2 { source, .. } => {
                all.push(Shared::one(&mount.target, source, mount.set));
            }
            MountKind::Fs { .. } | MountKind::Remount => {}
        }
    }
    let bound = plan.devices.iter().filter(|device| device.bind);
    all.extend(bound.map(|device| Shared::one(&device.path, &device.path, check::NODE)));
    if !plan.masked_paths.is_empty() {
        all.push(Shared::one(Path::new(NULL), Path::new(NULL), check::NODE));
    }
    all
}

/// Names the external mounts of a running container, each by the place where it is now.
pub(super) fn of_process(plan: &Plan, pid: i32, root: &OwnedFd) -> Result<Vec<Vec<u8>>> {
    let table = table(&format!("/proc/{pid}/mountinfo"))?;
    let at = |path: &Path| found(&table, root, path);
    // Those that the configuration makes stand for themselves, also below a bind mount.
    let own: Vec<_> = plan
        .mounts
        .iter()
        .filter_map(|mount| at(&mount.target))
        .map(|entry| entry.id)
        .collect();
    let mut external = Vec::new();
    for shared in shared(plan) {
        let Some(entry) = at(&shared.name) else {
            continue;
        };
        external.push((entry.point.clone(), shared.name.clone()));
        if shared.extent == Extent::Tree {
            for below in mountinfo::below(&table, entry.id)
                .into_iter()
                .filter(|below| !own.contains(&below.id))
            {
                let rest = below
                    .point
                    .strip_prefix(&entry.point)
                    .unwrap_or(Path::new(""));
                external.push((below.point.clone(), shared.name.join(rest)));
            }
        }
    }
    let masked = plan.masked_paths.iter().filter_map(|path| at(path));
    let masked = masked.filter(|entry| entry.root == Path::new("/null"));
    external.extend(masked.map(|entry| (entry.point.clone(), PathBuf::from(NULL))));
    external
        .iter()
        .map(|(point, name)| one(point, name))
        .collect()
}

/// Names what stands for the external mounts of an image.
pub(super) fn of_bundle(plan: &Plan, state: &Path) -> Result<Vec<Vec<u8>>> {
    let mut external = Vec::new();
    let host = table("/proc/self/mountinfo")?;
    for shared in shared(plan) {
        external.push(one(&shared.name, &shared.source)?);
        if shared.extent == Extent::Tree
            && let Ok(source) = shared.source.canonicalize()
        {
            for entry in host.iter().filter(|entry| entry.point != source) {
                if let Ok(rest) = entry.point.strip_prefix(&source) {
                    external.push(one(&shared.name.join(rest), &entry.point)?);
                }
            }
        }
    }
    // Always, because only the image knows whether its container had one.
    external.push(one(
        Path::new("/run").join(NOTIFY).as_path(),
        &state.join(NOTIFY),
    )?);
    Ok(external)
}

/// Refuses what criu could not mount again as it was.
pub(crate) fn refuse(plan: &Plan) -> Result<(), Refusal> {
    let own_network = plan.namespaces.new.contains(Namespaces::NETWORK);
    if let (true, Some(device)) = (own_network, plan.net_devices.first()) {
        return Err(Refusal::new(
            &device.at,
            "criu cannot bring back a device of the host; let the container join a network namespace that has it",
        ));
    }
    for mount in &plan.mounts {
        let why = match &mount.kind {
            MountKind::Bind {
                symlinks: Symlinks::NoFollow,
                ..
            } => "src-nofollow: criu follows the symlink; mount the file itself",
            _ if mount.idmap.is_some() => "idmap: criu does not restore it; mount without",
            _ => continue,
        };
        return Err(Refusal::new(format!("{}.options", mount.at), why));
    }
    Ok(())
}

/// Writes a pair as criu's `--external` takes it; paths are bytes, and criu has no way to write a bracket in a name.
fn one(id: &Path, value: &Path) -> Result<Vec<u8>> {
    let bytes = |path: &Path| {
        let bytes = path.as_os_str().as_bytes().to_vec();
        let unfit = bytes.iter().any(|byte| b"]\n".contains(byte));
        let why = || {
            format!(
                "mount {}: criu cannot take the path; rename it",
                path.display()
            )
        };
        Some(bytes).filter(|_| !unfit).with_context(why)
    };
    let (id, value) = (bytes(id)?, bytes(value)?);
    Ok([b"mnt[".as_slice(), &id, b"]:", &value].concat())
}

/// Finds the mount whose top a path in the container is; `None` where none is mounted just there, or not any more.
pub(super) fn found<'a>(table: &'a [Entry], root: &OwnedFd, path: &Path) -> Option<&'a Entry> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let fd = fs::open_inside(root, below, OFlag::O_PATH, Mode::empty(), Inside::Root).ok()?;
    if !fs::is_mount_root(&fd).ok()? {
        return None;
    }
    let id = fs::mount_id(&fd).ok()?;
    table.iter().find(|entry| entry.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bytes() {
        use std::ffi::OsStr;
        let point = Path::new(OsStr::from_bytes(b"/\xffa \xfe"));
        let pair = one(point, Path::new("/c")).expect("fine");
        assert_eq!(pair, b"mnt[/\xffa \xfe]:/c");
    }

    #[test]
    fn paths_that_would_break_the_form_are_refused() {
        assert_eq!(
            one(Path::new("/a:b"), Path::new("/c")).expect("fine"),
            b"mnt[/a:b]:/c"
        );
        assert!(one(Path::new("/a]"), Path::new("/c")).is_err());
    }
}
