//! What the data root takes up on disk, as du(1) counts it.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use image::Digest;

use crate::db;
use crate::error::{Absent, At, Result};
use crate::layout::{BLOBS, CONTAINERS, DATABASE, INGEST, LAYERS, READY, SPARE, TRASH, UNPACK};
use crate::lease::Kind;
use crate::lock::{LOCK, Lock};
use crate::root::{Store, names_in};
use crate::walk::measure;

/// Bytes on disk, directories included. Each is in one of these, and nothing is left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Compressed layers and documents.
    pub blobs: u64,
    /// Unpacked layers.
    pub layers: u64,
    /// What containers have written.
    pub containers: u64,
    /// Downloads and layers under way, or left by a kill.
    pub unfinished: u64,
    /// Of these, what somebody is at work on.
    pub busy: u64,
    /// What waits for the sweep.
    pub trash: u64,
    /// The database, and the room that is kept for it.
    pub database: u64,
    /// Locks, leases, and whatever else lies there.
    pub rest: u64,
}

impl Usage {
    /// Returns the sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.blobs
            + self.layers
            + self.containers
            + self.unfinished
            + self.trash
            + self.database
            + self.rest
    }
}

impl Store {
    /// Returns what the data root takes up. Layers never change, so their sizes are known; the rest is looked at.
    pub fn usage(&self) -> Result<Usage> {
        let root = self.root();
        let mut usage = Usage {
            rest: own_blocks(root)?,
            ..Usage::default()
        };
        for name in names_in(root)? {
            let path = root.join(&name);
            let name = name.to_string_lossy();
            let own = frame(&name, &path)?;
            usage.rest += own;
            let (kind, bytes) = match &*name {
                LAYERS => (&mut usage.layers, self.layers_on_disk(&path)?),
                BLOBS => (&mut usage.blobs, measure(&path)?),
                CONTAINERS => (&mut usage.containers, measure(&path)?),
                INGEST | UNPACK | READY => (&mut usage.unfinished, measure(&path)?),
                TRASH => (&mut usage.trash, measure(&path)?),
                SPARE => (&mut usage.database, measure(&path)?),
                name if name.starts_with(DATABASE) => (&mut usage.database, measure(&path)?),
                _ => (&mut usage.rest, measure(&path)?),
            };
            *kind += bytes.saturating_sub(own);
        }
        // Somebody may have ended since, or begun.
        usage.busy = self.busy()?.min(usage.unfinished);
        Ok(usage)
    }

    /// Returns what of the unfinished belongs to who lives. Locks and leases are tried and given back at once: whoever wants one waits
    /// for us as for anybody else.
    fn busy(&self) -> Result<u64> {
        let mut bytes = 0;
        for place in [INGEST, UNPACK] {
            let place = self.layout().at(place);
            for name in names_in(&place)? {
                let path = place.join(&name);
                if Lock::attempt_existing(&path.join(LOCK))?.is_none() {
                    bytes += measure(&path)?;
                }
            }
        }
        for (kind, digest) in self.leased_by(&self.leases()?.living)? {
            bytes += measure(&match kind {
                Kind::Blob => self.layout().ready_blob(&digest),
                Kind::Layer => self.layout().ready_layer(&digest),
            })?;
        }
        Ok(bytes)
    }

    /// Returns what these leases keep.
    fn leased_by(&self, leases: &HashSet<String>) -> Result<HashSet<(Kind, Digest)>> {
        let rows: Vec<(String, String, Digest)> = self.db().read(|transaction| {
            let mut query = transaction.prepare_cached("SELECT lease, kind, digest FROM leased")?;
            let rows = query.query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, db::digest(row, 2)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        let ours = rows.into_iter().filter(|row| leases.contains(&row.0));
        let kind = |name: &str| {
            if name == Kind::Blob.name() {
                Kind::Blob
            } else {
                Kind::Layer
            }
        };
        Ok(ours
            .map(|(_, name, digest)| (kind(&name), digest))
            .collect())
    }

    /// Returns what a container takes up.
    pub fn container_size(&self, id: &str) -> Result<u64> {
        measure(&self.layout().at(CONTAINERS).join(id))
    }

    fn layers_on_disk(&self, layers: &Path) -> Result<u64> {
        let known: HashMap<String, u64> = self.db().read(|transaction| {
            let mut query = transaction.prepare_cached("SELECT digest, disk FROM layers")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, db::count(row, 1)?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        let mut bytes = own_blocks(layers)?;
        for algorithm in names_in(layers)? {
            let dir = layers.join(&algorithm);
            bytes += own_blocks(&dir)?;
            for name in names_in(&dir)? {
                let digest = format!("{}:{}", algorithm.display(), name.display());
                bytes += match known.get(&digest) {
                    Some(bytes) => *bytes,
                    None => measure(&dir.join(&name))?,
                };
            }
        }
        Ok(bytes)
    }
}

/// Returns what the directories of a place take up that are made once and stay: nothing that could be freed.
fn frame(name: &str, path: &Path) -> Result<u64> {
    if !matches!(
        name,
        BLOBS | LAYERS | INGEST | UNPACK | READY | TRASH | CONTAINERS
    ) {
        return Ok(0);
    }
    let mut bytes = own_blocks(path)?;
    if matches!(name, BLOBS | LAYERS | READY) {
        for inner in names_in(path)? {
            let inner = path.join(inner);
            bytes += own_blocks(&inner)?;
            if name == READY {
                bytes += own_blocks(&inner.join(BLOBS))? + own_blocks(&inner.join(LAYERS))?;
            }
        }
    }
    Ok(bytes)
}

/// Returns what a directory itself takes up.
fn own_blocks(dir: &Path) -> Result<u64> {
    let found = dir.symlink_metadata().absent().at(dir)?;
    Ok(found.map_or(0, |found| found.blocks() * 512))
}
