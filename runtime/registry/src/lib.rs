#![forbid(unsafe_code)]
//! A client of image registries: OCI's distribution protocol, and docker's, which it came from.
//!
//! What is fetched is checked against the digest that was asked for, as far as one call sees the whole of it; a blob is handed over in pieces,
//! and who puts them together checks with [`Verify`]. What a server says is bounded before it is read. A connection that breaks is taken up again at
//! the byte. Where bytes go and where they come from is the caller's to know; so are names of files and the environment.

mod auth;
mod blob;
mod client;
mod credentials;
mod download;
mod error;
mod files;
pub mod headers;
mod hosts;
mod http;
mod lists;
mod login;
mod manifest;
mod push;
mod referrers;
mod secret;
mod source;
mod upload;
mod verify;

pub use blob::BlobStream;
pub use client::{Client, Settings, Which};
pub use credentials::{Credentials, Login};
pub use download::Download;
pub use error::{Error, Kind, Result};
pub use hosts::{Files, Hosts};
pub use http::{Notice, Notices, Patience, Proxies};
pub use lists::Found;
pub use manifest::Fetched;
pub use push::{Body, Put};
pub use secret::Secret;
pub use source::{Source, Stored, Whole};
pub use upload::{Session, Upload, Uploaded};
pub use verify::Verify;

#[cfg(test)]
mod tests;
