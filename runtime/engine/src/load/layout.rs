//! An OCI layout: `index.json` leads to manifests among the blobs.

use anyhow::{Context, Result, bail};
use image::{Descriptor, Digest, Document, Platform, Reference, media};
use store::{Lease, Store};

use super::collect::{Collected, blob_path};
use super::{Candidate, Load, Part};
use crate::documents::{self, CONFIG, DOCUMENT, Documents, Read};
use crate::{Error, Kind};

/// An index in an index is allowed, and so on; but not for ever.
const DEPTH: usize = 4;
/// The name with everything said.
const CONTAINERD: &str = "io.containerd.image.name";
/// A name or a tag, by whoever wrote it.
const OCI: &str = "org.opencontainers.image.ref.name";

/// Finds the images of a layout.
pub(crate) fn read(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    options: &Load,
) -> Result<Vec<Candidate>> {
    let text = collected.text("index.json").unwrap_or_default();
    let index = Document::parse(text, Some(media::OCI_INDEX))
        .map_err(|error| Error::new(Kind::Damaged, format!("index.json: {error}")))?;
    let Document::Index(index) = index else {
        bail!(Error::new(
            Kind::Damaged,
            "index.json is a manifest and no index"
        ));
    };
    let mut found: Vec<Candidate> = Vec::new();
    for entry in &index.manifests {
        let Some(candidate) = follow(store, lease, collected, entry, options)? else {
            continue;
        };
        let names = names(entry);
        match found
            .iter_mut()
            .find(|other| other.record.id == candidate.record.id)
        {
            // The same image under another name.
            Some(other) => other.names.extend(names),
            None => found.push(Candidate { names, ..candidate }),
        }
    }
    Ok(found)
}

/// Follows an entry to the image that is for the right machine; nothing when it is none for any.
fn follow(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    entry: &Descriptor,
    options: &Load,
) -> Result<Option<Candidate>> {
    let mut path = Vec::new();
    let mut entry = entry.clone();
    for _ in 0..DEPTH {
        let document = document(store, collected, &entry)?;
        let digest = document.digest;
        let index = match document.value {
            Document::Manifest(value) => {
                let manifest = Read {
                    digest,
                    bytes: document.bytes,
                    value,
                };
                return image_of(store, lease, collected, manifest, &path).map(Some);
            }
            Document::Index(index) => index,
        };
        let host = Platform::host();
        let wanted = options.platform.as_ref().unwrap_or(&host);
        let here = |member: &&Descriptor| has(store, collected, &member.digest);
        let members: Vec<Descriptor> = index.manifests.iter().filter(here).cloned().collect();
        let chosen = image::choose(&members, wanted);
        // An archive with an image for one other machine was made on purpose.
        let only = || (options.platform.is_none() && members.len() == 1).then(|| &members[0]);
        let Some(chosen) = chosen.or_else(only) else {
            return Ok(None);
        };
        entry = chosen.clone();
        path.push((digest, document.bytes));
    }
    bail!(Error::new(
        Kind::Unsupported,
        format!("more than {DEPTH} indexes one inside the other")
    ));
}

fn has(store: &Store, collected: &Collected, digest: &Digest) -> bool {
    collected.by_digest(digest).is_some() || store.blob(digest).is_ok_and(|size| size.is_some())
}

fn document(store: &Store, collected: &Collected, entry: &Descriptor) -> Result<Read<Document>> {
    let bytes = bytes(store, collected, &entry.digest, DOCUMENT)?;
    documents::parse(entry.digest, bytes, Some(&entry.media_type))
}

fn bytes(store: &Store, collected: &Collected, digest: &Digest, most: u64) -> Result<Vec<u8>> {
    if let Some(bytes) = collected.document(store, &blob_path(digest), most)? {
        return Ok(bytes);
    }
    if store.blob(digest)?.is_some() {
        return Ok(store.read_blob(digest, most)?);
    }
    bail!(lacking(digest))
}

fn lacking(digest: &Digest) -> Error {
    let text = format!("the archive lacks the blob {digest}, which it names");
    Error::new(Kind::Damaged, text)
}

fn image_of(
    store: &Store,
    lease: &Lease,
    collected: &Collected,
    manifest: Read<image::Manifest>,
    above: &[(Digest, Vec<u8>)],
) -> Result<Candidate> {
    let config = if manifest.value.is_image() {
        let digest = manifest.value.config.digest;
        let bytes = bytes(store, collected, &digest, CONFIG)?;
        Some(documents::parse_config(digest, bytes)?)
    } else {
        None
    };
    let documents = Documents { manifest, config };
    let mut kept =
        vec![store.stage_as(lease, &documents.manifest.digest, &documents.manifest.bytes)?];
    let mut links = documents.links();
    let mut below = documents.manifest.digest;
    for (digest, bytes) in above.iter().rev() {
        kept.push(store.stage_as(lease, digest, bytes)?);
        links.push((*digest, below));
        below = *digest;
    }
    let mut layers = Vec::new();
    for part in documents.parts()? {
        let digest = part.descriptor.digest;
        let staged = staged(store, lease, collected, &digest, &part.descriptor)?;
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
    kept.extend(staged(store, lease, collected, &config.digest, config)?);
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
    store: &Store,
    lease: &Lease,
    collected: &Collected,
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
    match collected.by_digest(digest) {
        Some(blob) if blob.size != descriptor.size => bail!(wrong(blob.size)),
        Some(blob) => Ok(blob.staged.clone()),
        None => match store.hold_blob(lease, digest)? {
            Some(_) => Ok(None),
            // A layer that may not be given away is not in an archive either.
            None => Err(lacking(digest)).context("load an image")?,
        },
    }
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
