//! What can be done with a container that exists, one file per verb.

mod checkpoint;
mod delete;
pub mod events;
mod kill;
mod list;
mod mounts;
mod pause;
mod ps;
mod restore;
mod start;
mod update;

pub use checkpoint::{Checkpoint, checkpoint};
pub use delete::{delete, discard};
pub use kill::{kill, signal};
pub use list::{list, state};
pub use mounts::{add_mounts, remove_mounts};
pub use pause::{pause, resume};
pub use ps::{processes, table};
pub use restore::{Restore, restore};
pub use start::{poststart, start};
pub use update::{Change, update};

use anyhow::{Context as _, Result, bail};
use sys::process::{Handle, Pid};

use crate::state::{Identity, is_alive};
use crate::text;

/// Opens the container's process, if it is still the one that was recorded.
pub(crate) fn open(process: &Identity) -> Result<Handle> {
    let handle = Handle::open(Pid::from_raw(process.pid));
    // After opening: from now on the handle cannot come to mean another process.
    if !is_alive(process) {
        bail!(text::NOT_RUNNING);
    }
    handle.with_context(|| format!("take hold of process {}", process.pid))
}
