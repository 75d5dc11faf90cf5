//! Carrying out a plan: directories and what they inherit, then limits, then device rules.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sys::Errno;

use crate::error::Error;
use crate::hint::hint;
use crate::plan::{Dir, Missing, Plan, Write};
use crate::unit::Unit;
use crate::update::{Former, Journal};
use crate::{delegation, devices, file, subtree};

/// A container's cgroups, one per hierarchy; what a caller records to find them again.
///
/// There is no clean-up in `Drop`: a cgroup outlives the process that makes it, and a cloned child drops its copies, too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cgroup {
    pub dirs: Vec<Dir>,
    /// Directories above [`Cgroup::dirs`] that were made for it, from the top down; they go away with it if nobody else uses them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<PathBuf>,
    /// Where the container's processes begin, below its cgroup of version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<PathBuf>,
    /// The unit of systemd that they belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// What this kernel made us ignore, each with its JSON path; for the caller to print.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// The number of times that a parent may vanish under our hands, because its last container goes while ours comes.
const RACES: usize = 100;

impl Cgroup {
    /// Makes the cgroups of a plan, ready to be entered; limits come with [`Cgroup::limit`] and [`Cgroup::restrict_devices`].
    ///
    /// A cgroup that exists is used if no process is in it and it is not frozen. On failure nothing is left behind.
    pub fn create(plan: &Plan) -> Result<Self, Error> {
        Self::make(plan, |made, dir| {
            if !made {
                refuse_occupied(dir)?;
            }
            Ok(())
        })
    }

    /// Makes what is missing of the cgroups of a plan; `check` is told of each directory whether it is new.
    pub(crate) fn make(
        plan: &Plan,
        check: impl Fn(bool, &Dir) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let mut cgroup = Self {
            dirs: plan.dirs.clone(),
            delegated: plan.delegated.clone(),
            ..Self::default()
        };
        let mut made = Vec::new();
        let denied = match delegation::take(plan, &mut made, check) {
            Ok(denied) => denied,
            Err(first) => return Err(undo(&made, first)),
        };
        cgroup.dirs.retain(|dir| !denied.dirs.contains(dir));
        cgroup.warnings.extend(denied.warning());
        match cgroup.fill(plan, &made) {
            Ok(()) => {
                cgroup.parents = made
                    .into_iter()
                    .filter(|path| !cgroup.dirs.iter().any(|dir| path.starts_with(&dir.path)))
                    .collect();
                Ok(cgroup)
            }
            Err(first) => Err(undo(&made, first)),
        }
    }

    /// Sets the plan's limits, but for the rules of devices.
    pub fn limit(&mut self, plan: &Plan) -> Result<(), Error> {
        let parents = self.parents.clone();
        self.set(plan, &parents, |write| {
            !is_device_rule(write) && !needed_to_enter(write)
        })
    }

    /// Lends the cgroup of version 2 to the user that the plan names. Not before the container's first process is in it: where its clone
    /// could not put it there, it opens a file that it may open as long as that is ours.
    pub fn lend(&mut self, plan: &Plan) -> Result<(), Error> {
        if let Some(owner) = plan.owner {
            self.warnings
                .extend(delegation::lend(&self.homes(), owner)?);
        }
        Ok(())
    }

    /// Sets the plan's rules of devices. They may forbid the very nodes that a container is made with, so this comes after them.
    pub fn restrict_devices(&mut self, plan: &Plan) -> Result<(), Error> {
        if let Some(rules) = &plan.devices
            && let Some(dir) = self.own(plan, rules.dir)
        {
            let warning = devices::attach(&dir.path, rules)?;
            self.warnings.extend(warning);
        }
        let parents = self.parents.clone();
        self.set(plan, &parents, is_device_rule)
    }

    fn fill(&mut self, plan: &Plan, made: &[PathBuf]) -> Result<(), Error> {
        for inherit in plan
            .inherit
            .iter()
            .filter(|it| self.own(plan, it.dir).is_some())
        {
            let given = plan
                .writes
                .iter()
                .any(|w| w.dir == inherit.dir && w.file == inherit.file);
            take_over(&plan.dirs[inherit.dir], &inherit.file, given, made)?;
        }
        let enable = plan.enable.as_ref();
        if enable.is_some_and(|it| self.own(plan, it.dir).is_some()) {
            self.warnings.extend(subtree::hand_down(plan, made)?);
        }
        self.set(plan, made, needed_to_enter)
    }

    /// Returns what a cgroup of the plan has become; nothing if it could not be had.
    fn own(&self, plan: &Plan, dir: usize) -> Option<&Dir> {
        let hierarchy = &plan.dirs[dir].hierarchy;
        self.dirs.iter().find(|dir| dir.hierarchy == *hierarchy)
    }

    fn set(
        &mut self,
        plan: &Plan,
        made: &[PathBuf],
        which: impl Fn(&Write) -> bool,
    ) -> Result<(), Error> {
        for writes in plan.writes.chunk_by(|a, b| a.dir == b.dir) {
            let writes: Vec<&Write> = writes.iter().filter(|write| which(write)).collect();
            let own = writes.first().and_then(|first| self.own(plan, first.dir));
            let Some(dir) = own.cloned() else {
                continue;
            };
            let for_parents: Vec<&Write> = writes
                .iter()
                .copied()
                .filter(|w| w.in_new_parents)
                .collect();
            if !for_parents.is_empty() {
                for parent in made
                    .iter()
                    .filter(|path| dir.path.starts_with(path) && **path != dir.path)
                {
                    write_all(parent, &for_parents, &mut self.warnings, None)?;
                }
            }
            write_all(&dir.path, &writes, &mut self.warnings, None)?;
        }
        Ok(())
    }
}

/// Whether a write belongs to the rules of devices.
pub(crate) fn is_device_rule(write: &Write) -> bool {
    write.file.starts_with("devices.")
}

/// Whether no process can enter the cgroup before this is written: an empty cpuset has no room.
fn needed_to_enter(write: &Write) -> bool {
    write.file.starts_with("cpuset.")
}

/// Makes a directory and what is missing above it, below `mount`; tells whether it is new.
pub(crate) fn make_path(path: &Path, mount: &Path, made: &mut Vec<PathBuf>) -> Result<bool, Error> {
    for _ in 0..RACES {
        match file::make_dir(path) {
            Ok(()) => {
                made.push(path.to_owned());
                return Ok(true);
            }
            Err(Errno::EEXIST) => return Ok(false),
            Err(Errno::ENOENT) => match path
                .parent()
                .filter(|parent| *parent != mount && parent.starts_with(mount))
            {
                Some(parent) => _ = make_path(parent, mount, made)?,
                None => return Err(Error::call("mkdir", path, Errno::ENOENT)),
            },
            Err(errno) => return Err(Error::call("mkdir", path, errno)),
        }
    }
    Err(Error::call("mkdir", path, Errno::ENOENT))
}

fn refuse_occupied(dir: &Dir) -> Result<(), Error> {
    if crate::freeze::is_frozen(dir)? {
        let (file, value) = crate::freeze::thawed(dir);
        return Err(Error::Frozen {
            path: dir.path.clone(),
            value,
            file,
        });
    }
    let processes = crate::kill::pids_below(&dir.path)?.len();
    if processes > 0 {
        return Err(Error::Occupied {
            path: dir.path.clone(),
            processes,
        });
    }
    Ok(())
}

/// Fills a file of each cpuset that has it empty with the value of the nearest one above that has not.
fn take_over(dir: &Dir, name: &str, given: bool, made: &[PathBuf]) -> Result<(), Error> {
    let mut empty = Vec::new();
    let mut value = String::new();
    for path in dir
        .path
        .ancestors()
        .take_while(|path| path.starts_with(&dir.mount))
    {
        // What we made a moment ago is empty; that need not be read.
        if !made.iter().any(|new| new == path) {
            let file = path.join(name);
            value = file::read(&file).map_err(|errno| Error::call("read", &file, errno))?;
        }
        if !value.is_empty() {
            break;
        }
        empty.push(path);
    }
    for path in empty
        .into_iter()
        .rev()
        .filter(|path| !given || *path != dir.path)
    {
        let file = path.join(name);
        file::write(&file, &value).map_err(|errno| Error::call("write", &file, errno))?;
    }
    Ok(())
}

/// Writes the values of one directory in order, each as soon as the kernel can take it; what a journal needs is noted in it.
pub(crate) fn write_all(
    dir: &Path,
    writes: &[&Write],
    warnings: &mut Vec<String>,
    mut journal: Option<&mut Journal>,
) -> Result<(), Error> {
    // A long list of device rules goes into one open file.
    let mut open: Option<(&str, OwnedFd)> = None;
    let mut waiting: Vec<&Write> = Vec::new();
    for write in writes {
        match put(dir, write, &mut open, journal.as_deref_mut()) {
            Ok(()) => warn_if_ignored(dir, write, warnings),
            Err(Errno::EINVAL) if write.retry_after.is_some() => waiting.push(write),
            Err(errno) => tolerate(dir, write, errno, warnings)?,
        }
        let ready = waiting.extract_if(.., |w| w.retry_after.as_ref() == Some(&write.file));
        for write in ready.collect::<Vec<_>>() {
            put(dir, write, &mut open, journal.as_deref_mut())
                .or_else(|errno| tolerate(dir, write, errno, warnings))?;
        }
    }
    // What they waited for did not come: it was not needed after all, and the refusal stands.
    waiting
        .iter()
        .try_for_each(|write| tolerate(dir, write, Errno::EINVAL, warnings))
}

fn put<'a>(
    dir: &Path,
    write: &'a Write,
    open: &mut Option<(&'a str, OwnedFd)>,
    journal: Option<&mut Journal>,
) -> file::Result<()> {
    let former = journal.as_ref().map(|_| Former::read(dir, write));
    let mut value = Cow::Borrowed(write.value.as_str());
    if open.as_ref().is_none_or(|(name, _)| *name != write.file) {
        let fd = match (file::open_for_write(&dir.join(&write.file)), &write.missing) {
            (Err(Errno::ENOENT), Missing::Use { file, value }) => {
                // Not kept open: the next value for the first name is to be written likewise.
                let fd = file::open_for_write(&dir.join(file))?;
                file::write_fd(&fd, value.as_bytes())?;
                if let (Some(journal), Some(former)) = (journal, former) {
                    journal.push(former);
                }
                return Ok(());
            }
            (opened, _) => opened?,
        };
        *open = Some((&write.file, fd));
    }
    if write.keep_first {
        let text = file::read(&dir.join(&write.file))?;
        let first = text.split_whitespace().next().unwrap_or_default();
        value = Cow::Owned(format!("{first} {value}"));
    }
    if let Some(usage) = &write.above {
        let usage = file::read(&dir.join(usage))?.parse::<u64>();
        // "max" is above everything.
        if let (Ok(usage), Ok(asked)) = (usage, value.parse::<u64>())
            && asked <= usage
        {
            return Err(Errno::EBUSY);
        }
    }
    if let Some((_, fd)) = open {
        file::write_fd(fd, value.as_bytes())?;
    }
    if let (Some(journal), Some(former)) = (journal, former) {
        journal.push(former);
    }
    Ok(())
}

/// A limit that kernels have stopped to serve may still take writes, to no effect.
fn warn_if_ignored(dir: &Path, write: &Write, warnings: &mut Vec<String>) {
    let Missing::Warn(warning) = &write.missing else {
        return;
    };
    // Not being able to tell is no reason to warn.
    let actual = file::read(&dir.join(&write.file))
        .ok()
        .and_then(|text| text.parse::<i64>().ok());
    if let (Some(actual), Ok(asked)) = (actual, write.value.parse::<i64>()) {
        // Limits in bytes are rounded to pages, which have 64 KiB at most.
        if asked >= 0 && actual.abs_diff(asked) >= 65536 {
            warnings.push(warning.clone());
        }
    }
}

/// Decides whether a failed write matters.
fn tolerate(
    dir: &Path,
    write: &Write,
    errno: Errno,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    // cgroupfs lets the kernel's internal ENOTSUPP (524) out where it means EOPNOTSUPP.
    let unsupported = matches!(errno, Errno::ENOENT | Errno::EOPNOTSUPP) || errno as i32 == 524;
    match &write.missing {
        Missing::Ignore if errno == Errno::ENOENT => Ok(()),
        Missing::Warn(warning) if unsupported => {
            warnings.push(warning.clone());
            Ok(())
        }
        _ => Err(refused(
            &dir.join(&write.file),
            &write.value,
            &write.json_path,
            errno,
        )),
    }
}

/// Says which value of which field the kernel did not take, and why where that is known.
pub(crate) fn refused(path: &Path, value: &str, json_path: &str, errno: Errno) -> Error {
    let hint = hint(path, errno);
    Error::Call {
        call: format!("write {value:?} to {}", path.display()),
        errno,
        why: format!("{hint} ({json_path})"),
    }
}

/// Removes what was made, youngest first, and returns the error that made it necessary.
fn undo(made: &[PathBuf], first: Error) -> Error {
    let mut failed = made
        .iter()
        .rev()
        .filter_map(|path| match file::remove_dir(path) {
            // Another container has come into a parent of ours meanwhile.
            Err(errno) if errno != Errno::EBUSY && !file::gone(errno) => {
                Some(Error::call("rmdir", path, errno))
            }
            _ => None,
        });
    match failed.next() {
        Some(second) => Error::Twice {
            first: Box::new(first),
            second: Box::new(second),
        },
        None => first,
    }
}
