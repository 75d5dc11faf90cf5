//! Pull: a name becomes an image that is here, verified, unpacked and durable.
//!
//! The steps, in order: parse the name; take a lease; resolve the name to a manifest; fetch the documents; fetch and unpack what is missing
//! of the layers, in parallel; commit all of it at once, the name last. Until that commit nobody sees anything of it, and whatever ends
//! it before leaves what was fetched for the next attempt.

mod fetch;
mod front;
mod job;
mod layers;
mod pace;
mod resolve;

use std::sync::Arc;

use anyhow::Context;
use image::{Digest, Platform, Reference};
use registry::Client;
use store::{Lease, NewName, Pin, Records, Staged, Store};

use crate::documents::Documents;
use crate::error::ROOM;
use crate::progress::Event;
use crate::remote::Events;
use crate::{Engine, Error, Kind, Progress, Result};
use layers::Fetched;
use resolve::Resolved;
pub(crate) use resolve::small;

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct Pull {
    /// For which machine; none: for this one.
    pub platform: Option<Platform>,
    /// All tags of the repository.
    pub all_tags: bool,
}

/// What was pulled.
#[derive(Debug, Clone, Default)]
pub struct Pulled {
    /// An image for each tag.
    pub images: Vec<PulledImage>,
    /// What docker prints at the end: `Digest: ...`, `Status: ...`.
    pub lines: Vec<String>,
}

/// One image that was pulled.
#[derive(Debug, Clone)]
pub struct PulledImage {
    /// The name as people write it, with its tag or digest.
    pub name: String,
    /// The name with everything said.
    pub canonical: String,
    /// The digest of what the name led to: of the index, where there is one.
    pub digest: Digest,
    /// The image's id.
    pub id: Digest,
    /// The name did not mean this image before.
    pub newer: bool,
}

impl Engine {
    /// Brings an image from its registry.
    pub fn pull(&self, name: &str, options: &Pull, progress: &dyn Progress) -> Result<Pulled> {
        let reference = parse(name, options)?;
        let remote = self.remote()?;
        let work = Work {
            store: self.store.clone(),
            client: remote.client.clone(),
            connections: self.settings.connections(),
            platform: options.platform.clone(),
        };
        let pulled = remote.run(progress, |events| {
            work.pull(reference, options.all_tags, events)
        });
        pulled.map_err(|error| match Error::from(error) {
            full if full.kind() == Kind::Full => {
                full.with_hint(format!("{ROOM}; pull goes on from where it is"))
            }
            other => other,
        })
    }
}

fn parse(name: &str, options: &Pull) -> Result<Reference> {
    let reference: Reference = name
        .parse()
        .map_err(|error| Error::invalid(format!("{error}")))?;
    if !options.all_tags {
        return Ok(reference.or_latest());
    }
    if reference.tag.is_some() || reference.digest.is_some() {
        return Err(Error::invalid("tag can't be used with --all-tags/-a"));
    }
    Ok(reference)
}

/// What all steps of a pull share.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub store: Store,
    pub client: Client,
    pub connections: usize,
    pub platform: Option<Platform>,
}

impl Work {
    async fn pull(
        self,
        reference: Reference,
        all_tags: bool,
        events: Arc<Events>,
    ) -> anyhow::Result<Pulled> {
        let mut wanted = vec![reference.clone()];
        if all_tags {
            let tags = self.client.tags(&reference.repository).await?;
            wanted = tags
                .iter()
                .map(|tag| reference.with_tag(tag))
                .collect::<std::result::Result<_, _>>()?;
        }
        let mut pulled = Pulled::default();
        for reference in &wanted {
            let image = self.pull_one(reference, &events).await?;
            pulled.lines.push(format!("Digest: {}", image.digest));
            pulled.images.push(image);
        }
        let newer = pulled.images.iter().any(|image| image.newer);
        let status = if newer {
            "Downloaded newer image for"
        } else {
            "Image is up to date for"
        };
        pulled.lines.push(format!("Status: {status} {reference}"));
        Ok(pulled)
    }

    async fn pull_one(
        &self,
        reference: &Reference,
        events: &Arc<Events>,
    ) -> anyhow::Result<PulledImage> {
        events.event(Event::Start {
            line: start_line(reference),
        });
        let lease = Arc::new(self.blocking(Store::lease).await?);
        let resolved = self.resolve(reference).await?;
        let documents = self.documents(&resolved, reference, &lease).await?;
        let fetched = self
            .layers(&documents, &reference.repository, &lease, events)
            .await?;
        let image = PulledImage {
            name: reference.to_string(),
            canonical: reference.canonical(),
            digest: resolved.asked,
            id: documents.id(),
            newer: self.is_newer(reference, &documents).await?,
        };
        let reference = reference.clone();
        self.blocking(move |store| commit(store, &reference, resolved, documents, fetched, lease))
            .await
            .with_context(|| format!("pull {}", image.name))?;
        Ok(image)
    }

    /// Tells whether the name means another image up to now.
    async fn is_newer(&self, reference: &Reference, documents: &Documents) -> anyhow::Result<bool> {
        let (reference, id) = (reference.clone(), documents.id());
        let known = self.blocking(move |store| known(store, &reference)).await?;
        Ok(known != Some(id))
    }

    /// Does something that waits for disks or locks, in a thread for that.
    async fn blocking<T, F>(&self, work: F) -> store::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> store::Result<T> + Send + 'static,
    {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.map_err(|error| store::Error::Other(error.into()))?
    }
}

/// The image that a name means here.
fn known(store: &Store, reference: &Reference) -> store::Result<Option<Digest>> {
    if let Some(digest) = &reference.digest {
        let pin = store.pin(&reference.repository.canonical(), digest)?;
        return Ok(pin.map(|pin| pin.image));
    }
    Ok(store.name(&reference.canonical())?.map(|name| name.image))
}

/// Docker's first line, which leaves the host out.
fn start_line(reference: &Reference) -> String {
    let path = &reference.repository.path;
    let digest = reference.digest.map(|digest| digest.to_string());
    let version = digest.or_else(|| reference.tag.clone());
    format!("{}: Pulling from {path}", version.unwrap_or_default())
}

/// The one commit: everything that was staged becomes durable, then it is named.
fn commit(
    store: &Store,
    reference: &Reference,
    resolved: Resolved,
    documents: Documents,
    fetched: Fetched,
    lease: Arc<Lease>,
) -> store::Result<()> {
    let repository = reference.repository.canonical();
    let (image, manifest) = (documents.id(), documents.manifest.digest);
    let mut staged = Staged {
        blobs: fetched.blobs,
        layers: fetched.layers,
    };
    // The manifest's own links are among them.
    let mut links = Vec::new();
    for document in &resolved.documents {
        staged
            .blobs
            .push(store.stage_as(&lease, &document.digest, &document.bytes)?);
        links.extend(
            document
                .value
                .links()
                .iter()
                .map(|to| (document.digest, to.digest)),
        );
    }
    // A name by digest is a pin and no more: its tag, if it has one, was not asked about.
    let name = reference.digest.is_none().then(|| NewName {
        name: reference.canonical(),
        image,
        manifest: Some(manifest),
    });
    if let Some(config) = &documents.config {
        staged
            .blobs
            .push(store.stage_as(&lease, &config.digest, &config.bytes)?);
    }
    let pin = Pin {
        repository: repository.clone(),
        digest: resolved.asked,
        image,
        manifest,
    };
    let blobs = documents.links().into_iter().map(|(_, blob)| blob);
    let records = Records {
        images: vec![documents.record(fetched.bytes)],
        names: name.into_iter().collect(),
        digests: vec![pin],
        links,
        packed: documents.packed().map_err(store::Error::Other)?,
        seen: blobs.map(|blob| (blob, repository.clone())).collect(),
    };
    store.commit(staged, records)?;
    drop(lease);
    Ok(())
}
