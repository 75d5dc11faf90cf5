//! From a name to the documents of one image.

use std::sync::Arc;

use anyhow::{Result, bail};
use image::{Config, Descriptor, Digest, Document, Manifest, Platform, Reference};
use registry::{Client, Verify, Which};
use store::{Lease, Store};

use super::Work;
use crate::documents::{self, CONFIG, DEPTH, DOCUMENT, Documents, Read};
use crate::{Error, Kind};

/// What a name led to.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The digest of what the name itself means.
    pub asked: Digest,
    /// Indexes and manifest, as they were read, the manifest last.
    pub documents: Vec<Read<Document>>,
    pub manifest: Read<Manifest>,
    /// The index told for which platform it is.
    pub chosen: bool,
}

impl Work {
    /// Follows a name through indexes to one manifest. What is here by digest is not asked for again.
    pub(super) async fn resolve(&self, reference: &Reference) -> Result<Resolved> {
        let mut document = self.first(reference).await?;
        let asked = document.digest;
        let mut documents = Vec::new();
        let host = Platform::host();
        let wanted = self.platform.as_ref().unwrap_or(&host);
        loop {
            let index = match &document.value {
                Document::Index(index) => index,
                Document::Manifest(manifest) => {
                    let manifest = Read {
                        digest: document.digest,
                        bytes: Vec::new(),
                        value: manifest.clone(),
                    };
                    let chosen = !documents.is_empty();
                    documents.push(document);
                    return Ok(Resolved {
                        asked,
                        documents,
                        manifest,
                        chosen,
                    });
                }
            };
            if documents.len() == DEPTH {
                bail!(Error::new(
                    Kind::Unsupported,
                    format!("{reference}: more than {DEPTH} indexes one inside the other")
                ));
            }
            let chosen = image::choose(&index.manifests, wanted)
                .ok_or_else(|| no_match(wanted, &index.manifests))?
                .clone();
            documents.push(document);
            document = self.member(reference, &chosen).await?;
        }
    }

    /// The document that the name itself means.
    async fn first(&self, reference: &Reference) -> Result<Read<Document>> {
        let which = Which::from(reference);
        if let Some(digest) = self.believed(reference, &which).await?
            && let Some(here) = self.here(digest).await?
        {
            return Ok(here);
        }
        let fetched = self.client.manifest(&reference.repository, &which).await?;
        documents::parse(fetched.digest, fetched.bytes, Some(&fetched.media_type))
    }

    /// The digest that the name has, if that can be told without its document: by the name itself, or by a cheap question when the
    /// name is known here. Registries count a question for the document against the user, and this one not.
    async fn believed(&self, reference: &Reference, which: &Which) -> Result<Option<Digest>> {
        if let Which::Digest(digest) = which {
            return Ok(Some(*digest));
        }
        let name = reference.canonical();
        if self
            .blocking(move |store| store.name(&name))
            .await?
            .is_none()
        {
            return Ok(None);
        }
        let head = self.client.head(&reference.repository, which).await?;
        Ok(head.map(|head| head.digest))
    }

    async fn member(&self, reference: &Reference, wanted: &Descriptor) -> Result<Read<Document>> {
        if let Some(here) = self.here(wanted.digest).await? {
            return Ok(here);
        }
        if let Some(content) = wanted.content() {
            return documents::parse(wanted.digest, content, Some(&wanted.media_type));
        }
        let which = Which::Digest(wanted.digest);
        let fetched = self.client.manifest(&reference.repository, &which).await?;
        if fetched.bytes.len() as u64 != wanted.size {
            bail!(Error::new(
                Kind::Damaged,
                format!(
                    "{}: manifest {} has {} bytes, and the index says {}",
                    fetched.host,
                    wanted.digest,
                    fetched.bytes.len(),
                    wanted.size
                )
            ));
        }
        documents::parse(fetched.digest, fetched.bytes, Some(&wanted.media_type))
    }

    /// A document that is in the store already.
    async fn here(&self, digest: Digest) -> Result<Option<Read<Document>>> {
        let bytes = self
            .blocking(move |store| match store.blob(&digest)? {
                Some(size) if size <= DOCUMENT => store.read_blob(&digest, DOCUMENT).map(Some),
                _ => Ok(None),
            })
            .await?;
        bytes
            .map(|bytes| documents::parse(digest, bytes, None))
            .transpose()
    }

    /// Fetches what the manifest needs to be understood: the config.
    pub(super) async fn documents(
        &self,
        resolved: &Resolved,
        reference: &Reference,
        lease: &Arc<Lease>,
    ) -> Result<Documents> {
        let manifest = resolved.manifest.clone();
        if !manifest.value.is_image() {
            return Ok(Documents {
                manifest,
                config: None,
            });
        }
        let config = self
            .config(&manifest.value.config, reference, lease)
            .await?;
        if !resolved.chosen
            && let Some(wanted) = &self.platform
        {
            check_platform(reference, &config.value, wanted)?;
        }
        let config = Some(config);
        Ok(Documents { manifest, config })
    }

    async fn config(
        &self,
        descriptor: &Descriptor,
        reference: &Reference,
        lease: &Arc<Lease>,
    ) -> Result<Read<Config>> {
        let digest = descriptor.digest;
        if descriptor.size > CONFIG {
            bail!(Error::new(
                Kind::Damaged,
                format!(
                    "config {digest} has {} bytes, at most {CONFIG} are read",
                    descriptor.size
                )
            ));
        }
        let lease = Arc::clone(lease);
        let here = self
            .blocking(move |store| held(store, &lease, &digest))
            .await?;
        let bytes = match (here, descriptor.content()) {
            (Some(bytes), _) | (None, Some(bytes)) => bytes,
            (None, None) => small(&self.client, descriptor, reference, CONFIG).await?,
        };
        documents::parse_config(digest, bytes)
    }
}

/// Fetches a blob of at most so many bytes into memory. A mirror's wrong bytes are no news of the registry: the next server is asked, and the mirror no more.
pub(crate) async fn small(
    client: &Client,
    descriptor: &Descriptor,
    reference: &Reference,
    most: u64,
) -> Result<Vec<u8>> {
    let from = &reference.repository;
    if descriptor.size > most {
        let (digest, size) = (descriptor.digest, descriptor.size);
        let text = format!("blob {digest} has {size} bytes, at most {most} are read");
        bail!(Error::new(Kind::Damaged, text));
    }
    let mut wrong = from.host.clone();
    loop {
        let whole = 0..descriptor.size;
        let mut stream = client.blob(from, descriptor, whole).await?;
        stream.hurry();
        let mut verify = Verify::new(descriptor, stream.host());
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await? {
            verify.feed(&chunk);
            bytes.extend_from_slice(&chunk);
        }
        match verify.finish() {
            Ok(_) => return Ok(bytes),
            // Who is asked again has no stand-in.
            Err(error) if stream.host() == wrong => return Err(error.into()),
            Err(_) => stream.host().clone_into(&mut wrong),
        }
        client.distrust(&wrong);
    }
}

fn held(store: &Store, lease: &Lease, digest: &Digest) -> store::Result<Option<Vec<u8>>> {
    match store.hold_blob(lease, digest)? {
        Some(_) => store.read_blob(digest, CONFIG).map(Some),
        None => Ok(None),
    }
}

/// Docker's sentence, and what there is instead.
fn no_match(wanted: &Platform, there: &[Descriptor]) -> Error {
    let platforms = there.iter().filter_map(|member| member.platform.as_ref());
    let platforms: Vec<String> = platforms
        .filter(|platform| platform.os != "unknown")
        .map(ToString::to_string)
        .collect();
    let error = Error::not_found(format!(
        "no matching manifest for {wanted} in the manifest list entries"
    ));
    if platforms.is_empty() {
        return error;
    }
    error.with_hint(format!(
        "it is there for {}: see --platform",
        platforms.join(", ")
    ))
}

/// An image that is alone under its name is not for every platform that is asked for.
fn check_platform(reference: &Reference, config: &Config, wanted: &Platform) -> Result<()> {
    let found = config.platform();
    let wanted = wanted.normal();
    let same = (&found.os, &found.architecture) == (&wanted.os, &wanted.architecture);
    if same && (found.variant == wanted.variant || wanted.variant.is_none()) {
        return Ok(());
    }
    bail!(Error::not_found(format!(
        "image with reference {reference} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )))
}
