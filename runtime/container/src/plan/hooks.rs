//! Programs that run at fixed points of the life cycle.

use std::path::PathBuf;

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use super::Refusal;
use super::annotations::Annotations;

/// The six lists, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
    /// The file that what they write is appended to; without one it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<PathBuf>,
    /// Likewise for messages; without one, the first of a hook that fails is in ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<PathBuf>,
}

impl Hooks {
    /// Whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [
            &self.prestart,
            &self.create_runtime,
            &self.create_container,
            &self.start_container,
            &self.poststart,
            &self.poststop,
        ]
        .iter()
        .all(|list| list.is_empty())
    }
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The JSON path.
    pub at: String,
    pub path: PathBuf,
    /// With `argv[0]`; the path stands there where the configuration gives none.
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// Seconds after which it is killed and counts as failed.
    pub timeout: Option<u32>,
}

pub(super) fn plan(spec: &oci::Spec, annotations: &Annotations) -> Result<Hooks, Refusal> {
    let Some(hooks) = spec.hooks() else {
        return Ok(Hooks::default());
    };
    let prestart = hooks.prestart();
    Ok(Hooks {
        prestart: list("prestart", prestart.as_ref())?,
        create_runtime: list("createRuntime", hooks.create_runtime().as_ref())?,
        create_container: list("createContainer", hooks.create_container().as_ref())?,
        start_container: list("startContainer", hooks.start_container().as_ref())?,
        poststart: list("poststart", hooks.poststart().as_ref())?,
        poststop: list("poststop", hooks.poststop().as_ref())?,
        stdout: annotations.hooks_stdout.clone(),
        stderr: annotations.hooks_stderr.clone(),
    })
}

fn list(kind: &str, hooks: Option<&Vec<oci::Hook>>) -> Result<Vec<Hook>, Refusal> {
    let plan = |(index, hook): (usize, &oci::Hook)| {
        let at = format!("hooks.{kind}[{index}]");
        if !hook.path().is_absolute() {
            return Err(Refusal::new(
                format!("{at}.path"),
                format!("{:?} is not an absolute path", hook.path()),
            ));
        }
        let timeout = match hook.timeout() {
            None => None,
            Some(seconds) => Some(
                u32::try_from(seconds)
                    .ok()
                    .filter(|seconds| *seconds > 0)
                    .ok_or_else(|| {
                        Refusal::new(
                            format!("{at}.timeout"),
                            format!("{seconds} is not a number of seconds above zero"),
                        )
                    })?,
            ),
        };
        let given = hook.args().clone().unwrap_or_default();
        let args = if given.is_empty() {
            vec![hook.path().to_string_lossy().into_owned()]
        } else {
            given
        };
        Ok(Hook {
            at,
            path: hook.path().clone(),
            args,
            env: hook.env().clone().unwrap_or_default(),
            timeout,
        })
    };
    hooks.into_iter().flatten().enumerate().map(plan).collect()
}
