//! The bundle: what the runtime is given.

use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::spec::Files;

/// ```text
/// bundle/config.json   the runtime's
/// bundle/rootfs/       where the root is mounted, in the run's mount namespace
/// bundle/hosts, hostname, resolv.conf   bound over the image's
/// bundle/log           what the runtime says of itself
/// bundle/pid           the program's process id, by the runtime once there is a container
/// ```
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) dir: PathBuf,
    pub(super) root: PathBuf,
    pub(super) log: PathBuf,
    pub(super) pid: PathBuf,
}

/// Makes an empty one in the container's directory.
pub(super) fn make(container: &Path) -> Result<Bundle> {
    let dir = container.join("bundle");
    let root = dir.join("rootfs");
    for path in [&dir, &root] {
        let made = DirBuilder::new().mode(0o700).create(path);
        made.with_context(|| format!("make {}", path.display()))?;
    }
    let (log, pid) = (dir.join("log"), dir.join("pid"));
    Ok(Bundle {
        dir,
        root,
        log,
        pid,
    })
}

impl Bundle {
    /// Writes all files of it.
    pub(super) fn write(&self, spec: &Value, files: &Files) -> Result<()> {
        let spec = serde_json::to_vec(spec).context("write config.json")?;
        for (name, contents, mode) in [
            // The environment of a program is nobody else's.
            ("config.json", &spec, 0o600),
            ("hosts", &files.hosts, 0o644),
            ("hostname", &files.hostname, 0o644),
            ("resolv.conf", &files.resolv_conf, 0o644),
        ] {
            let path = self.dir.join(name);
            let written = File::create_new(&path).and_then(|mut file| {
                // Whatever the umask is: the container's users have to read them.
                file.set_permissions(Permissions::from_mode(mode))?;
                file.write_all(contents)
            });
            written.map_err(|error| store::Error::at(&path, error))?;
        }
        Ok(())
    }
}
