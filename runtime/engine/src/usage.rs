//! Usage: what images take on disk, and what would be free without those that nobody uses.

use std::collections::BTreeSet;

use image::Digest;
use store::{ImageRecord, Store};

use crate::images::{List, Sizes};
use crate::run::containers;
use crate::verify::blobs_of;
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
    /// Those of images that are not used.
    pub free_blobs: u64,
    /// What removing all images that are not used would free.
    pub reclaimable: u64,
    /// What containers have written.
    pub containers: u64,
    /// How many containers there are.
    pub made: u64,
    /// How many of them somebody attends to; the others were killed.
    pub running: u64,
    /// What interrupted work has left, or work under way has made.
    pub unfinished: u64,
    /// Of that, what somebody is at work on.
    pub busy: u64,
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
        let containers = containers::list(&self.store)?;
        let used = |id: &Digest| containers.iter().any(|found| found.image == Some(*id));
        let records = self.store.images()?;
        let mut sizes = Sizes::new(&self.store);
        let layers = layers_of(&records, &mut sizes)?;
        let active: Vec<ImageRecord> = records.into_iter().filter(|one| used(&one.id)).collect();
        let kept = packed_of(&self.store, &active)?;
        let free_blobs = on_disk.blobs.saturating_sub(kept);
        let kept = layers_of(&active, &mut sizes)? + kept;
        let images = summaries.into_iter().map(|summary| {
            let shared = summary.shared_size.unwrap_or(0);
            ImageUsage {
                shared,
                unique: summary.size.saturating_sub(shared),
                summary,
            }
        });
        Ok(Usage {
            images: images.collect(),
            active: active.len() as u64,
            layers,
            blobs: on_disk.blobs,
            free_blobs,
            reclaimable: (layers + on_disk.blobs).saturating_sub(kept),
            containers: on_disk.containers,
            made: containers.len() as u64,
            running: containers.iter().filter(|found| found.running).count() as u64,
            unfinished: on_disk.unfinished,
            busy: on_disk.busy,
            trash: on_disk.trash,
            database: on_disk.database,
            total: on_disk.total(),
        })
    }
}

/// What the documents and packed layers of images take, each counted once.
fn packed_of(store: &Store, images: &[ImageRecord]) -> Result<u64> {
    let mut blobs = BTreeSet::new();
    for image in images {
        blobs.extend(blobs_of(store, image)?);
    }
    let mut bytes = 0;
    for blob in &blobs {
        bytes += store.blob(blob)?.unwrap_or(0);
    }
    Ok(bytes)
}

/// What the layers of images take, each counted once.
fn layers_of(images: &[ImageRecord], sizes: &mut Sizes<'_>) -> Result<u64> {
    let layers: BTreeSet<&Digest> = images.iter().flat_map(|image| &image.layers).collect();
    layers.into_iter().map(|layer| sizes.layer(layer)).sum()
}
