//! Making mounts where the kernel cannot make them attached nowhere: on a stage, a small tmpfs over `/` of a mount namespace that is
//! this process's own.
//!
//! Nobody else is in that namespace, and only `/..` leads to the stage. A mount is made there by mount(2), gets its attributes, and is
//! moved (MS_MOVE) to its place. mount(2) takes paths: `/proc/self/fd/N` leads it to the very object of a descriptor, on the host's
//! procfs, before the root changes. Afterwards mountinfo is asked whether the mount hangs where it should.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use super::loose::{is_same, kind};
use super::{Attr, Change, Extent, MntFlags, MsFlags, mount, umount2};
use crate::fs::{
    Mode, OFlag, SFlag, TMPFS_MAGIC, fstat, fstatfs, is_mount_root, mkdirat, mount_id, open, openat,
};
use crate::mountinfo::{self, by_number};
use crate::walk::file_system;
use crate::{Errno, Result};

const NONE: Option<&str> = None;

/// Where this process may make mounts.
static PLACE: Mutex<Place> = Mutex::new(Place::Foreign);

enum Place {
    /// In a mount namespace that others are in, or whose mounts reach others: nowhere.
    Foreign,
    Own(Option<Stage>),
}

struct Stage {
    top: OwnedFd,
    made: u32,
}

/// Says that this process is in a mount namespace of its own, from whose `/` nothing propagates: stand-ins may make and change
/// mounts here. Natively it does nothing.
pub fn claim_namespace() {
    put(Place::Own(None));
}

/// Ends the use of the stage, before the root changes, and with it `/proc`; tells whether there is one, which lies over the old root and
/// goes with it.
pub fn leave_stage() -> bool {
    matches!(put(Place::Foreign), Place::Own(Some(_)))
}

/// Takes the stage away, with all that was not moved from it.
pub fn strike_stage() -> Result<()> {
    match put(Place::Foreign) {
        Place::Own(Some(stage)) => detach(&stage.top),
        Place::Own(None) | Place::Foreign => Ok(()),
    }
}

/// Moves a mount that stayed on the stage over `/`, and over the stage.
pub fn cover_root(mount: impl AsFd) -> Result<()> {
    let from = by_number(mount);
    super::mount(Some(from.as_str()), "/..", NONE, MsFlags::MS_MOVE, NONE)
}

fn put(place: Place) -> Place {
    // One thread: nobody can have died with the lock.
    PLACE.lock().map_or(Place::Foreign, |mut now| {
        std::mem::replace(&mut *now, place)
    })
}

impl Stage {
    fn open() -> Result<Self> {
        // What by_number relies on.
        drop(mountinfo::proc()?);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let below = mount_id(open("/", flags, Mode::empty())?)?;
        let hidden = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some("orlop"),
            "/",
            Some("tmpfs"),
            hidden,
            Some("mode=700,size=1m"),
        )?;
        // Whoever stands in the root and goes up arrives at what lies over it.
        let top = open("/..", flags, Mode::empty())?;
        if mount_id(&top)? == below || fstatfs(&top)?.filesystem_type() != TMPFS_MAGIC {
            return Err(Errno::EXDEV);
        }
        // Left out where something that it lies over is copied.
        let alone = MsFlags::MS_UNBINDABLE;
        mount(NONE, by_number(&top).as_str(), NONE, alone, NONE)?;
        Ok(Self { top, made: 0 })
    }

    /// Makes an empty mount point; returns its name.
    fn point(&mut self, directory: bool) -> Result<String> {
        self.made += 1;
        let name = self.made.to_string();
        let mode = Mode::from_bits_truncate(0o700);
        if directory {
            mkdirat(&self.top, name.as_str(), mode)?;
        } else {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            drop(openat(&self.top, name.as_str(), flags, mode)?);
        }
        Ok(name)
    }

    fn look(&self, name: &str) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.top, name, flags, Mode::empty())
    }
}

/// Makes a mount at a fresh point of the stage by `make`, which gets the point's path; returns the mount's top.
fn make(directory: bool, make: impl FnOnce(&str) -> Result<()>) -> Result<OwnedFd> {
    let mut place = PLACE.lock().map_err(|_| Errno::EDEADLK)?;
    let Place::Own(stage) = &mut *place else {
        return Err(Errno::ENOSYS);
    };
    let stage = match stage {
        Some(stage) => stage,
        None => stage.insert(Stage::open()?),
    };
    let name = stage.point(directory)?;
    let point = stage.look(&name)?;
    make(&by_number(&point))?;
    let made = stage.look(&name)?;
    if mount_id(&made)? == mount_id(&point)? || !is_mount_root(&made)? {
        return Err(Errno::ESTALE);
    }
    Ok(made)
}

/// Binds an object of this namespace.
pub(super) fn bind(source: &OwnedFd, extent: Extent, changes: &[Change]) -> Result<OwnedFd> {
    let seen = fstat(source)?;
    let flags = match extent {
        Extent::One => MsFlags::MS_BIND,
        Extent::Tree => MsFlags::MS_BIND | MsFlags::MS_REC,
    };
    let made = make(kind(&seen) == SFlag::S_IFDIR, |point| {
        mount(Some(by_number(source).as_str()), point, NONE, flags, NONE)
    })?;
    if !is_same(&seen, &fstat(&made)?) {
        return Err(Errno::ESTALE);
    }
    changes.iter().try_for_each(|one| change(&made, *one))?;
    Ok(made)
}

/// Moves a mount from the stage onto the very object of `target`.
pub(super) fn move_to(made: &OwnedFd, target: impl AsFd) -> Result<()> {
    let target = target.as_fd();
    let to = by_number(target);
    mount(
        Some(by_number(made).as_str()),
        to.as_str(),
        NONE,
        MsFlags::MS_MOVE,
        NONE,
    )?;
    let (id, above) = (mount_id(made)?, mount_id(target)?);
    let table = mountinfo::table()?;
    let parent = |id| {
        table
            .iter()
            .find(|entry| entry.id == id)
            .map(|entry| entry.parent)
    };
    // What lay over the target already is between the two.
    let mut at = parent(id);
    for _ in 0..table.len() {
        if at == Some(above) {
            return Ok(());
        }
        at = at.and_then(parent);
    }
    Err(Errno::ESTALE)
}

/// Takes a mount off the stage that is to be attached nowhere.
pub(super) fn detach(made: &OwnedFd) -> Result<()> {
    umount2(by_number(made).as_str(), MntFlags::MNT_DETACH)
}

/// Tells whether a change can be made: read-only for a whole tree has to come over all its mounts at once.
pub(super) fn possible(change: Change) -> Result<()> {
    if change.extent == Extent::Tree && change.set.contains(Attr::RDONLY) {
        return Err(Errno::ENOSYS);
    }
    Ok(())
}

/// Changes the mount, or all from it downwards, that a descriptor is the top of.
pub(super) fn change(top: impl AsFd, change: Change) -> Result<()> {
    possible(change)?;
    let top = top.as_fd();
    if matches!(*PLACE.lock().map_err(|_| Errno::EDEADLK)?, Place::Foreign) {
        return Err(Errno::ENOSYS);
    }
    if !(change.set | change.clear).is_empty() {
        remount(top, change)?;
        if change.extent == Extent::Tree {
            let (table, id) = (mountinfo::table()?, mount_id(top)?);
            let here = table.iter().find(|entry| entry.id == id);
            let here = &here.ok_or(Errno::EINVAL)?.point;
            for entry in mountinfo::below(&table, id) {
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let path = entry.point.strip_prefix(here);
                let path = path.map_err(|_| Errno::EBUSY)?;
                let mount = openat(top, path, flags, Mode::empty())?;
                // Covered by another one, or led elsewhere by a rename: it would keep what it has.
                if mount_id(&mount)? != entry.id {
                    return Err(Errno::EBUSY);
                }
                remount(mount, change)?;
            }
        }
    }
    if let Some(propagation) = change.propagation {
        let flags = match change.extent {
            Extent::One => propagation.flag(),
            Extent::Tree => propagation.flag() | MsFlags::MS_REC,
        };
        mount(NONE, by_number(top).as_str(), NONE, flags, NONE)?;
    }
    Ok(())
}

/// Gives one mount other attributes, and makes sure that it has them: older kernels overlook flags that they do not know.
fn remount(top: impl AsFd, change: Change) -> Result<()> {
    let top = top.as_fd();
    let wanted = (attributes(top)? - change.clear) | change.set;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags(wanted);
    mount(NONE, by_number(top).as_str(), NONE, flags, NONE)?;
    let is = attributes(top)?;
    // A file system may be read-only by itself.
    if is == wanted || is == wanted | Attr::RDONLY {
        Ok(())
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

/// The flag of mount(2) for each attribute, and that of statfs(2).
const FLAGS: [(Attr, MsFlags, i64); 7] = [
    (Attr::RDONLY, MsFlags::MS_RDONLY, 0x1),
    (Attr::NOSUID, MsFlags::MS_NOSUID, 0x2),
    (Attr::NODEV, MsFlags::MS_NODEV, 0x4),
    (Attr::NOEXEC, MsFlags::MS_NOEXEC, 0x8),
    (Attr::NOATIME, MsFlags::MS_NOATIME, 0x400),
    (Attr::NODIRATIME, MsFlags::MS_NODIRATIME, 0x800),
    // Linux 5.10; nix has no name for it.
    (Attr::NOSYMFOLLOW, MsFlags::from_bits_retain(0x100), 0x2000),
];

/// Returns the attributes of a mount.
fn attributes(top: impl AsFd) -> Result<Attr> {
    const RELATIME: i64 = 0x1000;
    let (_, bits) = file_system(top)?;
    let named = FLAGS.iter().filter(|(_, _, bit)| bits & bit != 0);
    let attr: Attr = named.map(|(attr, ..)| *attr).collect();
    Ok(if bits & RELATIME == 0 && !attr.contains(Attr::NOATIME) {
        attr | Attr::STRICTATIME
    } else {
        attr
    })
}

/// Returns what mount(2) calls attributes; each of the three access-time modes is named, because none would mean the one that is there.
fn flags(attr: Attr) -> MsFlags {
    let named = FLAGS.iter().filter(|(one, ..)| attr.contains(*one));
    let flags: MsFlags = named.map(|(_, flag, _)| *flag).collect();
    match attr & Attr::ATIME_MASK {
        Attr::STRICTATIME => flags | MsFlags::MS_STRICTATIME,
        Attr::NOATIME => flags,
        _ => flags | MsFlags::MS_RELATIME,
    }
}

/// A file system with its options, as mount(2) takes them.
#[derive(Debug)]
pub(super) struct Wanted {
    fstype: String,
    source: Option<String>,
    flags: MsFlags,
    data: Vec<String>,
}

/// Options that are flags of the file system.
const FS_FLAGS: [(&str, MsFlags); 4] = [
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("lazytime", MsFlags::MS_LAZYTIME),
    ("mand", MsFlags::MS_MANDLOCK),
];

impl Wanted {
    /// `ENODEV`: no such type.
    pub(super) fn new(fstype: &str) -> Result<Self> {
        if matches!(*PLACE.lock().map_err(|_| Errno::EDEADLK)?, Place::Foreign) {
            return Err(Errno::ENOSYS);
        }
        Ok(Self {
            fstype: fstype.to_owned(),
            source: None,
            flags: MsFlags::empty(),
            data: Vec::new(),
        })
    }

    /// Adds an option. `EINVAL`: its value has a comma, which would begin another option.
    pub(super) fn set(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let flag = FS_FLAGS.iter().find(|(name, _)| *name == key);
        match (flag, value) {
            (Some((_, flag)), None) => self.flags |= *flag,
            (_, None) => self.data.push(key.to_owned()),
            (_, Some(value)) if key == "source" => self.source = Some(value.to_owned()),
            // overlay's layers one by one are one list.
            (_, Some(layer)) if key == "lowerdir+" => {
                match self
                    .data
                    .iter_mut()
                    .find(|one| one.starts_with("lowerdir="))
                {
                    Some(list) => *list += &format!(":{layer}"),
                    None => self.data.push(format!("lowerdir={layer}")),
                }
            }
            // The security modules' labels may be quoted, and the list of memory nodes is read as a whole.
            (_, Some(value)) if key.ends_with("context") && !value.contains('"') => {
                self.data.push(format!("{key}=\"{value}\""));
            }
            (_, Some(value)) if value.contains(',') && key != "mpol" => return Err(Errno::EINVAL),
            (_, Some(value)) => self.data.push(format!("{key}={value}")),
        }
        Ok(())
    }

    pub(super) fn mount(self, attr: Attr) -> Result<OwnedFd> {
        let data = self.data.join(",");
        let new = |point: &str, attr| {
            let flags = self.flags | flags(attr);
            let (source, fstype) = (self.source.as_deref(), self.fstype.as_str());
            mount(source, point, Some(fstype), flags, Some(data.as_str()))
        };
        // Read-only is for the mount, as fsmount(2) has it; here it would be for the whole file system, which others may have, too.
        let first = attr - Attr::RDONLY;
        let made = make(true, |point| match new(point, first) {
            // Unless the kernel lets us see this one at all only if it is as read-only as the host's.
            Err(Errno::EPERM) if first != attr => new(point, attr),
            other => other,
        })?;
        if attributes(&made)? != attr {
            remount(&made, Change::new(Extent::One, attr, Attr::empty(), None))?;
        }
        Ok(made)
    }
}
