//! What has been unpacked is written to the disk while more comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use store::Store;
use tokio::runtime::Handle;

/// Packed bytes between two writings. With what they unpack to they are about four times as much: some tenths of a second of a disk's time.
const STEP: u64 = 16 << 20;

/// A commit waits until everything is on the disk; without this it would find all of it still in memory, after a time in which the disk had
/// nothing to do.
#[derive(Debug)]
pub(crate) struct Pace {
    store: Store,
    /// Packed bytes that have been unpacked since the last writing began.
    unpacked: AtomicU64,
    writing: AtomicBool,
    /// Who tells of progress may be a thread that the runtime does not know.
    runtime: Handle,
}

impl Pace {
    pub(crate) fn new(store: &Store) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            unpacked: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            runtime: Handle::current(),
        })
    }

    /// Tells that so many more packed bytes have been unpacked. Does not wait for the disk.
    pub(crate) fn unpacked(self: &Arc<Self>, bytes: u64) {
        let unpacked = self.unpacked.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if unpacked < STEP || self.writing.swap(true, Ordering::Relaxed) {
            return;
        }
        self.unpacked.store(0, Ordering::Relaxed);
        let pace = Arc::clone(self);
        self.runtime.spawn_blocking(move || {
            // What goes wrong here goes wrong again at the commit, which says so.
            pace.store.write_out().ok();
            pace.writing.store(false, Ordering::Relaxed);
        });
    }
}
