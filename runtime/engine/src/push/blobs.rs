//! The blobs of an image on their way to a registry, several at a time.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use image::{Descriptor, Digest, Repository, media};
use registry::{Session, Stored, Upload};
use store::{Lease, StagedBlob};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};

use super::pack::{Contents, pack};
use super::parcel::{Blob, Parcel};
use super::source::{Growing, Growth, Kept};
use super::{Work, is_same_host};
use crate::copy::copy_blob;
use crate::progress::{Layer, Step};
use crate::remote::Events;
use crate::{Error, Kind};

/// Questions at a time: they are small.
const QUESTIONS: usize = 16;
/// Layers packed at a time: each keeps all cores busy, and the second one while the first waits for its disk.
const PACKERS: usize = 2;

/// What the registry has now.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Blobs that are there.
    pub there: Vec<Digest>,
    /// How many of them were not there before.
    pub news: usize,
    /// Layers' blobs, by diff id: for an image that has no manifest yet.
    pub packed: BTreeMap<Digest, Descriptor>,
    /// Blobs that were made for it.
    pub staged: Vec<StagedBlob>,
}

/// One blob on its way.
#[derive(Debug)]
struct Job {
    work: Work,
    blob: Blob,
    to: Repository,
    lease: Arc<Lease>,
    layer: Layer,
    shown: bool,
    lanes: Arc<Lanes>,
}

#[derive(Debug)]
struct Lanes {
    questions: Semaphore,
    uploads: Semaphore,
    packers: Semaphore,
    /// Packed, and not sent after all.
    unsent: Mutex<Vec<(Digest, Descriptor, StagedBlob)>>,
}

/// What became of it.
#[derive(Debug)]
struct Done {
    /// None: it was left out.
    there: Option<Descriptor>,
    diff_id: Option<Digest>,
    staged: Option<StagedBlob>,
    new: bool,
}

impl Work {
    /// Brings all blobs to the registry. What was done is returned beside the first failure, too.
    pub(super) async fn blobs(
        &self,
        parcel: &Parcel,
        to: &Repository,
        lease: &Arc<Lease>,
        events: &Arc<Events>,
    ) -> (Sent, Option<anyhow::Error>) {
        let lanes = Arc::new(Lanes {
            questions: Semaphore::new(QUESTIONS),
            uploads: Semaphore::new(self.connections),
            packers: Semaphore::new(PACKERS),
            unsent: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let blobs = parcel.blobs.clone();
        let shown = self.blocking(move |store| {
            let shown = |blob: Blob| (blob.shown(store), blob);
            Ok(blobs.into_iter().map(shown).collect::<Vec<_>>())
        });
        let shown = match shown.await {
            Ok(shown) => shown,
            Err(error) => return (Sent::default(), Some(error)),
        };
        for (id, blob) in shown {
            let job = Job {
                work: self.clone(),
                to: to.clone(),
                lease: Arc::clone(lease),
                layer: Layer {
                    events: Arc::clone(events),
                    id,
                },
                shown: blob.is_layer(),
                lanes: Arc::clone(&lanes),
                blob,
            };
            job.is(Step::Preparing);
            tasks.spawn(async move { Arc::new(job).run().await });
        }
        let (mut sent, mut failed) = (Sent::default(), None);
        while let Some(task) = tasks.join_next().await {
            match task {
                Ok(Ok(done)) => sent.add(done),
                Ok(Err(error)) if failed.is_none() => {
                    failed = Some(error);
                    tasks.abort_all();
                }
                Err(error) if !error.is_cancelled() && failed.is_none() => {
                    failed = Some(error.into());
                    tasks.abort_all();
                }
                _ => {}
            }
        }
        let mut unsent = lanes.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        for (diff_id, blob, staged) in unsent.drain(..) {
            sent.packed.insert(diff_id, blob);
            sent.staged.push(staged);
        }
        drop(unsent);
        (sent, failed)
    }
}

impl Sent {
    fn add(&mut self, done: Done) {
        self.news += usize::from(done.new);
        self.staged.extend(done.staged);
        if let Some(blob) = done.there {
            self.there.push(blob.digest);
            if let Some(diff_id) = done.diff_id {
                self.packed.insert(diff_id, blob);
            }
        }
    }
}

impl Job {
    async fn run(self: Arc<Self>) -> Result<Done> {
        let job = Arc::clone(&self);
        let done = match &self.blob {
            Blob::Foreign(_) => {
                self.is(Step::Skipped);
                return Ok(Done {
                    there: None,
                    diff_id: None,
                    staged: None,
                    new: false,
                });
            }
            Blob::Here(blob) => job.send(blob, true).await,
            Blob::Elsewhere(blob) => job.send(blob, false).await,
            Blob::Unpacked(diff_id) => job.pack(*diff_id, Contents::Files(*diff_id)).await,
            Blob::Plain(diff_id, blob) => job.pack(*diff_id, Contents::Tar(*blob)).await,
        };
        done.with_context(|| format!("push {} to {}", self.layer.id, self.to))
    }

    fn is(&self, step: Step) {
        if self.shown {
            self.layer.is(step);
        }
    }

    /// Sends a blob, if it is not there and cannot be had from a neighbour.
    async fn send(&self, blob: &Descriptor, here: bool) -> Result<Done> {
        let client = &self.work.client;
        let digest = blob.digest;
        let diff_id = self
            .work
            .blocking(move |store| Ok(store.unpacked_form(&digest)?));
        let diff_id = diff_id.await?;
        let done = |new| Done {
            there: Some(blob.clone()),
            diff_id,
            staged: None,
            new,
        };
        let asked = self.lanes.questions.acquire().await?;
        if client.has_blob(&self.to, &blob.digest).await? {
            self.is(Step::PushExists);
            return Ok(done(false));
        }
        let session = match self.neighbour(digest).await? {
            None => None,
            Some(from) => match client.mount(&self.to, &blob.digest, &from).await? {
                Upload::Session(begun) => Some(begun),
                Upload::Done => {
                    let from = from.path;
                    self.is(Step::Mounted { from });
                    return Ok(done(true));
                }
            },
        };
        drop(asked);
        if !here {
            return Err(self.nowhere(&blob.digest).into());
        }
        self.upload(blob, session).await?;
        self.is(Step::Pushed);
        Ok(done(true))
    }

    /// Another repository on the same host that has the blob, as far as is known here.
    async fn neighbour(&self, blob: Digest) -> Result<Option<Repository>> {
        let seen = self.work.blocking(move |store| Ok(store.seen(&blob)?));
        let seen = seen.await?;
        let mut seen = seen.iter().filter_map(|name| name.parse().ok());
        Ok(seen.find(|other| is_same_host(other, &self.to) && *other != self.to))
    }

    fn nowhere(&self, blob: &Digest) -> Error {
        let text = format!("blob {blob} is neither here nor in {}", self.to);
        Error::new(Kind::NotFound, text).with_hint("pull the image again, so that it is here")
    }

    async fn upload(&self, blob: &Descriptor, session: Option<Session>) -> Result<()> {
        let _lane = self.lanes.uploads.acquire().await?;
        let (name, digest) = (self.to.canonical(), blob.digest);
        let kept = self.work.blocking({
            let name = name.clone();
            move |store| Ok((store.open_blob(&digest)?, store.upload(&name, &digest)?))
        });
        let (file, before) = kept.await?;
        let before = before.and_then(|text| serde_json::from_str(&text).ok());
        let source = Arc::new(Kept {
            inner: Stored::new(file, blob.digest, blob.size),
            store: self.work.store.clone(),
            repository: self.to.clone(),
            digest: blob.digest,
            size: blob.size,
            layer: self.shown.then(|| self.layer.clone()),
        });
        let client = &self.work.client;
        let uploaded = client.upload(&self.to, source, before.or(session)).await;
        if let Err(error) = uploaded {
            if is_about_contents(error.kind()) {
                // It may be right, and the blob here is not what it was.
                self.work
                    .blocking(move |store| copy_blob(store, &digest, &mut io::sink()))
                    .await?;
            }
            return Err(error.into());
        }
        let forgotten = self
            .work
            .blocking(move |store| Ok(store.set_upload(&name, &digest, None)?));
        forgotten.await
    }

    /// Packs a layer and sends it meanwhile.
    async fn pack(self: Arc<Self>, diff_id: Digest, contents: Contents) -> Result<Done> {
        let _packer = self.lanes.packers.acquire().await?;
        let _lane = self.lanes.uploads.acquire().await?;
        let job = Arc::clone(&self);
        let into = spawn_blocking(move || job.work.store.ingest_unknown(&job.lease)).await??;
        let file = into
            .file()
            .try_clone()
            .context("open the packed layer for reading")?;
        let (tell, growth) = watch::channel(Growth::default());
        let layer = self.layer.clone();
        let source = Arc::new(Growing {
            file: Arc::new(file),
            growth,
            layer,
        });
        let job = Arc::clone(&self);
        let packing = spawn_blocking(move || pack(&job.work.store, &contents, into, &tell));
        // With the upload goes the source, and without a reader the packing ends, too.
        let uploaded = self.work.client.upload(&self.to, source, None).await;
        let staged = packing.await?;
        let uploaded = match uploaded {
            // The upload had nothing to send: why is for the packing to say.
            Err(error) if error.kind() == registry::Kind::Local => {
                staged?;
                return Err(error.into());
            }
            Err(error) => {
                if let Ok(staged) = staged {
                    self.unsent(diff_id, staged)?;
                }
                return Err(error.into());
            }
            Ok(uploaded) => uploaded,
        };
        let staged = staged?;
        self.is(Step::Pushed);
        let blob = Descriptor::new(media::OCI_LAYER_GZIP, *staged.digest(), uploaded.size);
        Ok(Done {
            there: Some(blob),
            diff_id: Some(diff_id),
            staged: Some(staged),
            new: true,
        })
    }

    /// Keeps what was packed for the next attempt.
    fn unsent(&self, diff_id: Digest, staged: StagedBlob) -> Result<()> {
        let size = staged.open()?.metadata().context("read the packed layer")?;
        let blob = Descriptor::new(media::OCI_LAYER_GZIP, *staged.digest(), size.len());
        let unsent = self.lanes.unsent.lock();
        let mut unsent = unsent.unwrap_or_else(PoisonError::into_inner);
        unsent.push((diff_id, blob, staged));
        Ok(())
    }
}

/// Whether a server that refuses a blob so may have looked at its bytes.
fn is_about_contents(kind: registry::Kind) -> bool {
    use registry::Kind::{NotFound, Server, Unsupported, Wrong};
    matches!(kind, NotFound | Server | Unsupported | Wrong)
}
