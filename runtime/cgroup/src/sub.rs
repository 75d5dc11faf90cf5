//! Cgroups below a container's own, as `exec --cgroup` names them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::Refusal;
use crate::make::Cgroup;
use crate::plan::Dir;

const OPTION: &str = "--cgroup";

/// Paths below a container's cgroups: one for all hierarchies, or some for those with a controller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubPaths {
    all: Option<PathBuf>,
    by_controller: BTreeMap<String, PathBuf>,
}

impl SubPaths {
    /// Parses arguments of the form `PATH` (one, for every hierarchy) or `CONTROLLER[,CONTROLLER...]:PATH`.
    ///
    /// A path counts from the container's cgroup, with or without a slash before it, and does not lead out of that.
    pub fn parse(arguments: &[String]) -> Result<Self, Refusal> {
        let mut paths = Self::default();
        for argument in arguments {
            let refuse = |why: &str| Err(Refusal::new(OPTION, format!("{argument:?} {why}")));
            let (names, path) = match argument.split_once(':') {
                Some((names, path)) => (Some(names), path),
                None => (None, argument.as_str()),
            };
            let components = || Path::new(path).components();
            if path.contains(['\n', '\0']) || components().any(|c| c == Component::ParentDir) {
                return refuse(
                    "is a bad sub cgroup path: it leads out of the container's cgroup; name one below it",
                );
            }
            let path: PathBuf = components()
                .filter(|c| matches!(c, Component::Normal(_)))
                .collect();
            let Some(names) = names else {
                if arguments.len() > 1 {
                    return refuse("is for every hierarchy; give it alone, or CONTROLLER:PATH");
                }
                paths.all = Some(path);
                continue;
            };
            for name in names.split(',') {
                if name.is_empty() {
                    return refuse("has an empty controller; use CONTROLLER:PATH or PATH");
                }
                let before = paths.by_controller.insert(name.to_owned(), path.clone());
                if before.is_some() {
                    return refuse(&format!("names {name} for the second time"));
                }
            }
        }
        Ok(paths)
    }

    /// Checks that the container has the controllers that are named, and one path for each of its cgroups.
    pub fn check(&self, cgroup: &Cgroup) -> Result<(), Refusal> {
        for (name, path) in &self.by_controller {
            let Some(dir) = cgroup.dirs.iter().find(|dir| holds(dir, name)) else {
                let message = format!("the container is in no cgroup with the controller {name}");
                return Err(Refusal::new(OPTION, message));
            };
            let other =
                |(other, elsewhere): &(&String, &PathBuf)| holds(dir, other) && elsewhere != &path;
            if let Some((other, _)) = self.by_controller.iter().find(other) {
                let message = format!("{name} and {other} share a hierarchy; give both one path");
                return Err(Refusal::new(OPTION, message));
            }
        }
        Ok(())
    }

    /// Returns the path below one of the container's cgroups, if one is named for it.
    pub(crate) fn of(&self, dir: &Dir) -> Option<&Path> {
        let mut named = self.by_controller.iter();
        let named = named.find(|(name, _)| holds(dir, name));
        named
            .map(|(_, path)| path)
            .or(self.all.as_ref())
            .map(PathBuf::as_path)
    }
}

fn holds(dir: &Dir, name: &str) -> bool {
    dir.has(name) || dir.hierarchy == name
}
