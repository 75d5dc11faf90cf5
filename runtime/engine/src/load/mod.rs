//! Load: images out of an archive, or a directory, of any form that is around.
//!
//! One pass over the archive brings the blobs into the store and the small documents into memory, whatever their order; then it is known
//! what the archive is: an OCI layout, docker's with `manifest.json`, both in one, or docker's oldest. From there all are the same:
//! layers are unpacked in parallel, one commit makes everything durable, the names last.

mod collect;
mod docker;
mod found;
mod layers;
mod layout;
mod old;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use image::{Digest, Platform};
use store::{Lease, NewName, Pin, Records, StagedBlob, Store};

use crate::archive::plain;
use crate::progress::{Event, Step};
use crate::unpack::Counted;
use crate::{Engine, Error, Progress, Result};
use collect::Collected;
use found::{Candidate, Candidates, Part};

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct Load {
    /// For which machine, where the archive has an image for several; none: for this one.
    pub platform: Option<Platform>,
}

/// What was loaded.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// In the archive's order.
    pub images: Vec<LoadedImage>,
    /// What docker prints: `Loaded image: busybox:latest`.
    pub lines: Vec<String>,
}

/// One image that was loaded.
#[derive(Debug, Clone)]
pub struct LoadedImage {
    /// Its id.
    pub id: Digest,
    /// The names it was given, as people write them.
    pub names: Vec<String>,
}

impl Engine {
    /// Loads the images of an archive.
    pub fn load(
        &self,
        input: &mut (dyn Read + Send),
        options: &Load,
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        self.load_sized(input, 0, options, progress)
    }

    fn load_sized(
        &self,
        input: &mut (dyn Read + Send),
        size: u64,
        options: &Load,
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        let lease = self.store.lease()?;
        let mut told = 0;
        let mut counted = Counted::new(input, |have| {
            if have - told >= 1 << 20 {
                told = have;
                let (id, step) = (String::new(), Step::Loading { have, size });
                progress.event(Event::Layer { id, step });
            }
        });
        let collected = plain(&mut counted, |tar| {
            collect::archive(&self.store, &lease, tar)
        })?;
        Ok(self.finish(collected, &lease, options, progress)?)
    }

    /// Loads the images of a file, or of a directory that holds what an archive does.
    pub fn load_path(
        &self,
        path: &Path,
        options: &Load,
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        let named = || format!("open {}", path.display());
        let mut file = File::open(path).with_context(named)?;
        let stat = file.metadata().with_context(named)?;
        if !stat.is_dir() {
            let loaded = self.load_sized(&mut file, stat.len(), options, progress);
            return Ok(loaded
                .map_err(anyhow::Error::from)
                .with_context(|| path.display().to_string())?);
        }
        let lease = self.store.lease()?;
        let collected = collect::directory(&self.store, &lease, path)?;
        Ok(self.finish(collected, &lease, options, progress)?)
    }

    fn finish(
        &self,
        collected: Collected,
        lease: &Lease,
        options: &Load,
        progress: &dyn Progress,
    ) -> anyhow::Result<Loaded> {
        let candidates = candidates(&self.store, lease, &collected, options)?;
        let unpacked = layers::unpack(&self.store, lease, &candidates, progress)?;
        let mut records = Records::default();
        let mut loaded = Loaded::default();
        let mut staged = unpacked.staged;
        for candidate in candidates {
            loaded.take(&self.store, &candidate)?;
            unpacked.kept.record(&candidate, &mut records);
            add(candidate, &unpacked.bytes, &mut records, &mut staged.blobs);
        }
        self.store.commit(staged, records)?;
        // What the archive holds and no image keeps. All is loaded, whatever comes of it.
        self.store.drop_staged(lease).ok();
        Ok(loaded)
    }
}

/// Finds out what the archive is.
fn candidates(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    options: &Load,
) -> anyhow::Result<Vec<Candidate>> {
    let mut found = Candidates::default();
    if collected.text("index.json").is_some() {
        found = layout::read(store, lease, collected, options)?;
    }
    if let Some(manifest) = collected.text("manifest.json") {
        docker::read(store, lease, collected, manifest, &mut found)?;
    } else if found.is_empty() && collected.text("index.json").is_none() {
        found = old::read(store, lease, collected)?;
    }
    if found.is_empty() {
        let text = "there is no image in it: neither index.json nor manifest.json nor repositories name one";
        anyhow::bail!(Error::invalid(text).with_hint("a tar of files alone is for `import`"));
    }
    Ok(found.done())
}

/// Puts an image into what will be committed.
fn add(
    candidate: Candidate,
    sizes: &BTreeMap<Digest, u64>,
    records: &mut Records,
    blobs: &mut Vec<StagedBlob>,
) {
    let mut record = candidate.record;
    record.size = record
        .layers
        .iter()
        .filter_map(|layer| sizes.get(layer))
        .sum();
    for name in candidate.names {
        records.names.push(NewName {
            name: name.canonical(),
            image: record.id,
            manifest: record.manifest,
        });
        if let Some(manifest) = record.manifest {
            records.digests.push(Pin {
                repository: name.repository.canonical(),
                digest: manifest,
                image: record.id,
                manifest,
            });
        }
    }
    records.links.extend(candidate.links);
    records.images.push(record);
    blobs.extend(candidate.documents);
}

impl Loaded {
    fn take(&mut self, store: &Store, candidate: &Candidate) -> anyhow::Result<()> {
        let id = candidate.record.id;
        for name in &candidate.names {
            if let Some(before) = store.name(&name.canonical())?
                && before.image != id
            {
                self.lines.push(format!(
                    "The image {name} already exists, renaming the old one with ID {} to empty string",
                    before.image
                ));
            }
            self.lines.push(format!("Loaded image: {name}"));
        }
        if candidate.names.is_empty() {
            self.lines.push(format!("Loaded image ID: {id}"));
        }
        let names = candidate.names.iter().map(ToString::to_string).collect();
        self.images.push(LoadedImage { id, names });
        Ok(())
    }
}
