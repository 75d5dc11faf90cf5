//! Containers in units of systemd: which unit, its properties, and starting, changing and stopping it.
//!
//! systemd owns the tree of cgroups where it runs; a cgroup of a scope is lent to whoever asked for it (`Delegate`). So the unit is
//! made by systemd, and everything that systemd has no property for is written to the files as without it.

mod act;
pub(crate) mod devices;
mod name;
mod properties;

use std::path::PathBuf;

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

pub use act::UnitStart;

use crate::bus::{Address, Property};
use crate::delegate::is_name;
use crate::devices as rules;
use crate::error::Refusal;
use crate::layout::{Kind, Layout};
use crate::path::CgroupPath;
use crate::plan::{Dir, Plan};
use name::Place;

/// Makes a cgroup of its own below the unit's for the container, which is all that it then sees (crun's annotation).
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// A manager of units, and how it names what is not named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Systemd {
    pub addresses: Vec<Address>,
    /// Goes before a container's id in the name of a unit that nobody named.
    pub prefix: String,
    /// The user whose manager it is; none for the system's.
    pub user: Option<u32>,
}

/// A unit that exists or is about to, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    pub name: String,
    /// Where its manager answers.
    pub manager: Vec<Address>,
}

/// A unit that will be made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitPlan {
    #[serde(flatten)]
    pub unit: Unit,
    /// Everything but the process.
    pub properties: Vec<Property>,
    /// The container's cgroup below the unit's; empty for that one itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subgroup: String,
}

impl UnitPlan {
    pub(crate) fn is_slice(&self) -> bool {
        self.unit.name.ends_with(".slice")
    }
}

/// What a configuration says about a container's unit.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub id: &'a str,
    pub cgroups_path: Option<&'a str>,
    pub annotations: Vec<(&'a str, &'a str)>,
    pub resources: Option<&'a LinuxResources>,
}

/// Plans the cgroups of a new container whose unit systemd makes.
pub fn plan(layout: &Layout, systemd: &Systemd, wanted: &Wanted<'_>) -> Result<Plan, Refusal> {
    let unified = layout.kind() == Kind::V2;
    if systemd.user.is_some() && !unified {
        return Err(Refusal::new(
            "linux.cgroupsPath",
            "a user's systemd owns cgroups of version 2 only, which this host does not have alone; use --cgroup-manager cgroupfs",
        ));
    }
    let default = match systemd.user {
        Some(_) => "user.slice",
        None => "system.slice",
    };
    let place = Place::parse(wanted.cgroups_path, wanted.id, &systemd.prefix, default)?;
    let subgroup = subgroup(wanted)?;
    let base = systemd.user.map_or_else(PathBuf::new, |uid| {
        format!("user.slice/user-{uid}.slice/user@{uid}.service").into()
    });
    let path = CgroupPath::from_mount(below(base.join(&place.path), &subgroup));
    let mut plan = crate::plan::plan(layout, &path, wanted.resources)?;
    let annotations = properties::of_annotations(wanted.annotations.iter().copied())?;
    let rules = wanted
        .resources
        .and_then(|resources| resources.devices().as_deref());
    let (devices, warnings) = devices::properties(&rules::complete(rules.unwrap_or_default())?);
    plan.warnings.extend(warnings);
    let lists = [
        properties::of_unit(&place, wanted.id, unified),
        properties::of_limits(&plan),
        devices,
        annotations,
    ];
    plan.unit = Some(UnitPlan {
        properties: properties::merge(lists),
        unit: Unit {
            name: place.name,
            manager: systemd.addresses.clone(),
        },
        subgroup,
    });
    Ok(plan)
}

/// Appends the name of a subgroup, if there is one: nothing would become a slash.
fn below(path: PathBuf, subgroup: &str) -> PathBuf {
    if subgroup.is_empty() {
        path
    } else {
        path.join(subgroup)
    }
}

fn subgroup(wanted: &Wanted<'_>) -> Result<String, Refusal> {
    let given = wanted.annotations.iter().find(|(key, _)| *key == SUBGROUP);
    let name = given.map(|(_, name)| *name).unwrap_or_default();
    if !name.is_empty() && !is_name(name) {
        return Err(Refusal::new(
            format!("annotations.{SUBGROUP}"),
            format!("{name:?} is not the name of a cgroup; use one such as container"),
        ));
    }
    Ok(name.to_owned())
}

impl Plan {
    /// Returns the properties that go with the limits of an update.
    pub(crate) fn limit_properties(&self) -> Vec<Property> {
        properties::of_limits(self)
    }
}

/// Whether systemd itself puts processes into this hierarchy.
fn is_systemds(dir: &Dir) -> bool {
    dir.is_unified() || dir.hierarchy == "name=systemd"
}
