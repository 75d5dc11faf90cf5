//! Usage: what images take on disk, and what would be free without those that nobody uses.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

use image::Digest;
use serde_json::Value;
use store::{ImageRecord, Store};

use crate::find::familiar_names;
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
    /// Each of them, those that are running first.
    pub made: Vec<ContainerUsage>,
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

/// What one container takes.
#[derive(Debug, Clone)]
pub struct ContainerUsage {
    /// Its id.
    pub id: String,
    /// A name of its image, or the beginning of the image's id; empty of one that had not said so yet.
    pub image: String,
    /// The program and its arguments; none before they are known.
    pub command: Vec<String>,
    /// What its directory takes, in bytes on disk.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Somebody attends to it; otherwise that one was killed.
    pub running: bool,
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
        let made = containers.iter().map(|found| self.container_usage(found));
        Ok(Usage {
            images: images.collect(),
            active: active.len() as u64,
            layers,
            blobs: on_disk.blobs,
            free_blobs,
            reclaimable: (layers + on_disk.blobs).saturating_sub(kept),
            containers: on_disk.containers,
            made: made.collect::<Result<_>>()?,
            unfinished: on_disk.unfinished,
            busy: on_disk.busy,
            trash: on_disk.trash,
            database: on_disk.database,
            total: on_disk.total(),
        })
    }

    /// Looks at a container, which may end at any moment.
    fn container_usage(&self, found: &containers::Found) -> Result<ContainerUsage> {
        let dir = self.store.root().join("containers").join(&found.id);
        let made = fs::metadata(dir.join("image"));
        let spec = fs::read(dir.join("bundle/config.json"));
        let spec: Value = serde_json::from_slice(&spec.unwrap_or_default()).unwrap_or_default();
        let words = spec["process"]["args"].as_array().into_iter().flatten();
        let image = match &found.image {
            Some(id) => {
                let names = familiar_names(&self.store, id)?;
                names.into_iter().next().unwrap_or_else(|| id.short())
            }
            None => String::new(),
        };
        Ok(ContainerUsage {
            id: found.id.clone(),
            image,
            command: words
                .filter_map(|word| Some(word.as_str()?.to_owned()))
                .collect(),
            size: self.store.container_size(&found.id)?,
            created: made.map_or(0, |made| made.mtime()),
            running: found.running,
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
