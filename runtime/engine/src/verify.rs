//! Verify: every byte of an image is read again and compared: blobs with their digests, files with their layers.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader};
use std::os::fd::AsFd;

use image::Digest;
use store::{ImageRecord, Store};

use crate::copy::copy_hashed;
use crate::find::{familiar_names, no_such};
use crate::progress::{Event, Step};
use crate::push::{known_form, open_layer};
use crate::{Engine, Progress, Result, unpack};

/// What became of one image.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its id.
    pub id: Digest,
    /// What the caller called it; else a name of it, or the beginning of its id.
    pub name: String,
    /// How many blobs were read.
    pub blobs: u64,
    /// How many layers were compared.
    pub layers: u64,
    /// What is not as it was, a line each. Nothing: all is well.
    pub differences: Vec<String>,
}

impl Engine {
    /// Compares images with what they were, byte by byte; without names, all that are here.
    pub fn verify(&self, names: &[String], progress: &dyn Progress) -> Result<Vec<Verified>> {
        let mut ids = BTreeMap::new();
        for name in names {
            ids.entry(self.find(name)?.id).or_insert(Some(name));
        }
        if names.is_empty() {
            let images = self.store.images()?;
            ids.extend(images.into_iter().map(|image| (image.id, None)));
        }
        // What several images have is read once.
        let mut seen = Seen::default();
        let mut all = Vec::new();
        for (id, name) in ids {
            match (self.verify_one(&id, &mut seen, progress)?, name) {
                (Some(verified), None) => all.push(verified),
                (Some(verified), Some(name)) => all.push(Verified {
                    name: name.clone(),
                    ..verified
                }),
                // Somebody has removed it since.
                (None, Some(name)) => return Err(no_such(name)),
                (None, None) => {}
            }
        }
        Ok(all)
    }

    fn verify_one(
        &self,
        id: &Digest,
        seen: &mut Seen,
        progress: &dyn Progress,
    ) -> Result<Option<Verified>> {
        let lease = self.store.lease()?;
        let Some(record) = self.store.hold_image(&lease, id)? else {
            return Ok(None);
        };
        let names = familiar_names(&self.store, id)?;
        let mut verified = Verified {
            id: *id,
            name: names.into_iter().next().unwrap_or_else(|| id.short()),
            blobs: 0,
            layers: 0,
            differences: Vec::new(),
        };
        for blob in blobs_of(&self.store, &record)? {
            if self.store.blob(&blob)?.is_none() {
                continue;
            }
            verified.blobs += 1;
            let line = seen.blobs.look(&self.store, &blob);
            let line = line.map(|line| format!("blob {blob}: {line}"));
            verified.differences.extend(line);
        }
        for layer in &record.layers {
            verified.layers += 1;
            let differences = seen.layers.entry(*layer).or_insert_with(|| {
                let (id, size) = (layer.short(), 0);
                progress.event(Event::Layer {
                    id,
                    step: Step::Loading { have: 0, size },
                });
                let differences = layer_differs(&self.store, layer, &mut seen.blobs);
                differences.unwrap_or_else(|error| vec![format!("{error:#}")])
            });
            let of = |line: &String| format!("layer {}: {line}", layer.short());
            verified.differences.extend(differences.iter().map(of));
        }
        Ok(Some(verified))
    }
}

/// Everything that leads to an image and from it: also the manifests that its names mean, the indexes that led to it, and what those name.
pub(crate) fn blobs_of(store: &Store, record: &ImageRecord) -> Result<BTreeSet<Digest>> {
    let mut next: Vec<Digest> = record.config.into_iter().chain(record.manifest).collect();
    let names = store.names_of(&record.id)?;
    next.extend(names.into_iter().filter_map(|name| name.manifest));
    let pins = store.digests_of(&record.id)?;
    next.extend(pins.into_iter().flat_map(|pin| [pin.digest, pin.manifest]));
    let mut blobs = BTreeSet::new();
    while let Some(blob) = next.pop() {
        if blobs.insert(blob) {
            next.extend(store.links_of(&blob)?);
        }
    }
    Ok(blobs)
}

/// What was read already, and how it differs: that holds for every image that has it.
#[derive(Debug, Default)]
struct Seen {
    blobs: Blobs,
    layers: BTreeMap<Digest, Vec<String>>,
}

/// Of each blob that was read, how it differs.
#[derive(Debug, Default)]
struct Blobs(BTreeMap<Digest, Option<String>>);

impl Blobs {
    fn look(&mut self, store: &Store, blob: &Digest) -> Option<&String> {
        let found = self.0.entry(*blob);
        found.or_insert_with(|| blob_differs(store, blob)).as_ref()
    }
}

fn blob_differs(store: &Store, digest: &Digest) -> Option<String> {
    match copy_hashed(store, digest, &mut io::sink()) {
        Ok(found) if found == *digest => None,
        Ok(found) => Some(format!("its bytes have the digest {found}")),
        Err(error) => Some(match error.downcast_ref() {
            Some(store::Error::Missing(_)) => "its file is missing".to_string(),
            _ => format!("{error:#}"),
        }),
    }
}

/// Compares a layer's files with its tar, entry by entry; a layer that was made here has none, and is packed again.
fn layer_differs(
    store: &Store,
    diff_id: &Digest,
    blobs: &mut Blobs,
) -> anyhow::Result<Vec<String>> {
    let layer = store.layer(diff_id)?;
    let Some(layer) = layer else {
        return Ok(vec!["it is not here".to_string()]);
    };
    let dir = open_layer(&layer.path)?;
    for blob in store.packed_forms(diff_id)? {
        // What a damaged one says of files is nothing to go by.
        if store.blob(&blob)?.is_some() && blobs.look(store, &blob).is_some() {
            return Ok(vec![format!(
                "its files could not be compared, since its blob {blob} is damaged or missing"
            )]);
        }
    }
    let Some(blob) = known_form(store, diff_id)? else {
        let packed = layer::pack(dir.as_fd(), io::sink())?;
        let found = Digest::from_sha256(packed.tar_sha256);
        let differs = found != *diff_id;
        return Ok(differs
            .then(|| format!("packed again, its files give {found}"))
            .into_iter()
            .collect());
    };
    let options = unpack::options();
    let file = BufReader::with_capacity(256 << 10, store.open_blob(&blob.digest)?);
    let tar = layer::inflate(file, None, &options.limits)?;
    let (mut differences, tar) = layer::verify(tar, dir.as_fd(), &options)?;
    let found = Digest::from_sha256(tar);
    if found != *diff_id {
        differences.push(format!("its blob {} unpacks to {found}", blob.digest));
    }
    Ok(differences)
}
