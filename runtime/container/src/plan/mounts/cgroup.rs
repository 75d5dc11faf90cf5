//! The container's own cgroups, as mounts show them.

use std::path::{Path, PathBuf};

use super::{Hierarchy, MountKind, Setting, Surroundings};
use crate::Host;
use crate::plan::devices::Link;

/// Returns the container's cgroup in each hierarchy of version 1 and in that of version 2; without a cgroup of its own, the caller's.
fn own_cgroups(
    host: &Host,
    cgroup: Option<&::cgroup::Plan>,
) -> (Vec<Hierarchy>, Option<Hierarchy>) {
    let named = |mount: &Path, source: PathBuf| {
        let name = mount
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Hierarchy { name, source }
    };
    let own = |hierarchy: &::cgroup::Hierarchy| {
        named(&hierarchy.mount, hierarchy.mount.join(&hierarchy.own))
    };
    let Some(plan) = cgroup else {
        return (
            host.cgroups.v1.iter().map(own).collect(),
            host.cgroups.unified.as_ref().map(own),
        );
    };
    let (unified, v1): (Vec<_>, Vec<_>) = plan.dirs.iter().partition(|dir| dir.is_unified());
    let view = |dir: &&::cgroup::Dir| named(&dir.mount, dir.path.clone());
    (v1.iter().map(view).collect(), unified.first().map(view))
}

/// Returns the directory of the cgroup v2 hierarchy that a mount of it shows.
pub(super) fn cgroup2(around: &Surroundings<'_>) -> Option<PathBuf> {
    if around.cgroup_namespace {
        // The same view as a mount made inside a cgroup namespace, and one call instead of four.
        let own = own_cgroups(around.host, around.cgroup).1;
        own.map(|hierarchy| hierarchy.source)
    } else {
        // Its processes see the host's paths in /proc, so they are shown the hierarchy in which these lead somewhere.
        let unified = around.host.cgroups.unified.as_ref();
        unified.map(|unified| unified.mount.clone())
    }
}

pub(super) fn cgroup_tree(
    host: &Host,
    cgroup: Option<&::cgroup::Plan>,
    label: &Option<Setting>,
) -> MountKind {
    let (mut hierarchies, unified) = own_cgroups(host, cgroup);
    hierarchies.extend(unified);
    // Co-mounted controllers are reached under each single name too: cpu -> cpu,cpuacct.
    let links = |hierarchy: &Hierarchy| -> Vec<Link> {
        let link = |name: &str| Link {
            path: name.into(),
            target: hierarchy.name.clone().into(),
        };
        if hierarchy.name.contains(',') {
            hierarchy.name.split(',').map(link).collect()
        } else {
            Vec::new()
        }
    };
    let links = hierarchies.iter().flat_map(links).collect();
    let settings = label.iter().cloned().collect();
    MountKind::Cgroup {
        hierarchies,
        links,
        settings,
    }
}
