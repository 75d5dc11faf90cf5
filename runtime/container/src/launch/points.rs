//! The places that mounts go onto, made before criu makes the mounts: the root file system may be a fresh one.

use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result};
use sys::fs::Inside;

use super::tree::Tree;
use crate::check::{Opened, Source};
use crate::plan::{MountKind, Plan};

/// Makes what is missing, in the root or in the bind mount that lies above; what a new file system held is in the image.
pub(crate) fn make(plan: &Plan, opened: &Opened) -> Result<()> {
    for (index, (mount, source)) in plan.mounts.iter().zip(&opened.sources).enumerate() {
        let target = &mount.target;
        let above = (0..index)
            .rev()
            .find(|above| target.starts_with(&plan.mounts[*above].target));
        let (tree, path) =
            match above.map(|above| (&plan.mounts[above].target, &opened.sources[above])) {
                None => (&opened.root, target.as_path()),
                Some((top, Source::Directory(tree))) if top != target => {
                    (tree, target.strip_prefix(top).unwrap_or(Path::new("")))
                }
                Some(_) => continue,
            };
        let tree = tree.as_fd().try_clone_to_owned();
        let tree = Tree(tree.context("the container's root")?);
        let path = &Path::new("/").join(path);
        let made = match (&mount.kind, source) {
            (MountKind::Remount, _) | (_, Source::Link(_)) => continue,
            (_, Source::File(_)) => tree.file(path, Inside::Root),
            _ => tree.directory(path, Inside::Root),
        };
        made.with_context(|| {
            format!(
                "config.json: {}.destination: {}",
                mount.at,
                target.display()
            )
        })?;
    }
    Ok(())
}
