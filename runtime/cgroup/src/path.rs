//! `linux.cgroupsPath`: where a container's cgroups lie, as every hierarchy understands it.

use std::path::{Component, Path, PathBuf};

use crate::error::Refusal;
use crate::layout::{Hierarchy, Kind};

const JSON_PATH: &str = "linux.cgroupsPath";

/// A checked `cgroupsPath`: clean, without `..`, naming a cgroup below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPath {
    from: From,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// An absolute path counts from each hierarchy's mount point.
    Mount,
    /// A relative one counts from the caller's own cgroup in each hierarchy; where there is only cgroup v2, from the one above,
    /// because the caller's own has processes in it and can hand no controllers down.
    Own,
}

impl CgroupPath {
    /// Checks a `cgroupsPath`; without one (or with an empty one) the container's cgroup is named after its id, below the
    /// caller's own.
    ///
    /// `..` never leads above where the path starts: it is resolved as if that were `/`.
    pub fn parse(cgroups_path: Option<&str>, id: &str) -> Result<Self, Refusal> {
        let given = cgroups_path.filter(|path| !path.is_empty());
        let text = given.unwrap_or(id);
        let refuse = |what: &str| Err(Refusal::new(JSON_PATH, format!("{text:?} {what}")));
        if given.is_some() && !text.contains('/') && text.matches(':').count() == 2 {
            return refuse(
                "names a systemd slice and scope; use --systemd-cgroup, or give a path such as /group/name",
            );
        }
        // The kernel takes a newline in a cgroup's name for an attack on /proc/PID/cgroup.
        if text.contains(['\n', '\0']) {
            return refuse("has a newline or NUL in it; give a path such as /group/name");
        }
        let mut path = PathBuf::new();
        for component in Path::new(text).components() {
            match component {
                Component::Normal(name) if name.len() > 255 => {
                    return refuse("has a component of more than 255 bytes");
                }
                Component::Normal(name) => path.push(name),
                Component::ParentDir => {
                    path.pop();
                }
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if path.as_os_str().is_empty() {
            return refuse(
                "is not below the root of the hierarchy; name a cgroup, such as /group/name",
            );
        }
        Ok(Self {
            from: if text.starts_with('/') {
                From::Mount
            } else {
                From::Own
            },
            path,
        })
    }

    /// Takes a path that counts from each hierarchy's mount point and is known to be clean.
    pub(crate) fn from_mount(path: PathBuf) -> Self {
        Self {
            from: From::Mount,
            path,
        }
    }

    /// Returns the path in one hierarchy, relative to its mount point.
    pub(crate) fn in_hierarchy(&self, hierarchy: &Hierarchy, kind: Kind) -> PathBuf {
        match (self.from, kind) {
            (From::Mount, _) => self.path.clone(),
            (From::Own, Kind::V2) if hierarchy.name == "unified" => hierarchy
                .own
                .parent()
                .unwrap_or(Path::new(""))
                .join(&self.path),
            (From::Own, _) => hierarchy.own.join(&self.path),
        }
    }
}
