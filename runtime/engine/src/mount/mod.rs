//! Mount: an image's files, to look at, in a directory: read-only, and of no more use to the host's users than any other files.
//!
//! ```text
//! RUN_ROOT/images/ROOT/HEX     where an image is mounted that was given no directory
//! RUN_ROOT/mounts/ROOT/HEX     a mount, by the sha256 of its namespace and path; JSON:
//!                              { "id": the image, "path": .., "space": its mount namespace, "mark": what the kernel says of it }
//! ```
//!
//! ROOT stands for the data root: another one may have the same run root, and the same image.
//!
//! A note is written before its mount is made, since a mount that nobody knows of would lose its files with the image, and goes when
//! it is found without: in the mount namespace where it was made, and in those of all processes. Whoever looks at the notes has locked
//! their directory.

mod tables;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use image::Digest;
use serde_json::{Value, json};
use sys::mount::{MntFlags, umount2};
use sys::mountinfo::Entry;

use crate::{Engine, Error, Kind, Result};
use tables::{mark, tops};

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
    /// It is in another mount namespace, where other processes see it.
    pub elsewhere: bool,
    /// What tells the mount from others at the same place, once it is there.
    mark: Option<String>,
    note: PathBuf,
}

/// What is mounted. Nobody mounts anything as long as this lives.
#[derive(Debug)]
pub(crate) struct Table {
    pub mounts: Vec<Mounted>,
    _lock: Option<File>,
}

/// What to do about a mount that is not to be seen here.
pub(crate) const ELSEWHERE: &str = "unmount it where it was mounted, or end what runs there";

impl Mounted {
    fn is_here(&self, path: &Path) -> bool {
        !self.elsewhere && self.path == path
    }

    /// Tells whether this is the mount that a table speaks of.
    fn is(&self, entry: &Entry) -> bool {
        self.mark
            .as_ref()
            .map_or(entry.point == self.path, |own| *own == mark(entry))
    }
}

impl Engine {
    /// Mounts an image, read-only; without a directory, in one of our own, which is returned.
    pub fn mount(&self, name: &str, at: Option<&Path>) -> Result<PathBuf> {
        make_own(&self.notes())?;
        // First: what is found then is removed by nobody.
        let table = self.mount_table()?;
        let found = self.find(name)?;
        let own = self.below_run_root("images").join(found.id.hex());
        if at.is_none() {
            make_own(&own)?;
        }
        let path = absolute(at.unwrap_or(&own))?;
        if table.mounts.iter().any(|known| known.is_here(&path)) {
            return Err(Error::new(
                Kind::Conflict,
                format!("{} is mounted already", path.display()),
            ));
        }
        refuse_full(&path)?;
        let layers = self.layer_paths(&found.id)?;
        let layers = layers.iter().map(PathBuf::as_path).collect();
        let note = self.note(&path, &found.id, None)?;
        let mounted = snapshot::show(layers, crate::unpack::options().userxattr, &path);
        if mounted.is_err() {
            fs::remove_file(&note).with_context(|| format!("remove {}", note.display()))?;
        }
        mounted?;
        // Only now can it be told from others that somebody makes there.
        let top = tops(&tables::own()?).remove(&path);
        self.note(&path, &found.id, top.as_deref())?;
        Ok(path)
    }

    /// Unmounts an image, by its name or by the directory.
    pub fn unmount(&self, name: &str, options: &Unmount) -> Result<PathBuf> {
        let Table { mounts, _lock } = self.mount_table()?;
        let by_path = absolute(Path::new(name)).ok();
        let by_path = by_path.and_then(|path| chosen(&mounts, |known| known.path == path));
        let mounted = match by_path {
            Some(mounted) => mounted,
            None => {
                let nothing = || {
                    let text = format!("image unmount: lade has mounted nothing on {name}");
                    Error::not_found(text)
                };
                // No image is called so.
                if name.starts_with(['/', '.']) {
                    return Err(nothing());
                }
                let found = self.find(name);
                let id = match found {
                    Err(error) if error.kind() == Kind::NotFound && Path::new(name).is_dir() => {
                        return Err(nothing());
                    }
                    other => other?.id,
                };
                let none = || Error::not_found(format!("{name} is mounted nowhere"));
                chosen(&mounts, |known| known.id == id).ok_or_else(none)?
            }
        };
        let path = &mounted.path;
        if mounted.elsewhere {
            let text = format!(
                "unmount {}: it is mounted in another mount namespace",
                path.display()
            );
            return Err(Error::new(Kind::Conflict, text).with_hint(ELSEWHERE));
        }
        let top = tops(&tables::own()?).remove(path);
        if mounted.mark.is_some() && mounted.mark != top {
            let text = format!(
                "unmount {}: something else is mounted there",
                path.display()
            );
            return Err(Error::new(Kind::Conflict, text).with_hint("unmount that first: umount(8)"));
        }
        let mut flags = MntFlags::UMOUNT_NOFOLLOW;
        if options.force {
            flags |= MntFlags::MNT_DETACH;
        }
        umount2(path, flags).map_err(|errno| {
            let text = format!("unmount {}: {}", path.display(), sys::reason(errno));
            Error::new(Kind::Conflict, text).with_hint("somebody looks into it; see --force")
        })?;
        forget(&mounted.note);
        let own = self.below_run_root("images").canonicalize();
        let others = mounts.iter().filter(|known| known.path == *path).count() > 1;
        // Without its directory a mount of another namespace would be gone.
        if !others && own.is_ok_and(|own| path.starts_with(own)) {
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
        let lock = self.still()?;
        let mut mounts = Vec::new();
        if lock.is_some() {
            let (space, own) = (tables::space(), tables::own()?);
            let mut others = None;
            for note in fs::read_dir(self.notes()).into_iter().flatten().flatten() {
                let file = note.path();
                let found = read(&file).and_then(|(known, of)| {
                    if own.iter().any(|entry| known.is(entry)) {
                        return Some(known);
                    }
                    if of.is_some() && of == space {
                        return None;
                    }
                    let others: &Vec<Entry> = others.get_or_insert_with(tables::others);
                    let elsewhere = others.iter().any(|entry| known.is(entry));
                    elsewhere.then_some(Mounted { elsewhere, ..known })
                });
                match found {
                    Some(known) => mounts.push(known),
                    // Unmounted by hand, or by a reboot; or never mounted, by a kill.
                    None => forget(&file),
                }
            }
        }
        mounts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Table {
            mounts,
            _lock: lock,
        })
    }

    /// As long as this lives nobody mounts or removes images.
    pub(crate) fn still(&self) -> anyhow::Result<Option<File>> {
        make_own(&self.notes()).ok();
        lock(&self.notes())
    }

    fn notes(&self) -> PathBuf {
        self.below_run_root("mounts")
    }

    fn note(&self, path: &Path, id: &Digest, mark: Option<&str>) -> anyhow::Result<PathBuf> {
        let (space, path) = (tables::space(), path.to_string_lossy());
        let name = format!("{} {path}", space.as_deref().unwrap_or_default());
        let note = self.notes().join(Digest::of(name.as_bytes()).hex());
        let text = json!({ "id": id.to_string(), "path": path, "space": space, "mark": mark });
        let text = text.to_string();
        // A note that is read half is none.
        let new = note.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &note));
        written.with_context(|| format!("write {}", note.display()))?;
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

/// Reads a note, and in which mount namespace it was written.
fn read(note: &Path) -> Option<(Mounted, Option<String>)> {
    let value: Value = serde_json::from_slice(&fs::read(note).ok()?).ok()?;
    let text = |name| value.get(name).and_then(Value::as_str);
    let mounted = Mounted {
        id: text("id")?.parse().ok()?,
        path: PathBuf::from(text("path")?),
        elsewhere: false,
        mark: text("mark").map(str::to_owned),
        note: note.to_path_buf(),
    };
    Some((mounted, text("space").map(str::to_owned)))
}

/// One that can be unmounted here, if there is one.
fn chosen(mounts: &[Mounted], fits: impl Fn(&Mounted) -> bool) -> Option<&Mounted> {
    let fits = || mounts.iter().filter(|known| fits(known));
    fits()
        .find(|known| !known.elsewhere)
        .or_else(|| fits().next())
}

fn forget(note: &Path) {
    // It is found again, and seen to be out of date again.
    drop(fs::remove_file(note));
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let path = path
        .canonicalize()
        .with_context(|| format!("open {}", path.display()))?;
    // A note has to be able to say it.
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(anyhow!("{}: a name that is no UTF-8", path.display())),
    }
}

/// What is in a directory would be hidden from whoever needs it: /etc, /proc.
fn refuse_full(path: &Path) -> Result<()> {
    let mut entries = fs::read_dir(path).with_context(|| format!("open {}", path.display()))?;
    if entries.next().is_none() {
        return Ok(());
    }
    let text = format!("mount on {}: the directory is not empty", path.display());
    Err(Error::new(Kind::Conflict, text).with_hint("name an empty one, or none at all"))
}
