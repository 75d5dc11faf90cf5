//! The record of a container, and the state that the specification defines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cgroup::Cgroup;
use oci_spec::runtime::{LinuxResources, Spec};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Identity;
use crate::plan::{Common, Hooks, IdMap, Listener, Plan};
use crate::resctrl::Groups;

/// The version of our files; a change that old code cannot read raises it.
const FORMAT: u32 = 1;

/// What later commands need to know of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Says that the file is ours, and of which form.
    pub orlop: u32,
    pub id: String,
    pub oci_version: String,
    pub process: Identity,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    /// RFC 3339 with nanoseconds, UTC.
    pub created: String,
    pub owner: u32,
    pub annotations: BTreeMap<String, String>,
    /// The kinds of namespaces that differ from the host's, as `CLONE_NEW*` bits.
    pub namespaces: u64,
    /// Those of them that were made for it and that nobody else was in before.
    pub made: u64,
    pub cgroup: Option<Cgroup>,
    /// The flags of the filter in `seccomp.bpf`.
    pub seccomp_flags: Option<u32>,
    /// Who listens to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_listener: Option<Listener>,
    pub new_keyring: bool,
    /// The configured process: `exec` takes its defaults from it.
    #[serde(serialize_with = "in_order")]
    pub base: Option<oci_spec::runtime::Process>,
    /// What every process of the container gets, as configured.
    pub memory_policy: Option<oci_spec::runtime::LinuxMemoryPolicy>,
    pub personality: Option<oci_spec::runtime::LinuxPersonality>,
    /// Those that run after creation.
    pub hooks: Hooks,
    /// `linux.resources` as they are now: `update` changes them.
    #[serde(
        default,
        serialize_with = "in_order",
        skip_serializing_if = "Option::is_none"
    )]
    pub resources: Option<LinuxResources>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<Groups>,
    /// Whether criu has made it: a restore that was killed may have left criu's own processes in the cgroup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// Its standard streams as it began with them, as `descriptors.json` of a checkpoint has them; none with a terminal of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
}

/// Writes maps by name and sets of capabilities by theirs, so that the same container has the same record.
fn in_order<T: Serialize, S: Serializer>(
    part: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(part).map_err(serde::ser::Error::custom)?;
    value.sort_all_objects();
    let sets = value.get_mut("capabilities").and_then(Value::as_object_mut);
    for set in sets.into_iter().flat_map(|sets| sets.values_mut()) {
        if let Some(names) = set.as_array_mut() {
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    value.serialize(serializer)
}

/// What is written down before anything is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Intent {
    pub orlop: u32,
    pub id: String,
    pub bundle: PathBuf,
    /// The process that creates the container.
    pub owner: Option<Identity>,
    pub cgroup: Option<Cgroup>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resctrl: Option<Box<Groups>>,
}

impl Intent {
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            orlop: FORMAT,
            id: plan.id.clone(),
            bundle: plan.bundle.clone(),
            owner: Identity::of(sys::process::getpid().as_raw()),
            cgroup: plan.cgroup.as_ref().map(future),
            resctrl: plan.resctrl.as_ref().map(Groups::future).map(Box::new),
        }
    }
}

/// Returns the cgroups that a plan will make: those of the container, and the directories above them, as far as they are not there
/// yet. What is there belongs to somebody else, and is not ours to clear.
fn future(plan: &cgroup::Plan) -> Cgroup {
    let missing = |dir: &cgroup::Dir| {
        let above = dir
            .path
            .ancestors()
            .skip(1)
            .take_while(|path| path.starts_with(&dir.mount) && **path != dir.mount);
        let mut missing: Vec<_> = above
            .filter(|path| !path.exists())
            .map(Path::to_path_buf)
            .collect();
        missing.reverse();
        missing
    };
    let systemds = |dir: &&cgroup::Dir| dir.is_unified() || dir.hierarchy == "name=systemd";
    Cgroup {
        // Likewise: a unit that has its cgroup already will not be made, and not by us.
        unit: plan
            .unit
            .as_ref()
            .filter(|_| {
                !plan
                    .dirs
                    .iter()
                    .filter(systemds)
                    .any(|dir| dir.path.exists())
            })
            .map(|plan| plan.unit.clone()),
        // Slices are systemd's to make and to remove.
        parents: plan
            .dirs
            .iter()
            .filter(|dir| plan.unit.is_none() || !systemds(dir))
            .flat_map(missing)
            .collect(),
        dirs: plan
            .dirs
            .iter()
            .filter(|dir| !dir.path.exists())
            .cloned()
            .collect(),
        ..Cgroup::default()
    }
}

/// The life of a container (runtime.md of the specification), with runc's `paused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// The state of a container as `state` prints it and as hooks receive it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OciState {
    pub oci_version: String,
    pub id: String,
    /// 0 once it is stopped.
    pub pid: i32,
    pub status: Status,
    pub bundle: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl Record {
    /// Writes down a container that has just been made.
    #[must_use]
    pub fn new(
        plan: &Plan,
        spec: &Spec,
        process: Identity,
        cgroup: Option<Cgroup>,
        created: String,
    ) -> Self {
        let common = Common::of(spec);
        let program = plan.process.as_ref();
        let seccomp = program.and_then(|program| program.seccomp.as_ref());
        let terminal = program.is_some_and(|program| program.terminal.is_some());
        let streams = (!terminal).then(crate::criu::own_streams);
        Self {
            orlop: FORMAT,
            id: plan.id.clone(),
            oci_version: plan.oci_version.clone(),
            process,
            bundle: plan.bundle.clone(),
            rootfs: plan.root.path.clone(),
            created,
            owner: sys::process::geteuid().as_raw(),
            annotations: plan.annotations.clone(),
            namespaces: plan.namespaces.own().bits(),
            made: plan.namespaces.new.bits(),
            cgroup,
            seccomp_flags: seccomp.map(|filter| filter.flags),
            seccomp_listener: seccomp.and_then(|filter| filter.listener.clone()),
            new_keyring: plan.new_keyring,
            base: spec.process().clone(),
            memory_policy: common.memory_policy.cloned(),
            personality: common.personality.cloned(),
            hooks: Hooks {
                poststart: plan.hooks.poststart.clone(),
                poststop: plan.hooks.poststop.clone(),
                stdout: plan.hooks.stdout.clone(),
                stderr: plan.hooks.stderr.clone(),
                ..Hooks::default()
            },
            resources: spec
                .linux()
                .as_ref()
                .and_then(|linux| linux.resources().clone()),
            resctrl: None,
            restored: false,
            streams: streams.unwrap_or_default(),
        }
    }

    /// Reads a record, and refuses by name what is not ours.
    pub fn parse(bytes: &[u8], file: &Path) -> Result<Self> {
        #[derive(Deserialize)]
        struct Mark {
            orlop: Option<u32>,
        }
        let foreign = "written by another runtime; use that runtime, or another --root";
        match serde_json::from_slice::<Mark>(bytes) {
            Ok(Mark {
                orlop: Some(FORMAT),
            }) => {}
            Ok(Mark { orlop: Some(other) }) => bail!(
                "{}: format {other}, this orlop knows {FORMAT}; use the one that made it",
                file.display()
            ),
            Ok(Mark { orlop: None }) => bail!("{}: {foreign}", file.display()),
            Err(error) => bail!("{}: {error}", file.display()),
        }
        serde_json::from_slice(bytes)
            .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
    }

    /// Returns the state as the specification defines it.
    #[must_use]
    pub fn state(&self, status: Status) -> OciState {
        OciState {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            pid: if status == Status::Stopped {
                0
            } else {
                self.process.pid
            },
            status,
            bundle: self.bundle.clone(),
            rootfs: None,
            created: None,
            annotations: self.annotations.clone(),
            owner: None,
        }
    }
}

/// The maps of the plan as the kernel reads them: one line per range.
pub(crate) fn map_text(map: &[IdMap]) -> String {
    map.iter().map(|range| format!("{range}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets of the specification's types have an order of their own in each process, and even in each value.
    #[test]
    fn the_same_container_has_the_same_record() {
        let names: Vec<String> = crate::plan::capability_names();
        let text = serde_json::json!({
            "orlop": FORMAT, "id": "c", "oci_version": "1.2.0", "process": {"pid": 1, "start": 2}, "bundle": "/b",
            "rootfs": "/b/rootfs", "created": "", "owner": 0, "annotations": {}, "namespaces": 0, "made": 0,
            "cgroup": null, "seccomp_flags": null, "new_keyring": true, "memory_policy": null, "personality": null,
            "base": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}, "capabilities": {"bounding": names}},
            "hooks": {"prestart": [], "create_runtime": [], "create_container": [], "start_container": [], "poststart": [],
                "poststop": []},
        });
        let written = || {
            let record = Record::parse(text.to_string().as_bytes(), Path::new("state.json"));
            serde_json::to_string(&record.expect("a record")).expect("JSON")
        };
        let first = written();
        assert!((0..8).all(|_| written() == first));
        assert!(
            first.contains(r#"["CAP_AUDIT_CONTROL","CAP_AUDIT_READ","#),
            "{first}"
        );
    }
}
