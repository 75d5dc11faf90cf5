//! Push: an image that is here goes to a registry.
//!
//! The steps, in order: parse the name; find the image; list its blobs and documents; bring the registry every blob that it has not, in
//! parallel: one that it has is only asked for, one that another of its repositories has is mounted, one that is here is sent, and a
//! layer that was never packed is packed, compressed and sent in one stream, and kept. Then the documents, the one with the tag last;
//! then what was learnt is written down, so that the next push has only to ask.

mod blobs;
mod pack;
mod parcel;
mod source;

use std::sync::Arc;

use anyhow::bail;
use image::{Descriptor, Digest, Manifest, Platform, Reference, Repository};
use registry::{Body, Client};
use store::{Lease, Pin, Records, Staged, Store};
use tokio::task::spawn_blocking;

use crate::find::{Found, by_name};
use crate::progress::Event;
use crate::remote::Events;
use crate::{Engine, Error, Progress, Result};
use blobs::Sent;
pub(crate) use pack::open as open_layer;
pub(crate) use parcel::known_form;
use parcel::{Document, Parcel};

/// How to push.
#[derive(Debug, Clone, Default)]
pub struct Push {
    /// All tags of the repository.
    pub all_tags: bool,
    /// Only an image for this machine.
    pub platform: Option<Platform>,
    /// Also layers whose license forbids it.
    pub foreign: bool,
}

/// What was pushed.
#[derive(Debug, Clone, Default)]
pub struct Pushed {
    /// One for each tag.
    pub tags: Vec<PushedTag>,
    /// What docker prints at the end: `latest: digest: sha256:... size: 528`.
    pub lines: Vec<String>,
}

/// One tag that was pushed.
#[derive(Debug, Clone)]
pub struct PushedTag {
    /// The name as people write it.
    pub name: String,
    /// The tag.
    pub tag: String,
    /// What it means in the registry now.
    pub digest: Digest,
    /// Of that document, in bytes.
    pub size: u64,
}

impl Engine {
    /// Sends an image to its registry.
    pub fn push(&self, name: &str, options: &Push, progress: &dyn Progress) -> Result<Pushed> {
        let wanted = wanted(&self.store, name, options)?;
        let remote = self.remote()?;
        let work = Work {
            store: self.store.clone(),
            client: remote.client.clone(),
            connections: self.settings.connections(),
            foreign: options.foreign,
        };
        Ok(remote.run(progress, |events| work.push(wanted, events))?)
    }
}

/// The names to push, and the images that they mean.
fn wanted(store: &Store, name: &str, options: &Push) -> Result<Vec<(Reference, Found)>> {
    let reference: Reference = name
        .parse()
        .map_err(|error: image::Malformed| Error::invalid(error.to_string()))?;
    if reference.digest.is_some() {
        return Err(Error::invalid("cannot push a digest reference"));
    }
    let mut names = Vec::new();
    if options.all_tags {
        if reference.tag.is_some() {
            return Err(Error::invalid("tag can't be used with --all-tags/-a"));
        }
        for name in store.names()? {
            let other: Option<Reference> = name.name.parse().ok();
            names.extend(other.filter(|other| other.repository == reference.repository));
        }
    } else {
        names.push(reference.clone().or_latest());
    }
    let missing = || missing(&reference.repository);
    let mut wanted = Vec::new();
    for name in names {
        let found = by_name(store, &name)?.ok_or_else(missing)?;
        found.check_platform(&name.to_string(), options.platform.as_ref())?;
        wanted.push((name, found));
    }
    if wanted.is_empty() {
        return Err(missing());
    }
    Ok(wanted)
}

fn missing(repository: &Repository) -> Error {
    let text = format!("An image does not exist locally with the tag: {repository}");
    Error::not_found(text).with_hint(
        "see which names there are with `lade images`, and give it this one with `lade tag`",
    )
}

/// What all steps of a push share.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub store: Store,
    pub client: Client,
    pub connections: usize,
    pub foreign: bool,
}

impl Work {
    async fn push(
        self,
        wanted: Vec<(Reference, Found)>,
        events: Arc<Events>,
    ) -> anyhow::Result<Pushed> {
        let repository = wanted[0].0.repository.clone();
        events.event(Event::Start {
            line: format!("The push refers to repository [{}]", repository.canonical()),
        });
        let lease = Arc::new(self.blocking(|store| Ok(store.lease()?)).await?);
        let mut pushed = Pushed::default();
        for (name, found) in wanted {
            let tag = self.push_one(&name, found, &lease, &events).await?;
            let line = format!("{}: digest: {} size: {}", tag.tag, tag.digest, tag.size);
            pushed.lines.push(line);
            pushed.tags.push(tag);
        }
        Ok(pushed)
    }

    async fn push_one(
        &self,
        name: &Reference,
        found: Found,
        lease: &Arc<Lease>,
        events: &Arc<Events>,
    ) -> anyhow::Result<PushedTag> {
        let parcel = self.parcel(name, &found, lease).await?;
        let sent = self.blobs(&parcel, &name.repository, lease, events).await;
        let (sent, failed) = sent;
        let made = sent.packed.clone();
        if let Some(error) = failed {
            // What was packed for nothing today is there for the next attempt. That it is not does not tell why the push failed.
            let kept = self.blocking(move |store| keep_packed(store, &found, sent));
            if let Err(why) = kept.await {
                let text = format!("what was packed has to be packed again: {why:#}");
                events.event(Event::Warning(text));
            }
            return Err(error);
        }
        let documents = parcel.documents(&made)?;
        let tag = name.tag.clone().unwrap_or_default();
        let last = documents.len() - 1;
        for (at, document) in documents.iter().enumerate() {
            let tags = if at == last {
                vec![tag.clone()]
            } else {
                Vec::new()
            };
            let body = Body {
                digest: document.digest,
                media_type: &document.media_type,
                bytes: &document.bytes,
            };
            self.client
                .put_manifest(&name.repository, &tags, &body)
                .await?;
        }
        let named = &documents[last];
        let pushed = PushedTag {
            name: name.to_string(),
            tag,
            digest: named.digest,
            size: named.bytes.len() as u64,
        };
        let (name, lease) = (name.clone(), Arc::clone(lease));
        let recorded = self
            .blocking(move |store| record(store, &lease, &name, &found, &parcel, &documents, sent));
        recorded.await?;
        Ok(pushed)
    }

    /// Holds an image, and lists what it consists of.
    async fn parcel(
        &self,
        name: &Reference,
        found: &Found,
        lease: &Arc<Lease>,
    ) -> anyhow::Result<Parcel> {
        let (name, found, lease) = (name.clone(), found.clone(), Arc::clone(lease));
        let foreign = self.foreign;
        let listed = self.blocking(move |store| {
            // It may have been removed since its name was looked up.
            if store.hold_image(&lease, &found.id)?.is_none() {
                bail!(missing(&name.repository));
            }
            parcel::parcel(store, &name.repository, &found, foreign)
        });
        listed.await
    }

    /// Does something that waits for disks or locks, in a thread for that.
    async fn blocking<T, F>(&self, work: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Store) -> anyhow::Result<T> + Send + 'static,
    {
        let store = self.store.clone();
        spawn_blocking(move || work(&store)).await?
    }
}

/// Keeps the packed forms of layers, below the image's config.
fn keep_packed(store: &Store, found: &Found, sent: Sent) -> anyhow::Result<()> {
    if sent.staged.is_empty() {
        return Ok(());
    }
    let config = found.record.config.unwrap_or(found.id);
    let packed: Vec<_> = sent
        .packed
        .iter()
        .map(|(diff, blob)| (*diff, blob.digest))
        .collect();
    let records = Records {
        links: packed.iter().map(|(_, blob)| (config, *blob)).collect(),
        packed,
        ..Records::default()
    };
    let staged = Staged {
        blobs: sent.staged,
        layers: Vec::new(),
    };
    commit(store, found, staged, records)
}

/// Commits what is known of an image; nothing of one that was removed meanwhile, which is no news of the push.
fn commit(store: &Store, found: &Found, staged: Staged, records: Records) -> anyhow::Result<()> {
    let gone = || anyhow::Ok(store.image(&found.id)?.is_none());
    if gone()? {
        return Ok(());
    }
    match store.commit(staged, records) {
        Err(_) if gone()? => Ok(()),
        done => Ok(done?),
    }
}

/// Writes down what the registry has now, and, of an image that had no manifest, the one it has got.
fn record(
    store: &Store,
    lease: &Lease,
    name: &Reference,
    found: &Found,
    parcel: &Parcel,
    documents: &[Document],
    sent: Sent,
) -> anyhow::Result<()> {
    let repository = name.repository.canonical();
    let named = &documents[documents.len() - 1];
    let known = store.pin(&repository, &named.digest)?;
    if sent.news == 0 && known.is_some_and(|pin| pin.image == found.id) {
        return Ok(());
    }
    let manifest = parcel.manifest.unwrap_or(named.digest);
    let mut records = Records {
        digests: vec![Pin {
            repository: repository.clone(),
            digest: named.digest,
            image: found.id,
            manifest,
        }],
        packed: sent
            .packed
            .iter()
            .map(|(diff, blob)| (*diff, blob.digest))
            .collect(),
        seen: sent
            .there
            .iter()
            .map(|blob| (*blob, repository.clone()))
            .collect(),
        ..Records::default()
    };
    let mut staged = Staged {
        blobs: sent.staged,
        layers: Vec::new(),
    };
    if parcel.manifest.is_none() {
        staged
            .blobs
            .push(store.stage_as(lease, &named.digest, &named.bytes)?);
        records.links = named.links.iter().map(|to| (named.digest, *to)).collect();
        let mut image = found.record.clone();
        image.manifest = Some(manifest);
        records.images = vec![image];
    }
    commit(store, found, staged, records)
}

/// The same host, whatever the path: only there a blob can be mounted from.
pub(crate) fn is_same_host(a: &Repository, b: &Repository) -> bool {
    a.host == b.host
}

/// The manifest of an image that was made here: the same for the same layers, always.
pub(crate) fn make_manifest(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
    Manifest::new(config, layers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Quiet;
    use crate::tests::{Scratch, engine, import, tar};
    use crate::{Kind, Remove};

    #[test]
    fn an_image_that_goes_away_just_now_is_said_to_be_missing() {
        let scratch = Scratch::new();
        let engine = engine(&scratch.0);
        let name = "127.0.0.1:1/gone:1";
        import(&engine, &tar(&scratch.0, "gone", &[10]), name);
        let wanted = wanted(&engine.store, name, &Push::default()).unwrap();
        let removed = engine.remove(&[name.to_string()], &Remove::default());
        assert!(removed.errors.is_empty(), "{removed:?}");
        let remote = engine.remote().unwrap();
        let work = Work {
            store: engine.store.clone(),
            client: remote.client.clone(),
            connections: 1,
            foreign: false,
        };
        let pushed = remote.run(&Quiet, |events| work.push(wanted, events));
        let error = Error::from(pushed.unwrap_err());
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(
            error.to_string().starts_with("An image does not exist"),
            "{error}"
        );
    }
}
