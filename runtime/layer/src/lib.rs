//! Layers: a directory as a tar archive and back.
//!
//! An archive is read by a reader of our own ([`unpack`], [`verify`]) and written by a writer of our own ([`pack`]), which gives the same bytes for
//! the same tree. What an archive says of other layers (whiteouts, opaque directories) stands in the directory as the overlay file system wants
//! it. Compression ([`inflate`], [`compress`]) is apart from both.
//!
//! The crate knows descriptors of directories and streams of bytes; where either comes from, and what an image is, it does not know.
#![forbid(unsafe_code)]

mod acl;
mod ahead;
mod compress;
mod error;
mod frames;
mod inflate;
mod limits;
mod name;
mod pack;
mod tar;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;
mod verify;

pub use ahead::Ahead;
pub use compress::{Compress, compress};
pub use error::Error;
pub use inflate::{Bounded, Form, inflate};
pub use limits::{Limits, Options};
pub use pack::{Packed, pack};
pub use unpack::{Unpacked, unpack, unpack_within};
pub use verify::verify;
