//! Blobs, layers, names: what is kept of images on this disk, so that nothing is lost, nothing is half there, and no number is a guess.
//!
//! ```text
//! ROOT/                            0700, the caller's own
//!   version                        "1\n": the form of this tree; written last when the root is made
//!   spare                          256 KiB that are given up when the disk is full, so that removing still works
//!   db.sqlite (+ -wal, -shm)       what there is and what it is called; its own version is `user_version` (db/schema.rs)
//!   blobs/sha256/HEX               complete and verified (sha512/ beside it, here and below layers/)
//!   layers/sha256/HEX/fs/          an unpacked layer, by its diff id
//!   ingest/sha256-HEX/             a blob under way: data, have (which spans were written, see spans.rs), lock
//!   ingest/new-ID/                 the same of a blob whose digest is not known yet; nobody can go on with it
//!   unpack/sha256-HEX/             a layer under way: layer/fs/, lock; new-ID/ as above
//!   ready/BOOT/blobs/sha256-HEX    complete and verified since this boot, not yet synced: whoever commits takes it
//!   ready/BOOT/layers/sha256-HEX/fs/
//!   containers/ID/                 of a container: lock, and what the caller puts there
//!   leases/ID                      a lease; its rows are in the database
//!   trash/ID                       to be deleted; trash-lock is held by who does it
//!   trash/new-ID/                  the same once nobody holds the lock in it, and their leaving their places has been synced
//!   publish.lock
//! ```
//!
//! # What is true at every moment
//!
//! - A final name (`blobs/`, `layers/`) exists only for what is complete, verified and synced: things are made elsewhere, synced by one
//!   syncfs(2), and renamed. What a row of the database names is there: rows are written after the rename and its fsync(2), and deleted,
//!   durably, before the file is moved away. Names are written in the transaction that writes what they lead to.
//! - A file at a final name without a row is what a kill has left between the two. It is as good as any: whoever asks for that digest
//!   takes it over. `ready/` is the same before the sync, and counts for the boot that made it only; after a power cut its blobs are
//!   partial downloads, whose content is hashed again by whoever goes on with them, and its layers are nothing.
//! - Who works holds a flock(2), which the kernel gives back when he is killed. No process id, no clock and no time-out decides about life.
//! - `synchronous=FULL` where something is reported as done or a file is about to be deleted for it (`Durability::Now`: commit, names,
//!   removals, collect). Leases and notes may be lost by a power cut, which ends those who need them as well.
//!
//! # Locks, in the order in which they are taken
//!
//! | lock | shared | exclusive |
//! |---|---|---|
//! | the root itself | | making the tree, migrating the database |
//! | `leases/ID`, `containers/ID/lock` | | as long as the owner lives |
//! | `ingest/X/lock`, `unpack/X/lock` | | who fetches or unpacks X; the others wait. A blob before its layer |
//! | `publish.lock` | making a lease, or a directory of work; asking for a digest while putting a lease on it; renaming into place and writing the rows | collect, check: nobody is doing either, so what no row and no living lease names is really left over |
//! | `trash/new-ID/lock` | | who moves things there |
//! | the database | readers | one writer, BEGIN IMMEDIATE; no file is touched meanwhile |
//! | `trash-lock` | | deleting what is in the trash; never waited for |
//!
//! A lock file that was moved to the trash while somebody waited for it is noticed by its inode, and asked for anew (lock.rs).
//!
//! The crate knows nothing of registries, tar or processes, and it never prints, exits or reads the environment.
#![forbid(unsafe_code)]

mod blob;
mod check;
mod collect;
mod commit;
mod container;
mod db;
mod error;
mod ingest;
mod layout;
mod lease;
mod lock;
mod records;
mod remove;
mod root;
mod spans;
mod trash;
mod unpacking;
mod usage;
mod walk;

#[cfg(test)]
mod tests;

pub use blob::StagedBlob;
pub use check::Problem;
pub use collect::{Collect, Collected};
pub use commit::Staged;
pub use container::NewContainer;
pub use error::{Error, Result};
pub use ingest::{Ingest, Partial, Unknown};
pub use lease::Lease;
pub use records::{ImageRecord, Name, NewName, Pin, Records};
pub use root::Store;
pub use unpacking::{Layer, NewLayer, StagedLayer, Unpack};
pub use usage::Usage;
