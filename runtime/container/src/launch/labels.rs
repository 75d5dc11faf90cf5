//! Having the security modules confine what this process executes.
//!
//! Labels are written to a procfs of our own, which no mount of the container can cover (CVE-2019-16884, CVE-2025-52881), and read
//! back: a payload never runs under another label than the one that was asked for.

use std::os::fd::OwnedFd;

use sys::Errno;
use sys::fs::{self, Inside, Mode, OFlag};

use super::child::{new_keyring, write_proc};
use super::protocol::{At, Failure, Step};
use crate::plan::Process;

type Result<T> = std::result::Result<T, Failure>;

/// AppArmor's own file (Linux 5.8), which stays AppArmor's where several modules are active.
const OWN: &str = "self/attr/apparmor/exec";
/// The file of the one module that is the first of its kind.
const SHARED: &str = "self/attr/exec";
const KEYS: &str = "self/attr/keycreate";

/// Tells whether a private procfs is needed.
pub(super) fn needed(process: Option<&Process>) -> bool {
    process.is_some_and(|process| process.apparmor.is_some() || process.selinux.is_some())
}

/// Makes the session keyring, under the label of the process that will own it.
pub(super) fn keyring(proc: Option<&OwnedFd>, process: Option<&Process>, id: &str) -> Result<()> {
    let Some(label) = process.and_then(|process| process.selinux.as_deref()) else {
        return new_keyring(id);
    };
    set(Step::SeLinux, proc, KEYS, label, label)?;
    new_keyring(id)?;
    // A line's end alone stands for none.
    write_proc(proc, KEYS, "\n").at(Step::SeLinux, format!("clear `/proc/{KEYS}`"))
}

/// Sets what the next execve(2) confines this process by.
pub(super) fn on_exec(proc: Option<&OwnedFd>, process: &Process) -> Result<()> {
    if let Some(profile) = &process.apparmor {
        let command = format!("exec {profile}");
        let file = match proc.map(|proc| {
            fs::open_inside(
                proc,
                OWN,
                OFlag::O_PATH | OFlag::O_CLOEXEC,
                Mode::empty(),
                Inside::Root,
            )
        }) {
            Some(Err(Errno::ENOENT)) => SHARED,
            _ => OWN,
        };
        set(Step::AppArmor, proc, file, &command, profile)?;
    }
    if let Some(label) = &process.selinux {
        set(Step::SeLinux, proc, SHARED, label, label)?;
    }
    Ok(())
}

/// Writes `text` and demands that `name` is read back. Podman knows a refused label by the path in backquotes.
fn set(step: Step, proc: Option<&OwnedFd>, file: &str, text: &str, name: &str) -> Result<()> {
    match write_proc(proc, file, text) {
        Err(Errno::ENOENT) if step == Step::AppArmor => {
            return Err(Failure::new(
                step,
                format!(
                    "{name:?} is not loaded; load it with apparmor_parser (write `/proc/{file}`)"
                ),
            ));
        }
        other => other.at(step, format!("{name:?}: write `/proc/{file}`"))?,
    }
    let read = read(proc, file).at(step, format!("{name:?}: read `/proc/{file}`"))?;
    let same = match step {
        Step::AppArmor => profile(&read) == name,
        _ => canonical(&read) == canonical(name),
    };
    if same {
        return Ok(());
    }
    Err(Failure::new(
        step,
        format!("{name:?}: `/proc/{file}` reads back as {read:?}"),
    ))
}

fn read(proc: Option<&OwnedFd>, file: &str) -> sys::Result<String> {
    let proc = proc.ok_or(Errno::ENOENT)?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = fs::open_inside(proc, file, flags, Mode::empty(), Inside::Root)?;
    let mut buffer = [0; 4096];
    let length = fs::read(&file, &mut buffer)?;
    let text = String::from_utf8_lossy(&buffer[..length]);
    Ok(text.trim_end_matches(['\0', '\n']).to_string())
}

/// Returns the name out of `NAME (MODE)`.
fn profile(read: &str) -> &str {
    match read.rsplit_once(" (") {
        Some((name, mode)) if mode.ends_with(')') => name,
        _ => read,
    }
}

/// Brings an SELinux context into one form: the kernel sorts the categories, joins neighbours, and writes a range of one level as
/// that level.
fn canonical(context: &str) -> String {
    let mut parts = context.splitn(4, ':');
    let fixed: Vec<_> = parts.by_ref().take(3).collect();
    let Some(range) = parts.next() else {
        return context.to_string();
    };
    let mut levels: Vec<_> = range.split('-').map(level).collect();
    levels.dedup();
    format!("{}:{}", fixed.join(":"), levels.join("-"))
}

fn level(level: &str) -> String {
    let Some((sensitivity, categories)) = level.split_once(':') else {
        return level.to_string();
    };
    let number = |category: &str| category.strip_prefix('c')?.parse::<u16>().ok();
    let mut all = std::collections::BTreeSet::new();
    for part in categories.split(',') {
        let (first, last) = part.split_once('.').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) => all.extend(first..=last),
            // A policy may name its categories otherwise; then only the very text will do.
            _ => return level.to_string(),
        }
    }
    let all: Vec<_> = all.iter().map(|number| format!("c{number}")).collect();
    format!("{sensitivity}:{}", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_compared_by_their_meaning() {
        let same = |a: &str, b: &str| canonical(a) == canonical(b);
        assert!(same("u:r:t:s0:c2,c1", "u:r:t:s0:c1,c2"));
        assert!(same("u:r:t:s0-s0:c0.c3", "u:r:t:s0-s0:c0,c1,c2,c3"));
        assert!(same("u:r:t:s0-s0", "u:r:t:s0"));
        assert!(same("unlabeled", "unlabeled"));
        assert!(!same("u:r:t:s0:c1,c2", "u:r:t:s0:c1,c3"));
        assert!(!same("u:r:t:s0:c1", "u:r:t:s0"));
        assert!(!same("u:r:t:s0:c1", "u:r:spc_t:s0:c1"));
        assert!(!same("u:r:t:s0:c1", "kernel"));
    }

    #[test]
    fn profiles_are_read_without_their_mode() {
        for (read, name) in [
            ("docker-default (enforce)", "docker-default"),
            ("unconfined", "unconfined"),
            ("/usr/bin/a b (x) (complain)", "/usr/bin/a b (x)"),
        ] {
            assert_eq!(profile(read), name);
        }
    }
}
