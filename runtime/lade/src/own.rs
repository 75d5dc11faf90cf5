//! A user namespace of an ordinary user's own: as its root he makes files of many owners, and the mounts of a container.
//!
//! His own id is 0 there, and the ids that `/etc/subuid` and `/etc/subgid` give him follow. Only somebody outside may write such a map: a child
//! that stays there has newuidmap(1) and newgidmap(1) do it. Without them, or without ids, his own id is the only one. His groups stay his:
//! files and sockets that he may use, he still may.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use sys::Errno;
use sys::fs::{OFlag, pipe2};
use sys::process::{Birth, Namespaces, Pid, Signal};
use sys::userns::{Ids, Unhelpful};

use crate::failure::Failure;

/// Where a map begins inside, outside, and how many ids it has.
type Range = [u32; 3];

/// How many ranges a map may have since Linux 4.15 (user_namespaces(7)).
const MOST: usize = 340;

/// What keeps ordinary users from namespaces of their own: a file below /proc/sys, what it says then, and what it should say.
const SWITCHES: [(&str, &str, &str); 3] = [
    ("user/max_user_namespaces", "0", "15000"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
];

/// Tells whether who runs us is the host's root, or one who goes by that name in a user namespace, as in a container.
pub(crate) fn is_root(user: Option<&str>) -> bool {
    sys::process::geteuid().is_root() && (!sys::userns::is_inner() || user == Some("root"))
}

/// Makes an ordinary user root of a user namespace of his own, with mounts of its own; nothing for who is root of any already. Only while
/// this process has one thread. Returns why he has no other ids in it, where something is there that should give him some.
pub(crate) fn enter() -> Result<Option<String>, Failure> {
    let own = sys::process::geteuid();
    if own.is_root() {
        return Ok(None);
    }
    let user = nix::unistd::User::from_uid(own).ok().flatten();
    let name = user.map(|user| user.name);
    let (uid, gid) = (own.as_raw(), sys::process::getegid().as_raw());
    let map = |ids: Ids, own: u32| {
        let text = fs::read_to_string(ids.ranges()).unwrap_or_default();
        (ids, map(own, given(&text, name.as_deref(), uid)))
    };
    let maps = [map(Ids::Users, uid), map(Ids::Groups, gid)];
    let has = maps
        .each_ref()
        .map(|(ids, map)| (map.len() > 1, ids.helper().is_some()));
    let wide = has == [(true, true); 2];
    if wide {
        by_helpers(&maps)?;
    } else {
        alone(uid, gid)?;
    }
    // The kernel lets through what the host mounts and unmounts, and nothing of ours out.
    sys::process::unshare(Namespaces::MOUNT).map_err(forbidden)?;
    Ok(half(has))
}

/// Says what is missing to a user who has ranges for users or for groups alone, or one helper of two. Whoever has none of either is told
/// when an image needs more.
fn half(has: [(bool, bool); 2]) -> Option<String> {
    let [(users, uid), (groups, gid)] = has;
    let missing = match (users, groups) {
        (true, false) => format!("{} has no ids of this user", Ids::Groups.ranges()),
        (false, true) => format!("{} has no ids of this user", Ids::Users.ranges()),
        (true, true) if uid && !gid => format!("{} is missing", Ids::Groups.program()),
        (true, true) if gid && !uid => format!("{} is missing", Ids::Users.program()),
        _ => return None,
    };
    Some(format!("no ids but the user's own are mapped: {missing}"))
}

/// Finds a user's ranges, by name or number, in a file of lines `NAME:FIRST:COUNT`.
fn given(text: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    let number = uid.to_string();
    let range = |line: &str| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [whose, first, count] = fields[..] else {
            return None;
        };
        let his = Some(whose) == name || whose == number;
        let range: (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
        (his && range.1 > 0 && range.0.checked_add(range.1).is_some()).then_some(range)
    };
    text.lines().filter_map(range).collect()
}

/// Makes the map: the own id is root's, the ranges follow one after the other.
fn map(own: u32, given: Vec<(u32, u32)>) -> Vec<Range> {
    let mut map = vec![[0, own, 1]];
    let mut next: u32 = 1;
    for (first, count) in given {
        let Some(after) = next.checked_add(count).filter(|_| map.len() < MOST) else {
            break;
        };
        map.push([next, first, count]);
        next = after;
    }
    map
}

/// Leaves the user namespace for one where nobody but the user himself has an id.
fn alone(uid: u32, gid: u32) -> Result<(), Failure> {
    sys::process::unshare(Namespaces::USER).map_err(forbidden)?;
    for (file, text) in [
        // Without this the kernel takes no map of groups from us.
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).map_err(|error| refused(&format!("write {path}: {error}")))?;
    }
    Ok(())
}

/// Leaves the user namespace for one whose ids a child outside has mapped.
fn by_helpers(maps: &[(Ids, Vec<Range>)]) -> Result<(), Failure> {
    let wrong = |errno| refused(&sys::reason(errno));
    let (wait, go) = pipe2(OFlag::O_CLOEXEC).map_err(wrong)?;
    let (heard, say) = pipe2(OFlag::O_CLOEXEC).map_err(wrong)?;
    let inside = sys::process::getpid();
    let outside = || i32::from(stay(inside, wait.as_fd(), say.as_fd(), maps).is_err());
    let child = sys::process::clone3(Birth::default(), outside).map_err(wrong)?;
    drop(say);
    let left = sys::process::unshare(Namespaces::USER).map_err(forbidden);
    let mut said = String::new();
    let told = match left {
        Ok(()) => sys::fs::write(&go, b".").map_err(wrong).and_then(|_| {
            let read = File::from(heard).read_to_string(&mut said);
            read.map(drop).map_err(|error| refused(&error.to_string()))
        }),
        Err(failure) => Err(failure),
    };
    if told.is_err() {
        // It has ended already, or waits for what does not come.
        child.handle.signal(Signal::SIGKILL as i32).ok();
    }
    let ended = child.handle.wait().map_err(wrong)?;
    told?;
    match said.as_str() {
        "" if ended.code() == 0 => Ok(()),
        "" => Err(refused("the process that maps its ids has ended")),
        said => Err(refused(said)),
    }
}

/// What the child does, outside: waits until the other is inside, has its maps written, and says why not.
fn stay(
    inside: Pid,
    wait: BorrowedFd<'_>,
    say: BorrowedFd<'_>,
    maps: &[(Ids, Vec<Range>)],
) -> Result<(), Errno> {
    sys::process::set_pdeathsig(Some(Signal::SIGKILL))?;
    if sys::process::getppid() != inside {
        return Err(Errno::ESRCH);
    }
    sys::fs::read(wait, &mut [0])?;
    for (ids, map) in maps {
        if let Err(why) = ids.map_by_helper(inside, map) {
            let mut say = File::from(say.try_clone_to_owned().map_err(|_| Errno::EMFILE)?);
            let said = say.write_all(unhelpful(*ids, &why).as_bytes());
            return said.map_err(|_| Errno::EPIPE);
        }
    }
    Ok(())
}

fn unhelpful(ids: Ids, why: &Unhelpful) -> String {
    let (program, ranges) = (ids.program(), ids.ranges());
    match why {
        Unhelpful::Missing => format!("{program} is not there any more"),
        Unhelpful::NotStarted(path, error) => format!("run {}: {error}", path.display()),
        Unhelpful::Refused(said) => format!("{program}: {said}; this user's ids are in {ranges}"),
    }
}

fn refused(why: &str) -> Failure {
    Failure::new(format!("make a user namespace: {why}"))
}

/// Says why the kernel gives an ordinary user no user namespace, or nothing to do in it.
fn forbidden(errno: Errno) -> Failure {
    let failure = refused(&format!(
        "{}; an ordinary user's images need one",
        sys::reason(errno)
    ));
    let off = SWITCHES.iter().find(|(file, off, _)| {
        fs::read_to_string(format!("/proc/sys/{file}")).is_ok_and(|text| text.trim() == *off)
    });
    failure.hint(match off {
        Some((file, _, on)) => {
            let name = file.replace('/', ".");
            format!("root allows it with: sysctl -w {name}={on}")
        }
        None => "run it as root, or where user namespaces may be made".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Ranges = &'static [(u32, u32)];

    #[test]
    fn ranges_are_a_users_by_name_or_number() {
        let text = "ann:100000:65536\nbob:165536:65536\n7:300000:10\n\n# ann\nann:x:1\nann:1:0\nann:4294967295:2\nann:400000:5";
        let table: [(Option<&str>, u32, Ranges); 4] = [
            (Some("ann"), 6, &[(100_000, 65_536), (400_000, 5)]),
            (
                Some("ann"),
                7,
                &[(100_000, 65_536), (300_000, 10), (400_000, 5)],
            ),
            (None, 7, &[(300_000, 10)]),
            (Some("cyn"), 8, &[]),
        ];
        for (name, uid, want) in table {
            assert_eq!(given(text, name, uid), want, "{name:?} {uid}");
        }
    }

    #[test]
    fn what_is_half_there_is_said() {
        for (has, want) in [
            ([(true, true), (true, true)], None),
            ([(false, true), (false, true)], None),
            ([(true, false), (true, false)], None),
            (
                [(true, true), (false, true)],
                Some("/etc/subgid has no ids"),
            ),
            (
                [(false, false), (true, false)],
                Some("/etc/subuid has no ids"),
            ),
            ([(true, false), (true, true)], Some("newuidmap is missing")),
            ([(true, true), (true, false)], Some("newgidmap is missing")),
        ] {
            let said = half(has);
            let as_wanted = match (&said, want) {
                (Some(said), Some(want)) => said.contains(want),
                (said, want) => said.is_none() && want.is_none(),
            };
            assert!(as_wanted, "{has:?}: {said:?}");
        }
    }

    #[test]
    fn ranges_follow_the_own_id() {
        assert_eq!(map(7, Vec::new()), [[0, 7, 1]]);
        let given = vec![(100_000, 65_536), (400_000, 5)];
        assert_eq!(
            map(7, given),
            [[0, 7, 1], [1, 100_000, 65_536], [65_537, 400_000, 5]]
        );
        assert_eq!(map(7, vec![(1, u32::MAX), (2, 1)]), [[0, 7, 1]]);
        assert_eq!(map(7, vec![(1, 1); 500]).len(), MOST);
    }
}
