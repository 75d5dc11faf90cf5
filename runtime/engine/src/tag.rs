//! Tag: one more name for an image.

use image::{Algorithm, Reference};

use crate::{Engine, Error, Result};

impl Engine {
    /// Gives the image `source` the name `target`; another image that had it loses it.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let name = parse(target)?;
        let found = self.find(source)?;
        let (id, manifest) = (found.id, found.manifest);
        self.store
            .set_name(&name.canonical(), &id, manifest.as_ref())?;
        Ok(())
    }
}

/// Parses a name that an image is to have: with a tag, and without a digest, which nobody can choose.
pub(crate) fn parse(text: &str) -> Result<Reference> {
    let reference: Reference = text
        .parse()
        .map_err(|error: image::Malformed| Error::invalid(error.to_string()))?;
    if reference.digest.is_some() {
        return Err(Error::invalid(format!(
            "{text}: refusing to create a tag with a digest reference"
        )));
    }
    if reference.repository.to_string() == Algorithm::Sha256.name() {
        return Err(Error::invalid(format!(
            "{text}: refusing to create an ambiguous tag using digest algorithm as name"
        )));
    }
    Ok(reference.or_latest())
}
