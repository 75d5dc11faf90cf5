//! One blob of an image: fetched, hashed, inflated, hashed and unpacked in one pass; or as much of that as is missing.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use image::{Digest, Repository};
use layer::Form;
use store::{Ingest, Lease, NewLayer, Partial, StagedBlob, StagedLayer, Unpack};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Work;
use super::fetch::{Flow, fetch};
use super::front::{Behind, Front, Writing};
use super::pace::Pace;
use crate::documents::Part;
use crate::progress::{Layer, Step};
use crate::unpack::{self, Counted, Unpacked};
use crate::{Error, Kind};

/// The unpacker's buffer before the inflater.
const READ: usize = 256 << 10;
/// A blob whose contents make no sense is still fetched to its end up to this size, to tell whether it is the right one.
const SMALL: u64 = 64 << 20;

/// One blob, and what is to become of it.
#[derive(Debug)]
pub(crate) struct Job {
    pub work: Work,
    pub repository: Repository,
    pub part: Part,
    /// None: it is not unpacked.
    pub form: Option<Form>,
    pub lease: Arc<Lease>,
    pub pace: Arc<Pace>,
    pub layer: Layer,
    /// Dropped by the last thread that works on it.
    pub _alive: mpsc::Sender<()>,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub blob: Option<StagedBlob>,
    pub layer: Option<StagedLayer>,
    /// Of the layer's files.
    pub bytes: u64,
    pub warnings: Vec<String>,
}

/// What one pass over a blob has shown.
#[derive(Debug)]
struct Pass {
    /// Of all its bytes, if all were read.
    digest: Option<Digest>,
    /// The unpacked layer, or why it could not be unpacked.
    done: Result<Done>,
}

/// How a pass ended.
enum Settled {
    Done(Done),
    /// The file holds something else, of this digest, since those hosts have given bytes. It may be from an earlier attempt.
    Wrong(Partial, Digest, BTreeSet<String>),
}

impl Job {
    /// Takes the blob and then its layer, waiting for another process that is at work on them, and does what is missing.
    pub(crate) async fn run(self) -> Result<Done> {
        let job = Arc::new(self);
        let open = spawn_blocking({
            let job = Arc::clone(&job);
            move || {
                let wanted = &job.part.descriptor;
                let ingest = job
                    .work
                    .store
                    .ingest(&job.lease, &wanted.digest, wanted.size)?;
                anyhow::Ok((ingest, job.unpack()?))
            }
        });
        let named = || format!("layer {}", job.part.descriptor.digest.short());
        let done = match open.await? {
            Ok((Ingest::Partial(partial), into)) => job.fetch(partial, into).await,
            Ok((ingest, into)) => job.from_disk(ingest, into).await,
            Err(error) => Err(error),
        };
        done.with_context(named)
    }

    fn unpack(&self) -> store::Result<Option<Unpack>> {
        let diff_id = self.part.diff_id.as_ref();
        diff_id
            .map(|diff_id| self.work.store.unpack(&self.lease, diff_id))
            .transpose()
    }

    /// The blob is here, whole: at most its layer is not.
    async fn from_disk(self: &Arc<Self>, ingest: Ingest, into: Option<Unpack>) -> Result<Done> {
        let new = matches!(into, Some(Unpack::New(_)));
        let job = Arc::clone(self);
        let done = spawn_blocking(move || job.unpack_here(ingest, into)).await??;
        self.layer.is(if new { Step::Done } else { Step::Exists });
        Ok(done)
    }

    fn unpack_here(&self, ingest: Ingest, into: Option<Unpack>) -> Result<Done> {
        let both = matches!(
            (&ingest, &into),
            (Ingest::Staged(_), Some(Unpack::Staged(_)))
        );
        let digest = &self.part.descriptor.digest;
        let (blob, file) = match ingest {
            Ingest::Staged(blob) => {
                let file = blob.open()?;
                (Some(blob), file)
            }
            _ => (None, self.work.store.open_blob(digest)?),
        };
        let size = self.part.descriptor.size;
        let found = file.metadata().context("look at the blob")?.len();
        if found != size {
            bail!(self.size(found));
        }
        let into = match into {
            // Another process has made both just now, the one from the other.
            Some(Unpack::Staged(layer)) if both => {
                let layer = Some(layer);
                return Ok(Done {
                    blob,
                    layer,
                    ..Done::default()
                });
            }
            into => into,
        };
        let counted = Counted::new(file, |have| self.layer.is(Step::Unpacking { have, size }));
        let mut done = self.unpack_into(BufReader::with_capacity(READ, counted), into)?;
        done.blob = blob;
        Ok(done)
    }

    /// Unpacks what is read, unless the layer is here.
    fn unpack_into(&self, reader: impl BufRead + Send, into: Option<Unpack>) -> Result<Done> {
        let (mut layer, mut bytes, mut warnings) = (None, 0, Vec::new());
        match into {
            None => {}
            Some(Unpack::Stored(here)) => {
                self.compare(reader)?;
                bytes = here.size;
            }
            Some(Unpack::Staged(staged)) => {
                self.compare(reader)?;
                layer = Some(staged);
            }
            Some(Unpack::New(new)) => {
                let unpacked = self.unpack_new(reader, new)?;
                (layer, bytes) = (Some(unpacked.staged), unpacked.bytes);
                warnings = unpacked.warnings;
            }
        }
        Ok(Done {
            blob: None,
            layer,
            bytes,
            warnings,
        })
    }

    /// Reads a blob whose layer is here, unless it is known to be that layer's.
    fn compare(&self, reader: impl BufRead + Send) -> Result<()> {
        let blob = &self.part.descriptor;
        let known = self.work.store.unpacked_form(&blob.digest)?;
        match &self.part.diff_id {
            Some(diff_id) if known.as_ref() != Some(diff_id) => {
                unpack::compare(reader, self.form, blob.size, diff_id)
            }
            _ => Ok(()),
        }
    }

    fn unpack_new(&self, reader: impl BufRead + Send, new: NewLayer) -> Result<Unpacked> {
        let diff_id = self
            .part
            .diff_id
            .context("what is not a layer is not unpacked")?;
        unpack::unpack(reader, self.form, self.part.descriptor.size, new, &diff_id)
    }

    /// Fetches what is missing of the blob. A wrong digest after an earlier attempt's bytes is no news of the registry, and a mirror's
    /// wrong bytes are none of it either: once more then, from the first byte and without the mirrors that had a part in it.
    async fn fetch(self: &Arc<Self>, partial: Partial, into: Option<Unpack>) -> Result<Done> {
        let (mut partial, mut into) = (partial, into);
        let missing = partial.missing();
        let missing: u64 = missing.iter().map(|span| span.end - span.start).sum();
        let mut resumed = missing < partial.size();
        let mut distrusted = BTreeSet::new();
        loop {
            let (wrong, found, hosts) = match self.pass(partial, into, resumed).await? {
                Settled::Done(done) => return Ok(done),
                Settled::Wrong(wrong, found, hosts) => (wrong, found, hosts),
            };
            partial = wrong;
            partial.restart()?;
            let mut others = false;
            // The host of the name itself has no stand-in.
            for mirror in hosts.iter().filter(|host| **host != self.repository.host) {
                self.work.client.distrust(mirror);
                others |= distrusted.insert(mirror.clone());
            }
            if !resumed && !others {
                bail!(self.wrong(&hosts, &found));
            }
            resumed = false;
            let job = Arc::clone(self);
            into = spawn_blocking(move || job.unpack()).await??;
        }
    }

    /// The same manifest is refused where the blob has to be fetched.
    fn size(&self, found: u64) -> Error {
        let blob = &self.part.descriptor;
        let text = format!(
            "blob {} has {found} bytes, and the manifest says {}",
            blob.digest, blob.size
        );
        Error::new(Kind::Damaged, text).with_hint("the image was made wrongly: push it again")
    }

    fn wrong(&self, hosts: &BTreeSet<String>, found: &Digest) -> Error {
        // One, unless a server cannot be passed over: that of foreign layers.
        let host = hosts.iter().next_back();
        let host = host.unwrap_or(&self.repository.host);
        let blob = &self.part.descriptor.digest;
        let text = format!("{host}: blob {blob}: what the server sent has the digest {found}");
        Error::new(Kind::Damaged, text)
            .with_hint("try again; if it stays so, the registry or a proxy has a damaged copy")
    }

    /// One pass: bytes from the network into the file; behind them, in a thread of its own, hash, inflate and unpack.
    async fn pass(
        self: &Arc<Self>,
        partial: Partial,
        into: Option<Unpack>,
        resumed: bool,
    ) -> Result<Settled> {
        let partial = Arc::new(partial);
        let front = Front::new(partial.size(), &partial.missing());
        let flow = Arc::new(Flow {
            client: self.work.client.clone(),
            repository: self.repository.clone(),
            descriptor: self.part.descriptor.clone(),
            partial: Arc::clone(&partial),
            front: Arc::clone(&front),
            layer: self.layer.clone(),
            hosts: Mutex::default(),
        });
        if resumed || partial.size() <= SMALL {
            front.want_all();
        }
        let reading = self.start_reading(&front, &partial, into)?;
        let writing = Writing(Arc::clone(&front));
        let fetched = fetch(&flow).await;
        drop(writing);
        drop(flow);
        let pass = reading.await?;
        let hosts = match fetched {
            Ok(hosts) => hosts,
            // The reader gave up first: the download was only told to stop.
            Err(error) => {
                if !front.is_starved() {
                    pass.done?;
                }
                return Err(error);
            }
        };
        // The reader and all lanes have ended.
        let partial = Arc::into_inner(partial).context("a download that has ended is held")?;
        let settled = spawn_blocking(move || settle(partial, pass, hosts)).await??;
        if matches!(settled, Settled::Done(_)) {
            self.layer.is(Step::Done);
        }
        Ok(settled)
    }

    /// Starts the reading half of a pass.
    fn start_reading(
        self: &Arc<Self>,
        front: &Arc<Front>,
        partial: &Partial,
        into: Option<Unpack>,
    ) -> Result<JoinHandle<Pass>> {
        let file = partial
            .file()
            .try_clone()
            .context("open the download for reading")?;
        let (layer, size) = (self.layer.clone(), partial.size());
        let (seen, pace) = (Arc::clone(front), Arc::clone(&self.pace));
        let mut before = 0;
        let tell = Box::new(move |have| {
            pace.unpacked(have - before);
            before = have;
            // As long as bytes come, they are what is shown.
            if seen.have() == size {
                layer.is(Step::Unpacking { have, size });
            }
        });
        let algorithm = self.part.descriptor.digest.algorithm();
        let behind = Behind::new(Arc::clone(front), file, size, algorithm, tell);
        let (job, front) = (Arc::clone(self), Arc::clone(front));
        Ok(spawn_blocking(move || job.read(behind, into, &front)))
    }

    fn read(&self, behind: Behind, into: Option<Unpack>, front: &Front) -> Pass {
        let mut reader = BufReader::with_capacity(READ, behind);
        let done = self.unpack_into(&mut reader, into);
        let mut digest = None;
        if (done.is_ok() || front.wants_all()) && unpack::drain(&mut reader).is_ok() {
            digest = Some(reader.get_mut().digest());
        }
        Pass { digest, done }
    }
}

/// Compares what was read with what was wanted.
fn settle(partial: Partial, pass: Pass, hosts: BTreeSet<String>) -> Result<Settled> {
    let wanted = *partial.digest();
    match pass.digest {
        Some(found) if found == wanted => {}
        Some(found) => return Ok(Settled::Wrong(partial, found, hosts)),
        None => {
            pass.done?;
            bail!("the download ended before its time");
        }
    }
    let mut done = pass.done?;
    done.blob = Some(partial.finish(&wanted)?);
    Ok(Settled::Done(done))
}
