//! What is to be sent of an image: its blobs, and its documents in the order in which a registry takes them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use image::{Descriptor, Digest, Manifest, Repository, media};
use store::Store;

use crate::documents::{self, Read};
use crate::find::Found;

/// An image, ready to be sent.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub blobs: Vec<Blob>,
    /// The image's manifest; none as long as layers have to be packed for it.
    pub manifest: Option<Digest>,
    /// What is sent after the blobs, that which gets the tag last. Empty: a manifest is made.
    ready: Vec<Document>,
    config: Descriptor,
    diff_ids: Vec<Digest>,
}

/// A blob to be sent.
#[derive(Debug, Clone)]
pub(crate) enum Blob {
    /// It is here.
    Here(Descriptor),
    /// It is not here: the registry has it, or the push cannot be done.
    Elsewhere(Descriptor),
    /// A layer that may not be sent.
    Foreign(Descriptor),
    /// A layer that has no form to be sent in; its diff id.
    Unpacked(Digest),
    /// A layer that is here as a plain tar, which is sent compressed: its diff id, and that blob.
    Plain(Digest, Digest),
}

/// A document to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Vec<u8>,
    /// What it names.
    pub links: Vec<Digest>,
}

impl Parcel {
    /// Returns the documents, the layers that were packed meanwhile among them: by diff id.
    pub(crate) fn documents(&self, packed: &BTreeMap<Digest, Descriptor>) -> Result<Vec<Document>> {
        if !self.ready.is_empty() {
            return Ok(self.ready.clone());
        }
        let layer = |diff_id: &Digest| {
            let blob = packed.get(diff_id).cloned();
            blob.with_context(|| format!("layer {diff_id} was not packed"))
        };
        let layers = self.diff_ids.iter().map(layer).collect::<Result<_>>()?;
        let manifest = super::make_manifest(self.config.clone(), layers);
        let bytes = manifest.to_bytes();
        Ok(vec![Document {
            digest: Digest::of(&bytes),
            media_type: manifest.media_type.clone(),
            links: links(&image::Document::Manifest(manifest)),
            bytes,
        }])
    }
}

/// Lists what an image consists of. Of an index that is here with all its parts, all parts.
pub(crate) fn parcel(
    store: &Store,
    repository: &Repository,
    found: &Found,
    foreign: bool,
) -> Result<Parcel> {
    let Some(manifest) = found.manifest else {
        return made_here(store, found);
    };
    for pin in store.digests_of(&found.id)? {
        let same = pin.repository == repository.canonical() && pin.manifest == manifest;
        if !same || pin.digest == manifest {
            continue;
        }
        let mut whole = Whole::default();
        if whole.take(store, &pin.digest, foreign)? {
            return whole.parcel(manifest, found);
        }
    }
    let mut whole = Whole {
        partly: true,
        ..Whole::default()
    };
    whole.take(store, &manifest, foreign)?;
    whole.parcel(manifest, found)
}

/// An image without manifest: its layers in the best form that there is.
fn made_here(store: &Store, found: &Found) -> Result<Parcel> {
    let config = found.record.config.unwrap_or(found.id);
    let size = store
        .blob(&config)?
        .with_context(|| format!("config {config} is not here"))?;
    let config = Descriptor::new(media::OCI_CONFIG, config, size);
    let mut blobs = vec![Blob::Here(config.clone())];
    let mut seen = BTreeSet::new();
    for diff_id in &found.record.layers {
        if seen.insert(diff_id) {
            blobs.push(form(store, diff_id)?);
        }
    }
    Ok(Parcel {
        blobs,
        manifest: None,
        ready: Vec::new(),
        config,
        diff_ids: found.record.layers.clone(),
    })
}

/// Looks for a form of a layer that can be sent as it is.
fn form(store: &Store, diff_id: &Digest) -> Result<Blob> {
    Ok(match known_form(store, diff_id)? {
        // Its own tar: too large to be sent.
        Some(blob) if blob.digest == *diff_id => Blob::Plain(*diff_id, blob.digest),
        Some(blob) => Blob::Here(blob),
        None => Blob::Unpacked(*diff_id),
    })
}

/// The blob that unpacks to a layer: a compressed one where there is one, always the same of several.
pub(crate) fn known_form(store: &Store, diff_id: &Digest) -> Result<Option<Descriptor>> {
    let mut plain = None;
    let mut forms = store.packed_forms(diff_id)?;
    forms.sort_unstable();
    for blob in forms {
        let Some(size) = store.blob(&blob)? else {
            continue;
        };
        match media_type(store, &blob)? {
            Some(media_type) => return Ok(Some(Descriptor::new(media_type, blob, size))),
            None => plain = Some(Descriptor::new(media::OCI_LAYER, blob, size)),
        }
    }
    Ok(plain)
}

/// Tells by its first bytes what a blob is.
fn media_type(store: &Store, blob: &Digest) -> Result<Option<&'static str>> {
    use std::io::Read as _;
    let mut magic = [0; 4];
    let read = store
        .open_blob(blob)?
        .read(&mut magic)
        .context("read a blob")?;
    Ok(match &magic[..read] {
        [0x1f, 0x8b, ..] => Some(media::OCI_LAYER_GZIP),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(media::OCI_LAYER_ZSTD),
        _ => None,
    })
}

/// A document and all below it.
#[derive(Debug, Default)]
struct Whole {
    documents: Vec<Document>,
    blobs: BTreeMap<Digest, Blob>,
    /// Blobs may be missing.
    partly: bool,
}

impl Whole {
    /// Takes a document and what it names; false when something of it is not here.
    fn take(&mut self, store: &Store, digest: &Digest, foreign: bool) -> Result<bool> {
        if self.documents.iter().any(|known| known.digest == *digest) {
            return Ok(true);
        }
        if store.blob(digest)?.is_none() && !self.partly {
            return Ok(false);
        }
        let document = documents::read(store, digest)?;
        match &document.value {
            image::Document::Index(index) => {
                for member in &index.manifests {
                    if !self.take(store, &member.digest, foreign)? {
                        return Ok(false);
                    }
                }
            }
            image::Document::Manifest(manifest) => {
                if !self.take_blobs(store, manifest, foreign)? {
                    return Ok(false);
                }
            }
        }
        self.documents.push(ready(document));
        Ok(true)
    }

    fn take_blobs(&mut self, store: &Store, manifest: &Manifest, foreign: bool) -> Result<bool> {
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let item = if media::is_foreign(&blob.media_type) && !foreign {
                Blob::Foreign(blob.clone())
            } else if store.blob(&blob.digest)?.is_some() {
                Blob::Here(blob.clone())
            } else if self.partly {
                Blob::Elsewhere(blob.clone())
            } else {
                return Ok(false);
            };
            self.blobs.insert(blob.digest, item);
        }
        Ok(true)
    }

    fn parcel(self, manifest: Digest, found: &Found) -> Result<Parcel> {
        let config = found.record.config.unwrap_or(found.id);
        Ok(Parcel {
            blobs: self.blobs.into_values().collect(),
            manifest: Some(manifest),
            ready: self.documents,
            config: Descriptor::new(media::OCI_CONFIG, config, 0),
            diff_ids: found.record.layers.clone(),
        })
    }
}

fn ready(document: Read<image::Document>) -> Document {
    Document {
        digest: document.digest,
        media_type: document.value.media_type().to_string(),
        links: links(&document.value),
        bytes: document.bytes,
    }
}

fn links(document: &image::Document) -> Vec<Digest> {
    document
        .links()
        .into_iter()
        .map(|named| named.digest)
        .collect()
}

impl Blob {
    /// What docker shows of it, and how large it is as far as that is known.
    pub(crate) fn shown(&self, store: &Store) -> String {
        let diff_id = match self {
            Self::Here(blob) | Self::Elsewhere(blob) | Self::Foreign(blob) => {
                let diff_id = store.unpacked_form(&blob.digest).ok().flatten();
                diff_id.unwrap_or(blob.digest)
            }
            Self::Unpacked(diff_id) | Self::Plain(diff_id, _) => *diff_id,
        };
        diff_id.short()
    }

    /// Tells whether it is a layer; docker shows nothing else.
    pub(crate) fn is_layer(&self) -> bool {
        match self {
            Self::Here(blob) | Self::Elsewhere(blob) | Self::Foreign(blob) => {
                media::compression(&blob.media_type).is_some()
            }
            Self::Unpacked(_) | Self::Plain(..) => true,
        }
    }
}
