//! Remove: a name of an image, or the image and what only it needs.

use std::collections::BTreeSet;
use std::fmt;

use image::{Digest, Reference, chain_ids};
use store::{Collect, ImageRecord, Store};

use crate::find::{familiar, find};
use crate::mount::{ELSEWHERE, Table};
use crate::run::containers::{self, Found as Container};
use crate::{Engine, Error, Kind, Mounted, Result};

/// How to remove.
#[derive(Debug, Clone, Default)]
pub struct Remove {
    /// Also an image with names in several repositories.
    pub force: bool,
    /// Keep parents without a name. No image here has a parent that is an image of its own, so there is nothing to keep.
    pub no_prune: bool,
}

/// What was removed, and what was not.
#[derive(Debug, Default)]
pub struct Removed {
    /// In the order in which it happened.
    pub lines: Vec<Line>,
    /// What could not be removed, and why.
    pub errors: Vec<Error>,
    /// Files wait in the trash for [`Engine::sweep`].
    pub trash: bool,
}

/// One thing that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A name.
    Untagged(String),
    /// An image, or a layer by its chain id.
    Deleted(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged(name) => write!(f, "Untagged: {name}"),
            Self::Deleted(id) => write!(f, "Deleted: {id}"),
        }
    }
}

impl Engine {
    /// Removes images and names, going on after what cannot be removed.
    pub fn remove(&self, names: &[String], options: &Remove) -> Removed {
        let mut removed = Removed::default();
        match self.uses() {
            Ok(uses) => {
                for name in names {
                    let done = self.remove_one(name, options, &uses, &mut removed.lines);
                    removed.errors.extend(done.err());
                }
            }
            Err(error) => removed.errors.push(error),
        }
        // The names are gone whatever comes of the files: whoever collects next finds them again.
        if removed
            .lines
            .iter()
            .any(|line| matches!(line, Line::Deleted(_)))
        {
            match self.store.collect(Collect::default()) {
                Ok(_) => removed.trash = self.store.unswept().unwrap_or(true),
                Err(error) => removed.errors.push(error.into()),
            }
        }
        removed
    }

    /// Looks at who uses images, and keeps it so.
    pub(crate) fn uses(&self) -> Result<Uses> {
        // What a killed run has left is no reason not to remove an image, unless it cannot be ended now.
        drop(self.end_abandoned());
        let table = self.mount_table()?;
        let containers = containers::list(&self.store)?;
        Ok(Uses { table, containers })
    }

    /// Deletes what is in the trash, alone; returns how many entries that were. When another process is at it, there is nothing to do.
    pub fn sweep(&self) -> Result<u64> {
        Ok(self.store.sweep()?)
    }

    /// Tells whether there is trash that nobody is deleting.
    pub fn is_unswept(&self) -> Result<bool> {
        Ok(self.store.unswept()?)
    }
}

/// Who uses images. As long as this lives nobody begins to.
#[derive(Debug)]
pub(crate) struct Uses {
    table: Table,
    containers: Vec<Container>,
}

impl Uses {
    /// Tells whether anybody uses it.
    pub(crate) fn has(&self, id: &Digest) -> bool {
        self.mount(id).is_some() || self.container(id).is_some()
    }

    fn mount(&self, id: &Digest) -> Option<&Mounted> {
        self.table.mounts.iter().find(|mount| mount.id == *id)
    }

    /// Returns a container that stands on it, a running one if there is one.
    fn container(&self, id: &Digest) -> Option<&Container> {
        let stands = |container: &&Container| container.image.as_ref() == Some(id);
        self.containers.iter().find(stands)
    }
}

/// Everything that an image is called.
#[derive(Debug)]
pub(crate) struct Called {
    /// With everything said.
    pub names: Vec<String>,
    /// Repository and digest.
    pins: Vec<(String, Digest)>,
}

impl Called {
    fn read(store: &Store, id: &Digest) -> Result<Self> {
        let names = store.names_of(id)?.into_iter().map(|name| name.name);
        let pins = store.digests_of(id)?.into_iter();
        Ok(Self {
            names: names.collect(),
            pins: pins.map(|pin| (pin.repository, pin.digest)).collect(),
        })
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty() && self.pins.is_empty()
    }

    /// Nothing is left of it without this name.
    fn is_only(&self, name: &Reference) -> bool {
        let repository = name.repository.canonical();
        if let Some(digest) = &name.digest {
            let same = |pin: &(String, Digest)| pin.0 == repository && pin.1 == *digest;
            return self.names.is_empty() && self.pins.iter().all(same);
        }
        let canonical = name.canonical();
        self.names.iter().all(|other| *other == canonical)
            && self.pins.iter().all(|pin| pin.0 == repository)
    }

    /// What goes with a name: with the last tag of a repository the digests that the image is known by there.
    fn under(&self, name: &Reference) -> (Vec<String>, Vec<(String, Digest)>) {
        let repository = name.repository.canonical();
        if let Some(digest) = name.digest {
            return (Vec::new(), vec![(repository, digest)]);
        }
        let canonical = name.canonical();
        let same = |other: &String| {
            let other = other.parse::<Reference>();
            other.is_ok_and(|other| other.repository == name.repository)
        };
        let mut others = self.names.iter().filter(|other| **other != canonical);
        let mut pins = self.pins.clone();
        let stay = others.any(same);
        pins.retain(|pin| !stay && pin.0 == repository);
        (vec![canonical], pins)
    }

    /// At most one tag, and all in one repository.
    fn is_single(&self) -> bool {
        let names = self
            .names
            .iter()
            .filter_map(|name| name.parse::<Reference>().ok());
        let names = names.map(|name| name.repository.canonical());
        let repositories: BTreeSet<String> = names
            .chain(self.pins.iter().map(|pin| pin.0.clone()))
            .collect();
        self.names.len() <= 1 && repositories.len() <= 1
    }
}

impl Engine {
    fn remove_one(
        &self,
        name: &str,
        options: &Remove,
        uses: &Uses,
        lines: &mut Vec<Line>,
    ) -> Result<()> {
        let store = &self.store;
        let found = find(store, name)?;
        let called = Called::read(store, &found.id)?;
        let last = found.name.as_ref().is_none_or(|name| called.is_only(name));
        if let Some(mount) = uses.mount(&found.id).filter(|_| last) {
            return Err(mounted(mount));
        }
        let user = uses.container(&found.id);
        let Some(reference) = &found.name else {
            if let Some(user) = user.filter(|user| user.running || !options.force) {
                return Err(in_use(&found.id, user));
            }
            let may = |called: &Called| options.force || called.is_empty() || called.is_single();
            if !delete(store, &found.record, may, lines)? {
                let why = "(must be forced) - image is referenced in multiple repositories";
                let hint = "remove its names one by one, or use --force";
                return Err(conflict(&found.id, why).with_hint(hint));
            }
            return Ok(());
        };
        if let Some(user) = user.filter(|_| last && !options.force) {
            return Err(referenced(name, &found.id, user));
        }
        let (names, pins) = called.under(reference);
        // All at once: after a kill in between nobody would find the rest by the name that he knows.
        let gone = if user.is_some_and(|user| user.running) {
            store.untag(&found.id, &names, &pins)?;
            false
        } else {
            store.remove_names(&found.id, &names, &pins)?
        };
        untagged(reference, &pins, lines);
        if gone {
            deleted(store, &found.record, lines)?;
        }
        Ok(())
    }
}

/// Tells of a name that is gone, and of the digests that went with it.
fn untagged(name: &Reference, pins: &[(String, Digest)], lines: &mut Vec<Line>) {
    lines.push(Line::Untagged(name.to_string()));
    if name.digest.is_none() {
        let untagged = |(_, digest): &(String, Digest)| format!("{}@{digest}", name.repository);
        lines.extend(pins.iter().map(untagged).map(Line::Untagged));
    }
}

/// Removes an image with all its names, and tells which layers nobody else has; returns whether it `may` go, being called what it is called.
pub(crate) fn delete(
    store: &Store,
    record: &ImageRecord,
    may: impl Fn(&Called) -> bool,
    lines: &mut Vec<Line>,
) -> Result<bool> {
    let called = loop {
        let called = Called::read(store, &record.id)?;
        if !may(&called) {
            return Ok(false);
        }
        if store.remove_image(&record.id, Some(&called.names))? {
            break called;
        }
        if store.image(&record.id)?.is_none() {
            // Somebody else was quicker.
            return Ok(true);
        }
        // It has got another name since we looked.
    };
    for name in &called.names {
        lines.push(Line::Untagged(familiar(name)));
    }
    for (repository, digest) in &called.pins {
        lines.push(Line::Untagged(familiar(&format!("{repository}@{digest}"))));
    }
    deleted(store, record, lines)?;
    Ok(true)
}

/// Tells of an image that is gone, and of the layers that nobody else has.
fn deleted(store: &Store, record: &ImageRecord, lines: &mut Vec<Line>) -> Result<()> {
    lines.push(Line::Deleted(record.id.to_string()));
    let left = store.images()?;
    let left: BTreeSet<Digest> = left
        .iter()
        .flat_map(|other| chain_ids(&other.layers))
        .collect();
    let gone = chain_ids(&record.layers).into_iter().rev();
    let gone = gone.filter(|chain| !left.contains(chain));
    lines.extend(gone.map(|chain| Line::Deleted(chain.to_string())));
    Ok(())
}

/// Its files would be gone below whoever looks at them.
fn mounted(mount: &Mounted) -> Error {
    let path = mount.path.display();
    let why = format!("(cannot be forced) - image is mounted on {path}");
    conflict(&mount.id, &why).with_hint(if mount.elsewhere {
        format!("in another mount namespace: {ELSEWHERE}")
    } else {
        format!("unmount it: lade image unmount {path}")
    })
}

fn in_use(id: &Digest, user: &Container) -> Error {
    let (how, state, hint) = if user.running {
        ("cannot be forced", "running", "end the container first")
    } else {
        ("must be forced", "stopped", "use --force")
    };
    let user = user.short();
    let why = format!("({how}) - image is being used by {state} container {user}");
    conflict(id, &why).with_hint(hint)
}

fn referenced(name: &str, id: &Digest, user: &Container) -> Error {
    let (user, short) = (user.short(), id.short());
    let text = format!(
        "conflict: unable to remove repository reference \"{name}\" (must force) - container {user} is using its referenced image {short}"
    );
    let hint = "end the container first, or take the name away with --force";
    Error::new(Kind::Conflict, text).with_hint(hint)
}

/// Docker's sentence.
fn conflict(id: &Digest, why: &str) -> Error {
    let text = format!("conflict: unable to delete {} {why}", id.short());
    Error::new(Kind::Conflict, text)
}
