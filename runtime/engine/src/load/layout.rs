//! An OCI layout: `index.json` leads to manifests among the blobs.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use image::{Descriptor, Digest, Document, Platform, Reference, media};
use store::{Lease, Store};

use super::collect::Collected;
use super::{Candidate, Candidates, Load, Part};
use crate::archive::layout::{CONTAINERD, OCI, blob_path};
use crate::documents::{self, CONFIG, DEPTH, DOCUMENT, Documents, Read};
use crate::{Error, Kind};

/// Finds the images of a layout.
pub(crate) fn read(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    options: &Load,
) -> Result<Candidates> {
    let text = collected.text("index.json").unwrap_or_default();
    let index = Document::parse(text, Some(media::OCI_INDEX))
        .map_err(|error| Error::new(Kind::Damaged, format!("index.json: {error}")))?;
    let Document::Index(index) = index else {
        bail!(Error::new(
            Kind::Damaged,
            "index.json is a manifest and no index"
        ));
    };
    let mut layout = Layout {
        store,
        lease,
        collected,
        wanted: options.platform.as_ref(),
        found: Candidates::default(),
        done: BTreeMap::new(),
    };
    for entry in &index.manifests {
        if let Some(at) = layout.follow(entry, &mut Vec::new())? {
            // It may be the same image under another name.
            layout.found.name(at, names(entry))?;
        }
    }
    Ok(layout.found)
}

/// A layout that is being read. Each document is read once, however often it is named: an index is short, and what it names may not be.
struct Layout<'a> {
    store: &'a Store,
    lease: &'a Lease,
    collected: &'a Collected,
    wanted: Option<&'a Platform>,
    found: Candidates,
    /// Which image a document, read as what it was said to be, led to.
    done: BTreeMap<(Digest, String), Option<usize>>,
}

impl Layout<'_> {
    /// Follows an entry to the image that is for the right machine; nothing when it is none for any. `above` are the indexes that led here.
    fn follow(
        &mut self,
        entry: &Descriptor,
        above: &mut Vec<(Digest, Vec<u8>)>,
    ) -> Result<Option<usize>> {
        // What stands behind the type has no end of forms.
        let kind = entry.media_type.split(';').next().unwrap_or_default();
        let key = (entry.digest, kind.trim().to_ascii_lowercase());
        if let Some(done) = self.done.get(&key) {
            return Ok(*done);
        }
        if above.len() == DEPTH {
            let text = format!("more than {DEPTH} indexes one inside the other");
            bail!(Error::new(Kind::Unsupported, text));
        }
        let bytes = self.bytes(&entry.digest, DOCUMENT)?;
        let document = documents::parse(entry.digest, bytes, Some(&entry.media_type))?;
        let (digest, bytes) = (document.digest, document.bytes);
        let found = match document.value {
            Document::Manifest(value) => {
                let manifest = Read {
                    digest,
                    bytes,
                    value,
                };
                Some(self.image(manifest, above)?)
            }
            Document::Index(index) => match self.choose(index.manifests) {
                Some(member) => {
                    above.push((digest, bytes));
                    self.follow(&member, above)?
                }
                None => None,
            },
        };
        self.done.insert(key, found);
        Ok(found)
    }

    /// Chooses the image for the right machine, of those that are here.
    fn choose(&self, mut members: Vec<Descriptor>) -> Option<Descriptor> {
        members.retain(|member| self.has(&member.digest));
        let host = Platform::host();
        let chosen = image::choose(&members, self.wanted.unwrap_or(&host));
        // An archive with an image for one other machine was made on purpose.
        let only = || (self.wanted.is_none() && members.len() == 1).then(|| &members[0]);
        chosen.or_else(only).cloned()
    }

    fn has(&self, digest: &Digest) -> bool {
        let stored = || self.store.blob(digest).is_ok_and(|size| size.is_some());
        self.collected.by_digest(digest).is_some() || stored()
    }

    fn bytes(&self, digest: &Digest, most: u64) -> Result<Vec<u8>> {
        let path = blob_path(digest);
        if let Some(bytes) = self.collected.document(self.store, &path, most)? {
            return Ok(bytes);
        }
        if self.store.blob(digest)?.is_some() {
            return Ok(self.store.read_blob(digest, most)?);
        }
        bail!(lacking(digest))
    }

    /// Returns where in `found` the image of a manifest is.
    fn image(
        &mut self,
        manifest: Read<image::Manifest>,
        above: &[(Digest, Vec<u8>)],
    ) -> Result<usize> {
        let is_image = manifest.value.is_image();
        let digest = manifest.value.config.digest;
        let id = if is_image { digest } else { manifest.digest };
        // Before its config is read: many manifests may name one.
        if let Some(at) = self.found.place(&id) {
            return Ok(at);
        }
        let config = if is_image {
            Some(documents::parse_config(
                digest,
                self.bytes(&digest, CONFIG)?,
            )?)
        } else {
            None
        };
        let documents = Documents { manifest, config };
        let candidate = self.candidate(&documents, above)?;
        self.found.add(candidate)
    }

    fn candidate(&self, documents: &Documents, above: &[(Digest, Vec<u8>)]) -> Result<Candidate> {
        let keep = |digest, bytes| self.store.stage_as(self.lease, digest, bytes);
        let mut kept = vec![keep(&documents.manifest.digest, &documents.manifest.bytes)?];
        let mut links = documents.links();
        let mut below = documents.manifest.digest;
        for (digest, bytes) in above.iter().rev() {
            kept.push(keep(digest, bytes)?);
            links.push((*digest, below));
            below = *digest;
        }
        let mut layers = Vec::new();
        for part in documents.parts()? {
            let digest = part.descriptor.digest;
            let staged = self.staged(&digest, &part.descriptor)?;
            match part.diff_id {
                Some(diff_id) => layers.push(Part {
                    diff_id,
                    blob: digest,
                    staged,
                    spare: false,
                }),
                None => kept.extend(staged),
            }
        }
        let config = &documents.manifest.value.config;
        kept.extend(self.staged(&config.digest, config)?);
        Ok(Candidate {
            record: documents.record(0),
            names: Vec::new(),
            layers,
            links,
            documents: kept,
        })
    }

    /// The blob, if it came with the archive and the store has it not.
    fn staged(
        &self,
        digest: &Digest,
        descriptor: &Descriptor,
    ) -> Result<Option<store::StagedBlob>> {
        let wrong = |size: u64| {
            let text = format!(
                "blob {digest} has {size} bytes, and its manifest says {}",
                descriptor.size
            );
            Error::new(Kind::Damaged, text)
        };
        match self.collected.by_digest(digest) {
            Some(blob) if blob.size != descriptor.size => bail!(wrong(blob.size)),
            Some(blob) => Ok(blob.staged.clone()),
            None => match self.store.hold_blob(self.lease, digest)? {
                Some(size) if size != descriptor.size => bail!(wrong(size)),
                Some(_) => Ok(None),
                // A layer that may not be given away is not in an archive either.
                None => Err(lacking(digest)).context("load an image")?,
            },
        }
    }
}

fn lacking(digest: &Digest) -> Error {
    let text = format!("the archive lacks the blob {digest}, which it names");
    Error::new(Kind::Damaged, text)
}

/// The names that an entry gives its image. A tag alone names nothing.
fn names(entry: &Descriptor) -> Vec<Reference> {
    let annotation = |key: &str| entry.annotations.get(key).map(String::as_str);
    let parsed = |text: &str| {
        text.parse::<Reference>()
            .ok()
            .filter(|name| name.digest.is_none())
    };
    if let Some(name) = annotation(CONTAINERD).and_then(parsed) {
        return vec![name.or_latest()];
    }
    let name = annotation(OCI).filter(|text| text.contains([':', '/']));
    name.and_then(parsed)
        .map(Reference::or_latest)
        .into_iter()
        .collect()
}
