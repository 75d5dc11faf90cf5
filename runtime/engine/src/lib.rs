//! The verbs: what a user asks for, done with the other crates. The only crate that knows them all.
//!
//! A verb is a method of [`Engine`] in a file of its own: names come in as texts, results go out as plain values, what happens meanwhile as
//! [`Event`]s. Nothing here prints, reads the environment or knows a command line; both doors, the command and the API, call the same.
//! Callers see synchronous functions: the threads that wait for the network are made when the first verb needs them.

#![forbid(unsafe_code)]

mod archive;
mod check;
mod copy;
mod documents;
mod engine;
mod error;
mod filter;
mod find;
mod history;
mod images;
mod import;
mod import_docker;
mod info;
mod inspect;
mod load;
mod login;
mod manifest;
mod mount;
mod progress;
mod prune;
mod pull;
mod push;
mod registries;
mod remote;
mod remove;
mod rows;
pub mod run;
mod save;
mod search;
pub mod spec;
mod tag;
pub mod time;
mod unpack;
mod usage;
mod verify;

pub use check::{Checked, Repaired};
pub use engine::{Engine, Network, Settings};
pub use error::{Error, Kind, Result};
pub use filter::Filters;
pub use find::Found;
pub use history::HistoryRow;
pub use images::{List, Summary};
pub use import::Import;
pub use import_docker::ImportDocker;
pub use info::Info;
pub use load::{Load, Loaded, LoadedImage};
pub use login::LoggedIn;
pub use manifest::{Annotate, ManifestCreate, ManifestInspect, ManifestPush};
pub use mount::{Mounted, Unmount};
pub use progress::{Event, Progress, Quiet, Step};
pub use prune::{Prune, Pruned};
pub use pull::{Pull, Pulled, PulledImage};
pub use push::{Push, Pushed, PushedTag};
pub use registries::Registries;
pub use registry::{Files, Login, Patience, Proxies, Secret};
pub use remove::{Line, Remove, Removed};
pub use rows::{Row, Rows, rows};
pub use save::Save;
pub use search::{Search, SearchRow};
pub use usage::{ContainerUsage, ImageUsage, Usage};
pub use verify::Verified;

#[cfg(test)]
mod tests;
