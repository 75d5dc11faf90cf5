//! A data root: opened, and made where there is none.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::db::{Database, schema};
use crate::error::{Absent, At, Error, Result};
use crate::layout::{DATABASE, DIRS, Layout, PUBLISH, SPARE, TRASH_LOCK, VERSION};
use crate::lock::{LOCK, Lock, make_dir};

/// The form of the tree; the database counts its own.
const FORM: u64 = 1;
const SPARE_BYTES: usize = 256 << 10;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// An open data root. Cheap to clone; many threads and processes may have it open at once.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) db: Database,
    /// Open from the beginning: syncfs(2) tells of what went wrong with any write since.
    pub(crate) dir: File,
}

impl Store {
    /// Opens the data root at `root`, and makes it where there is nothing or an empty directory.
    ///
    /// An older database is migrated. Fails with [`Error::Newer`] where a newer version has written, and with [`Error::NotOurs`] where
    /// other things lie.
    pub fn open(root: &Path) -> Result<Self> {
        let path = Path::new(BOOT_ID);
        let boot = fs::read_to_string(path).at(path)?;
        Self::open_in(root, boot.trim())
    }

    /// Opens as if in the boot of that id.
    pub(crate) fn open_in(root: &Path, boot: &str) -> Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(root).at(root)?;
        // So that a later change of the working directory changes nothing.
        let root = fs::canonicalize(root).at(root)?;
        refuse_foreign(&root)?;
        let dir = File::open(&root).at(&root)?;
        let db = match form(&root)? {
            Some(_) => open_database(&root)?,
            None => make(&root)?,
        };
        let boot = boot.to_owned();
        let layout = Layout { root, boot };
        let inner = Arc::new(Inner { layout, db, dir });
        Ok(Self { inner })
    }

    /// Returns the directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.layout.root
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn db(&self) -> &Database {
        &self.inner.db
    }

    /// While this lives nothing that a lease names and no final name without a row is taken for left over.
    pub(crate) fn publishing(&self) -> Result<Lock> {
        Lock::shared(&self.layout().at(PUBLISH))
    }

    /// While this lives nobody else looks for content or publishes any.
    pub(crate) fn alone(&self) -> Result<Lock> {
        Lock::exclusive(&self.layout().at(PUBLISH))
    }

    /// Makes the directory of some work if it is not there, and waits for the lock in it. Whoever cleans up may move the directory away
    /// before: then it is made anew.
    pub(crate) fn work_in(&self, dir: &Path) -> Result<Lock> {
        let path = dir.join(LOCK);
        loop {
            {
                // Nobody who is alone sees it made and not locked yet, as if its owner were dead.
                let _publishing = self.publishing()?;
                make_dir(dir)?;
                if let Some(lock) = Lock::attempt(&path)? {
                    return Ok(lock);
                }
            }
            if let Some(lock) = Lock::wait_existing(&path)? {
                return Ok(lock);
            }
        }
    }

    /// Does something that frees space, and does it again with the spare room where the disk is too full for the rows that say so.
    pub(crate) fn with_spare<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(Error::Full { .. }) if give_up_spare(self.root()) => work(),
            other => other,
        }
    }
}

/// Returns the form of the tree; `None` where no root was made to its end.
fn form(root: &Path) -> Result<Option<u64>> {
    let path = root.join(VERSION);
    let Some(text) = fs::read_to_string(&path).absent().at(&path)? else {
        return Ok(None);
    };
    match text.trim().parse() {
        Ok(found) if found > FORM => Err(Error::Newer {
            path,
            found,
            known: FORM,
        }),
        Ok(found) if found > 0 => Ok(Some(found)),
        _ => Err(Error::NotOurs(root.to_path_buf())),
    }
}

/// Opens the database, and brings it to the form that this version knows.
fn open_database(root: &Path) -> Result<Database> {
    let path = root.join(DATABASE);
    let opened = match Database::open(&path).and_then(|db| Ok((db.version()?, db))) {
        // Even the first reader after a kill needs 32 KiB, for the index of the log.
        Err(Error::Full { .. }) if give_up_spare(root) => {
            Database::open(&path).and_then(|db| Ok((db.version()?, db)))
        }
        other => other,
    };
    let (found, db) = opened?;
    let known = schema::STEPS.len() as u64;
    if found > known {
        return Err(Error::Newer { path, found, known });
    }
    if found < known {
        let _root = lock_root(root)?;
        db.migrate(schema::STEPS)?;
    }
    Ok(db)
}

/// Makes what is missing of a new root, one process at a time; `version` last, so that a killed one is made to its end by the next.
fn make(root: &Path) -> Result<Database> {
    let _lock = lock_root(root)?;
    if form(root)?.is_some() {
        return open_database(root);
    }
    refuse_full(root)?;
    // It may hold set-user-id programs: not a place for others to walk in.
    fs::set_permissions(root, fs::Permissions::from_mode(0o700)).at(root)?;
    for dir in DIRS {
        make_dir(&root.join(dir))?;
    }
    for lock in [PUBLISH, TRASH_LOCK] {
        drop(Lock::shared(&root.join(lock))?);
    }
    let db = Database::make(&root.join(DATABASE))?;
    fill_spare(root)?;
    let path = root.join("version.new");
    let mut file = File::create(&path).at(&path)?;
    file.write_all(format!("{FORM}\n").as_bytes()).at(&path)?;
    nix::unistd::syncfs(&file).at(&path)?;
    fs::rename(&path, root.join(VERSION)).at(&path)?;
    sync_dir(root)?;
    Ok(db)
}

/// Refuses a directory with anything in it that a root under way does not have.
fn refuse_full(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).at(root)? {
        let name = entry.at(root)?.file_name();
        let name = name.to_string_lossy();
        let ours = DIRS.contains(&&*name)
            || name.starts_with(DATABASE)
            || [SPARE, PUBLISH, TRASH_LOCK, "version.new"].contains(&&*name);
        if !ours {
            return Err(Error::NotOurs(root.to_path_buf()));
        }
    }
    Ok(())
}

/// Refuses what belongs to somebody else: he could put anything into our images.
fn refuse_foreign(root: &Path) -> Result<()> {
    let own = sys::process::geteuid().as_raw();
    let found = fs::metadata(root).at(root)?.uid();
    if found == own {
        return Ok(());
    }
    let root = root.display();
    // In a user namespace the numbers are others than those that people know.
    let whose = if sys::userns::is_inner() {
        "somebody else".to_owned()
    } else {
        format!("user {found}, and we are user {own}")
    };
    Err(Error::other(format_args!(
        "{root}: belongs to {whose}: name a data root of your own"
    )))
}

fn lock_root(root: &Path) -> Result<File> {
    let dir = File::open(root).at(root)?;
    sys::fs::lock(&dir).at(root)?;
    Ok(dir)
}

/// Makes the names in a directory outlive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).at(dir)?.sync_all().at(dir)
}

/// Makes the spare room if it is not there. Whole or not at all: half of it would look like all of it.
pub(crate) fn fill_spare(root: &Path) -> Result<()> {
    let path = root.join(SPARE);
    if path.exists() {
        return Ok(());
    }
    let written = fs::write(&path, vec![b' '; SPARE_BYTES]);
    if written.is_err() {
        // What is left of it is room that somebody needs more.
        fs::remove_file(&path).ok();
    }
    written.at(&path)
}

/// Gives the spare room back to the disk; tells whether there was any.
fn give_up_spare(root: &Path) -> bool {
    fs::remove_file(root.join(SPARE)).is_ok()
}

/// Returns the names in a directory, in order; none where it is not there.
pub(crate) fn names_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let Some(entries) = fs::read_dir(dir).absent().at(dir)? else {
        return Ok(Vec::new());
    };
    let names = entries.map(|entry| Ok(PathBuf::from(entry?.file_name())));
    let mut names: Vec<_> = names.collect::<std::io::Result<_>>().at(dir)?;
    names.sort();
    Ok(names)
}
