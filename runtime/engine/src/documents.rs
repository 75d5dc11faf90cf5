//! The documents of an image, as bytes that have been verified and as values.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use image::{Config, Descriptor, Digest, Document, Manifest};
use store::{ImageRecord, Store};

use crate::{Error, Kind};

/// Manifests and indexes are no larger than this.
pub(crate) const DOCUMENT: u64 = Document::MOST_BYTES as u64;
/// Configs are no larger than this.
pub(crate) const CONFIG: u64 = Config::MOST_BYTES as u64;

/// An index in an index is allowed, and so on; but not for ever.
pub(crate) const DEPTH: usize = 4;

/// A manifest or an index, and the bytes that its digest is of.
#[derive(Debug, Clone)]
pub(crate) struct Read<T> {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub value: T,
}

/// An image's documents. An artifact has no config that is one of an image.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub manifest: Read<Manifest>,
    pub config: Option<Read<Config>>,
}

/// One layer of an image: the blob, and what it unpacks to.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub descriptor: Descriptor,
    /// None: not to be unpacked (an artifact's).
    pub diff_id: Option<Digest>,
}

impl Documents {
    /// The image's id: the digest of its config; of the manifest for an artifact.
    pub(crate) fn id(&self) -> Digest {
        let config = self.config.as_ref();
        config.map_or(self.manifest.digest, |config| config.digest)
    }

    /// Pairs the manifest's layers with the config's diff ids, the layers that come twice left out.
    pub(crate) fn parts(&self) -> Result<Vec<Part>> {
        let layers = &self.manifest.value.layers;
        let Some(config) = &self.config else {
            let part = |layer: &Descriptor| Part {
                descriptor: layer.clone(),
                diff_id: None,
            };
            return unique(layers.iter().map(part));
        };
        let diff_ids = &config.value.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            bail!(Error::new(
                Kind::Damaged,
                format!(
                    "image {}: its manifest has {} layers and its config {} diff ids; whoever made it has to make it again",
                    self.manifest.digest,
                    layers.len(),
                    diff_ids.len()
                )
            ));
        }
        unique(layers.iter().zip(diff_ids).map(|(layer, diff_id)| Part {
            descriptor: layer.clone(),
            diff_id: Some(*diff_id),
        }))
    }

    /// What the store remembers of the image.
    pub(crate) fn record(&self, size: u64) -> ImageRecord {
        let config = self.config.as_ref();
        // What is not unpacked has the size of its blobs.
        let layers = self.manifest.value.layers.iter();
        let blobs = layers.fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
        let size = if config.is_some() { size } else { blobs };
        ImageRecord {
            id: self.id(),
            manifest: Some(self.manifest.digest),
            config: Some(self.manifest.value.config.digest),
            layers: config.map_or_else(Vec::new, |config| config.value.rootfs.diff_ids.clone()),
            created: config.and_then(|config| config.value.created.clone()),
            platform: config.map(|config| config.value.platform().to_string()),
            size,
        }
    }

    /// What the manifest names.
    pub(crate) fn links(&self) -> Vec<(Digest, Digest)> {
        let manifest = &self.manifest;
        let named = [&manifest.value.config];
        let named = named.into_iter().chain(&manifest.value.layers);
        named.map(|named| (manifest.digest, named.digest)).collect()
    }

    /// Which blob unpacks to which layer.
    pub(crate) fn packed(&self) -> Result<Vec<(Digest, Digest)>> {
        let pair = |part: Part| Some((part.diff_id?, part.descriptor.digest));
        Ok(self.parts()?.into_iter().filter_map(pair).collect())
    }
}

fn unique(parts: impl Iterator<Item = Part>) -> Result<Vec<Part>> {
    let mut seen: BTreeMap<Digest, Option<Digest>> = BTreeMap::new();
    let mut kept = Vec::new();
    for part in parts {
        let blob = part.descriptor.digest;
        match seen.insert(blob, part.diff_id) {
            None => kept.push(part),
            Some(before) if before == part.diff_id => {}
            Some(_) => bail!(Error::new(
                Kind::Damaged,
                format!("blob {blob} is in the image twice, with two different diff ids")
            )),
        }
    }
    Ok(kept)
}

/// Parses a document whose bytes are of this digest.
pub(crate) fn parse(
    digest: Digest,
    bytes: Vec<u8>,
    declared: Option<&str>,
) -> Result<Read<Document>> {
    let value = Document::parse(&bytes, declared)
        .map_err(|error| Error::new(Kind::Damaged, format!("manifest {digest}: {error}")))?;
    Ok(Read {
        digest,
        bytes,
        value,
    })
}

/// Parses a config whose bytes are of this digest.
pub(crate) fn parse_config(digest: Digest, bytes: Vec<u8>) -> Result<Read<Config>> {
    let value = Config::parse(&bytes)
        .map_err(|error| Error::new(Kind::Damaged, format!("config {digest}: {error}")))?;
    Ok(Read {
        digest,
        bytes,
        value,
    })
}

/// Reads a manifest or an index that is here.
pub(crate) fn read(store: &Store, digest: &Digest) -> Result<Read<Document>> {
    let bytes = store
        .read_blob(digest, DOCUMENT)
        .with_context(|| format!("read manifest {digest}"))?;
    parse(*digest, bytes, None)
}

/// Reads the config of an image that is here.
pub(crate) fn read_config(store: &Store, digest: &Digest) -> Result<Read<Config>> {
    let bytes = store
        .read_blob(digest, CONFIG)
        .with_context(|| format!("read config {digest}"))?;
    parse_config(*digest, bytes)
}
