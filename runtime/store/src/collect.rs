//! Removing what nothing leads to, beside whoever is at work.
//!
//! Rows first, durably; then the files, by one rename each into the trash; deleting them is the sweep's (`trash.rs`). All of it while
//! nobody looks for content or publishes any, which is a matter of milliseconds: no tree is walked through meanwhile.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use image::Digest;
use rusqlite::{Row, Transaction};

use crate::db::{self, Durability, Fault, number};
use crate::error::Result;
use crate::ingest::DATA;
use crate::layout::{
    BLOBS, CONTAINERS, CONTENT, INGEST, LAYERS, LEASES, NEW, READY, UNPACK, now, undashed,
};
use crate::lease::Kind;
use crate::lock::{LOCK, Lock};
use crate::root::{Store, fill_spare, names_in, sync_dir};
use crate::trash::Bin;

/// A push that nobody has gone on with for so long (seconds) begins anew: registries forget sessions, too.
const UPLOAD_AGE: u64 = 7 * 24 * 3600;

/// What to remove.
#[derive(Debug, Default, Clone, Copy)]
pub struct Collect {
    /// Also what killed or failed work has left for the next who asks: half downloads, and finished content that was not committed.
    pub unfinished: bool,
}

/// What was removed, and lies in the trash now.
#[derive(Debug, Default, Clone)]
pub struct Collected {
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Unpacked layers.
    pub layers: Vec<Digest>,
    /// Bytes on disk, of these and of everything else that went to the trash.
    pub bytes: u64,
}

/// What leases keep; those of the dead are forgotten by then.
const LEASED: &str = "SELECT digest FROM leased WHERE kind = ?";

/// What is in use, by the database.
const LIVE_BLOBS: &str = "
WITH RECURSIVE live (digest) AS (
    SELECT manifest FROM images WHERE manifest IS NOT NULL
    UNION SELECT config FROM images WHERE config IS NOT NULL
    UNION SELECT manifest FROM names WHERE manifest IS NOT NULL
    UNION SELECT digest FROM pins
    UNION SELECT manifest FROM pins
    UNION SELECT digest FROM leased WHERE kind = 'blob'
    UNION SELECT child FROM links JOIN live ON parent = digest
)";

impl Store {
    /// Moves everything to the trash that no image, name, digest or living lease leads to. Beside it others may pull, push and run.
    ///
    /// On a full disk it makes do with what it has spare, so that removing always works. What the trash holds is deleted by [`Store::sweep`].
    pub fn collect(&self, collect: Collect) -> Result<Collected> {
        let mut bin = Bin::new(self);
        let rows = {
            let _alone = self.alone()?;
            let leases = self.leases()?;
            // First what needs no row: on a full disk it may be the room for them.
            self.collect_work(collect, &mut bin)?;
            let rows = self.with_spare(|| {
                self.db().write(Durability::Now, |transaction| {
                    delete_rows(transaction, collect, &leases)
                })
            })?;
            for (id, _lock) in leases.dead {
                // What stays is as dead the next time.
                fs::remove_file(self.layout().at(LEASES).join(id)).ok();
            }
            self.collect_content(&rows, &mut bin)?;
            self.collect_ready(collect, &mut bin)?;
            rows
        };
        let bytes = bin.measure()?;
        self.db().write_back().or_else(ignore_full)?;
        // It may have helped just now, or before; the disk may still be full.
        fill_spare(self.root()).or_else(ignore_full)?;
        let digests = |rows: Vec<(Digest, u64)>| rows.into_iter().map(|(digest, _)| digest);
        Ok(Collected {
            blobs: digests(rows.blobs).collect(),
            layers: digests(rows.layers).collect(),
            bytes,
        })
    }

    /// Tells the leases of the living from those of the dead. To be asked alone: nobody gets another row meanwhile.
    pub(crate) fn leases(&self) -> Result<Leases> {
        let place = self.layout().at(LEASES);
        let mut leases = Leases::default();
        for id in names_in(&place)? {
            let lock = Lock::attempt_existing(&place.join(&id))?;
            let id = id.display().to_string();
            match lock {
                Some(lock) => leases.dead.push((id, lock)),
                None => drop(leases.living.insert(id)),
            }
        }
        Ok(leases)
    }

    /// Removes what killed processes were making, and their containers.
    fn collect_work(&self, collect: Collect, bin: &mut Bin<'_>) -> Result<()> {
        for place in [CONTAINERS, UNPACK, INGEST] {
            let place_path = self.layout().at(place);
            for name in names_in(&place_path)? {
                let path = place_path.join(&name);
                let resumable = place == INGEST
                    && !name.to_string_lossy().starts_with(NEW)
                    && path.join(DATA).exists();
                if resumable && !collect.unfinished {
                    continue;
                }
                // Nobody at work has it. Whoever waits for the lock meanwhile makes the directory anew.
                if let Some(_lock) = Lock::attempt(&path.join(LOCK))? {
                    bin.take(&path, None)?;
                }
            }
        }
        Ok(())
    }

    /// Removes the files of the rows that are gone, and what a kill has left at final names.
    fn collect_content(&self, rows: &Rows, bin: &mut Bin<'_>) -> Result<()> {
        let mut moved = !(rows.blobs.is_empty() && rows.layers.is_empty());
        // The rows know the sizes.
        for (digest, bytes) in &rows.blobs {
            bin.take(&self.layout().blob(digest), Some(*bytes))?;
        }
        for (digest, bytes) in &rows.layers {
            bin.take(&self.layout().layer(digest), Some(*bytes))?;
        }
        for (path, _) in self.leftovers()? {
            bin.take(&path, None)?;
            moved = true;
        }
        if moved {
            self.sync_content()?;
        }
        Ok(())
    }

    /// Makes it durable that things have left their final names. Before any of them is deleted: what a power cut leaves at a final name is
    /// taken for whole.
    pub(crate) fn sync_content(&self) -> Result<()> {
        for place in CONTENT {
            sync_dir(&self.layout().at(place))?;
        }
        Ok(())
    }

    /// Returns what is at a final name and neither has a row nor a living lease. To be asked alone.
    pub(crate) fn leftovers(&self) -> Result<Vec<(PathBuf, String)>> {
        let mut found = Vec::new();
        for (kind, place) in [(Kind::Blob, BLOBS), (Kind::Layer, LAYERS)] {
            let known = self.known(kind)?;
            for algorithm in ["sha256", "sha512"] {
                let dir = self.layout().at(place).join(algorithm);
                for name in names_in(&dir)? {
                    let digest = format!("{algorithm}:{}", name.display());
                    if !known.contains(&digest) {
                        found.push((dir.join(&name), format!("{} {digest}", kind.name())));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Removes what is complete but was never committed: of another boot, or left by a kill.
    fn collect_ready(&self, collect: Collect, bin: &mut Bin<'_>) -> Result<()> {
        let ready = self.layout().at(READY);
        for boot in names_in(&ready)? {
            let ours = boot.as_os_str() == self.layout().boot.as_str();
            for (kind, place) in [(Kind::Blob, BLOBS), (Kind::Layer, LAYERS)] {
                // What a blob of another boot holds may be gone on with, like a half download.
                if !collect.unfinished && (ours || kind == Kind::Blob) {
                    continue;
                }
                // What has a row is at its final name: here it waits for a commit, or for nobody.
                let leased = self.digests(LEASED, kind)?;
                let dir = ready.join(&boot).join(place);
                for name in names_in(&dir)? {
                    let digest = undashed(&name).map(|digest| digest.to_string());
                    if !ours || !digest.is_some_and(|digest| leased.contains(&digest)) {
                        bin.take(&dir.join(&name), None)?;
                    }
                }
            }
            if !ours {
                // Only when empty.
                let places = [BLOBS, LAYERS, ""].map(|place| ready.join(&boot).join(place));
                places.iter().for_each(|place| drop(fs::remove_dir(place)));
            }
        }
        Ok(())
    }

    /// Returns what has a row or is leased. The leases of the dead are forgotten by now.
    fn known(&self, kind: Kind) -> Result<HashSet<String>> {
        let sql = match kind {
            Kind::Blob => "SELECT digest FROM blobs UNION SELECT digest FROM leased WHERE kind = ?",
            Kind::Layer => {
                "SELECT digest FROM layers UNION SELECT digest FROM leased WHERE kind = ?"
            }
        };
        self.digests(sql, kind)
    }

    fn digests(&self, sql: &str, kind: Kind) -> Result<HashSet<String>> {
        self.db().read(|transaction| {
            let mut query = transaction.prepare_cached(sql)?;
            let found = query.query_map([kind.name()], |row| row.get(0))?;
            Ok(found.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// The leases that have a file.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    pub(crate) living: HashSet<String>,
    /// With their locks, so that nobody else takes them for his.
    pub(crate) dead: Vec<(String, Lock)>,
}

/// What was deleted from the database, with its bytes on disk.
#[derive(Debug, Default)]
struct Rows {
    blobs: Vec<(Digest, u64)>,
    layers: Vec<(Digest, u64)>,
}

fn delete_rows(
    transaction: &Transaction<'_>,
    collect: Collect,
    leases: &Leases,
) -> std::result::Result<Rows, Fault> {
    forget_dead(transaction, leases)?;
    let mut query = transaction.prepare(&format!(
        "{LIVE_BLOBS} DELETE FROM blobs WHERE digest NOT IN live RETURNING digest, disk"
    ))?;
    let sized = |row: &Row<'_>| Ok((db::digest(row, 0)?, db::count(row, 1)?));
    let blobs = query.query_map([], sized)?;
    let blobs = blobs.collect::<rusqlite::Result<_>>()?;
    let mut query = transaction.prepare(
        "DELETE FROM layers WHERE digest NOT IN (SELECT layer FROM image_layers)
           AND digest NOT IN (SELECT digest FROM leased WHERE kind = 'layer') RETURNING digest, disk",
    )?;
    let layers = query.query_map([], sized)?;
    let layers = layers.collect::<rusqlite::Result<_>>()?;
    transaction.execute_batch(
        "DELETE FROM links WHERE parent NOT IN (SELECT digest FROM blobs);
         DELETE FROM packed WHERE blob NOT IN (SELECT digest FROM blobs);
         DELETE FROM seen WHERE blob NOT IN (SELECT digest FROM blobs);",
    )?;
    let oldest = if collect.unfinished {
        i64::MAX
    } else {
        number(now().saturating_sub(UPLOAD_AGE))
    };
    transaction.execute("DELETE FROM uploads WHERE at < ?", [oldest])?;
    Ok(Rows { blobs, layers })
}

/// Forgets what the dead have held, also those that have no file any more.
fn forget_dead(transaction: &Transaction<'_>, leases: &Leases) -> std::result::Result<(), Fault> {
    let mut query = transaction.prepare("SELECT DISTINCT lease FROM leased")?;
    let named = query.query_map([], |row| row.get::<_, String>(0))?;
    for id in named.collect::<rusqlite::Result<Vec<_>>>()? {
        if !leases.living.contains(&id) {
            transaction.execute("DELETE FROM leased WHERE lease = ?", [id])?;
        }
    }
    Ok(())
}

fn ignore_full(error: crate::Error) -> Result<()> {
    match error {
        crate::Error::Full { .. } => Ok(()),
        other => Err(other),
    }
}
