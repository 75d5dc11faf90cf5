//! The layers of an image: what is missing is fetched and unpacked, several at a time.

use std::sync::Arc;

use anyhow::Result;
use image::Repository;
use store::{Lease, StagedBlob, StagedLayer};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Work;
use super::job::{Done, Job};
use super::pace::Pace;
use crate::documents::{Documents, Part};
use crate::progress::{Event, Layer, Progress, Step};
use crate::remote::Events;
use crate::unpack;

/// Everything of an image that was not here.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub blobs: Vec<StagedBlob>,
    pub layers: Vec<StagedLayer>,
    /// Of all layers, those that were here among them.
    pub bytes: u64,
}

impl Work {
    /// Fetches and unpacks all layers, the biggest first: it takes the longest, and the small ones fill the gaps beside it.
    pub(super) async fn layers(
        &self,
        documents: &Documents,
        repository: &Repository,
        lease: &Arc<Lease>,
        events: &Arc<Events>,
    ) -> Result<Fetched> {
        let (alive, mut ended) = mpsc::channel(1);
        let jobs = self.jobs(documents, repository, lease, events, &alive)?;
        drop(alive);
        let permits = Arc::new(Semaphore::new(self.connections));
        let mut tasks = JoinSet::new();
        for job in jobs {
            let permits = Arc::clone(&permits);
            tasks.spawn(async move {
                // Before any lock: who holds a lock is at work and ends some time, also for those who wait in another process.
                let _permit = permits.acquire_owned().await?;
                Box::pin(job.run()).await
            });
        }
        let mut fetched = Ok(Fetched::default());
        while let Some(task) = tasks.join_next().await {
            match (task, &mut fetched) {
                (Ok(Ok(done)), Ok(fetched)) => fetched.add(done, events),
                (Ok(Err(error)), Ok(_)) => {
                    fetched = Err(error);
                    tasks.abort_all();
                }
                (Err(error), Ok(_)) if !error.is_cancelled() => {
                    fetched = Err(error.into());
                    tasks.abort_all();
                }
                _ => {}
            }
        }
        // The threads that unpack see that nothing comes any more, and remove what they have made.
        while ended.recv().await.is_some() {}
        fetched
    }

    fn jobs(
        &self,
        documents: &Documents,
        repository: &Repository,
        lease: &Arc<Lease>,
        events: &Arc<Events>,
        alive: &mpsc::Sender<()>,
    ) -> Result<Vec<Job>> {
        let mut parts = documents.parts()?;
        let config = &documents.manifest.value.config;
        // Docker shows an image's layers and not its config.
        for part in &parts {
            let id = part.descriptor.digest.short();
            events.event(Event::Layer {
                id,
                step: Step::Waiting,
            });
        }
        // An image's config was read before; an artifact's is a blob like any other.
        let known = |part: &Part| part.descriptor.digest == config.digest;
        if documents.config.is_none() && !parts.iter().any(known) {
            parts.push(Part {
                descriptor: config.clone(),
                diff_id: None,
            });
        }
        let pace = Pace::new(&self.store);
        parts.sort_by_key(|part| std::cmp::Reverse(part.descriptor.size));
        let job = |part: Part| {
            let form = part
                .diff_id
                .map(|_| unpack::form(&part.descriptor))
                .transpose()?;
            Ok(Job {
                work: self.clone(),
                repository: repository.clone(),
                form,
                lease: Arc::clone(lease),
                pace: Arc::clone(&pace),
                layer: Layer {
                    events: Arc::clone(events),
                    id: part.descriptor.digest.short(),
                },
                part,
                _alive: alive.clone(),
            })
        };
        parts.into_iter().map(job).collect()
    }
}

impl Fetched {
    fn add(&mut self, done: Done, events: &Events) {
        self.blobs.extend(done.blob);
        self.layers.extend(done.layer);
        self.bytes += done.bytes;
        for warning in done.warnings {
            events.event(Event::Warning(warning));
        }
    }
}
