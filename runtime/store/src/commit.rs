//! The commit point: what was staged becomes durable, and then it gets its names.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use image::Digest;
use rusqlite::params;

use crate::blob::StagedBlob;
use crate::db::{Durability, number};
use crate::error::{Absent, At, Error, Result};
use crate::layout::{Layout, now};
use crate::lock::Lock;
use crate::records::{self, Records};
use crate::root::{Store, sync_dir};
use crate::unpacking::{StagedLayer, move_new};
use crate::walk::measure;

/// What a commit makes durable.
#[derive(Debug, Default)]
pub struct Staged {
    /// Blobs.
    pub blobs: Vec<StagedBlob>,
    /// Unpacked layers.
    pub layers: Vec<StagedLayer>,
}

/// A row to be written: what is there, and how much of the disk it takes up.
struct Sized {
    digest: Digest,
    size: u64,
    disk: u64,
}

impl Store {
    /// Makes what was staged durable, and writes the records, all or nothing. The leases by which it was staged are to live until then.
    ///
    /// When this has returned, a power cut undoes nothing of it. Fails with [`Error::Missing`] when the records lead to something that
    /// is neither stored nor staged here. After any failure what was staged is there for the next who asks for it.
    pub fn commit(&self, staged: Staged, records: Records) -> Result<()> {
        let layout = self.layout();
        if !(staged.blobs.is_empty() && staged.layers.is_empty()) {
            // One for all, and before any rename: a final name stands for what is on the disk.
            nix::unistd::syncfs(&self.inner.dir).at(&layout.root)?;
        }
        // After the sync: some file systems know only then how much it takes up.
        let blobs = staged.blobs.iter().map(|blob| blob_size(layout, blob));
        let blobs: Vec<_> = blobs.collect::<Result<_>>()?;
        let layers = layer_sizes(layout, &staged.layers)?;
        let _publishing: Lock = self.publishing()?;
        self.publish(&blobs, &layers)?;
        self.db().write(Durability::Now, |transaction| {
            let sql = "INSERT OR IGNORE INTO blobs (digest, size, disk, at) VALUES (?, ?, ?, ?)";
            let mut insert = transaction.prepare_cached(sql)?;
            for blob in &blobs {
                let (size, disk) = (number(blob.size), number(blob.disk));
                let digest = blob.digest.to_string();
                insert.execute(params![digest, size, disk, number(now())])?;
            }
            let sql = "INSERT OR IGNORE INTO layers (digest, disk, at) VALUES (?, ?, ?)";
            let mut insert = transaction.prepare_cached(sql)?;
            for layer in &layers {
                let digest = layer.digest.to_string();
                insert.execute(params![digest, number(layer.disk), number(now())])?;
            }
            records::write(transaction, &records)
        })
    }

    /// Writes to the disk what was staged so far, so that a commit has less to wait for. It makes nothing durable: names come with the commit.
    pub fn write_out(&self) -> Result<()> {
        // A descriptor of its own: an error of the disk is told to each once, and the commit's has to hear of it.
        let root = &self.layout().root;
        nix::unistd::syncfs(File::open(root).at(root)?).at(root)
    }

    /// Moves everything to its final name, and makes the names durable.
    fn publish(&self, blobs: &[Sized], layers: &[Sized]) -> Result<()> {
        let layout = self.layout();
        let mut changed = Vec::new();
        for blob in blobs {
            let (from, to) = (layout.ready_blob(&blob.digest), layout.blob(&blob.digest));
            // Not there: another process has committed it, or it was stored or left at its final name.
            if fs::rename(&from, &to).absent().at(&from)?.is_none() && !to.exists() {
                return Err(Error::missing("blob", &blob.digest));
            }
            changed.extend(to.parent().map(Path::to_path_buf));
        }
        for layer in layers {
            let (from, to) = (
                layout.ready_layer(&layer.digest),
                layout.layer(&layer.digest),
            );
            if !move_new(&from, &to)? {
                // Another process was before us: the same content, and synced.
                self.discard(&from)?;
                if !to.exists() {
                    return Err(Error::missing("layer", &layer.digest));
                }
            }
            changed.extend(to.parent().map(Path::to_path_buf));
        }
        changed.sort();
        changed.dedup();
        changed.iter().try_for_each(|dir| sync_dir(dir))
    }
}

fn blob_size(layout: &Layout, blob: &StagedBlob) -> Result<Sized> {
    let digest = blob.digest;
    for path in [layout.ready_blob(&digest), layout.blob(&digest)] {
        if let Some(found) = fs::symlink_metadata(&path).absent().at(&path)? {
            return Ok(Sized {
                digest,
                size: found.len(),
                disk: found.blocks() * 512,
            });
        }
    }
    Err(Error::missing("blob", &digest))
}

/// Measures all layers at once: it is one question about each of their files.
fn layer_sizes(layout: &Layout, layers: &[StagedLayer]) -> Result<Vec<Sized>> {
    thread::scope(|scope| {
        let measure = |layer| scope.spawn(move || layer_size(layout, layer));
        let measuring: Vec<_> = layers.iter().map(measure).collect();
        let joined = measuring.into_iter().map(|thread| {
            let done = thread.join();
            done.unwrap_or_else(|_| {
                Err(Error::other("a thread that measured a layer has panicked"))
            })
        });
        joined.collect()
    })
}

fn layer_size(layout: &Layout, layer: &StagedLayer) -> Result<Sized> {
    let digest = layer.diff_id;
    for path in [layout.ready_layer(&digest), layout.layer(&digest)] {
        let disk = measure(&path)?;
        // Still there: nobody has moved it while we counted.
        if path.exists() {
            return Ok(Sized {
                digest,
                size: 0,
                disk,
            });
        }
    }
    Err(Error::missing("layer", &digest))
}
