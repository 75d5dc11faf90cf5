//! What killed runs have left.
//!
//! A run holds the lock of its container's directory. Where nobody does, the runtime is asked to end what still runs, and forget it;
//! the directory is the store's to collect, and the trash somebody else's to sweep.

use anyhow::Result;
use store::Collect;

use super::Ground;
use super::containers::{is_held, list, names, place};
use super::end::delete;

/// Takes away all containers that no run attends to any more; cheap when there is none.
pub(crate) fn sweep(ground: &Ground<'_>) -> Result<()> {
    let dead = list(ground.store)?.iter().any(|found| !found.running);
    let place = place(ground.store);
    for id in names(ground.state)? {
        // Its directory may have been collected before.
        if !is_held(&place.join(&id).join("lock"))?.unwrap_or(false) {
            delete(*ground, &id)?;
        }
    }
    if dead {
        ground.store.collect(Collect::default())?;
    }
    Ok(())
}
