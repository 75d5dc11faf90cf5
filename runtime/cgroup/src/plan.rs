//! The plan of a container's cgroups: directories, and values for the files in them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use crate::bus::Property;
use crate::devices::{self, DeviceRule, Devices};
use crate::error::Refusal;
use crate::layout::{Kind, Layout};
use crate::limits;
use crate::path::CgroupPath;
use crate::unit::UnitPlan;

/// Everything that will be made and written, in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Plan {
    /// The unit that systemd makes first; none where the cgroups are ours alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitPlan>,
    /// One cgroup per hierarchy.
    pub dirs: Vec<Dir>,
    /// cgroup v2 controllers to be switched on for the container's cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable: Option<Enable>,
    /// Files that a new cgroup takes over from its parent.
    pub inherit: Vec<Inherit>,
    /// Limits, grouped by directory.
    pub writes: Vec<Write>,
    /// The device rules of cgroup v2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Devices>,
    /// What an update of them tells systemd.
    #[serde(skip)]
    pub device_properties: Vec<Property>,
    /// Do without a cgroup that this user may not make or enter, where no limit needs it; for a caller to set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lenient: bool,
    /// The caller's own cgroup of version 2, relative to the mount point: what moves from there to here crosses the cgroup above both.
    #[serde(skip)]
    pub caller: Option<PathBuf>,
    /// The user, on this host, whom the cgroup of version 2 is lent to, or what is delegated below it; for a caller to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Where the container's processes begin, below its cgroup of version 2, which stays ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegated: Option<PathBuf>,
    /// What cgroup v2 has no place for and can be passed over, each with its JSON path; for the caller to print.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dir {
    /// As the kernel spells it: `cpu,cpuacct`, `name=systemd`; `unified` for cgroup v2.
    pub hierarchy: String,
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted; nothing above this is ever made or removed.
    pub mount: PathBuf,
    /// The cgroup, relative to the mount point.
    pub relative: PathBuf,
    /// Both together: the directory on this host.
    pub path: PathBuf,
}

impl Dir {
    /// Whether this is the cgroup v2 hierarchy.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.hierarchy == "unified"
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }

    /// Returns the controllers as a message shows them.
    pub(crate) fn list(&self) -> String {
        if self.controllers.is_empty() {
            "none".to_owned()
        } else {
            self.controllers.join(", ")
        }
    }

    /// Returns the directories above this one, from the mount point down to the parent.
    pub(crate) fn above(&self) -> Vec<PathBuf> {
        let parents = self.relative.parent().unwrap_or(Path::new(""));
        let mut list = vec![self.mount.clone()];
        for component in parents.components() {
            list.push(list[list.len() - 1].join(component));
        }
        list
    }
}

/// Controllers that a cgroup v2 directory gets when every directory above it hands them down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enable {
    /// Index into [`Plan::dirs`].
    pub dir: usize,
    pub controllers: BTreeSet<String>,
    /// Those of them that a limit cannot do without, with the first field of config.json that needs them. The others serve
    /// statistics, and the container itself.
    pub needed: BTreeMap<String, String>,
}

/// A file that is empty in a new cgroup and must not be, before a process can join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inherit {
    /// Index into [`Plan::dirs`].
    pub dir: usize,
    pub file: String,
}

/// One value for one kernel interface file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    /// Index into [`Plan::dirs`].
    pub dir: usize,
    pub file: String,
    pub value: String,
    /// The field of config.json that asks for it.
    pub json_path: String,
    #[serde(skip_serializing_if = "Missing::is_fatal")]
    pub missing: Missing,
    /// `EINVAL` is not final: the kernel wants another file of the same directory, written later, to change first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// Parents that are made for this container need the value, too: their own default is nothing to give away.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_new_parents: bool,
    /// The file of the same directory that says how much is in use: a value that is not above it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<String>,
    /// Only the second word changes: the file's first one stays in front of the value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_first: bool,
}

/// What to do on a kernel that does not have the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Fatal,
    /// Kernels have one of two files, the other of which may count otherwise.
    Use {
        file: String,
        value: String,
    },
    Warn(String),
    Ignore,
}

impl Missing {
    fn is_fatal(&self) -> bool {
        *self == Self::Fatal
    }
}

/// Plans the cgroups of a new container.
pub fn plan(
    layout: &Layout,
    path: &CgroupPath,
    resources: Option<&LinuxResources>,
) -> Result<Plan, Refusal> {
    if layout.kind() == Kind::None {
        return Err(Refusal::new(
            "linux.cgroupsPath",
            "no cgroup hierarchy is mounted; mount the controllers below /sys/fs/cgroup",
        ));
    }
    let dirs: Vec<Dir> = layout
        .v1
        .iter()
        .chain(&layout.unified)
        .map(|hierarchy| {
            let relative = path.in_hierarchy(hierarchy, layout.kind());
            Dir {
                hierarchy: hierarchy.name.clone(),
                controllers: hierarchy.controllers.clone(),
                mount: hierarchy.mount.clone(),
                path: hierarchy.mount.join(&relative),
                relative,
            }
        })
        .collect();
    let mut writes = Writes::new(&dirs, Purpose::Create);
    if layout.kind() == Kind::V2 {
        // All of them, also where nothing is limited: without a controller there are no statistics.
        writes.want_all();
    }
    if let Some(resources) = resources {
        limits::collect(&mut writes, resources)?;
    }
    devices::collect(
        &mut writes,
        resources
            .and_then(|r| r.devices().as_deref())
            .unwrap_or_default(),
    )?;
    let inherit = inherited(&dirs);
    let unified = layout.unified.as_ref();
    Ok(Plan {
        caller: unified.map(|hierarchy| hierarchy.own.clone()),
        ..writes.finish(inherit)
    })
}

/// A new cpuset is empty on cgroup v1, and nothing can join an empty one.
fn inherited(dirs: &[Dir]) -> Vec<Inherit> {
    let cpuset = dirs
        .iter()
        .position(|dir| dir.has("cpuset") && !dir.is_unified());
    let files = ["cpuset.cpus", "cpuset.mems"];
    cpuset.map_or_else(Vec::new, |dir| {
        files
            .map(|file| Inherit {
                dir,
                file: file.to_owned(),
            })
            .into()
    })
}

/// Whether the cgroups are fresh, with every limit at its default, or have a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Create,
    Update,
}

/// Collects the writes of one plan.
pub(crate) struct Writes<'a> {
    dirs: &'a [Dir],
    pub(crate) purpose: Purpose,
    list: Vec<Write>,
    wants_all: bool,
    wanted: BTreeSet<String>,
    needed: BTreeMap<String, String>,
    devices: Option<Devices>,
    warnings: Vec<String>,
}

impl<'a> Writes<'a> {
    pub(crate) fn new(dirs: &'a [Dir], purpose: Purpose) -> Self {
        Self {
            dirs,
            purpose,
            list: Vec::new(),
            wants_all: false,
            wanted: BTreeSet::new(),
            needed: BTreeMap::new(),
            devices: None,
            warnings: Vec::new(),
        }
    }

    /// Returns the directory of a controller.
    pub(crate) fn find(&self, controller: &str) -> Option<&'a Dir> {
        self.dirs.iter().find(|dir| dir.has(controller))
    }

    /// Returns the cgroup v2 directory.
    pub(crate) fn unified(&self) -> Option<&'a Dir> {
        self.dirs.iter().find(|dir| dir.is_unified())
    }

    /// Returns the directory of a controller that a limit cannot do without; on cgroup v2 it will be switched on.
    pub(crate) fn need(&mut self, controller: &str, json_path: &str) -> Result<&'a Dir, Refusal> {
        let Some(dir) = self.find(controller) else {
            let only_v2 = self
                .dirs
                .iter()
                .all(|dir| dir.is_unified() || dir.controllers.is_empty());
            let message = match (only_v2, controller, self.unified()) {
                (true, "net_cls" | "net_prio", _) => format!(
                    "this host has cgroup v2 only, which has no {controller}; remove the field (packet filters match a cgroup by its path)"
                ),
                (true, _, Some(dir)) => format!(
                    "the {controller} controller is not on this host's cgroup v2 mount (there: {}); remove the field",
                    dir.list()
                ),
                _ => format!(
                    "the {controller} controller is not mounted on this host; mount it or remove the field"
                ),
            };
            return Err(Refusal::new(json_path, message));
        };
        if dir.is_unified() {
            self.enable(controller, json_path);
        }
        Ok(dir)
    }

    /// Adds a value for a file of a controller.
    pub(crate) fn put(
        &mut self,
        controller: &str,
        file: &str,
        value: impl ToString,
        json_path: &str,
    ) -> Result<&mut Write, Refusal> {
        let dir = self.need(controller, json_path)?;
        Ok(self.add(dir, file, value, json_path))
    }

    /// Adds a value for a file in a directory.
    pub(crate) fn add(
        &mut self,
        dir: &Dir,
        file: &str,
        value: impl ToString,
        json_path: &str,
    ) -> &mut Write {
        let index = self.dirs.iter().position(|d| d == dir).unwrap_or_default();
        self.list.push(Write {
            dir: index,
            file: file.to_owned(),
            value: value.to_string(),
            json_path: json_path.to_owned(),
            missing: Missing::Fatal,
            retry_after: None,
            in_new_parents: false,
            above: None,
            keep_first: false,
        });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// Asks for a cgroup v2 controller to be switched on.
    pub(crate) fn enable(&mut self, controller: &str, json_path: &str) {
        self.wanted.insert(controller.to_owned());
        self.needed
            .entry(controller.to_owned())
            .or_insert_with(|| json_path.to_owned());
    }

    fn want_all(&mut self) {
        self.wants_all = true;
        let all = self.unified().map(|dir| dir.controllers.clone());
        self.wanted.extend(all.unwrap_or_default());
    }

    /// Sets the device rules of cgroup v2.
    pub(crate) fn devices(&mut self, rules: Vec<DeviceRule>) {
        let dir = self.dirs.iter().position(Dir::is_unified);
        self.devices = dir.map(|dir| Devices::new(dir, rules));
    }

    /// Notes a field that is passed over.
    pub(crate) fn warn(&mut self, json_path: &str, why: &str) {
        self.warnings.push(format!("{json_path}: {why}; ignored"));
    }

    pub(crate) fn finish(mut self, inherit: Vec<Inherit>) -> Plan {
        // Stable: the order within a directory is the kernel's or the user's.
        self.list.sort_by_key(|write| write.dir);
        let unified = self.dirs.iter().position(Dir::is_unified);
        let enable = unified
            .filter(|_| self.wants_all || !self.wanted.is_empty())
            .map(|dir| Enable {
                dir,
                controllers: self.wanted,
                needed: self.needed,
            });
        Plan {
            dirs: self.dirs.to_vec(),
            enable,
            inherit,
            writes: self.list,
            devices: self.devices,
            warnings: self.warnings,
            ..Plan::default()
        }
    }
}
