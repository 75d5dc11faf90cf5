#![forbid(unsafe_code)]
//! What an image is, as plain values: digests, names, platforms, and the JSON documents of OCI and Docker that tie them together.
//!
//! Nothing here touches a disk or a network. Whatever is parsed was written by somebody else: it is bounded before it is read,
//! checked while it is read, and trusted afterwards, because its type can only be had by parsing. Where files live is the store's
//! to know, how bytes travel is the registry client's.

mod config;
mod descriptor;
mod digest;
mod document;
mod lenient;
pub mod media;
mod platform;
mod reference;
mod time;

pub use config::{Config, Healthcheck, History, Process, RootFs, chain_ids};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher};
pub use document::{Document, DocumentError, Index, Manifest};
pub use media::Compression;
pub use platform::{Platform, choose};
pub use reference::{Reference, Repository};
pub use time::Time;

/// A text that is not what it should be (a digest, a name, a platform, a time). Displays as one line that quotes the text and says
/// what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub(crate) String);

/// Quotes what somebody else wrote for a message of one line: control characters escaped, and not without end.
pub(crate) fn quoted(text: &str) -> String {
    const MOST: usize = 120;
    if text.chars().nth(MOST).is_none() {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(MOST).collect();
    format!("{start:?}...")
}
