//! The layers of what is loaded, unpacked in parallel out of their blobs.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use image::Digest;
use store::{Lease, Records, Staged, Store, Unpack};

use super::{Candidate, Part};
use crate::progress::{Event, Step};
use crate::unpack::{self, Counted};
use crate::{Error, Kind, Progress};

const READ: usize = 256 << 10;

/// All layers, ready to be committed.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub staged: Staged,
    /// Of each layer's files.
    pub bytes: BTreeMap<Digest, u64>,
    pub kept: Kept,
}

/// The blobs from which layers can be packed again: by diff id. A layer that needs none is not in it.
#[derive(Debug, Default)]
pub(crate) struct Kept(BTreeMap<Digest, Vec<Digest>>);

impl Kept {
    /// Writes down which blobs an image keeps for its layers.
    pub(crate) fn record(&self, candidate: &Candidate, records: &mut Records) {
        for part in &candidate.layers {
            for blob in self.0.get(&part.diff_id).into_iter().flatten() {
                records.packed.push((part.diff_id, *blob));
                // With a manifest, that one keeps them.
                if candidate.record.manifest.is_none() {
                    records.links.push((candidate.record.id, *blob));
                }
            }
        }
    }
}

/// What the threads share.
struct Shared<'a> {
    queue: VecDeque<&'a Part>,
    done: Result<Unpacked>,
}

/// Unpacks every layer that is not here, the biggest first, on all cores.
pub(crate) fn unpack(
    store: &Store,
    lease: &Lease,
    candidates: &[Candidate],
    progress: &dyn Progress,
) -> Result<Unpacked> {
    let mut parts: BTreeMap<(Digest, Digest), &Part> = BTreeMap::new();
    for part in candidates.iter().flat_map(|candidate| &candidate.layers) {
        parts.insert((part.diff_id, part.blob), part);
    }
    let mut queue: Vec<&Part> = parts.into_values().collect();
    let size = |part: &&Part| part.staged.as_ref().map_or(0, store::StagedBlob::size);
    queue.sort_by_key(|part| std::cmp::Reverse(size(part)));
    let shared = Mutex::new(Shared {
        queue: queue.into(),
        done: Ok(Unpacked {
            staged: Staged::default(),
            bytes: BTreeMap::new(),
            kept: Kept::default(),
        }),
    });
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..=cores {
            scope.spawn(|| work(store, lease, &shared, progress));
        }
    });
    shared
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .done
}

fn lock<'a, 'b>(shared: &'a Mutex<Shared<'b>>) -> MutexGuard<'a, Shared<'b>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread: layer after layer, until there is none or one has failed.
fn work(store: &Store, lease: &Lease, shared: &Mutex<Shared<'_>>, progress: &dyn Progress) {
    loop {
        let part = {
            let mut shared = lock(shared);
            match shared.queue.pop_front() {
                Some(part) if shared.done.is_ok() => part,
                _ => return,
            }
        };
        let done = one(store, lease, part, progress);
        let done = done.with_context(|| format!("layer {}", part.diff_id.short()));
        let mut shared = lock(shared);
        match (done, &mut shared.done) {
            (Ok(done), Ok(all)) => all.add(part, done),
            (Err(error), done @ Ok(_)) => *done = Err(error),
            _ => {}
        }
    }
}

/// One layer, ready.
struct One {
    layer: Option<store::StagedLayer>,
    bytes: u64,
    /// Keep the blob.
    keep: bool,
    /// Blobs that were here before and will do.
    others: Vec<Digest>,
}

impl Unpacked {
    fn add(&mut self, part: &Part, one: One) {
        self.bytes.insert(part.diff_id, one.bytes);
        self.staged.layers.extend(one.layer);
        let kept = self.kept.0.entry(part.diff_id).or_default();
        kept.extend(one.others);
        if one.keep {
            kept.push(part.blob);
            self.staged.blobs.extend(part.staged.clone());
        }
    }
}

fn one(store: &Store, lease: &Lease, part: &Part, progress: &dyn Progress) -> Result<One> {
    let id = part.diff_id.short();
    let is = |step| {
        let id = id.clone();
        progress.event(Event::Layer { id, step });
    };
    match store.unpack(lease, &part.diff_id)? {
        Unpack::Stored(layer) => {
            compare(store, part)?;
            is(Step::Exists);
            let others = store.packed_forms(&part.diff_id)?;
            for other in &others {
                store.hold_blob(lease, other)?;
            }
            Ok(One {
                layer: None,
                bytes: layer.size,
                keep: !part.spare,
                others,
            })
        }
        // Another process is about to commit it, or was killed before: its tar is as good as ours.
        Unpack::Staged(layer) => {
            compare(store, part)?;
            Ok(One {
                layer: Some(layer),
                bytes: 0,
                keep: part.staged.is_some() || !part.spare,
                others: Vec::new(),
            })
        }
        Unpack::New(new) => {
            let file = open(store, part)?;
            let size = file.metadata().map_or(0, |stat| stat.len());
            let counted = Counted::new(file, |have| is(Step::Unpacking { have, size }));
            let reader = BufReader::with_capacity(READ, counted);
            let unpacked = unpack::unpack(reader, None, size, new, &part.diff_id)?;
            for warning in &unpacked.warnings {
                progress.event(Event::Warning(warning.clone()));
            }
            let keep = !part.spare || !is_packable(&unpacked, &part.diff_id)?;
            is(Step::Done);
            Ok(One {
                layer: Some(unpacked.staged),
                bytes: unpacked.bytes,
                keep,
                others: Vec::new(),
            })
        }
    }
}

fn open(store: &Store, part: &Part) -> store::Result<File> {
    match &part.staged {
        Some(staged) => staged.open(),
        None => store.open_blob(&part.blob),
    }
}

/// Reads a blob whose layer is here, unless it is known to be that layer's.
fn compare(store: &Store, part: &Part) -> Result<()> {
    if part.blob == part.diff_id || store.unpacked_form(&part.blob)? == Some(part.diff_id) {
        return Ok(());
    }
    let file = open(store, part)?;
    let size = file.metadata().context("look at the blob")?.len();
    let reader = BufReader::with_capacity(READ, file);
    unpack::compare(reader, None, size, &part.diff_id)
}

/// Tells whether the very tar can be made again from the files; then it need not be kept beside them.
fn is_packable(unpacked: &unpack::Unpacked, diff_id: &Digest) -> Result<bool> {
    let dir = crate::push::open_layer(&unpacked.staged.path())?;
    match layer::pack(dir.as_fd(), AtMost(unpacked.tar_bytes)) {
        Ok(packed) => Ok(Digest::from_sha256(packed.tar_sha256) == *diff_id),
        // One whose names are too many to be packed is kept as it came.
        Err(layer::Error::Write(_) | layer::Error::Limit { .. }) => Ok(false),
        Err(error) => Err(Error::new(Kind::Damaged, error.to_string()).into()),
    }
}

/// Takes so many bytes and no more: a longer tar is another one. Holes of sparse files, which a small tar may have a terabyte of, are not
/// written to their end.
struct AtMost(u64);

impl Write for AtMost {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.checked_sub(bytes.len() as u64);
        self.0 = left.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
