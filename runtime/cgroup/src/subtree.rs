//! Switching cgroup v2 controllers on, and what keeps them off.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sys::Errno;

use crate::error::Error;
use crate::file;
use crate::make::refused;
use crate::plan::{Dir, Enable, Plan};

const CONTROL: &str = "cgroup.subtree_control";

/// Controllers that can be used in a threaded cgroup.
const THREADED: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// Gives the container's cgroup its controllers, from the top down, and makes it one that processes can enter.
///
/// A controller that no limit needs may stay off; returns warnings for those that we were not allowed to switch on.
pub(crate) fn hand_down(plan: &Plan, made: &[PathBuf]) -> Result<Vec<String>, Error> {
    let Some(enable) = &plan.enable else {
        return Ok(Vec::new());
    };
    let dir = &plan.home(&plan.dirs[enable.dir]);
    // The usual case on a host that has run a container before: all is there.
    if !enable.controllers.is_empty()
        && missing(&dir.path, "cgroup.controllers", &enable.controllers)?.is_empty()
    {
        return Ok(Vec::new());
    }
    make_usable(dir, enable, made)?;
    let mut refusals = Refusals::default();
    for path in dir.above() {
        switch_on(&path, enable, &mut refusals)?;
    }
    // Few users have all that there are delegated.
    Ok(if plan.lenient {
        Vec::new()
    } else {
        refusals.warnings()
    })
}

/// Returns which controllers a file does not list.
fn missing(dir: &Path, name: &str, wanted: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let path = dir.join(name);
    let text = file::read(&path).map_err(|errno| Error::call("read", &path, errno))?;
    let present: BTreeSet<&str> = text.split_whitespace().collect();
    Ok(wanted
        .iter()
        .filter(|name| !present.contains(name.as_str()))
        .cloned()
        .collect())
}

/// Files that we may not write, with the controllers that stay off by that.
#[derive(Default)]
struct Refusals(Vec<(PathBuf, BTreeSet<String>, Errno)>);

impl Refusals {
    fn warnings(self) -> Vec<String> {
        let line = |(path, names, errno): (PathBuf, BTreeSet<String>, Errno)| {
            let names: Vec<String> = names.into_iter().collect();
            format!(
                "write {}: {}; nothing is counted by {}",
                path.display(),
                sys::reason(errno),
                names.join(", ")
            )
        };
        self.0.into_iter().map(line).collect()
    }
}

fn switch_on(dir: &Path, enable: &Enable, refusals: &mut Refusals) -> Result<(), Error> {
    let path = dir.join(CONTROL);
    let mut wanted = missing(dir, CONTROL, &enable.controllers)?;
    for (_, names, _) in &refusals.0 {
        // What was refused above is not to be had here.
        wanted.retain(|name| !names.contains(name));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    if file::write(&path, &all.join(" ")).is_ok() {
        return Ok(());
    }
    // One that cannot be had keeps the others from us.
    let mut refused_here = BTreeSet::new();
    let mut reason = None;
    for name in &wanted {
        let value = format!("+{name}");
        match (file::write(&path, &value), enable.needed.get(name)) {
            (Ok(()), _) => {}
            (Err(errno), Some(json_path)) => {
                return Err(refused(&path, &value, json_path, errno));
            }
            (Err(errno), None) => {
                refused_here.insert(name.clone());
                if matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS) {
                    reason = Some(errno);
                }
            }
        }
    }
    if let Some(errno) = reason {
        refusals.0.push((path, refused_here, errno));
    }
    Ok(())
}

/// Below a cgroup that distributes threads a new one is invalid: it cannot be entered until it is threaded itself, and then it
/// has only those controllers that know threads.
fn make_usable(dir: &Dir, enable: &Enable, made: &[PathBuf]) -> Result<(), Error> {
    let new = made.iter().filter(|path| path.starts_with(&dir.mount));
    for path in new {
        let kind = path.join("cgroup.type");
        let text = match file::read(&kind) {
            Ok(text) => text,
            Err(errno) if file::gone(errno) => return Ok(()),
            Err(errno) => return Err(Error::call("read", &kind, errno)),
        };
        if text != "domain invalid" {
            continue;
        }
        let domain = |(name, _): &(&String, &String)| !THREADED.contains(&name.as_str());
        if let Some((name, json_path)) = enable.needed.iter().find(domain) {
            return Err(Error::Threaded {
                path: path.clone(),
                controller: name.clone(),
                json_path: json_path.clone(),
            });
        }
        file::write(&kind, "threaded")
            .map_err(|errno| Error::call("write \"threaded\" to", &kind, errno))?;
    }
    Ok(())
}
