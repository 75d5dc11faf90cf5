//! Checkpoint and restore by criu, a program that is not ours: what it is asked, and what it asks back.
//!
//! criu does the work on processes, memory, files and namespaces. We tell it what belongs to the host and not to the image (`mounts`,
//! joined namespaces, standard streams), answer at the moments when it stops to ask (`verbs::restore`), and turn its failures into a line.

mod descriptors;
mod dump;
mod hierarchy;
mod mark;
mod mounts;
mod place;
mod program;
pub mod proto;
mod repair;
mod request;
mod restore;
mod rpc;
mod verify;

use std::path::PathBuf;

pub(crate) use descriptors::own as own_streams;
pub(crate) use dump::{Subject, dump};
pub(crate) use mark::{GRACE, Mark, relieve};
pub(crate) use mounts::refuse;
pub(crate) use place::Place;
pub(crate) use program::{check, find};
pub(crate) use repair::repair;
pub(crate) use request::{Event, LAST};
pub(crate) use restore::{Image, begin};
pub use rpc::Response;
pub(crate) use verify::verify;

/// What criu does with cgroups (`criu_cg_mode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupMode {
    Ignore = 0,
    /// Makes those that are missing.
    #[default]
    Soft = 3,
    /// Restores all, with their properties.
    Full = 4,
    /// Restores all and demands that none is there.
    Strict = 5,
}

/// How connections are held still meanwhile (`criu_network_lock_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkLock {
    Iptables = 1,
    Nftables = 2,
    Skip = 3,
}

/// What the command line says of an image and of criu, for both commands.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The directory of the image's files.
    pub images: PathBuf,
    /// Where criu writes its log; the images' directory without it.
    pub work: Option<PathBuf>,
    /// PATH, as our caller has it.
    pub search: Option<String>,
    pub tcp_established: bool,
    pub tcp_close: bool,
    pub ext_unix_sk: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub auto_dedup: bool,
    pub lazy_pages: bool,
    /// Leave the network namespace empty.
    pub empty_network: bool,
    pub cgroups: CgroupMode,
    pub network_lock: Option<NetworkLock>,
}

/// What only a checkpoint is told.
#[derive(Debug, Clone, Default)]
pub struct Dump {
    /// The images of an earlier pre-dump, relative to the images' directory.
    pub parent: Option<PathBuf>,
    pub leave_running: bool,
    pub tcp_skip_in_flight: bool,
    pub link_remap: bool,
    /// Save memory only, and let the container go on.
    pub pre_dump: bool,
    /// Address and port of a page server.
    pub page_server: Option<(String, u16)>,
}

/// What only a restore is told.
#[derive(Debug, Clone, Default)]
pub struct Restoring {
    /// `TYPE:NAME`
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}
