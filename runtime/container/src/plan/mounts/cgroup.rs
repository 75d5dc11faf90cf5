//! The container's own cgroups, as mounts show them.

use std::path::{Path, PathBuf};

use sys::process::Namespaces;

use super::{Hierarchy, MountKind, Setting, Surroundings};
use crate::Host;
use crate::plan::devices::Link;

/// Returns the container's cgroup in each hierarchy of version 1 and in that of version 2; without a cgroup of its own, the caller's.
fn own_cgroups(
    host: &Host,
    cgroup: Option<&::cgroup::Plan>,
) -> (Vec<Hierarchy>, Option<Hierarchy>) {
    let named = |mount: &Path, source: PathBuf, instead| {
        let name = mount
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Hierarchy {
            name,
            source,
            instead,
        }
    };
    let callers = |hierarchy: &::cgroup::Hierarchy| hierarchy.mount.join(&hierarchy.own);
    let own = |hierarchy: &::cgroup::Hierarchy| named(&hierarchy.mount, callers(hierarchy), None);
    let Some(plan) = cgroup else {
        return (
            host.cgroups.v1.iter().map(own).collect(),
            host.cgroups.unified.as_ref().map(own),
        );
    };
    let (unified, v1): (Vec<_>, Vec<_>) = plan.dirs.iter().partition(|dir| dir.is_unified());
    let view = |dir: &&::cgroup::Dir| {
        let mut all = host.cgroups.v1.iter().chain(&host.cgroups.unified);
        let hierarchy = all.find(|hierarchy| hierarchy.name == dir.hierarchy);
        let instead = hierarchy.filter(|_| plan.lenient).map(callers);
        named(&dir.mount, plan.home(dir).path, instead)
    };
    (v1.iter().map(view).collect(), unified.first().map(view))
}

/// Returns what a mount of the cgroup v2 hierarchy shows.
pub(super) fn cgroup2(around: &Surroundings<'_>) -> Option<MountKind> {
    let (source, instead) = if around.own.contains(Namespaces::CGROUP) {
        // The same view as a mount made inside a cgroup namespace, and one call instead of four.
        let own = own_cgroups(around.host, around.cgroup).1?;
        (own.source, own.instead)
    } else {
        // Its processes see the host's paths in /proc, so they are shown the hierarchy in which these lead somewhere.
        (around.host.cgroups.unified.as_ref()?.mount.clone(), None)
    };
    Some(MountKind::Cgroup2 { source, instead })
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
