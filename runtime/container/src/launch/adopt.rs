//! What only a parent may write for its child: its id maps, and its place in the order in which the kernel kills for want of memory.

use std::fs;

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::process::{Child, Namespaces};
use sys::userns::{HELPERS, Ids, Unhelpful};

use super::protocol::{Channel, ToChild};
use crate::bundle::lower;
use crate::plan::{Copier, IdMap, Plan, Writer};
use crate::state::map_text;

/// The score that a child inherits, for a parent that may write only its own; dropped, the parent has its former one again.
#[derive(Debug, Default)]
pub(crate) struct LentScore {
    former: Option<String>,
    pub(crate) warning: Option<String>,
}

const OWN_SCORE: &str = "/proc/self/oom_score_adj";

impl LentScore {
    /// Takes the score that the child is to have. The kernel lets nobody go below what root has once set: then it stays, with a warning.
    pub(crate) fn take(score: Option<i32>) -> Result<Self> {
        let Some(score) = score else {
            return Ok(Self::default());
        };
        let former = fs::read_to_string(OWN_SCORE).context("read own oom_score_adj")?;
        match fs::write(OWN_SCORE, score.to_string()) {
            Ok(()) => Ok(Self {
                former: Some(former),
                warning: None,
            }),
            Err(error) if is_denied(&error) => Ok(Self {
                former: None,
                warning: Some(kept(score)),
            }),
            Err(error) => bail!(
                "process.oomScoreAdj: write {score} to {OWN_SCORE}: {}",
                lower(&error)
            ),
        }
    }
}

impl Drop for LentScore {
    fn drop(&mut self) {
        if let Some(former) = &self.former {
            // Back to what the kernel has taken before; should it not be taken again, this process is about to end anyway.
            drop(fs::write(OWN_SCORE, former.trim_end()));
        }
    }
}

fn is_denied(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

fn kept(score: i32) -> String {
    format!("process.oomScoreAdj: {score} is less than this user may set; left as it is")
}

/// Writes the score of a child, where a parent may; returns a warning where it may not and can do without.
pub(crate) fn score(child: &Child, score: i32, rootless: bool) -> Result<Option<String>> {
    let file = format!("/proc/{}/oom_score_adj", child.pid);
    match fs::write(&file, score.to_string()) {
        Ok(()) => Ok(None),
        Err(error) if rootless && is_denied(&error) => Ok(Some(kept(score))),
        Err(error) => bail!(
            "process.oomScoreAdj: write {score} to {file}: {}",
            lower(&error)
        ),
    }
}

/// Gives the child of a creation what it waits for; returns a warning.
pub(super) fn adopt(plan: &Plan, child: &Child, parent: &Channel) -> Result<Option<String>> {
    let wanted = plan
        .process
        .as_ref()
        .and_then(|process| process.oom_score_adj);
    let warning = match (wanted, plan.copier) {
        (Some(wanted), Copier::Parent) => {
            score(child, wanted, plan.rootless).context("config.json")?
        }
        // It has it since its birth.
        _ => None,
    };
    if plan.namespaces.new.contains(Namespaces::USER) {
        maps(plan, child)?;
        match parent.tell_child(ToChild::Mapped) {
            // It has failed meanwhile, and what it has said will be heard.
            Err(Errno::EPIPE | Errno::ECONNRESET) => {}
            told => told.context("tell the container its maps")?,
        }
    }
    Ok(warning)
}

fn maps(plan: &Plan, child: &Child) -> Result<()> {
    let maps = &plan.namespaces;
    if maps.gid_writer == Writer::OwnId {
        write(child, "setgroups", "deny", "linux.gidMappings")?;
    }
    for (file, map, writer, at) in [
        (
            "gid_map",
            &maps.gid_map,
            maps.gid_writer,
            "linux.gidMappings",
        ),
        (
            "uid_map",
            &maps.uid_map,
            maps.uid_writer,
            "linux.uidMappings",
        ),
    ] {
        match writer {
            Writer::Ours | Writer::OwnId => write(child, file, &map_text(map), at)?,
            Writer::Helper => {
                help(child, file, map).with_context(|| format!("config.json: {at}"))?
            }
        }
    }
    Ok(())
}

fn write(child: &Child, file: &str, text: &str, at: &str) -> Result<()> {
    let path = format!("/proc/{}/{file}", child.pid);
    fs::write(&path, text).map_err(|error| {
        anyhow::anyhow!(
            "config.json: {at}: write {text:?} to {path}: {}",
            lower(&error)
        )
    })
}

/// Has a program of the host that may do it write a map.
fn help(child: &Child, file: &str, map: &[IdMap]) -> Result<()> {
    let ids = match file {
        "uid_map" => Ids::Users,
        _ => Ids::Groups,
    };
    let (name, ranges) = (ids.program(), ids.ranges());
    let map: Vec<_> = map
        .iter()
        .map(|range| [range.container, range.host, range.size])
        .collect();
    match ids.map_by_helper(child.pid, &map) {
        Ok(()) => Ok(()),
        Err(Unhelpful::Missing) => bail!(
            "an ordinary user's ranges are mapped by {name}, which is in none of {}; install it (Debian's package uidmap), or map the own id alone",
            HELPERS.join(", ")
        ),
        Err(Unhelpful::NotStarted(program, error)) => {
            bail!("run {}: {}", program.display(), lower(&error))
        }
        Err(Unhelpful::Refused(said)) => {
            bail!("{name}: {said}; this user's ranges are in {ranges}")
        }
    }
}
