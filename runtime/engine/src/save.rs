//! Save: images as one tar that is an OCI layout and docker's archive at once, the same bytes for the same images in
//! the same order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use image::{Descriptor, Digest, Document, Index, Manifest, Platform, Reference, media};
use serde::Serialize;
use store::{ImageRecord, Lease, Store};

use crate::archive::Writer;
use crate::archive::layout::{CONTAINERD, OCI, blob_path};
use crate::copy::copy_blob;
use crate::find::{Found, find, no_such};
use crate::push::{make_manifest, open_layer};
use crate::{Engine, Error, Kind, Result, documents};

/// How to save.
#[derive(Debug, Clone, Default)]
pub struct Save {
    /// Only images for this machine.
    pub platform: Option<Platform>,
}

impl Engine {
    /// Writes images. All of them are looked up before the first byte.
    pub fn save(
        &self,
        names: &[String],
        options: &Save,
        out: &mut (dyn Write + Send),
    ) -> Result<()> {
        let lease = self.store.lease()?;
        let images = wanted(&self.store, names, options)?;
        let mut plan = Plan::default();
        for image in &images {
            plan.image(&self.store, &lease, image)?;
        }
        Ok(plan.write(&self.store, out)?)
    }
}

/// An image, and the names it is saved with.
struct Wanted {
    /// What the user has called it, first.
    asked: String,
    found: Found,
    names: BTreeSet<Reference>,
}

/// The images in the order in which they are named first.
fn wanted(store: &Store, names: &[String], options: &Save) -> Result<Vec<Wanted>> {
    let mut images: Vec<Wanted> = Vec::new();
    let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
    for name in names {
        for found in meant(store, name)? {
            found.check_platform(name, options.platform.as_ref())?;
            let tagged = found.name.clone().filter(|name| name.digest.is_none());
            let place = *places.entry(found.id).or_insert(images.len());
            if place == images.len() {
                images.push(Wanted {
                    asked: name.clone(),
                    found,
                    names: BTreeSet::new(),
                });
            }
            images[place].names.extend(tagged);
        }
    }
    Ok(images)
}

/// The images that a name means: a repository without tag means all its tags.
fn meant(store: &Store, name: &str) -> Result<Vec<Found>> {
    let reference = name.parse::<Reference>().ok();
    let bare = |reference: &Reference| reference.tag.is_none() && reference.digest.is_none();
    let mut all = Vec::new();
    if let Some(reference) = reference.filter(bare) {
        for known in store.names()? {
            let same = known.name.parse::<Reference>();
            if same.is_ok_and(|same| same.repository == reference.repository) {
                all.push(find(store, &known.name)?);
            }
        }
    }
    if all.is_empty() {
        all.push(find(store, name)?);
    }
    Ok(all)
}

/// Where the contents of a blob come from.
#[derive(Debug)]
enum Contents {
    Bytes(Vec<u8>),
    /// A blob that is here.
    Stored(Digest),
    /// The files of a layer, packed.
    Layer(Digest),
}

#[derive(Debug)]
struct File {
    size: u64,
    contents: Contents,
}

/// Everything that will be written, by path.
#[derive(Debug, Default)]
struct Plan {
    files: BTreeMap<String, File>,
    index: Vec<Descriptor>,
    items: Vec<Item>,
}

/// One image of `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Plan {
    fn image(&mut self, store: &Store, lease: &Lease, image: &Wanted) -> anyhow::Result<()> {
        let gone = || no_such(&image.asked);
        let record = store.hold_image(lease, &image.found.id)?.ok_or_else(gone)?;
        let (manifest, bytes) = match image.found.manifest.or(record.manifest) {
            Some(digest) => {
                // The name may mean another one by now.
                store.hold_blob(lease, &digest)?.ok_or_else(gone)?;
                let document = documents::read(store, &digest)?;
                let Document::Manifest(manifest) = document.value else {
                    bail!("manifest {digest} of image {} is an index", image.found.id);
                };
                (manifest, document.bytes)
            }
            None => self.made_here(store, &record)?,
        };
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            self.blob(store, blob)?;
        }
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        let contents = Contents::Bytes(bytes);
        self.files
            .insert(blob_path(&digest), File { size, contents });
        self.name(
            image,
            &manifest,
            &Descriptor::new(&manifest.media_type, digest, size),
        );
        Ok(())
    }

    fn blob(&mut self, store: &Store, blob: &Descriptor) -> anyhow::Result<()> {
        let path = blob_path(&blob.digest);
        if self.files.contains_key(&path) {
            return Ok(());
        }
        let size = store.blob(&blob.digest)?.ok_or_else(|| {
            let text = format!("blob {} is not here", blob.digest);
            Error::new(Kind::NotFound, text).with_hint("pull the image again")
        })?;
        let contents = Contents::Stored(blob.digest);
        self.files.insert(path, File { size, contents });
        Ok(())
    }

    /// An image without manifest gets one for the archive; layers that have no blob are packed, and not compressed: whoever wants that
    /// compresses all.
    fn made_here(
        &mut self,
        store: &Store,
        record: &ImageRecord,
    ) -> anyhow::Result<(Manifest, Vec<u8>)> {
        let config = record.config.unwrap_or(record.id);
        let size = store
            .blob(&config)?
            .with_context(|| format!("config {config} is not here"))?;
        let mut layers = Vec::new();
        for diff_id in &record.layers {
            let layer = match crate::push::known_form(store, diff_id)? {
                Some(layer) => layer,
                None => self.packed(store, diff_id)?,
            };
            layers.push(layer);
        }
        let manifest = make_manifest(Descriptor::new(media::OCI_CONFIG, config, size), layers);
        let bytes = manifest.to_bytes();
        Ok((manifest, bytes))
    }

    /// Packs a layer once for nothing but its size, which stands before its contents in a tar.
    fn packed(&mut self, store: &Store, diff_id: &Digest) -> anyhow::Result<Descriptor> {
        if let Some(known) = self.files.get(&blob_path(diff_id)) {
            return Ok(Descriptor::new(media::OCI_LAYER, *diff_id, known.size));
        }
        let (size, found) = pack(store, diff_id, &mut io::sink())?;
        if found != *diff_id {
            let text = format!(
                "layer {diff_id}: packed again, its files give {found}: somebody has changed them"
            );
            bail!(Error::new(Kind::Damaged, text).with_hint("see which with `lade image verify`"));
        }
        let contents = Contents::Layer(*diff_id);
        self.files
            .insert(blob_path(diff_id), File { size, contents });
        Ok(Descriptor::new(media::OCI_LAYER, *diff_id, size))
    }

    fn name(&mut self, image: &Wanted, manifest: &Manifest, named: &Descriptor) {
        for name in &image.names {
            let mut entry = named.clone();
            entry
                .annotations
                .insert(CONTAINERD.to_string(), name.canonical());
            let tag = name.tag.clone().unwrap_or_default();
            entry.annotations.insert(OCI.to_string(), tag);
            self.index.push(entry);
        }
        if image.names.is_empty() {
            self.index.push(named.clone());
        }
        if !manifest.is_image() {
            // Docker's archive has no word for an artifact.
            return;
        }
        let tags: Vec<String> = image.names.iter().map(ToString::to_string).collect();
        self.items.push(Item {
            config: blob_path(&manifest.config.digest),
            repo_tags: (!tags.is_empty()).then_some(tags),
            layers: manifest
                .layers
                .iter()
                .map(|layer| blob_path(&layer.digest))
                .collect(),
        });
    }

    fn write(mut self, store: &Store, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
        let index = Index::new(std::mem::take(&mut self.index));
        self.text("index.json", index.to_bytes());
        let items = serde_json::to_vec(&self.items).context("write manifest.json")?;
        self.text("manifest.json", items);
        self.text("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, out));
        let folders: BTreeSet<&str> = self.files.keys().filter_map(|path| folder(path)).collect();
        if !folders.is_empty() {
            writer.directory("blobs").context("write the archive")?;
        }
        for folder in folders {
            writer.directory(folder).context("write the archive")?;
        }
        for (path, file) in &self.files {
            write(store, &mut writer, path, file).context("write the archive")?;
        }
        writer.finish().context("write the archive")
    }

    fn text(&mut self, path: &str, bytes: Vec<u8>) {
        let size = bytes.len() as u64;
        let contents = Contents::Bytes(bytes);
        self.files.insert(path.to_string(), File { size, contents });
    }
}

fn folder(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(folder, _)| folder)
}

fn write<W: Write>(
    store: &Store,
    writer: &mut Writer<W>,
    path: &str,
    file: &File,
) -> anyhow::Result<()> {
    match &file.contents {
        Contents::Bytes(bytes) => writer.bytes(path, bytes)?,
        Contents::Stored(digest) => {
            writer.streamed(path, file.size, |out| copy_blob(store, digest, out))?;
        }
        Contents::Layer(diff_id) => writer.streamed(path, file.size, |mut out| {
            let (_, found) = pack(store, diff_id, &mut out)?;
            if found != *diff_id {
                bail!("layer {diff_id}: somebody changed its files while they were packed");
            }
            Ok(())
        })?,
    }
    Ok(())
}

fn pack(store: &Store, diff_id: &Digest, out: &mut dyn Write) -> anyhow::Result<(u64, Digest)> {
    let layer = store.layer(diff_id)?;
    let layer = layer.with_context(|| format!("layer {diff_id} is not here"))?;
    let dir = open_layer(&layer.path)?;
    let packed = layer::pack(dir.as_fd(), out)?;
    Ok((packed.tar_bytes, Digest::from_sha256(packed.tar_sha256)))
}
