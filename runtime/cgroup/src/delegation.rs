//! Cgroups that are, or are not, given to an ordinary user, and lending a container's cgroup to the user that it runs as.

use std::path::{Path, PathBuf};

use sys::Errno;
use sys::fs::{AT_FDCWD, AccessFlags, AtFlags, Uid};

use crate::error::Error;
use crate::file;
use crate::make::{is_device_rule, make_path};
use crate::plan::{Dir, Plan, Write};

/// Where the kernel lists the files that go to whom a cgroup is delegated to (cgroups(7), Linux 4.15).
const LIST: &str = "/sys/kernel/cgroup/delegate";
/// The list of older kernels (cgroups(7), "Cgroups delegation").
const LEAST: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Cgroups of a plan that this user may not have.
#[derive(Debug, Default)]
pub(crate) struct Denied {
    pub(crate) dirs: Vec<Dir>,
    /// Of the first of them.
    why: String,
}

impl Denied {
    /// Returns the one warning about all of them.
    pub(crate) fn warning(self) -> Option<String> {
        let names: Vec<&str> = self.dirs.iter().map(|dir| dir.hierarchy.as_str()).collect();
        let others = match names.as_slice() {
            [] => return None,
            ["unified"] => String::new(),
            names => format!(" ({})", names.join(" ")),
        };
        Some(format!(
            "no cgroup of its own{others}: {}; what it uses is neither limited nor counted apart (have a cgroup delegated to this user; \
             on cgroup v2 --systemd-cgroup asks the user's systemd for one)",
            self.why
        ))
    }
}

/// Makes the directories of a plan; tells `check` of each whether it is new. Where the plan is lenient, those that this user may not
/// have are returned, unless a limit needs one.
pub(crate) fn take(
    plan: &Plan,
    made: &mut Vec<PathBuf>,
    check: impl Fn(bool, &Dir) -> Result<(), Error>,
) -> Result<Denied, Error> {
    let mut denied = Denied::default();
    for (index, dir) in plan.dirs.iter().enumerate() {
        let before = made.len();
        let home = plan.home(dir);
        let taken = make_path(&dir.path, &dir.mount, made)
            .and_then(|new| match plan.delegated {
                Some(_) => make_path(&home.path, &dir.mount, made).map(|_| new),
                None => Ok(new),
            })
            .and_then(|new| check(new, dir))
            .and_then(|()| {
                // systemd moves processes by itself.
                if plan.lenient && plan.unit.is_none() {
                    enterable(plan, &home)
                } else {
                    Ok(())
                }
            });
        let error = match taken {
            Ok(()) => continue,
            Err(error) if plan.lenient && error.errno().is_some_and(is_denial) => error,
            Err(error) => return Err(error),
        };
        if let Some((controller, json_path)) = asked(plan, index) {
            return Err(not_delegated(error, controller, json_path));
        }
        for path in made.drain(before..).rev() {
            // Nobody has entered it; what stays all the same is found by the intent.
            file::remove_dir(&path).ok();
        }
        if denied.dirs.is_empty() {
            denied.why = error.to_string();
        }
        denied.dirs.push(dir.clone());
    }
    Ok(denied)
}

/// What a file system says that is not ours to change; `ENOENT` where a hierarchy is shown in part.
fn is_denial(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ENOENT
    )
}

/// Returns what limits a cgroup: the controller, and the field that asks for it. Who can make no device's node need not be kept from
/// opening one; but a denial of what would be open otherwise is meant.
fn asked(plan: &Plan, dir: usize) -> Option<(&str, &str)> {
    let denies = plan
        .devices
        .as_ref()
        .filter(|it| it.dir == dir && it.denies);
    let limits = |write: &&Write| {
        write.dir == dir
            && (!is_device_rule(write) || (write.file == "devices.deny" && write.value != "a"))
    };
    let write = plan.writes.iter().find(limits);
    let controller = |write: &Write| write.file.find('.').unwrap_or(write.file.len());
    match write {
        Some(write) => Some((&write.file[..controller(write)], &write.json_path)),
        None => denies.map(|_| ("devices", "linux.resources.devices")),
    }
}

fn not_delegated(error: Error, controller: &str, json_path: &str) -> Error {
    match error {
        Error::Call { call, errno, .. } => Error::NotDelegated {
            call,
            errno,
            controller: controller.to_owned(),
            json_path: json_path.to_owned(),
        },
        other => other,
    }
}

/// Makes sure that our processes may move into a cgroup: the kernel wants the file of its processes to be ours, and on cgroup v2 also
/// that of the cgroup above both it and the one they come from (cgroups(7), "Delegation containment").
fn enterable(plan: &Plan, dir: &Dir) -> Result<(), Error> {
    if !dir.is_unified() {
        return writable(&dir.path.join("tasks"));
    }
    let procs = |dir: &Path| writable(&dir.join("cgroup.procs"));
    procs(&dir.path)?;
    let Some(caller) = &plan.caller else {
        return Ok(());
    };
    let above = |path: &Path| caller.starts_with(path);
    let common = dir.relative.ancestors().find(|path| above(path));
    procs(&dir.mount.join(common.unwrap_or(Path::new(""))))
}

fn writable(path: &Path) -> Result<(), Error> {
    sys::fs::faccessat(AT_FDCWD, path, AccessFlags::W_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| Error::call("write", path, errno))
}

/// Gives the cgroup of version 2 to a user, with the files that the kernel names for that; returns a warning where we may not.
pub(crate) fn lend(dirs: &[Dir], owner: u32) -> Result<Option<String>, Error> {
    let Some(dir) = dirs.iter().find(|dir| dir.is_unified()) else {
        return Ok(None);
    };
    let names = file::read(Path::new(LIST)).unwrap_or_else(|_| LEAST.to_owned());
    let files = names.lines().map(|name| dir.path.join(name));
    for path in std::iter::once(dir.path.clone()).chain(files) {
        let given = sys::fs::fchownat(
            AT_FDCWD,
            &path,
            Some(Uid::from_raw(owner)),
            None,
            AtFlags::AT_SYMLINK_NOFOLLOW,
        );
        match given {
            // The list has files of controllers that are not on here.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EPERM) => {
                return Ok(Some(format!(
                    "the container's cgroup stays ours: change the owner of {} to {owner}: {}",
                    path.display(),
                    sys::reason(Errno::EPERM)
                )));
            }
            Err(errno) => {
                return Err(Error::call(
                    &format!("change the owner, to {owner}, of"),
                    &path,
                    errno,
                ));
            }
        }
    }
    Ok(None)
}
