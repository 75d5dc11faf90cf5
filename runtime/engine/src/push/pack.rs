//! A layer that has no form to be sent in gets one: its files as a tar, compressed, into a blob that is read while it grows.

use std::io::{self, BufReader, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use image::{Algorithm, Digest, Hasher};
use store::{StagedBlob, Store, Unknown};
use tokio::sync::watch;

use super::source::Growth;
use crate::{Error, Kind};

/// The reader is woken each time that so much has been written.
const TOLD: u64 = 1 << 20;

/// What is packed.
#[derive(Debug)]
pub(crate) enum Contents {
    /// The files of a layer, by its diff id.
    Files(Digest),
    /// A tar, which is this blob, too.
    Tar(Digest),
}

/// Packs and compresses a layer into a new blob, and checks that it is the layer that it was.
///
/// The bytes are always the same for the same layer, so that a push that failed does not leave a second form behind.
pub(crate) fn pack(
    store: &Store,
    contents: &Contents,
    into: Unknown,
    tell: &watch::Sender<Growth>,
) -> Result<StagedBlob> {
    let packed = fill(store, contents, into, tell);
    let end = match &packed {
        Ok(blob) => Ok(*blob.digest()),
        Err(error) => Err(format!("{error:#}")),
    };
    tell.send_modify(|growth| {
        if let Ok(blob) = &packed {
            growth.size = blob.size();
        }
        growth.end = Some(end);
    });
    packed
}

fn fill(
    store: &Store,
    contents: &Contents,
    into: Unknown,
    tell: &watch::Sender<Growth>,
) -> Result<StagedBlob> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let out = Out {
        hasher: Hasher::new(Algorithm::Sha256),
        size: 0,
        told: 0,
        into,
        tell,
    };
    let mut compress = layer::compress(out, threads);
    let (diff_id, found) = match contents {
        Contents::Files(diff_id) => {
            let layer = store.layer(diff_id)?;
            let layer = layer.with_context(|| format!("layer {diff_id} is not here"))?;
            let dir = open(&layer.path)?;
            let packed = layer::pack(dir.as_fd(), &mut compress)?;
            (diff_id, Digest::from_sha256(packed.tar_sha256))
        }
        Contents::Tar(diff_id) => {
            let mut tar = BufReader::with_capacity(1 << 20, store.open_blob(diff_id)?);
            let mut hashing = Hashing {
                hasher: Hasher::new(Algorithm::Sha256),
                inner: &mut compress,
            };
            io::copy(&mut tar, &mut hashing).context("compress a layer")?;
            (diff_id, hashing.hasher.finish())
        }
    };
    let out = compress.finish().context("compress a layer")?;
    if found != *diff_id {
        bail!(changed(diff_id, &found));
    }
    Ok(out.into.finish(&out.hasher.finish())?)
}

fn changed(diff_id: &Digest, found: &Digest) -> Error {
    let text =
        format!("layer {diff_id}: packed again, its files give {found}: somebody has changed them");
    Error::new(Kind::Damaged, text).with_hint("see which with `lade image verify`")
}

/// Opens a layer's directory.
pub(crate) fn open(path: &Path) -> Result<std::os::fd::OwnedFd> {
    use sys::fs::{Mode, OFlag};
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = sys::fs::open(path, flags, Mode::empty());
    dir.map_err(|errno| anyhow::anyhow!("open layer {}: {}", path.display(), sys::reason(errno)))
}

/// The blob's file, hashed as it is written.
struct Out<'a> {
    into: Unknown,
    hasher: Hasher,
    size: u64,
    told: u64,
    tell: &'a watch::Sender<Growth>,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tell.is_closed() {
            return Err(io::Error::other("nobody takes what is packed any more"));
        }
        let written = self.into.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        if self.size - self.told >= TOLD {
            self.told = self.size;
            self.tell.send_modify(|growth| growth.size = self.size);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

struct Hashing<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
