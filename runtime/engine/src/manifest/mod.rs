//! Manifest lists: looked at in a registry, put together here, sent there.

mod annotate;
mod create;
mod draft;
mod push;

use std::fs;

use image::{Descriptor, Document, Reference};
use registry::{Client, Which};
use serde_json::{Value, json};
use store::Store;

use self::draft::{Draft, Member};
use crate::documents::{self, Read};
use crate::find::by_name;
use crate::progress::Quiet;
use crate::{Engine, Error, Registries, Result};

pub use annotate::Annotate;
pub use create::ManifestCreate;
pub use push::ManifestPush;

/// How to look at a manifest.
#[derive(Debug, Clone, Default)]
pub struct ManifestInspect {
    /// With descriptors, and for each member of a list its manifest.
    pub verbose: bool,
    /// The list that is put together here and that it is a member of.
    pub list: Option<String>,
}

impl Registries {
    /// Returns a manifest or a list as JSON: a list that is put together here, what a registry has, else what is here. Of a data root
    /// nothing is made, and none is needed.
    pub fn manifest_inspect(&self, name: &str, options: &ManifestInspect) -> Result<Value> {
        let reference = parse(name)?;
        let store = self.begun();
        if let Some(list) = &options.list {
            let draft = draft_of(store.as_ref(), &parse(list)?)?;
            let members = draft.into_iter().flat_map(|draft| draft.members);
            let mut members = members.filter(|member| member.name == reference.canonical());
            let none = || Error::not_found(format!("No such manifest: {reference}"));
            let member = members.next().ok_or_else(none)?;
            let document = self.member_document(&member, store.as_ref())?;
            return Ok(match options.verbose {
                true => verbose(&reference, &document, Some(&member.descriptor))?,
                false => json_of(&document.bytes)?,
            });
        }
        if let Some(draft) = draft_of(store.as_ref(), &reference)? {
            if !options.verbose {
                return Ok(json_of(&draft.index()?.to_bytes())?);
            }
            let members = draft.members.iter().map(|member| {
                let document = self.member_document(member, store.as_ref())?;
                Ok(verbose(
                    &parse(&member.name)?,
                    &document,
                    Some(&member.descriptor),
                )?)
            });
            return members.collect();
        }
        let document = self.document_or_ours(&reference, store.as_ref())?;
        if !options.verbose {
            return Ok(json_of(&document.bytes)?);
        }
        match &document.value {
            Document::Manifest(_) => Ok(verbose(&reference, &document, None)?),
            Document::Index(index) => {
                let mut members = Vec::new();
                for member in &index.manifests {
                    let reference = reference.with_digest(member.digest);
                    let inner = self.document_or_ours(&reference, store.as_ref())?;
                    members.push(verbose(&reference, &inner, Some(member))?);
                }
                Ok(Value::Array(members))
            }
        }
    }

    /// Returns the manifest of a member of a list that is put together here: what is here, else what its registry has.
    fn member_document(&self, member: &Member, store: Option<&Store>) -> Result<Read<Document>> {
        let digest = member.descriptor.digest;
        if let Some(store) = store
            && store.blob(&digest)?.is_some()
        {
            return Ok(documents::read(store, &digest)?);
        }
        self.document(&parse(&member.name)?.with_digest(digest))
    }

    /// Asks the registry for a document.
    fn document(&self, reference: &Reference) -> Result<Read<Document>> {
        let remote = self.remote()?;
        Ok(remote.run(&Quiet, |_| fetch(&remote.client, reference))?)
    }

    /// Asks the registry for a document; where it has none, one that is here will do.
    fn document_or_ours(
        &self,
        reference: &Reference,
        store: Option<&Store>,
    ) -> Result<Read<Document>> {
        let asked = self.document(reference);
        asked.or_else(|missing| match store {
            Some(store) => ours(store, reference)?.ok_or(missing),
            None => Err(missing),
        })
    }

    /// Opens the data root if there is one already. One that cannot be opened has nothing to say here.
    fn begun(&self) -> Option<Store> {
        let root = &self.settings.data_root;
        let begun = fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some());
        begun.then(|| Store::open(root).ok()).flatten()
    }
}

impl Engine {
    /// The same, with the data root that is open.
    pub(crate) fn registry_document(&self, reference: &Reference) -> Result<Read<Document>> {
        self.registries
            .document_or_ours(reference, Some(&self.store))
    }
}

/// Returns the document of a name that is here.
fn ours(store: &Store, reference: &Reference) -> Result<Option<Read<Document>>> {
    let found = by_name(store, reference)?;
    let manifest = found.and_then(|found| found.manifest);
    let document = manifest.map(|manifest| documents::read(store, &manifest));
    Ok(document.transpose()?)
}

async fn fetch(client: &Client, reference: &Reference) -> anyhow::Result<Read<Document>> {
    let which = Which::from(reference);
    let fetched = client.manifest(&reference.repository, &which).await?;
    documents::parse(fetched.digest, fetched.bytes, Some(&fetched.media_type))
}

fn draft_of(store: Option<&Store>, name: &Reference) -> Result<Option<Draft>> {
    let draft = store.map(|store| draft::read(store, name));
    Ok(draft.transpose()?.flatten())
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
