//! Where things are below the root.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use image::Digest;

pub(crate) const VERSION: &str = "version";
pub(crate) const SPARE: &str = "spare";
pub(crate) const DATABASE: &str = "db.sqlite";
pub(crate) const BLOBS: &str = "blobs";
pub(crate) const LAYERS: &str = "layers";
pub(crate) const INGEST: &str = "ingest";
pub(crate) const UNPACK: &str = "unpack";
pub(crate) const READY: &str = "ready";
pub(crate) const CONTAINERS: &str = "containers";
pub(crate) const LEASES: &str = "leases";
/// The drafts of manifest lists, which are whose who opens the store.
pub(crate) const LISTS: &str = "lists";
pub(crate) const TRASH: &str = "trash";
pub(crate) const TRASH_LOCK: &str = "trash-lock";
pub(crate) const PUBLISH: &str = "publish.lock";
/// The directories of a new root.
pub(crate) const DIRS: [&str; 12] = [
    BLOBS,
    "blobs/sha256",
    "blobs/sha512",
    LAYERS,
    "layers/sha256",
    "layers/sha512",
    INGEST,
    UNPACK,
    READY,
    CONTAINERS,
    LEASES,
    TRASH,
];
/// Where final names are.
pub(crate) const CONTENT: [&str; 4] = [
    "blobs/sha256",
    "blobs/sha512",
    "layers/sha256",
    "layers/sha512",
];
/// What a name begins with that stands for no digest yet.
pub(crate) const NEW: &str = "new-";

/// The paths of one data root, as seen since one boot.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    /// The id of this boot: what counts in `ready/`.
    pub(crate) boot: String,
}

impl Layout {
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.at(BLOBS).join(slashed(digest))
    }

    /// The directory of a layer, which holds `fs`.
    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.at(LAYERS).join(slashed(diff_id))
    }

    pub(crate) fn ready(&self) -> PathBuf {
        self.at(READY).join(&self.boot)
    }

    pub(crate) fn ready_blob(&self, digest: &Digest) -> PathBuf {
        self.ready().join(BLOBS).join(dashed(digest))
    }

    pub(crate) fn ready_layer(&self, diff_id: &Digest) -> PathBuf {
        self.ready().join(LAYERS).join(dashed(diff_id))
    }

    pub(crate) fn ingest(&self, digest: &Digest) -> PathBuf {
        self.at(INGEST).join(dashed(digest))
    }

    pub(crate) fn ingest_new(&self) -> PathBuf {
        self.at(INGEST).join(format!("{NEW}{}", unique()))
    }

    pub(crate) fn unpack(&self, diff_id: &Digest) -> PathBuf {
        self.at(UNPACK).join(dashed(diff_id))
    }

    pub(crate) fn unpack_new(&self) -> PathBuf {
        self.at(UNPACK).join(format!("{NEW}{}", unique()))
    }

    pub(crate) fn trash_new(&self) -> PathBuf {
        self.at(TRASH).join(format!("{NEW}{}", unique()))
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.at(TRASH).join(unique())
    }
}

fn slashed(digest: &Digest) -> String {
    digest.to_string().replacen(':', "/", 1)
}

/// Returns the name of a file that stands for a digest beside those of other algorithms.
pub(crate) fn dashed(digest: &Digest) -> String {
    digest.to_string().replacen(':', "-", 1)
}

/// Returns the digest that such a name stands for.
pub(crate) fn undashed(name: &Path) -> Option<Digest> {
    name.to_str()?.replacen('-', ":", 1).parse().ok()
}

/// Returns a name that nothing else has: no two threads of this process, no two processes at one moment.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    format!("{nanos:x}-{:x}-{count:x}", std::process::id())
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
