//! Manifest lists: looked at in a registry, put together here, sent there.

mod annotate;
mod create;
mod draft;
mod push;

use image::{Descriptor, Document, Reference};
use registry::{Client, Which};
use serde_json::{Value, json};

use crate::documents::{self, Read};
use crate::find::by_name;
use crate::progress::Quiet;
use crate::{Engine, Error, Result};

pub use annotate::Annotate;
pub use create::ManifestCreate;
pub use push::ManifestPush;

/// How to look at a manifest.
#[derive(Debug, Clone, Copy, Default)]
pub struct ManifestInspect {
    /// With descriptors, and for each member of a list its manifest.
    pub verbose: bool,
}

impl Engine {
    /// Returns a manifest or a list as JSON: a list that is put together here, what a registry has, else what is here.
    pub fn manifest_inspect(&self, name: &str, options: &ManifestInspect) -> Result<Value> {
        let reference = parse(name)?;
        if let Some(draft) = draft::read(&self.store, &reference)? {
            return Ok(json_of(&draft.index()?.to_bytes())?);
        }
        let document = self.registry_document(&reference)?;
        if !options.verbose {
            return Ok(json_of(&document.bytes)?);
        }
        match &document.value {
            Document::Manifest(_) => Ok(verbose(&reference, &document, None)?),
            Document::Index(index) => {
                let mut members = Vec::new();
                for member in &index.manifests {
                    let reference = reference.with_digest(member.digest);
                    let inner = self.registry_document(&reference)?;
                    members.push(verbose(&reference, &inner, Some(member))?);
                }
                Ok(Value::Array(members))
            }
        }
    }

    /// Asks the registry for a document; where it has none, one that is here will do.
    pub(crate) fn registry_document(&self, reference: &Reference) -> Result<Read<Document>> {
        let remote = self.remote()?;
        let asked = remote.run(&Quiet, |_| fetch(&remote.client, reference));
        let missing = match asked {
            Ok(document) => return Ok(document),
            Err(error) => error,
        };
        if let Some(found) = by_name(&self.store, reference)?
            && let Some(manifest) = found.manifest
        {
            return Ok(documents::read(&self.store, &manifest)?);
        }
        Err(missing.into())
    }
}

async fn fetch(client: &Client, reference: &Reference) -> anyhow::Result<Read<Document>> {
    let which = Which::from(reference);
    let fetched = client.manifest(&reference.repository, &which).await?;
    documents::parse(fetched.digest, fetched.bytes, Some(&fetched.media_type))
}

fn parse(name: &str) -> Result<Reference> {
    let reference: std::result::Result<Reference, _> = name.parse();
    let reference = reference.map_err(|error| Error::invalid(error.to_string()))?;
    Ok(reference.or_latest())
}

fn json_of(bytes: &[u8]) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Docker's object for one image.
fn verbose(
    reference: &Reference,
    document: &Read<Document>,
    member: Option<&Descriptor>,
) -> anyhow::Result<Value> {
    let mut descriptor = json!({
        "mediaType": document.value.media_type(),
        "digest": document.digest.to_string(),
        "size": document.bytes.len(),
    });
    if let Some(platform) = member.and_then(|member| member.platform.as_ref()) {
        descriptor["platform"] = serde_json::to_value(platform)?;
    }
    let docker = document.value.media_type() == image::media::DOCKER_MANIFEST;
    let key = if docker {
        "SchemaV2Manifest"
    } else {
        "OCIManifest"
    };
    Ok(json!({
        "Ref": reference.canonical(),
        "Descriptor": descriptor,
        key: json_of(&document.bytes)?,
    }))
}
