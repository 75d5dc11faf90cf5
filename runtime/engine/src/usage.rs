//! Usage: what images take on disk, and what would be free without those that nobody uses.

use std::collections::BTreeSet;

use crate::images::{List, Sizes};
use crate::{Engine, Result, Summary};

/// What the data root takes. All in bytes on disk.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Each image.
    pub images: Vec<ImageUsage>,
    /// How many images containers use.
    pub active: u64,
    /// Of all layers, each counted once.
    pub layers: u64,
    /// Compressed layers and documents.
    pub blobs: u64,
    /// What removing all images that are not used would free.
    pub reclaimable: u64,
    /// What containers have written.
    pub containers: u64,
    /// What interrupted work has left, or work under way has made.
    pub unfinished: u64,
    /// What waits to be deleted.
    pub trash: u64,
    /// The database.
    pub database: u64,
    /// All of the data root, as du(1) counts.
    pub total: u64,
}

/// What one image takes.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub summary: Summary,
    /// Of its layers, what other images have, too.
    pub shared: u64,
    /// Of its layers, what it has alone.
    pub unique: u64,
    /// How many containers use it.
    pub containers: u64,
}

impl Engine {
    /// Adds up what is on disk.
    pub fn usage(&self) -> Result<Usage> {
        let on_disk = self.store.usage()?;
        let summaries = self.images(&List {
            all: true,
            shared_size: true,
            ..List::default()
        })?;
        let mut sizes = Sizes::new(&self.store);
        let mut layers = BTreeSet::new();
        for record in self.store.images()? {
            layers.extend(record.layers);
        }
        let layers = layers
            .iter()
            .map(|layer| sizes.layer(layer))
            .sum::<Result<u64>>()?;
        let images = summaries.into_iter().map(|summary| {
            let shared = summary.shared_size.unwrap_or(0);
            ImageUsage {
                shared,
                unique: summary.size.saturating_sub(shared),
                containers: 0,
                summary,
            }
        });
        Ok(Usage {
            images: images.collect(),
            active: 0,
            layers,
            blobs: on_disk.blobs,
            reclaimable: layers + on_disk.blobs,
            containers: on_disk.containers,
            unfinished: on_disk.unfinished,
            trash: on_disk.trash,
            database: on_disk.database,
            total: on_disk.total(),
        })
    }
}
