//! The last steps before the payload: limits, ids, capabilities, filter.

use sys::Errno;
use sys::capability::{self, SETGID, SYS_ADMIN, Sets};
use sys::fs::{self, Gid, Mode, Uid};
use sys::process;

use super::protocol::{At, Failure, Step};
use crate::plan::{CapabilitySets, Process};

type Result<T> = std::result::Result<T, Failure>;

/// Becomes the payload's user with its capabilities, and keeps one more where the filter still needs it.
pub(super) fn drop_to(process: &Process) -> Result<()> {
    for limit in &process.rlimits {
        let object = || format!("{} soft {} hard {}", limit.name, limit.soft, limit.hard);
        process::set_rlimit(limit.resource, limit.soft, limit.hard).at(Step::Rlimit, object())?;
    }
    if process.no_new_privileges {
        process::set_no_new_privs().at(Step::Capabilities, "no_new_privs")?;
    }
    let held = capability::get().at(Step::Capabilities, "read")?;
    let wanted = reachable(process.capabilities, held.permitted);
    capability::limit_bounding(wanted.bounding).at(Step::Capabilities, "bounding set")?;
    // Without this the change of user would empty the permitted set (capabilities(7)).
    process::set_keepcaps(true).at(Step::Capabilities, "keep")?;
    own_streams(process.user.uid)?;
    ids(process)?;
    // The change of ids may have made this process visible again (fs.suid_dumpable).
    process::set_dumpable(false).at(Step::Hide, "")?;
    process::set_keepcaps(false).at(Step::Capabilities, "keep")?;
    let filter = filter_bit(process);
    capability::set(Sets {
        effective: wanted.effective | filter,
        permitted: wanted.permitted | filter,
        inheritable: wanted.inheritable,
    })
    .at(Step::Capabilities, "set")?;
    ambient(wanted)
}

/// Loads a filter that nobody listens to. After this call nothing runs but execve(2), so that a profile need not allow anything that
/// only a runtime does. The capability that was kept for it goes with execve(2): it is in none of the sets that a new program's are
/// made from.
pub(super) fn load_filter(process: &Process) -> Result<()> {
    let Some(filter) = &process.seccomp else {
        return Ok(());
    };
    sys::seccomp::load(&filter.program, filter.flags).at(Step::Seccomp, "load")
}

/// CAP_SYS_ADMIN, where loading the filter needs it and the payload does not have it.
fn filter_bit(process: &Process) -> u64 {
    let bit = 1 << SYS_ADMIN;
    if process.seccomp.is_some()
        && !process.no_new_privileges
        && process.capabilities.effective & bit == 0
    {
        bit
    } else {
        0
    }
}

/// What of the plan this process can have: in a user namespace the plan could not know.
fn reachable(asked: CapabilitySets, held: u64) -> CapabilitySets {
    let permitted = asked.permitted & held;
    CapabilitySets {
        bounding: asked.bounding & held,
        effective: asked.effective & permitted,
        permitted,
        inheritable: asked.inheritable & held,
        // capabilities(7): nothing can be ambient that is not both permitted and inheritable.
        ambient: asked.ambient & permitted & asked.inheritable,
    }
}

/// Gives the standard streams to the payload's user, who could not open `/dev/stdout` otherwise.
fn own_streams(uid: u32) -> Result<()> {
    for stream in (0..3).filter_map(fs::inherited) {
        let stat = fs::fstat(stream).at(Step::User, "standard stream")?;
        // The host's /dev/null stays the host's.
        if stat.st_uid == uid || stat.st_rdev == fs::makedev(1, 3) {
            continue;
        }
        match fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
            // Sockets, read-only file systems, files of users that are not mapped here: they work as they are.
            Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
            Err(errno) => return Err(errno).at(Step::User, "owner of a standard stream"),
        }
    }
    Ok(())
}

fn ids(process: &Process) -> Result<()> {
    let user = &process.user;
    if !user.keep_groups {
        groups(&user.groups)?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    process::setresgid(gid, gid, gid).at(Step::User, format!("gid {gid}"))?;
    process::setresuid(uid, uid, uid).at(Step::User, format!("uid {uid}"))?;
    sys::fs::umask(Mode::from_bits_truncate(user.umask.unwrap_or(0o022)));
    Ok(())
}

/// Takes the payload's groups instead of the caller's.
fn groups(wanted: &[u32]) -> Result<()> {
    let groups: Vec<_> = wanted.iter().copied().map(Gid::from_raw).collect();
    match process::setgroups(&groups) {
        // Denied for good in a namespace whose maps an ordinary user has written alone (user_namespaces(7)): the caller's groups stay.
        Err(Errno::EPERM) if wanted.is_empty() && may_set_groups() => Ok(()),
        Err(Errno::EPERM) if may_set_groups() => Err(Failure::new(
            Step::User,
            format!(
                "groups {wanted:?}: cannot set any additional groups in this user namespace, in which setgroups is denied"
            ),
        )),
        other => other.at(Step::User, format!("groups {wanted:?}")),
    }
}

/// Whether it is not for want of the capability that groups cannot be set.
fn may_set_groups() -> bool {
    capability::get().is_ok_and(|held| held.effective & 1 << SETGID != 0)
}

fn ambient(wanted: CapabilitySets) -> Result<()> {
    capability::clear_ambient().at(Step::Capabilities, "clear the ambient set")?;
    for number in (0..64).filter(|number| wanted.ambient & 1 << number != 0) {
        capability::raise_ambient(number).at(
            Step::Capabilities,
            format!("raise {number} in the ambient set"),
        )?;
    }
    Ok(())
}
