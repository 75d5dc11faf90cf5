//! The engine: where things are, and what is opened when it is needed.

use std::path::{Path, PathBuf};

use registry::{Files, Patience, Proxies};
use store::Store;

use crate::remote::Remote;
use crate::{Error, Registries, Result};

/// Where an engine keeps things, and whom it may call.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Images, layers and the database.
    pub data_root: PathBuf,
    /// What does not outlive a boot.
    pub run_root: PathBuf,
    /// The OCI runtime.
    pub runtime: PathBuf,
    /// How registries are reached.
    pub network: Network,
    /// Layers that are fetched or sent at a time; 0 for as many as are good.
    pub connections: usize,
    /// Bytes of one piece of a large blob, which is fetched by several connections and sent piece by piece; 0 for as many as are good.
    pub piece: u64,
    /// The version of the program, for `version`, `info` and registries.
    pub version: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_root: PathBuf::from("/var/lib/lade"),
            run_root: PathBuf::from("/run/lade"),
            runtime: PathBuf::from("orlop"),
            network: Network::default(),
            connections: 0,
            piece: 0,
            version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }
}

impl Settings {
    pub(crate) fn connections(&self) -> usize {
        // A registry's front door takes six from a browser, too.
        const GOOD: usize = 6;
        if self.connections == 0 {
            GOOD
        } else {
            self.connections
        }
    }
}

/// How registries are reached. The files are read when a registry is asked for the first time.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Files on hosts and mirrors: ours, containerd's, podman's, docker's.
    pub files: Files,
    /// Hosts that may be spoken to without TLS, or with a certificate that nobody vouches for.
    pub insecure: Vec<String>,
    /// Files with logins, in the order in which they are asked.
    pub credentials: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// How long to wait, and how often to try again; none: as good as is known.
    pub patience: Option<Patience>,
    /// Fetch foreign layers from where their descriptors say.
    pub foreign: bool,
    /// Is told of each request and its answer, in a line without secrets.
    pub trace: Option<fn(&str)>,
}

/// The engine. Cheap to open; one is enough for a process, and threads may share it.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) registries: Registries,
}

impl Engine {
    /// Opens the store, or makes it. Nothing else is read.
    pub fn open(settings: Settings) -> Result<Self> {
        let store = open(&settings.data_root)?;
        let registries = Registries::new(settings.clone());
        Ok(Self {
            settings,
            store,
            registries,
        })
    }

    /// Returns what the engine was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the store below.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the way to the network, made at its first use.
    pub(crate) fn remote(&self) -> Result<&Remote> {
        self.registries.remote()
    }
}

/// Opens a store, and says what to do where there can be none.
fn open(root: &Path) -> Result<Store> {
    const ELSEWHERE: &str = "--data-root, or LADE_DATA_ROOT, names another directory";
    if std::fs::metadata(root).is_ok_and(|found| !found.is_dir()) {
        let text = format!("{}: is not a directory", root.display());
        return Err(Error::invalid(text).with_hint(ELSEWHERE));
    }
    Store::open(root).map_err(|error| {
        let error = Error::from(error);
        let text = error.to_string();
        let closed = [
            "permission denied",
            "read-only file system",
            "not a directory",
        ];
        if closed.iter().any(|end| text.ends_with(end)) && error.hint().is_none() {
            return error.with_hint(ELSEWHERE);
        }
        error
    })
}
