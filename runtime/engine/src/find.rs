//! Images by what users call them: a name, a name with a digest, an id or the beginning of one.

use std::path::PathBuf;

use image::{Config, Digest, Platform, Reference};
use store::{ImageRecord, Store};

use crate::{Engine, Error, Kind, Result, documents};

/// An image that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its id.
    pub id: Digest,
    /// The name it was found by, with its tag; none when it was found by its id.
    pub name: Option<Reference>,
    /// The manifest, or the index, that this name means; none for an image that was made here and never pushed.
    pub manifest: Option<Digest>,
    /// What the store knows of it.
    pub record: ImageRecord,
}

impl Found {
    /// Refuses an image for another machine than the user wants.
    pub(crate) fn check_platform(&self, name: &str, wanted: Option<&Platform>) -> Result<()> {
        let Some(wanted) = wanted.map(|wanted| wanted.normal().to_string()) else {
            return Ok(());
        };
        if self.record.platform.as_ref() == Some(&wanted) {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "image with reference {name} was found but does not provide the specified platform ({wanted})"
        )))
    }
}

impl Engine {
    /// Finds one image. A name wins over an id that begins with the same digits.
    pub fn find(&self, name: &str) -> Result<Found> {
        find(&self.store, name)
    }

    /// Reads an image's config.
    pub fn config(&self, id: &Digest) -> Result<Config> {
        let record = self.record(id)?;
        let config = if_here(&self.store, id, || self.config_of(&record))?;
        config.ok_or_else(|| no_such(&id.to_string()))
    }

    pub(crate) fn config_of(&self, record: &ImageRecord) -> Result<Config> {
        let config = record.config.unwrap_or(record.id);
        Ok(documents::read_config(&self.store, &config)?.value)
    }

    /// Returns the directories of an image's layers, the lowest first.
    pub fn layer_paths(&self, id: &Digest) -> Result<Vec<PathBuf>> {
        self.layers_of(&self.record(id)?)
    }

    pub(crate) fn layers_of(&self, record: &ImageRecord) -> Result<Vec<PathBuf>> {
        let id = &record.id;
        let path = |diff_id: &Digest| {
            let layer = self.store.layer(diff_id)?;
            // Somebody may have deleted files behind the database's back.
            let layer = layer.filter(|layer| layer.path.is_dir());
            let layer = layer.ok_or_else(|| {
                Error::new(
                    Kind::Damaged,
                    format!("layer {diff_id} of image {id} is not here"),
                )
                .with_hint("`lade pull` or `lade load` gets it again; `lade image verify` says what else differs")
            })?;
            Ok(layer.path)
        };
        record.layers.iter().map(path).collect()
    }

    pub(crate) fn record(&self, id: &Digest) -> Result<ImageRecord> {
        let record = self.store.image(id)?;
        record.ok_or_else(|| no_such(&id.to_string()))
    }
}

/// Reads what an image consists of, which somebody may be removing at this moment: nothing, when it is gone by now.
pub(crate) fn if_here<T>(
    store: &Store,
    id: &Digest,
    read: impl Fn() -> Result<T>,
) -> Result<Option<T>> {
    let error = match read() {
        Ok(value) => return Ok(Some(value)),
        Err(error) => error,
    };
    // It may be gone, or here once more: what is kept while it is read again does not go.
    let kept = store.lease().and_then(|lease| {
        let record = store.hold_image(&lease, id)?;
        Ok(record.map(|_| lease))
    });
    match kept {
        Ok(Some(_lease)) => read().map(Some),
        Ok(None) => Ok(None),
        Err(_) => Err(error),
    }
}

pub(crate) fn find(store: &Store, name: &str) -> Result<Found> {
    if let Some(id) = whole_id(name) {
        let record = store.image(&id)?.ok_or_else(|| no_such(name))?;
        return Ok(by_id(record));
    }
    let reference = name.parse::<Reference>();
    if let Ok(reference) = &reference
        && let Some(found) = by_name(store, &reference.clone().or_latest())?
    {
        return Ok(found);
    }
    if let Some(found) = by_prefix(store, name)? {
        return Ok(found);
    }
    match reference {
        Ok(reference) => Err(no_such(&reference.or_latest().to_string())),
        Err(_) if is_hex(name) => Err(no_such(name)),
        Err(error) => Err(Error::invalid(format!("{error}"))),
    }
}

/// Finds an image by its name only.
pub(crate) fn by_name(store: &Store, reference: &Reference) -> Result<Option<Found>> {
    let repository = reference.repository.canonical();
    let (image, manifest) = if let Some(digest) = &reference.digest {
        match store.pin(&repository, digest)? {
            Some(pin) => (pin.image, Some(pin.manifest)),
            None => return Ok(None),
        }
    } else {
        match store.name(&reference.canonical())? {
            Some(name) => (name.image, name.manifest),
            None => return Ok(None),
        }
    };
    // Somebody may have removed it since, and its names with it.
    let Some(record) = store.image(&image)? else {
        return Ok(None);
    };
    Ok(Some(Found {
        id: image,
        name: Some(reference.clone()),
        manifest: manifest.or(record.manifest),
        record,
    }))
}

fn by_prefix(store: &Store, name: &str) -> Result<Option<Found>> {
    if !is_hex(name) {
        return Ok(None);
    }
    let ids = store.find_images(name)?;
    match ids.as_slice() {
        [] => Ok(None),
        [id] => Ok(store.image(id)?.map(by_id)),
        many => Err(ambiguous(store, name, many)?),
    }
}

fn by_id(record: ImageRecord) -> Found {
    Found {
        id: record.id,
        name: None,
        manifest: record.manifest,
        record,
    }
}

/// Says which images it could be, and how they are called.
fn ambiguous(store: &Store, prefix: &str, ids: &[Digest]) -> Result<Error> {
    let mut candidates = Vec::new();
    for id in ids {
        let names = familiar_names(store, id)?;
        let names = if names.is_empty() {
            String::new()
        } else {
            format!(" ({})", names.join(", "))
        };
        // As long as it takes to tell them apart.
        let hex = id.hex();
        let long = prefix.trim_start_matches("sha256:").len().max(12) + 4;
        candidates.push(format!("{}{names}", &hex[..long.min(hex.len())]));
    }
    let text = format!(
        "image id prefix {prefix} is ambiguous: {} images have it",
        ids.len()
    );
    Ok(Error::new(Kind::Ambiguous, text)
        .with_hint(format!("it is one of {}", candidates.join(", "))))
}

/// The names of an image as people write them.
pub(crate) fn familiar_names(store: &Store, id: &Digest) -> Result<Vec<String>> {
    let names = store.names_of(id)?;
    Ok(names.iter().map(|name| familiar(&name.name)).collect())
}

/// A name with everything said, as people write it.
pub(crate) fn familiar(canonical: &str) -> String {
    let reference = canonical.parse::<Reference>();
    reference.map_or_else(|_| canonical.to_string(), |reference| reference.to_string())
}

/// Docker's sentence.
pub(crate) fn no_such(name: &str) -> Error {
    Error::not_found(format!("No such image: {name}"))
}

fn whole_id(text: &str) -> Option<Digest> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    (hex.len() == 64)
        .then(|| format!("sha256:{hex}").parse().ok())
        .flatten()
}

/// Tells whether a text may be the beginning of an id.
pub(crate) fn is_hex(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    !hex.is_empty()
        && hex.len() <= 64
        && hex
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
