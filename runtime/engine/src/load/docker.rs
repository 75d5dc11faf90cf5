//! Docker's archive: `manifest.json` names configs, names and the layers' tars.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use image::{Digest, Reference};
use serde::Deserialize;
use store::{ImageRecord, Lease, Store};

use super::collect::Collected;
use super::{Candidate, Candidates, Part};
use crate::documents::{self, CONFIG, Read};
use crate::{Error, Kind};

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the images, and gives those that an OCI layout in the same archive has shown their names. Each config is read once, however many items
/// name it: the list is short, and what it names may not be.
pub(crate) fn read(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    manifest: &[u8],
    found: &mut Candidates,
) -> Result<()> {
    let items: Vec<Item> = serde_json::from_slice(manifest)
        .map_err(|error| Error::new(Kind::Damaged, format!("manifest.json: {error}")))?;
    let mut configs: BTreeMap<String, usize> = BTreeMap::new();
    for item in items {
        let names = names(&item)?;
        let path = collected.real(&item.config);
        let at = if let Some(at) = configs.get(&path) {
            *at
        } else {
            let config = config(store, collected, &item.config)?;
            let at = match found.place(&config.digest) {
                Some(at) => at,
                None => {
                    let paths = item.layers.unwrap_or_default();
                    found.add(candidate(store, lease, collected, &config, &paths)?)?
                }
            };
            configs.insert(path, at);
            at
        };
        found.name(at, names)?;
    }
    Ok(())
}

fn names(item: &Item) -> Result<Vec<Reference>> {
    let name = |text: &String| {
        let name: Reference = text
            .parse()
            .map_err(|error| Error::new(Kind::Damaged, format!("manifest.json: {error}")))?;
        Ok(name.or_latest())
    };
    item.repo_tags.iter().flatten().map(name).collect()
}

fn config(store: &Store, collected: &Collected, path: &str) -> Result<Read<image::Config>> {
    let bytes = collected.document(store, path, CONFIG)?;
    let bytes = bytes.ok_or_else(|| lacking(path))?;
    documents::parse_config(Digest::of(&bytes), bytes)
}

fn lacking(path: &str) -> Error {
    Error::new(
        Kind::Damaged,
        format!("the archive lacks {path}, which its manifest.json names"),
    )
}

/// An image of a config and the tars of its layers.
pub(crate) fn candidate(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    config: &Read<image::Config>,
    paths: &[String],
) -> Result<Candidate> {
    let diff_ids = &config.value.rootfs.diff_ids;
    if diff_ids.len() != paths.len() {
        bail!(Error::new(
            Kind::Damaged,
            format!(
                "image {}: it has {} layers and {} diff ids",
                config.digest,
                paths.len(),
                diff_ids.len()
            )
        ));
    }
    let mut layers: Vec<Part> = Vec::new();
    for (diff_id, path) in diff_ids.iter().zip(paths) {
        if layers.iter().any(|part| part.diff_id == *diff_id) {
            continue;
        }
        layers.push(layer(store, lease, collected, diff_id, path)?);
    }
    Ok(Candidate {
        record: ImageRecord {
            id: config.digest,
            manifest: None,
            config: Some(config.digest),
            layers: diff_ids.clone(),
            created: config.value.created.clone(),
            platform: Some(config.value.platform().to_string()),
            size: 0,
        },
        names: Vec::new(),
        layers,
        links: Vec::new(),
        documents: vec![store.stage_as(lease, &config.digest, &config.bytes)?],
    })
}

fn layer(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    diff_id: &Digest,
    path: &str,
) -> Result<Part> {
    if let Some(blob) = collected.blob(path) {
        return Ok(Part {
            diff_id: *diff_id,
            blob: blob.digest,
            staged: blob.staged.clone(),
            spare: blob.digest == *diff_id,
        });
    }
    // An archive may leave out what its reader has.
    let held = store
        .hold_layer(lease, diff_id)
        .context("look for a layer")?;
    held.ok_or_else(|| lacking(path))?;
    Ok(Part {
        diff_id: *diff_id,
        blob: *diff_id,
        staged: None,
        spare: true,
    })
}
