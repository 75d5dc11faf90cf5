//! The images that an archive turns out to have, each once, and no more than there can be honestly.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use image::{Digest, Reference};
use store::{ImageRecord, StagedBlob};

use crate::{Error, Kind};

/// Images of one archive.
const IMAGES: usize = 1_000;
/// Layers of all of them: what two images share counts twice.
const LAYERS: usize = 100_000;
/// Names of all of them.
const NAMES: usize = 100_000;

/// An image of the archive, ready for its layers to be unpacked.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub record: ImageRecord,
    pub names: Vec<Reference>,
    pub layers: Vec<Part>,
    /// What is named by which document.
    pub links: Vec<(Digest, Digest)>,
    /// Documents and blobs that are kept in any case.
    pub documents: Vec<StagedBlob>,
}

/// One layer: its blob, wherever that is.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub diff_id: Digest,
    pub blob: Digest,
    /// None: the store has it.
    pub staged: Option<StagedBlob>,
    /// The archive's own tar. It is kept only if it cannot be made again from the layer's files.
    pub spare: bool,
}

/// The images in the order in which they are found. An archive of a few megabytes can name a hundred thousand, with five hundred layers each.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    found: Vec<Candidate>,
    /// Where in `found` an image is.
    places: BTreeMap<Digest, usize>,
    layers: usize,
    names: usize,
}

impl Candidates {
    /// Returns where an image is, if it was found already.
    pub(crate) fn place(&self, id: &Digest) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Takes an image, unless it was found already; returns where it is.
    pub(crate) fn add(&mut self, image: Candidate) -> Result<usize> {
        let id = image.record.id;
        if let Some(place) = self.place(&id) {
            return Ok(place);
        }
        at_most(self.found.len() + 1, IMAGES, "images")?;
        self.layers += image.record.layers.len();
        at_most(self.layers, LAYERS, "layers")?;
        self.places.insert(id, self.found.len());
        self.found.push(image);
        Ok(self.found.len() - 1)
    }

    /// Gives an image names.
    pub(crate) fn name(&mut self, place: usize, names: Vec<Reference>) -> Result<()> {
        self.names += names.len();
        at_most(self.names, NAMES, "names")?;
        self.found[place].names.extend(names);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns them; a name that was given twice is there once.
    pub(crate) fn done(mut self) -> Vec<Candidate> {
        for image in &mut self.found {
            let mut seen = BTreeSet::new();
            image.names.retain(|name| seen.insert(name.clone()));
        }
        self.found
    }
}

/// Refuses an archive that names more images than anybody has put into one.
pub(crate) fn images(count: usize) -> Result<()> {
    at_most(count, IMAGES, "images")
}

fn at_most(count: usize, most: usize, what: &str) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    let text = format!("it has more {what} than any archive of images: {most} at most");
    bail!(Error::new(Kind::Damaged, text))
}
