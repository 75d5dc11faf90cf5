//! Mount: an image's files, to look at, in a directory: read-only, and of no more use to the host's users than any other files.
//!
//! ```text
//! RUN_ROOT/images/HEX      where an image is mounted that was given no directory
//! RUN_ROOT/mounts/HEX      a mount, by the sha256 of its path; JSON: { "id": the image, "path": .. }
//! ```
//!
//! A note is written before its mount is made, since a mount that nobody knows of would lose its files with the image, and goes when
//! it is found without. Whoever looks at the notes has locked their directory.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use image::Digest;
use serde_json::{Value, json};
use sys::fs::open_path;
use sys::mount::{MntFlags, umount2};

use crate::{Engine, Error, Kind, Result};

/// How to unmount.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unmount {
    /// Also while somebody looks into it.
    pub force: bool,
}

/// An image that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The image.
    pub id: Digest,
    /// Where.
    pub path: PathBuf,
}

/// What is mounted. Nobody mounts anything as long as this lives.
#[derive(Debug)]
pub(crate) struct Table {
    pub mounts: Vec<Mounted>,
    _lock: Option<File>,
}

impl Engine {
    /// Mounts an image, read-only; without a directory, in one of our own, which is returned.
    pub fn mount(&self, name: &str, at: Option<&Path>) -> Result<PathBuf> {
        make_own(&self.notes())?;
        // First: what is found then is removed by nobody.
        let table = self.mount_table()?;
        let found = self.find(name)?;
        let path = match at {
            Some(path) => absolute(path)?,
            None => self.settings.run_root.join("images").join(found.id.hex()),
        };
        if table.mounts.iter().any(|mounted| mounted.path == path) {
            return Err(Error::new(
                Kind::Conflict,
                format!("{} is mounted already", path.display()),
            ));
        }
        if at.is_none() {
            make_own(&path)?;
        }
        let layers = self.layer_paths(&found.id)?;
        let plan = snapshot::Plan {
            layers: layers.iter().map(PathBuf::as_path).collect(),
            upper: None,
        };
        let loose = snapshot::mount(&plan, crate::unpack::options().userxattr)?;
        let note = self.note(&path, &found.id)?;
        let attached = attach(loose, &path);
        if attached.is_err() {
            fs::remove_file(&note).with_context(|| format!("remove {}", note.display()))?;
        }
        attached?;
        Ok(path)
    }

    /// Unmounts an image, by its name or by the directory.
    pub fn unmount(&self, name: &str, options: &Unmount) -> Result<PathBuf> {
        let Table { mounts, _lock } = self.mount_table()?;
        let by_path = absolute(Path::new(name)).ok();
        let by_path = by_path.and_then(|path| mounts.iter().find(|mounted| mounted.path == path));
        let mounted = match by_path {
            Some(mounted) => mounted,
            None => {
                let id = self.find(name)?.id;
                let none = || Error::not_found(format!("{name} is mounted nowhere"));
                mounts
                    .iter()
                    .find(|mounted| mounted.id == id)
                    .ok_or_else(none)?
            }
        };
        let path = &mounted.path;
        let mut flags = MntFlags::UMOUNT_NOFOLLOW;
        if options.force {
            flags |= MntFlags::MNT_DETACH;
        }
        umount2(path, flags).map_err(|errno| {
            let text = format!("unmount {}: {}", path.display(), sys::reason(errno));
            Error::new(Kind::Conflict, text).with_hint("somebody looks into it; see --force")
        })?;
        forget(&self.notes().join(note_name(path)));
        if path.starts_with(self.settings.run_root.join("images")) {
            // Ours, and empty now.
            drop(fs::remove_dir(path));
        }
        Ok(path.clone())
    }

    /// Lists what is mounted.
    pub fn mounts(&self) -> Result<Vec<Mounted>> {
        Ok(self.mount_table()?.mounts)
    }

    /// Returns what is mounted, and keeps it so.
    pub(crate) fn mount_table(&self) -> Result<Table> {
        // Before anybody looks: between a look at nothing and a removal somebody could mount the image.
        make_own(&self.notes()).ok();
        let lock = lock(&self.notes())?;
        let mut mounts = Vec::new();
        if lock.is_some() {
            let mounted = mounted_paths()?;
            for note in fs::read_dir(self.notes()).into_iter().flatten().flatten() {
                let file = note.path();
                match read(&file) {
                    Some(known) if mounted.contains(&known.path) => mounts.push(known),
                    // Unmounted by hand, or by a reboot; or never mounted, by a kill.
                    _ => forget(&file),
                }
            }
        }
        mounts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Table {
            mounts,
            _lock: lock,
        })
    }

    fn notes(&self) -> PathBuf {
        self.settings.run_root.join("mounts")
    }

    fn note(&self, path: &Path, id: &Digest) -> anyhow::Result<PathBuf> {
        let note = self.notes().join(note_name(path));
        let text = json!({ "id": id.to_string(), "path": path.to_string_lossy() }).to_string();
        fs::write(&note, text).with_context(|| format!("write {}", note.display()))?;
        Ok(note)
    }
}

/// Makes a directory, and those above it, for nobody else: an image may hold programs that make whoever runs them root.
fn make_own(path: &Path) -> anyhow::Result<()> {
    let mut making = fs::DirBuilder::new();
    let made = making.recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make {}", path.display()))
}

/// Locks a directory; where there is none, or none of ours, we have never mounted anything.
fn lock(dir: &Path) -> anyhow::Result<Option<File>> {
    use io::ErrorKind::{NotFound, PermissionDenied};
    let file = match File::open(dir) {
        Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => return Ok(None),
        other => other.with_context(|| format!("open {}", dir.display()))?,
    };
    sys::fs::lock(&file).with_context(|| format!("lock {}", dir.display()))?;
    Ok(Some(file))
}

fn note_name(path: &Path) -> String {
    Digest::of(path.to_string_lossy().as_bytes()).hex()
}

fn read(note: &Path) -> Option<Mounted> {
    let value: Value = serde_json::from_slice(&fs::read(note).ok()?).ok()?;
    Some(Mounted {
        id: value.get("id")?.as_str()?.parse().ok()?,
        path: PathBuf::from(value.get("path")?.as_str()?),
    })
}

fn forget(note: &Path) {
    // It is found again, and seen to be out of date again.
    drop(fs::remove_file(note));
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .with_context(|| format!("open {}", path.display()))
}

fn attach(loose: sys::mount::Loose, path: &Path) -> anyhow::Result<()> {
    let said = |errno| anyhow!("mount on {}: {}", path.display(), sys::reason(errno));
    let target = open_path(path).map_err(said)?;
    loose.attach(&target).map(drop).map_err(said)
}

fn mounted_paths() -> anyhow::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/self/mountinfo").context("read the table of mounts")?;
    let entries = sys::mountinfo::parse(&table).context("the table of mounts is malformed")?;
    Ok(entries.into_iter().map(|entry| entry.point).collect())
}
