//! Annotations with a meaning: crun's, which engines set because the specification has no field for what they want.
//!
//! Those of mounts, system call filters and systemd are taken where these are planned; every other one that asks a runtime for something is
//! named in a warning.

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::Spec;

use super::Refusal;

/// What all of crun's begin with.
const PREFIX: &str = "run.oci.";
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
pub(crate) const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
pub(crate) const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
pub(crate) const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
const DELEGATE: &str = "run.oci.delegate-cgroup";
const SUBGROUP: &str = "run.oci.systemd.subgroup";

/// Every one that is carried out.
const KNOWN: [&str; 10] = [
    KEEP_GROUPS,
    HOOKS_STDOUT,
    HOOKS_STDERR,
    PIDFD_RECEIVER,
    DELEGATE,
    SUBGROUP,
    super::mounts::CONTEXT_TYPE,
    super::seccomp::FAIL_UNKNOWN,
    super::seccomp::RECEIVER,
    super::seccomp::PROGRAM,
];

/// What a configuration asks for by annotations; an empty value is as good as none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Annotations {
    pub(super) keep_groups: bool,
    pub(super) hooks_stdout: Option<PathBuf>,
    pub(super) hooks_stderr: Option<PathBuf>,
    pub(super) pidfd_receiver: Option<PathBuf>,
    /// A path below the container's cgroup, unchecked.
    pub(super) delegate: Option<String>,
}

/// Returns an annotation's JSON path.
pub(crate) fn at(key: &str) -> String {
    format!("annotations[{key:?}]")
}

/// Returns the JSON path of the annotation that names the container's own cgroup.
pub(super) fn at_delegate() -> String {
    at(DELEGATE)
}

/// Reads the annotations, and warns of those that ask for something and get nothing.
pub(super) fn plan(
    spec: &Spec,
    systemd: bool,
    warnings: &mut Vec<String>,
) -> Result<Annotations, Refusal> {
    let all: BTreeMap<_, _> = spec.annotations().iter().flatten().collect();
    for (key, value) in &all {
        let why = match key.as_str() {
            _ if value.is_empty() || !key.starts_with(PREFIX) => continue,
            SUBGROUP if !systemd => "it needs --systemd-cgroup",
            key if KNOWN.contains(&key) => continue,
            _ => "not known to this version",
        };
        warnings.push(format!("{}: {why}; ignored", at(key)));
    }
    let get = |key: &str| {
        let value = all.get(&key.to_string());
        value
            .map(|value| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let path = |key: &str| match get(key).map(PathBuf::from) {
        Some(path) if !path.is_absolute() => Err(Refusal::new(
            at(key),
            format!("{} is not an absolute path", path.display()),
        )),
        path => Ok(path),
    };
    Ok(Annotations {
        keep_groups: keep_groups(get(KEEP_GROUPS))?,
        hooks_stdout: path(HOOKS_STDOUT)?,
        hooks_stderr: path(HOOKS_STDERR)?,
        pidfd_receiver: path(PIDFD_RECEIVER)?,
        delegate: get(DELEGATE).map(str::to_string),
    })
}

/// Tells from the annotations of a container whether its processes keep the supplementary groups of the caller.
pub(crate) fn keeps_groups(annotations: &BTreeMap<String, String>) -> Result<bool, Refusal> {
    let value = annotations.get(KEEP_GROUPS);
    keep_groups(value.map(String::as_str).filter(|value| !value.is_empty()))
}

fn keep_groups(value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        Some("1" | "true") => Ok(true),
        None | Some("0" | "false") => Ok(false),
        Some(other) => Err(Refusal::new(
            at(KEEP_GROUPS),
            format!("{other:?} is not known; write \"1\" to keep the caller's groups"),
        )),
    }
}
