//! What killed runs have left.
//!
//! A run holds the lock of its container's directory. Where nobody does, the runtime is asked to end what still runs, and forget it;
//! the directory is the store's to collect, and the trash somebody else's to sweep.

use std::fs::File;

use anyhow::Result;
use store::Collect;

use super::Ground;
use super::containers::{is_held, list, names, place};
use super::end::delete;

/// Takes away all containers that no run attends to any more; cheap when there is none. One that cannot be deleted keeps its directory,
/// which says what it stands on, and is told when the others are gone.
pub(crate) fn sweep(ground: &Ground<'_>) -> Result<()> {
    let dead = list(ground.store)?.iter().any(|found| !found.running);
    let place = place(ground.store);
    let (mut kept, mut failed) = (Vec::new(), None);
    for id in names(ground.state)? {
        // Its directory may have been collected before.
        let lock = place.join(&id).join("lock");
        if is_held(&lock)?.unwrap_or(false) {
            continue;
        }
        if let Err(error) = delete(*ground, &id) {
            failed = failed.or(Some(error));
            // As long as we have it the directory is nobody's to collect.
            let lock = File::open(&lock).ok();
            kept.extend(lock.filter(|lock| sys::fs::try_lock_shared(lock).unwrap_or(false)));
        }
    }
    if dead {
        ground.store.collect(Collect::default())?;
    }
    failed.map_or(Ok(()), Err)
}
