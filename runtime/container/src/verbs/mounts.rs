//! `mounts add` and `mounts remove`: mounts of a container that runs.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use oci_spec::runtime as oci;
use sys::fs::{Mode, OFlag};
use sys::mount::Propagation;
use sys::process::{Handle, Namespaces};

use super::open;
use crate::check::{Source, Terms, sources};
use crate::idmap::Users;
use crate::launch::attach::{self, Visit};
use crate::plan::{
    Copier, IdMap, Ids, Label, Mount, MountKind, Refusal, Surroundings, Symlinks, mount_target,
    plan_mounts,
};
use crate::state::{Record, StateRoot, Status};
use crate::{ContainerId, Host, text};

/// Attaches mounts to a container, all or none; returns warnings. Its own processes see them at once.
pub fn add_mounts(
    root: &StateRoot,
    id: &ContainerId,
    mounts: &[oci::Mount],
) -> Result<Vec<String>> {
    let _lock = root.lock(id)?;
    let (record, init) = enterable(root, id)?;
    let namespaces = Namespaces::from_bits_truncate(record.namespaces);
    let own = namespaces.contains(Namespaces::USER);
    let (user, [uid, gid]) = if own {
        (Some(user_namespace(&record)?), maps(&record)?)
    } else {
        (None, [Vec::new(), Vec::new()])
    };
    let mut warnings = Vec::new();
    let host = Host::probe()?;
    let around = Surroundings {
        dir: &record.bundle,
        host: &host,
        cgroup: None,
        label: &Label::of(host.selinux, None, None).map_err(refused)?,
        ids: Ids {
            own,
            joined: true,
            uid: &uid,
            gid: &gid,
        },
        own: namespaces,
    };
    let planned = plan_mounts(mounts, "mounts", &around, &mut warnings).map_err(refused)?;
    for (given, mount) in mounts.iter().zip(&planned) {
        attachable(given, mount).map_err(refused)?;
    }
    let users = Users::open(&planned, user.as_ref().map(AsFd::as_fd)).map_err(refused)?;
    let terms = Terms {
        base: Propagation::Slave,
        users: &users,
        locks: own,
        copier: Copier::Parent,
    };
    let sources = sources(&planned, terms).map_err(refused)?;
    let visit = Visit {
        init: &init,
        namespaces,
    };
    if sources.iter().any(Source::is_promise) {
        bail!(NEEDS);
    }
    match attach::add(&visit, &planned, sources, terms) {
        Err(error) if attach::is_lacking(&error) => bail!(NEEDS),
        other => other.map(|()| warnings),
    }
}

/// What is the matter where mounts cannot be handed from one mount namespace to another.
const NEEDS: &str = "mounts add needs open_tree(2) and move_mount(2), which this kernel lacks or a filter hides (this needs Linux 5.12)";

/// Detaches what is mounted at the destinations of `mounts`, after all of them were found to be mount points.
pub fn remove_mounts(root: &StateRoot, id: &ContainerId, mounts: &[oci::Mount]) -> Result<()> {
    let _lock = root.lock(id)?;
    let (record, init) = enterable(root, id)?;
    let target = |(index, mount)| {
        let at = format!("mounts[{index}]");
        mount_target(mount, &at).map(|target| (target, format!("{at}.destination")))
    };
    let targets: Vec<_> = mounts
        .iter()
        .enumerate()
        .map(target)
        .collect::<Result<_, _>>()
        .map_err(refused)?;
    let visit = Visit {
        init: &init,
        namespaces: Namespaces::from_bits_truncate(record.namespaces),
    };
    attach::remove(&visit, &targets)
}

fn refused(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("{}: {}", refusal.at, refusal.why)
}

/// Opens the process of a container whose mounts can be changed. A frozen one is no worse than any other: its processes see the
/// change when they go on.
fn enterable(root: &StateRoot, id: &ContainerId) -> Result<(Record, Handle)> {
    let record = root.load(id)?;
    if matches!(root.status(id, &record), Status::Stopped | Status::Creating) {
        bail!("{}: {id}", text::NOT_RUNNING);
    }
    if !Namespaces::from_bits_truncate(record.namespaces).contains(Namespaces::MOUNT) {
        bail!("container {id} has no mount namespace of its own, whose mounts could be changed");
    }
    let init = open(&record.process)?;
    Ok((record, init))
}

/// Refuses what could not be undone, or would need the container's files.
fn attachable(given: &oci::Mount, mount: &Mount) -> Result<(), Refusal> {
    let options = format!("{}.options", mount.at);
    if matches!(given.typ().as_deref(), Some("cgroup" | "cgroup2")) {
        let why = "cgroups can be mounted when a container is created only";
        return Err(Refusal::new(format!("{}.type", mount.at), why));
    }
    match &mount.kind {
        MountKind::Remount => {
            let why = "remount changes a mount and adds none; remove it and add it anew";
            Err(Refusal::new(options, why))
        }
        MountKind::Fs { copy_up: true, .. } => {
            let why = "tmpcopyup would read files of a container that runs; leave it out";
            Err(Refusal::new(options, why))
        }
        MountKind::Bind {
            symlinks: Symlinks::Copy,
            ..
        } => {
            let why = "copy-symlink may make a symlink, which is no mount; leave it out";
            Err(Refusal::new(options, why))
        }
        _ => Ok(()),
    }
}

fn user_namespace(record: &Record) -> Result<OwnedFd> {
    let path = format!("/proc/{}/ns/user", record.process.pid);
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let fd = sys::fs::open(path.as_str(), flags, Mode::empty());
    let fd = fd.with_context(|| format!("open {path}"))?;
    // After opening: had the process ended meanwhile, the path might have been another's.
    open(&record.process)?;
    Ok(fd)
}

/// Reads the maps of the container's user namespace.
fn maps(record: &Record) -> Result<[Vec<IdMap>; 2]> {
    let read = |file: &str| {
        let path = format!("/proc/{}/{file}", record.process.pid);
        let text = std::fs::read_to_string(&path);
        let text =
            text.map_err(|error| anyhow::anyhow!("{path}: {}", crate::bundle::lower(&error)))?;
        text.lines()
            .map(IdMap::parse)
            .collect::<Option<Vec<_>>>()
            .with_context(|| path)
    };
    let maps = [read("uid_map")?, read("gid_map")?];
    open(&record.process)?;
    Ok(maps)
}
