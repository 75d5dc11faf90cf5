//! Push of a list: its members first, with their blobs, as far as its repository has them not; then the list.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use image::{Descriptor, Digest, Document, Manifest, Reference, Repository};
use registry::{Body, Client, Source, Stored, Upload, Whole};
use store::Store;

use super::draft::{self, Draft, Member};
use super::{fetch, parse};
use crate::documents::{self, Read};
use crate::find::by_name;
use crate::progress::Quiet;
use crate::{Engine, Error, Kind};

/// How to push a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ManifestPush {
    /// Forget the list here when it is there.
    pub purge: bool,
}

impl Engine {
    /// Sends a list to its registry; returns its digest.
    pub fn manifest_push(&self, list: &str, options: &ManifestPush) -> crate::Result<Digest> {
        let name = parse(list)?;
        let none = || Error::not_found(format!("No such manifest: {name}"));
        let draft = draft::read(&self.store, &name)?.ok_or_else(none)?;
        let remote = self.remote()?;
        let (client, store) = (&remote.client, &self.store);
        let digest = remote.run(&Quiet, |_| push(client, store, &name, &draft))?;
        if options.purge {
            let writing = draft::writing(store)?;
            // What somebody has added meanwhile was not sent.
            if draft::read(store, &name)?.as_ref() == Some(&draft) {
                writing.remove(store, &name)?;
            }
        }
        Ok(digest)
    }
}

async fn push(client: &Client, store: &Store, name: &Reference, draft: &Draft) -> Result<Digest> {
    for member in &draft.members {
        let sent = send(client, store, &name.repository, member).await;
        sent.with_context(|| format!("push {}", member.name))?;
    }
    let index = draft.index()?;
    let bytes = index.to_bytes();
    let body = Body {
        digest: Digest::of(&bytes),
        media_type: &index.media_type,
        bytes: &bytes,
    };
    let tags: Vec<String> = name.tag.clone().into_iter().collect();
    client.put_manifest(&name.repository, &tags, &body).await?;
    Ok(body.digest)
}

async fn send(client: &Client, store: &Store, to: &Repository, member: &Member) -> Result<()> {
    let from: Reference = member.name.parse()?;
    let wanted = member.descriptor.digest;
    let by_digest = from.with_digest(wanted);
    let document = match here(store, &from, &wanted)? {
        Some(document) => document,
        None => fetch(client, &by_digest).await?,
    };
    let Document::Manifest(manifest) = &document.value else {
        bail!(Error::invalid("a list's members are images"));
    };
    send_blobs(client, store, to, &from.repository, manifest).await?;
    let body = Body {
        digest: document.digest,
        media_type: &manifest.media_type,
        bytes: &document.bytes,
    };
    client.put_manifest(to, &[], &body).await?;
    Ok(())
}

fn here(store: &Store, from: &Reference, wanted: &Digest) -> Result<Option<Read<Document>>> {
    let found = by_name(store, from)?;
    match found.and_then(|found| found.manifest) {
        Some(manifest) if manifest == *wanted => documents::read(store, wanted).map(Some),
        _ => Ok(None),
    }
}

async fn send_blobs(
    client: &Client,
    store: &Store,
    to: &Repository,
    from: &Repository,
    manifest: &Manifest,
) -> Result<()> {
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        if image::media::is_foreign(&blob.media_type) || client.has_blob(to, &blob.digest).await? {
            continue;
        }
        let mut session = None;
        if crate::push::is_same_host(from, to) && from != to {
            match client.mount(to, &blob.digest, from).await? {
                Upload::Done => continue,
                Upload::Session(begun) => session = Some(begun),
            }
        }
        let source = source(client, store, from, blob).await?;
        client.upload(to, source, session).await?;
    }
    Ok(())
}

/// The blob from here; one that is not here is carried over in memory, if it is small.
async fn source(
    client: &Client,
    store: &Store,
    from: &Repository,
    blob: &Descriptor,
) -> Result<Arc<dyn Source>> {
    const SMALL: u64 = 32 << 20;
    if store.blob(&blob.digest)?.is_some() {
        let file = store.open_blob(&blob.digest)?;
        return Ok(Arc::new(Stored::new(file, blob.digest, blob.size)));
    }
    if blob.size > SMALL {
        let text = format!(
            "blob {} is neither here nor on the list's host",
            blob.digest
        );
        bail!(Error::new(Kind::NotFound, text).with_hint("pull the image first"));
    }
    let name = Reference {
        repository: from.clone(),
        tag: None,
        digest: None,
    };
    let bytes = crate::pull::small(client, blob, &name, SMALL).await?;
    Ok(Arc::new(Whole(bytes.into())))
}
