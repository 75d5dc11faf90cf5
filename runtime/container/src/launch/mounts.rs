//! The plan's mounts, made from inside the container's mount namespace.

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::Errno;
use sys::fs::{self, Inside, Mode, OFlag};
use sys::mount::{Attr, Extent, NewFs, Propagation, attach, clone_path, set_attr};

use super::copy_up;
use super::dev::{Parents, link};
use super::protocol::{At, Failure, Step};
use super::tree::{Tree, below};
use crate::check::{self, Source};
use crate::plan::{Mount, MountKind, Plan, Setting};
use crate::timing::Timing;

type Result<T> = std::result::Result<T, Failure>;

/// Makes the plan's mounts in their order.
pub(super) fn make(plan: &Plan, sources: Vec<Source>, tree: &Tree, timing: &Timing) -> Result<()> {
    for (index, (mount, source)) in plan.mounts.iter().zip(sources).enumerate() {
        one(mount, source, tree, plan)?;
        timing.mounted(index);
    }
    Ok(())
}

fn one(mount: &Mount, source: Source, tree: &Tree, plan: &Plan) -> Result<()> {
    let object = || format!("{} ({})", mount.target.display(), mount.at);
    match (&mount.kind, source) {
        (MountKind::Bind { .. }, Source::Directory(from)) => {
            let from = in_order(from, mount, plan);
            let target = open_target(mount, tree, |path, inside| tree.directory(path, inside))
                .at(Step::Mount, destination(mount))?;
            place(&from, &target, mount)
        }
        (MountKind::Bind { .. }, Source::File(from)) => {
            let from = in_order(from, mount, plan);
            let target = open_target(mount, tree, |path, inside| tree.file(path, inside))
                .at(Step::Mount, destination(mount))?;
            place(&from, &target, mount)
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
        (MountKind::Remount, _) => {
            let target = tree
                .open(&mount.target, Inside::Root)
                .at(Step::Mount, destination(mount))?;
            set_attr(
                &target,
                Extent::One,
                mount.set,
                mount.clear,
                mount.propagation.map(|(p, _)| p),
            )
            .at(Step::Mount, object())
        }
    }
}

fn destination(mount: &Mount) -> String {
    format!("{} ({}.destination)", mount.target.display(), mount.at)
}

fn open_target(
    mount: &Mount,
    tree: &Tree,
    make: impl Fn(&Path, Inside) -> sys::Result<OwnedFd>,
) -> sys::Result<OwnedFd> {
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
            other => return other,
        }
    }
    make(&mount.target, Inside::Root)
}

/// Attaches a mount, unless its target turned out, through a symlink, to lie where it could fake procfs (CVE-2019-16884,
/// CVE-2025-52881): the plan knows the path by name only, this looks at the object.
fn place(from: &OwnedFd, target: &OwnedFd, mount: &Mount) -> Result<()> {
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
    attach(from, target).at(Step::Mount, object())
}

fn file_system(mount: &Mount, tree: &Tree) -> Result<()> {
    let MountKind::Fs {
        fstype,
        source,
        settings,
        copy_up,
    } = &mount.kind
    else {
        return Ok(());
    };
    let object = || format!("{fstype} on {} ({})", mount.target.display(), mount.at);
    // CVE-2023-27561: /proc or /sys as a symlink would leave the place that later steps trust empty.
    let inside = if matches!(fstype.as_str(), "proc" | "sysfs") {
        Inside::NoSymlinks
    } else {
        Inside::Root
    };
    let target = match tree.directory(&mount.target, inside) {
        Err(Errno::ELOOP | Errno::ENOTDIR) if inside == Inside::NoSymlinks => {
            return Err(Failure::new(
                Step::Mount,
                format!(
                    "{}: must be a directory of the root, not a symlink",
                    object()
                ),
            ));
        }
        other => other.at(Step::Mount, destination(mount))?,
    };
    let new = NewFs::open(fstype).at(Step::Mount, object())?;
    if let Some(source) = source {
        new.set("source", source).at(Step::Mount, object())?;
    }
    configure(&new, fstype, settings)
        .map_err(|why| Failure::new(Step::Mount, format!("{}: {why}", object())))?;
    if fstype == "tmpfs" && !settings.iter().any(|setting| setting.key == "mode") {
        // A tmpfs over a directory keeps its permissions (/tmp stays 1777), as runc's users expect.
        let mode = fs::fstat(&target).at(Step::Mount, object())?.st_mode & 0o7777;
        new.set("mode", &format!("{mode:o}"))
            .at(Step::Mount, object())?;
    }
    // The contents of a read-only tmpfs are copied before it becomes read-only.
    let late = if *copy_up {
        mount.set & Attr::RDONLY
    } else {
        Attr::empty()
    };
    let made = new.mount(mount.set - late).at(Step::Mount, object())?;
    if *copy_up {
        copy_up::copy(&target, &made).at(Step::Mount, format!("{}: tmpcopyup", object()))?;
    }
    finish(&made, late, mount.propagation).at(Step::Mount, object())?;
    place(&made, &target, mount)
}

/// Sets the options of a file system; the error says which one was refused, and why.
fn configure(new: &NewFs, fstype: &str, settings: &[Setting]) -> std::result::Result<(), String> {
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
    made: &OwnedFd,
    set: Attr,
    propagation: Option<(Propagation, Extent)>,
) -> sys::Result<()> {
    if set.is_empty() && propagation.is_none() {
        return Ok(());
    }
    set_attr(
        made,
        Extent::One,
        set,
        Attr::empty(),
        propagation.map(|(propagation, _)| propagation),
    )
}

fn cgroup(mount: &Mount, tree: &Tree) -> Result<()> {
    let MountKind::Cgroup { hierarchies, links } = &mount.kind else {
        return Ok(());
    };
    let object = || format!("cgroup on {} ({})", mount.target.display(), mount.at);
    let target = tree
        .directory(&mount.target, Inside::Root)
        .at(Step::Mount, destination(mount))?;
    let new = NewFs::open("tmpfs").at(Step::Mount, object())?;
    new.set("mode", "755").at(Step::Mount, object())?;
    let top = new
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
    finish(&top, mount.set & Attr::RDONLY, mount.propagation).at(Step::Mount, object())?;
    place(&top, &target, mount)?;
    for hierarchy in hierarchies {
        let object = || format!("cgroup {} ({})", hierarchy.source.display(), mount.at);
        // The copy of a cgroup's directory is what a mount of the hierarchy inside the cgroup namespace would show.
        let own = clone_path(&hierarchy.source, Extent::One).at(Step::Mount, object())?;
        set_attr(
            &own,
            Extent::One,
            mount.set,
            mount.clear,
            Some(Propagation::Private),
        )
        .at(Step::Mount, object())?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let place = fs::openat(&top, hierarchy.name.as_str(), flags, Mode::empty())
            .at(Step::Mount, object())?;
        attach(&own, place).at(Step::Mount, object())?;
    }
    Ok(())
}

/// Copies a source once more, at its turn: mountinfo is sorted by ids that the kernel counts up, and its readers take that for the
/// order of the mounts. Where there is a user namespace it was copied before, see [`locked`].
fn in_order(checked: OwnedFd, mount: &Mount, plan: &Plan) -> OwnedFd {
    if plan.namespaces.has_user() {
        return checked;
    }
    copy_again(&checked, mount, plan).unwrap_or(checked)
}

/// Copies a source from this mount namespace; only the very object that was checked will do.
fn copy_again(checked: &OwnedFd, mount: &Mount, plan: &Plan) -> sys::Result<OwnedFd> {
    let MountKind::Bind {
        source,
        extent,
        symlinks,
    } = &mount.kind
    else {
        return Err(Errno::EINVAL);
    };
    let copy = check::copy(source, *extent, *symlinks)?;
    let (was, is) = (fs::fstat(checked)?, fs::fstat(&copy)?);
    if (was.st_dev, was.st_ino) != (is.st_dev, is.st_ino) {
        return Err(Errno::ESTALE);
    }
    check::attributes(&copy, mount, check::base(plan))?;
    Ok(copy)
}

/// Exchanges the sources for copies from this mount namespace, whose attributes the kernel has locked when the namespace was made
/// for another user namespace (mount_namespaces(7)): the container's root could otherwise take away the host's `ro` or `nosuid`.
pub(super) fn locked(plan: &Plan, sources: Vec<Source>) -> Result<Vec<Source>> {
    let exchange = |(mount, source): (&Mount, Source)| match source {
        Source::Directory(checked) => lock(checked, mount, plan).map(Source::Directory),
        Source::File(checked) => lock(checked, mount, plan).map(Source::File),
        other => Ok(other),
    };
    plan.mounts.iter().zip(sources).map(exchange).collect()
}

fn lock(checked: OwnedFd, mount: &Mount, plan: &Plan) -> Result<OwnedFd> {
    let source = || format!("{} ({}.source)", mount.target.display(), mount.at);
    let errno = match copy_again(&checked, mount, plan) {
        Ok(copy) => return Ok(copy),
        Err(errno) => errno,
    };
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
