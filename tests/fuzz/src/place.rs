//! A directory of our own, where a target may make what it likes in one part, and everything else stays as it was.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// It goes away with its owner.
pub(crate) struct Place {
    base: PathBuf,
    before: Vec<Seen>,
}

/// A file, and whatever a change of it would change.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    inode: u64,
    changed: (i64, i64),
    mode: u32,
    links: u64,
    size: u64,
}

/// Two steps below the base, so that two steps upwards are seen.
const INSIDE: &str = "between/inside";

impl Place {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let base = memory().join(format!("orlop-fuzz-{}-{next}", std::process::id()));
        fs::create_dir_all(base.join(INSIDE)).expect("a directory of our own");
        for outside in ["outside", "between/outside"] {
            let dir = base.join(outside);
            fs::create_dir(&dir).expect("a directory");
            fs::write(dir.join("victim"), "untouched").expect("a file");
            symlink("victim", dir.join("link")).expect("a link");
        }
        let mut place = Self {
            base,
            before: Vec::new(),
        };
        place.before = place.outside();
        place
    }

    /// Makes a directory in the part that may change.
    pub(crate) fn dir(&self, name: &str) -> File {
        let path = self.inside().join(name);
        fs::create_dir(&path).expect("a new directory");
        File::open(path).expect("the new directory")
    }

    /// Returns the part that may change.
    pub(crate) fn inside(&self) -> PathBuf {
        self.base.join(INSIDE)
    }

    /// Everything else is as it was.
    pub(crate) fn check(&self) {
        assert_eq!(self.before, self.outside(), "outside of the directory");
    }

    fn outside(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        look(&self.base, &self.inside(), &mut seen);
        seen
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // An ordinary user may have been kept out by a mode that an archive wanted.
        fs::remove_dir_all(&self.base).ok();
    }
}

/// Where files are made fast: hack/fuzz says, and makes it empty again.
fn memory() -> PathBuf {
    let shared = || {
        Some(PathBuf::from("/dev/shm"))
            .filter(|path| path.is_dir())
            .unwrap_or_else(std::env::temp_dir)
    };
    std::env::var_os("TMPDIR").map_or_else(shared, PathBuf::from)
}

fn look(path: &Path, but: &Path, into: &mut Vec<Seen>) {
    if path == but {
        return;
    }
    let stat = fs::symlink_metadata(path).expect("what was there before");
    let of = |stat: &Metadata| Seen {
        path: path.to_owned(),
        inode: stat.ino(),
        changed: (stat.ctime(), stat.ctime_nsec()),
        mode: stat.mode(),
        links: stat.nlink(),
        size: stat.size(),
    };
    into.push(of(&stat));
    if stat.is_dir() {
        let mut paths: Vec<_> = fs::read_dir(path)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        paths.iter().for_each(|path| look(path, but, into));
    }
}
