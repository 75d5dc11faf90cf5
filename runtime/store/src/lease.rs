//! Leases: what somebody at work needs stays until he is done, or dead.

use std::collections::HashSet;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};

use image::Digest;
use rusqlite::params;

use crate::db::Durability;
use crate::error::{Absent, At, Result};
use crate::layout::{LEASES, unique};
use crate::lock::Lock;
use crate::records::ImageRecord;
use crate::root::Store;
use crate::unpacking::Layer;

/// What a lease can keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Blob,
    Layer,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Layer => "layer",
        }
    }
}

/// Keeps what was asked for by it, present or yet to come, from being collected.
///
/// It lives as long as this value and all work that was begun with it. When its process is killed, the lock of its file is gone, and
/// whoever collects next forgets it.
#[derive(Debug, Clone)]
pub struct Lease {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    store: Store,
    id: String,
    items: Mutex<HashSet<(Kind, Digest)>>,
    /// Given back after the rows and the file are gone.
    _lock: Lock,
}

impl Store {
    /// Makes a lease that keeps nothing yet.
    pub fn lease(&self) -> Result<Lease> {
        let id = unique();
        // Nobody who is alone sees it made and not locked yet, as if its owner were dead.
        let _publishing = self.publishing()?;
        let lock = Lock::exclusive(&self.layout().at(LEASES).join(&id))?;
        let held = Held {
            store: self.clone(),
            id,
            items: Mutex::default(),
            _lock: lock,
        };
        Ok(Lease {
            held: Arc::new(held),
        })
    }

    /// Returns the size of a blob that is stored, which then stays as long as the lease.
    pub fn hold_blob(&self, lease: &Lease, digest: &Digest) -> Result<Option<u64>> {
        let _publishing = self.publishing()?;
        lease.hold(&[(Kind::Blob, *digest)])?;
        self.blob(digest)
    }

    /// Returns a layer that is stored, which then stays as long as the lease.
    pub fn hold_layer(&self, lease: &Lease, diff_id: &Digest) -> Result<Option<Layer>> {
        let _publishing = self.publishing()?;
        lease.hold(&[(Kind::Layer, *diff_id)])?;
        self.layer(diff_id)
    }

    /// Returns an image, whose documents, what they name, and layers then stay as long as the lease: also the manifests that its names mean,
    /// and the indexes that led to it.
    pub fn hold_image(&self, lease: &Lease, id: &Digest) -> Result<Option<ImageRecord>> {
        let _publishing = self.publishing()?;
        let Some(image) = self.image(id)? else {
            return Ok(None);
        };
        let (names, pins) = (self.names_of(id)?, self.digests_of(id)?);
        let documents = image.manifest.iter().chain(&image.config);
        let named = names.iter().filter_map(|name| name.manifest.as_ref());
        let pinned = pins.iter().flat_map(|pin| [&pin.digest, &pin.manifest]);
        let documents = documents.chain(named).chain(pinned);
        let documents = documents.map(|digest| (Kind::Blob, *digest));
        let layers = image.layers.iter().map(|layer| (Kind::Layer, *layer));
        lease.hold(&documents.chain(layers).collect::<Vec<_>>())?;
        Ok(Some(image))
    }

    /// Removes blobs that were staged by a lease and that no commit has taken, unless another lease keeps them, too: who has done all
    /// that he was asked for leaves nothing unfinished.
    pub fn drop_staged(&self, lease: &Lease) -> Result<()> {
        let items = lease.held.items.lock();
        let items: Vec<_> = items
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .copied()
            .collect();
        let blobs = items.into_iter().filter(|(kind, _)| *kind == Kind::Blob);
        let staged = blobs.map(|(_, digest)| (digest, self.layout().ready_blob(&digest)));
        let staged: Vec<_> = staged.filter(|(_, path)| path.exists()).collect();
        if staged.is_empty() {
            return Ok(());
        }
        let _alone = self.alone()?;
        for (digest, path) in staged {
            let others: bool = self.db().read(|transaction| {
                let sql = "SELECT EXISTS (SELECT 1 FROM leased WHERE kind = 'blob' AND digest = ? AND lease <> ?)";
                let mut query = transaction.prepare_cached(sql)?;
                Ok(query.query_row(params![digest.to_string(), lease.id()], |row| row.get(0))?)
            })?;
            if !others {
                fs::remove_file(&path).absent().at(&path)?;
            }
        }
        Ok(())
    }
}

impl Lease {
    /// Returns what the lease is called in `leases/`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.held.id
    }

    /// Keeps some things. The caller is publishing: what he looks for next cannot be moved away between this and the look.
    pub(crate) fn hold(&self, wanted: &[(Kind, Digest)]) -> Result<()> {
        let held = &self.held;
        let mut items = held.items.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.iter().all(|item| items.contains(item)) {
            return Ok(());
        }
        held.store.db().write(Durability::Kill, |transaction| {
            let sql = "INSERT OR IGNORE INTO leased (lease, kind, digest) VALUES (?, ?, ?)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (kind, digest) in wanted {
                insert.execute(params![held.id, kind.name(), digest.to_string()])?;
            }
            Ok(())
        })?;
        items.extend(wanted);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let items = self.items.get_mut();
        let empty = items.is_ok_and(|items| items.is_empty());
        if !empty {
            // What is not forgotten here is dead in a moment, and collect forgets it.
            self.store
                .db()
                .write(Durability::Kill, |transaction| {
                    transaction.execute("DELETE FROM leased WHERE lease = ?", [&self.id])?;
                    Ok(())
                })
                .ok();
        }
        fs::remove_file(self.store.layout().at(LEASES).join(&self.id)).ok();
    }
}
