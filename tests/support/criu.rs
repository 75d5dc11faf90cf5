//! Which criu works here, and what one that is killed leaves in `/tmp`.

use crate::{Env, Must};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Returns a search path by which a criu is found that works on this kernel: PATH, or one with what `hack/criu` has put into target/criu before
/// it; or else why there is none.
pub fn criu_path(env: &Env) -> Result<String, String> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/criu/bin");
    let given = std::env::var("PATH").unwrap_or_default();
    let mut why = "criu is not installed".to_owned();
    for path in [format!("{}:{given}", own.display()), given] {
        let mut dirs = path.split(':').map(Path::new);
        if !dirs.any(|dir| dir.join("criu").is_file()) {
            continue;
        }
        let check = env.cmd("criu").arg("check").env("PATH", &path).run();
        if check.rc == 0 {
            return Ok(path);
        }
        let told = check.stderr();
        why = told.lines().next().unwrap_or("criu check fails").to_owned();
    }
    Err(why)
}

/// Returns what one process of the machine holds at a time: whoever mounts a controller of cgroup v1 that is mounted nowhere, or needs
/// that nobody does. Each of criu's is both. While there is one more hierarchy each process is in one more cgroup, which criu takes
/// for an inconsistency of the container that it saves, and a hierarchy that is about to go cannot be mounted ("Device or resource
/// busy"). criu takes the options of the host's cgroup v2, too, for a moment, which whoever compares the host must not see.
pub fn hierarchies() -> File {
    let hierarchies = File::open("/sys/fs/cgroup").must("/sys/fs/cgroup");
    hierarchies.lock().must("the lock");
    hierarchies
}

/// The directories in `/tmp` that criu mounts on, in a mount namespace of its own: killed, it cannot remove them. Dropped, those are
/// removed that have come since.
#[derive(Debug)]
pub struct CriuDirectories(BTreeSet<PathBuf>);

impl CriuDirectories {
    pub fn note() -> Self {
        Self(Self::look())
    }

    fn look() -> BTreeSet<PathBuf> {
        let entries = fs::read_dir("/tmp").must("/tmp").flatten();
        let named = |path: &PathBuf| path.to_string_lossy().contains("/.criu.mntns.");
        entries.map(|entry| entry.path()).filter(named).collect()
    }
}

impl Drop for CriuDirectories {
    fn drop(&mut self) {
        for left in Self::look().difference(&self.0) {
            // Only when it is empty; another criu may have removed its own meanwhile.
            fs::remove_dir(left).unwrap_or_default();
        }
    }
}
