//! The plan's mounts, made from inside the container's mount namespace.

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::Errno;
use sys::fs::{self, Inside, Mode, OFlag};
use sys::mount::{Attr, Extent, Loose, NewFs, Propagation, clone_path, set_attr};

use super::copy_up;
use super::dev::{Parents, link};
use super::protocol::Channel;
use super::protocol::{At, Failure, Step, ToChild};
use super::tree::{Tree, below};
use crate::check::{self, Source, Terms};
use crate::plan::newer::NO_TREE;
use crate::plan::{Copier, Mount, MountKind, Setting};
use crate::timing::Timing;

type Result<T> = std::result::Result<T, Failure>;

/// What stands here is taken for what the name says, by later steps and in the container: it must be a directory of the root itself.
const TRUSTED: [&str; 2] = ["/proc", "/sys"];

/// Makes some of the plan's mounts, each with its place in the plan and its source, in their order.
pub(super) fn make<'a>(
    mounts: impl Iterator<Item = (usize, (&'a Mount, Source))>,
    (tree, terms): (&Tree, Terms<'_>),
    timing: &Timing,
) -> Result<()> {
    for (index, (mount, source)) in mounts {
        one(mount, source, tree, terms)?;
        timing.mounted(index);
    }
    Ok(())
}

fn one(mount: &Mount, source: Source, tree: &Tree, terms: Terms<'_>) -> Result<()> {
    let object = || format!("{} ({})", mount.target.display(), mount.at);
    match (&mount.kind, source) {
        (MountKind::Bind { .. }, Source::Directory(from)) => {
            let from = in_order(from, mount, terms);
            place(from, &directory(mount, tree)?, mount).map(drop)
        }
        (MountKind::Bind { .. }, Source::File(from)) => {
            let from = in_order(from, mount, terms);
            place(from, &file(mount, tree)?, mount).map(drop)
        }
        (MountKind::Bind { .. }, Source::Link(to)) => {
            link(&mut Parents { tree, last: None }, &mount.target, &to).at(Step::Link, object())
        }
        (MountKind::Bind { .. }, Source::None) => Err(Failure::new(
            Step::Mount,
            format!("{}: its source was not opened", object()),
        )),
        (MountKind::Fs { .. }, _) => file_system(mount, tree),
        (MountKind::Cgroup { .. }, _) => cgroup(mount, tree),
        (MountKind::Cgroup2 { source, instead }, _) => {
            cgroup2((source, instead.as_deref()), mount, tree)
        }
        (MountKind::Remount, _) => {
            let target = tree
                .open(&mount.target, Inside::Root)
                .at(Step::Mount, destination(mount))?;
            match remount(mount, &target) {
                Err(Errno::ENOSYS) => Err(Failure::new(
                    Step::Mount,
                    format!("{}: {}", object(), NO_TREE),
                )),
                other => other.at(Step::Mount, object()),
            }
        }
    }
}

fn remount(mount: &Mount, target: &OwnedFd) -> sys::Result<()> {
    let propagation = mount.propagation.map(|(propagation, _)| propagation);
    set_attr(target, Extent::One, mount.set, mount.clear, propagation)?;
    if (mount.set_tree | mount.clear_tree).is_empty() {
        return Ok(());
    }
    set_attr(target, Extent::Tree, mount.set_tree, mount.clear_tree, None)
}

/// Opens, or makes, the directory that a mount goes to.
pub(super) fn directory(mount: &Mount, tree: &Tree) -> Result<OwnedFd> {
    open_target(mount, tree, |path, inside| tree.directory(path, inside))
}

/// Opens, or makes, the file that a mount goes to.
pub(super) fn file(mount: &Mount, tree: &Tree) -> Result<OwnedFd> {
    open_target(mount, tree, |path, inside| tree.file(path, inside))
}

fn destination(mount: &Mount) -> String {
    format!("{} ({}.destination)", mount.target.display(), mount.at)
}

fn open_target(
    mount: &Mount,
    tree: &Tree,
    make: impl Fn(&Path, Inside) -> sys::Result<OwnedFd>,
) -> Result<OwnedFd> {
    if TRUSTED.iter().any(|place| mount.target == Path::new(place)) {
        return without_symlinks(mount, make(&mount.target, Inside::NoSymlinks));
    }
    if mount.target_nofollow {
        let nofollow = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        match fs::open_inside(
            &tree.0,
            below(&mount.target),
            nofollow,
            Mode::empty(),
            Inside::Root,
        ) {
            Err(Errno::ENOENT) => {}
            other => return other.at(Step::Mount, destination(mount)),
        }
    }
    match make(&mount.target, Inside::NoSymlinks) {
        Err(Errno::ELOOP) => {}
        other => return other.at(Step::Mount, destination(mount)),
    }
    let target = make(&mount.target, Inside::Root).at(Step::Mount, destination(mount))?;
    // What is mounted there before the procfs is would be hidden below it, or stand in for it.
    match tree.open(Path::new("/proc"), Inside::NoSymlinks) {
        Ok(proc) if same(&proc, &target).at(Step::Mount, destination(mount))? => Err(Failure::new(
            Step::Mount,
            format!(
                "{}: a symlink of the image leads to /proc; name another place",
                destination(mount)
            ),
        )),
        _ => Ok(target),
    }
}

fn same(one: &OwnedFd, other: &OwnedFd) -> sys::Result<bool> {
    let (one, other) = (fs::fstat(one)?, fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// CVE-2023-27561: as a symlink it would leave the place that later steps trust empty.
fn without_symlinks(mount: &Mount, opened: sys::Result<OwnedFd>) -> Result<OwnedFd> {
    match opened {
        Err(Errno::ELOOP | Errno::ENOTDIR) => Err(Failure::new(
            Step::Mount,
            format!(
                "{}: must be a directory of the root, not a symlink",
                destination(mount)
            ),
        )),
        other => other.at(Step::Mount, destination(mount)),
    }
}

/// Attaches a mount, unless its target turned out, through a symlink, to lie where it could fake procfs (CVE-2019-16884,
/// CVE-2025-52881): the plan knows the path by name only, this looks at the object.
pub(super) fn place(from: Loose, target: &OwnedFd, mount: &Mount) -> Result<OwnedFd> {
    let object = || format!("{} ({})", mount.target.display(), mount.at);
    let on_proc = fs::fstatfs(target)
        .at(Step::Mount, object())?
        .filesystem_type()
        == fs::PROC_SUPER_MAGIC;
    if on_proc && !mount.target.starts_with("/proc") {
        return Err(Failure::new(
            Step::Mount,
            format!(
                "{}: the path leads into /proc, where nothing may be mounted",
                object()
            ),
        ));
    }
    from.attach(target).at(Step::Mount, object())
}

fn file_system(mount: &Mount, tree: &Tree) -> Result<()> {
    let target = mount_point(mount, tree)?;
    let made = new_file_system(mount, Some(&target))?;
    place(made, &target, mount).map(drop)
}

/// Opens, or makes, the directory that a new file system goes to; that of a procfs or sysfs is one wherever it lies.
pub(super) fn mount_point(mount: &Mount, tree: &Tree) -> Result<OwnedFd> {
    match &mount.kind {
        MountKind::Fs { fstype, .. } if matches!(fstype.as_str(), "proc" | "sysfs") => {
            without_symlinks(mount, tree.directory(&mount.target, Inside::NoSymlinks))
        }
        _ => directory(mount, tree),
    }
}

/// Makes a file system, attached nowhere yet; a tmpfs takes the permissions of the directory that it will cover.
pub(super) fn new_file_system(mount: &Mount, target: Option<&OwnedFd>) -> Result<Loose> {
    let MountKind::Fs {
        fstype,
        source,
        settings,
        copy_up,
    } = &mount.kind
    else {
        return Err(Failure::new(Step::Mount, &mount.at));
    };
    let object = || format!("{fstype} on {} ({})", mount.target.display(), mount.at);
    let mut new = NewFs::open(fstype).map_err(|errno| refused(errno, &[], object()))?;
    if let Some(source) = source {
        new.set("source", source).at(Step::Mount, object())?;
    }
    configure(&mut new, fstype, settings)
        .map_err(|why| Failure::new(Step::Mount, format!("{}: {why}", object())))?;
    if let Some(target) = target
        && fstype == "tmpfs"
        && !settings.iter().any(|setting| setting.key == "mode")
    {
        // A tmpfs over a directory keeps its permissions (/tmp stays 1777), as runc's users expect.
        let mode = fs::fstat(target).at(Step::Mount, object())?.st_mode & 0o7777;
        new.set("mode", &format!("{mode:o}"))
            .at(Step::Mount, object())?;
    }
    // The contents of a read-only tmpfs are copied before it becomes read-only.
    let late = if *copy_up {
        mount.set & Attr::RDONLY
    } else {
        Attr::empty()
    };
    let made = new.mount(mount.set - late);
    let mut made = made.map_err(|errno| refused(errno, settings, object()))?;
    if let (true, Some(target)) = (*copy_up, target) {
        copy_up::copy(target, &made).at(Step::Mount, format!("{}: tmpcopyup", object()))?;
    }
    finish(&mut made, late, mount.propagation).at(Step::Mount, object())?;
    Ok(made)
}

/// Names the options where none was refused by itself: mount(2), where fsopen(2) is missing, takes them all at once.
fn refused(errno: Errno, settings: &[Setting], object: String) -> Failure {
    let text = |one: &Setting| match &one.value {
        Some(value) => format!("{}={value}", one.key),
        None => one.key.clone(),
    };
    let all: Vec<_> = settings.iter().map(text).collect();
    let object = match errno {
        Errno::EINVAL if !all.is_empty() => format!("{object}: options {}", all.join(",")),
        // A word of fsopen(2) for an unknown type; as its reason it speaks of a device.
        Errno::ENODEV => {
            format!("{object}: this kernel has no such file system, or no device for it")
        }
        _ => object,
    };
    Failure {
        errno: Some(errno),
        ..Failure::new(Step::Mount, object)
    }
}

/// Sets the options of a file system; the error says which one was refused, and why.
fn configure(
    new: &mut NewFs,
    fstype: &str,
    settings: &[Setting],
) -> std::result::Result<(), String> {
    for setting in settings {
        let done = match &setting.value {
            // fsconfig(2) takes 255 bytes; overlay takes its layers one by one, too (Linux 6.5).
            Some(layers)
                if setting.key == "lowerdir" && fstype == "overlay" && layers.len() > 255 =>
            {
                layers
                    .split(':')
                    .try_for_each(|layer| new.set("lowerdir+", layer))
            }
            Some(value) => new.set(&setting.key, value),
            None => new.flag(&setting.key),
        };
        done.map_err(|errno| {
            let why = new.complaint().unwrap_or_else(|| sys::reason(errno));
            format!("option {}: {why}", setting.key)
        })?;
    }
    Ok(())
}

fn finish(
    made: &mut Loose,
    set: Attr,
    propagation: Option<(Propagation, Extent)>,
) -> sys::Result<()> {
    if set.is_empty() && propagation.is_none() {
        return Ok(());
    }
    let propagation = propagation.map(|(propagation, _)| propagation);
    made.set(Extent::One, set, Attr::empty(), propagation)
}

fn cgroup(mount: &Mount, tree: &Tree) -> Result<()> {
    let MountKind::Cgroup {
        hierarchies,
        links,
        settings,
    } = &mount.kind
    else {
        return Ok(());
    };
    let object = || format!("cgroup on {} ({})", mount.target.display(), mount.at);
    let target = directory(mount, tree)?;
    let mut new = NewFs::open("tmpfs").at(Step::Mount, object())?;
    new.set("mode", "755").at(Step::Mount, object())?;
    configure(&mut new, "tmpfs", settings)
        .map_err(|why| Failure::new(Step::Mount, format!("{}: {why}", object())))?;
    let mut top = new
        .mount(mount.set - Attr::RDONLY)
        .at(Step::Mount, object())?;
    for hierarchy in hierarchies {
        fs::mkdirat(
            &top,
            hierarchy.name.as_str(),
            Mode::from_bits_truncate(0o755),
        )
        .at(Step::Mount, object())?;
    }
    for link in links {
        fs::symlinkat(&link.target, &top, &link.path).at(Step::Mount, object())?;
    }
    // Complete before it is attached: inside a tree that is itself attached nowhere its attributes cannot be changed any more.
    finish(&mut top, mount.set & Attr::RDONLY, mount.propagation).at(Step::Mount, object())?;
    let top = place(top, &target, mount)?;
    for hierarchy in hierarchies {
        let object = || format!("cgroup {} ({})", hierarchy.source.display(), mount.at);
        let own = cgroup_copy((&hierarchy.source, hierarchy.instead.as_deref()), mount)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let place = fs::openat(&top, hierarchy.name.as_str(), flags, Mode::empty())
            .at(Step::Mount, object())?;
        own.attach(place).at(Step::Mount, object())?;
    }
    Ok(())
}

fn cgroup2(source: (&Path, Option<&Path>), mount: &Mount, tree: &Tree) -> Result<()> {
    let target = directory(mount, tree)?;
    let own = cgroup_copy(source, mount)?;
    place(own, &target, mount).map(drop)
}

/// Copies the mount of a cgroup's directory, which is there only now: it shows what a mount of the hierarchy inside the cgroup
/// namespace would show. Where it could not be made, the one that stands in for it is read-only: it is not the container's.
fn cgroup_copy((source, instead): (&Path, Option<&Path>), mount: &Mount) -> Result<Loose> {
    let object = || format!("cgroup {} ({})", source.display(), mount.at);
    let (own, keep) = match (clone_path(source, Extent::One), instead) {
        (Err(Errno::ENOENT), Some(instead)) => (clone_path(instead, Extent::One), Attr::RDONLY),
        (own, _) => (own, Attr::empty()),
    };
    let mut own = own.at(Step::Mount, object())?;
    let private = Some(Propagation::Private);
    let (set, clear) = (mount.set | keep, mount.clear - keep);
    own.set(Extent::One, set, clear, private)
        .at(Step::Mount, object())?;
    Ok(own)
}

/// Copies a source once more, at its turn: mountinfo is sorted by ids that the kernel counts up, and its readers take that for the
/// order of the mounts. Where there is a user namespace it was copied before, see [`locked`]; what is promised comes at its turn anyway.
fn in_order(checked: Loose, mount: &Mount, terms: Terms<'_>) -> Loose {
    if terms.copies_late() || checked.is_promise() {
        return checked;
    }
    copy_again(&checked, mount, terms).unwrap_or(checked)
}

/// Copies a source from this mount namespace; only the very object that was checked will do.
fn copy_again(checked: &Loose, mount: &Mount, terms: Terms<'_>) -> sys::Result<Loose> {
    let MountKind::Bind {
        source,
        extent,
        symlinks,
    } = &mount.kind
    else {
        return Err(Errno::EINVAL);
    };
    let mut copy = check::copy(source, *extent, *symlinks)?;
    let (was, is) = (fs::fstat(checked)?, fs::fstat(&copy)?);
    if (was.st_dev, was.st_ino) != (is.st_dev, is.st_ino) {
        return Err(Errno::ESTALE);
    }
    check::attributes(&mut copy, mount, terms)?;
    terms.users.map(&copy, mount)?;
    Ok(copy)
}

/// Exchanges the sources for copies from this mount namespace, whose attributes the kernel has locked when the namespace was made
/// for another user namespace (mount_namespaces(7)): the container's root could otherwise take away the host's `ro` or `nosuid`.
/// Those whose ids are mapped come from the parent: it takes the host's privileges to map them.
pub(super) fn locked(
    mounts: &[Mount],
    sources: Vec<Source>,
    terms: Terms<'_>,
    channel: &Channel,
) -> Result<Vec<Source>> {
    let copy = |checked, mount: &Mount| match mount.idmap {
        None => lock(checked, mount, terms),
        Some(_) => channel.receive(ToChild::Source).map(Loose::from),
    };
    let exchange = |(mount, source): (&Mount, Source)| match source {
        Source::Directory(checked) => copy(checked, mount).map(Source::Directory),
        Source::File(checked) => copy(checked, mount).map(Source::File),
        other => Ok(other),
    };
    mounts.iter().zip(sources).map(exchange).collect()
}

/// Exchanges one source.
pub(super) fn lock(checked: Loose, mount: &Mount, terms: Terms<'_>) -> Result<Loose> {
    // It will be bound in this very namespace.
    if checked.is_promise() {
        return Ok(checked);
    }
    let source = || format!("{} ({}.source)", mount.target.display(), mount.at);
    let errno = match copy_again(&checked, mount, terms) {
        Ok(copy) => return Ok(copy),
        Err(errno) => errno,
    };
    if terms.copier == Copier::Child {
        let one = matches!(
            &mount.kind,
            MountKind::Bind {
                extent: Extent::One,
                ..
            }
        );
        let why = match errno {
            // open_tree(2) says no more.
            Errno::EINVAL if one => {
                ": something is mounted below it, which a user namespace must not uncover; use rbind"
            }
            _ => "",
        };
        return Err(errno).at(Step::Mount, source() + why);
    }
    // The path cannot be reached from here: the first copy serves, if the host's mount has nothing that would have to be locked.
    let kept = [
        (fs::FsFlags::ST_RDONLY, Attr::RDONLY),
        (fs::FsFlags::ST_NOSUID, Attr::NOSUID),
        (fs::FsFlags::ST_NODEV, Attr::NODEV),
        (fs::FsFlags::ST_NOEXEC, Attr::NOEXEC),
    ];
    let flags = fs::fstatvfs(&checked).at(Step::Mount, source())?.flags();
    let unasked =
        |(flag, attr): &(fs::FsFlags, Attr)| flags.contains(*flag) && !mount.set.contains(*attr);
    if kept.iter().any(unasked) {
        return Err(errno).at(
            Step::Mount,
            format!("{}: lock the host's mount options", source()),
        );
    }
    Ok(checked)
}
