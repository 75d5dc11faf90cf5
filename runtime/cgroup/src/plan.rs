//! The plan of a container's cgroups: directories, and values for the files in them. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::layout::{Kind, Layout};
use crate::path::CgroupPath;
use crate::{devices, limits};

/// Everything that will be made and written, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Plan {
    /// One cgroup per hierarchy.
    pub dirs: Vec<Dir>,
    /// cgroup v2 controllers to be switched on for the container's cgroup, from the top down.
    pub enable: Vec<Enable>,
    /// Files that a new cgroup takes over from its parent.
    pub inherit: Vec<Inherit>,
    /// Limits, grouped by directory.
    pub writes: Vec<Write>,
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
}

/// Controllers that a cgroup v2 directory has to hand to its children.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enable {
    pub path: PathBuf,
    pub controllers: BTreeSet<String>,
    /// The first value that needs them.
    pub json_path: String,
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
}

/// What to do on a kernel that does not have the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Fatal,
    /// Kernels have it under one of two names.
    Use(String),
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
    let refuse = |message: &str| Err(Refusal::new("linux.cgroupsPath", message));
    match layout.kind() {
        Kind::V1 | Kind::Hybrid => {}
        Kind::V2 => {
            return refuse(
                "this host has cgroup v2 only, which is not supported yet; boot it with systemd.unified_cgroup_hierarchy=0",
            );
        }
        Kind::None => {
            return refuse(
                "no cgroup hierarchy is mounted; mount the controllers below /sys/fs/cgroup",
            );
        }
    }
    let dirs: Vec<Dir> = layout
        .v1
        .iter()
        .chain(&layout.unified)
        .map(|hierarchy| {
            let relative = path.in_hierarchy(hierarchy);
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
    Ok(writes.finish(inherit))
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
    needed: BTreeSet<String>,
    first_need: String,
}

impl<'a> Writes<'a> {
    pub(crate) fn new(dirs: &'a [Dir], purpose: Purpose) -> Self {
        Self {
            dirs,
            purpose,
            list: Vec::new(),
            needed: BTreeSet::new(),
            first_need: String::new(),
        }
    }

    /// Returns the directory of a controller.
    pub(crate) fn find(&self, controller: &str) -> Option<&'a Dir> {
        self.dirs.iter().find(|dir| dir.has(controller))
    }

    /// Returns the cgroup v2 directory of a hybrid host.
    pub(crate) fn unified(&self) -> Option<&'a Dir> {
        self.dirs.iter().find(|dir| dir.is_unified())
    }

    /// Returns the directory of a controller that a limit cannot do without.
    pub(crate) fn need(&self, controller: &str, json_path: &str) -> Result<&'a Dir, Refusal> {
        self.find(controller).ok_or_else(|| {
            Refusal::new(
                json_path,
                format!("the {controller} controller is not mounted on this host; mount it or remove the field"),
            )
        })
    }

    /// Adds a value for a file of a v1 controller.
    pub(crate) fn v1(
        &mut self,
        controller: &str,
        file: &str,
        value: impl ToString,
        json_path: &str,
    ) -> Result<&mut Write, Refusal> {
        let dir = self.need(controller, json_path)?;
        if dir.is_unified() {
            return Err(Refusal::new(
                json_path,
                format!(
                    "the {controller} controller is on the cgroup v2 mount of this host, where it is not supported yet; remove the field"
                ),
            ));
        }
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
        });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// Asks for a cgroup v2 controller to be switched on.
    pub(crate) fn enable(&mut self, controller: &str, json_path: &str) {
        if self.needed.is_empty() {
            json_path.clone_into(&mut self.first_need);
        }
        self.needed.insert(controller.to_owned());
    }

    pub(crate) fn finish(mut self, inherit: Vec<Inherit>) -> Plan {
        // Stable: the order within a directory is the kernel's or the user's.
        self.list.sort_by_key(|write| write.dir);
        let enable = self
            .unified()
            .filter(|_| !self.needed.is_empty())
            .map_or_else(Vec::new, |dir| self.handed_down(dir));
        Plan {
            dirs: self.dirs.to_vec(),
            enable,
            inherit,
            writes: self.list,
        }
    }

    /// A controller reaches a cgroup when every ancestor hands it on.
    fn handed_down(&self, dir: &Dir) -> Vec<Enable> {
        let above = dir.relative.parent().unwrap_or(Path::new(""));
        let mut path = dir.mount.clone();
        let mut list = vec![path.clone()];
        for component in above.components() {
            path.push(component);
            list.push(path.clone());
        }
        let enable = |path| Enable {
            path,
            controllers: self.needed.clone(),
            json_path: self.first_need.clone(),
        };
        list.into_iter().map(enable).collect()
    }
}
