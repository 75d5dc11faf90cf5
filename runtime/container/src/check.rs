//! Opening what a plan names, before anything is made: what depends on files is refused here.

use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use sys::Errno;
use sys::fs::{self, Mode, OFlag, SFlag};
use sys::mount::{Attr, Extent, Loose, Propagation};
use sys::process::Namespaces;

use crate::host::NAMESPACE_FILES;
use crate::idmap::{self, Users};
use crate::launch::hooks;
use crate::plan::newer::NO_TREE;
use crate::plan::{
    Copier, Device, DeviceKind, Hook, Join, Mount, MountKind, Plan, Refusal, Seccomp, Symlinks,
    annotations,
};

/// Descriptors of everything on the host that the plan uses. Mounts in it are detached copies: what a path leads to cannot
/// change between this look and its use. Where only the child may copy ([`Copier::Child`]), or the kernel has no such copies, they
/// are what its copies have to match.
#[derive(Debug)]
pub struct Opened {
    pub root: Loose,
    /// One for each mount of the plan.
    pub sources: Vec<Source>,
    /// One for each device of the plan that is bound.
    pub devices: Vec<Option<Loose>>,
    pub joins: Vec<(Namespaces, OwnedFd)>,
    pub users: Users,
    /// The host's `/dev/null`, for masking files.
    pub null: Option<Loose>,
    /// Connected to whoever listens to the filter.
    pub listener: Option<OwnedFd>,
    /// Connected to whoever wants a pidfd of the container's process.
    pub receiver: Option<OwnedFd>,
    /// Where hooks write to.
    pub(crate) output: hooks::Output,
}

/// The source of a bind mount.
#[derive(Debug)]
pub enum Source {
    /// The mount takes nothing from the host.
    None,
    Directory(Loose),
    File(Loose),
    /// A symlink that is made again in the container.
    Link(PathBuf),
}

impl Source {
    /// Tells whether the mount is only promised.
    pub(crate) fn is_promise(&self) -> bool {
        match self {
            Self::Directory(mount) | Self::File(mount) => mount.is_promise(),
            Self::None | Self::Link(_) => false,
        }
    }

    /// Returns the descriptor, if there is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Directory(fd) | Self::File(fd) => Some(fd.as_fd()),
            Self::None | Self::Link(_) => None,
        }
    }
}

/// Opens everything; the first thing that cannot be had is named by its JSON path.
pub fn open(plan: &Plan) -> Result<Opened, Refusal> {
    let hooks = &plan.hooks;
    // Programs of startContainer lie in the container, where only the container's own root can tell.
    for list in [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.poststart,
        &hooks.poststop,
    ] {
        list.iter().try_for_each(executable)?;
    }
    let joins: Vec<_> = plan
        .namespaces
        .join
        .iter()
        .map(|join| joined(join, plan))
        .collect::<Result<_, _>>()?;
    let user = joins.iter().find(|(kind, _)| *kind == Namespaces::USER);
    let users = Users::open(&plan.mounts, user.map(|(_, fd)| fd.as_fd()))?;
    let terms = Terms::of(plan, &users);
    Ok(Opened {
        joins,
        root: root(&plan.root.path, plan.copier)?,
        sources: sources(&plan.mounts, terms)?,
        users,
        devices: devices(plan, plan.copier)?,
        null: null(plan, plan.copier)?,
        listener: listener(plan.process.as_ref().and_then(|it| it.seccomp.as_ref()))?,
        receiver: receiver(plan)?,
        // Last: the files may be new ones.
        output: hooks::Output::open(&plan.hooks)?,
    })
}

/// Asks the kernel for what the filter needs, and connects to its listener, before there is a process that could hang for want of
/// either.
pub(crate) fn listener(filter: Option<&Seccomp>) -> Result<Option<OwnedFd>, Refusal> {
    let Some(filter) = filter else {
        return Ok(None);
    };
    if filter.flags != 0 && !sys::seccomp::knows_flags(filter.flags) {
        return Err(Refusal::new(
            "linux.seccomp.flags",
            format!(
                "this kernel does not know all of {:#x}, which the flags and the listener stand for",
                filter.flags
            ),
        ));
    }
    let path = filter.listener.as_ref().map(|it| it.path.as_path());
    let at = "linux.seccomp.listenerPath";
    path.map(|path| connect(path, at)).transpose()
}

fn connect(path: &Path, at: &str) -> Result<OwnedFd, Refusal> {
    let what = format!("connect to {}", path.display());
    refuse(sys::socket::connect(path), at, what)
}

fn receiver(plan: &Plan) -> Result<Option<OwnedFd>, Refusal> {
    let at = annotations::at(annotations::PIDFD_RECEIVER);
    let path = plan.pidfd_receiver.as_deref();
    path.map(|path| connect(path, &at)).transpose()
}

/// What holds for all mounts of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// The propagation that mounts have unless they ask for another.
    pub(crate) base: Propagation,
    pub(crate) users: &'a Users,
    /// Whether the container has a user namespace of its own, whose root must not take away what the host's mounts have.
    pub(crate) locks: bool,
    pub(crate) copier: Copier,
}

impl<'a> Terms<'a> {
    pub(crate) fn of(plan: &Plan, users: &'a Users) -> Self {
        let base = match plan.root.propagation {
            None => Propagation::Slave,
            // For the root itself; its mounts must stay copyable.
            Some((Propagation::Unbindable, _)) => Propagation::Private,
            Some((propagation, _)) => propagation,
        };
        Self {
            base,
            users,
            locks: plan.namespaces.has_user(),
            copier: plan.copier,
        }
    }

    /// Whether what was opened is not what is mounted, but only what that has to be.
    pub(crate) fn copies_late(&self) -> bool {
        self.locks || self.copier == Copier::Child
    }
}

/// Opens the sources of mounts, one for each.
pub(crate) fn sources(mounts: &[Mount], terms: Terms<'_>) -> Result<Vec<Source>, Refusal> {
    mounts.iter().map(|mount| source(mount, terms)).collect()
}

fn refuse<T>(result: sys::Result<T>, at: &str, object: impl Display) -> Result<T, Refusal> {
    result.map_err(|errno| Refusal::new(at, format!("{object}: {}", sys::reason(errno))))
}

fn executable(hook: &Hook) -> Result<(), Refusal> {
    let at = format!("{}.path", hook.at);
    let path = || hook.path.display();
    let stat = refuse(
        fs::fstatat(fs::AT_FDCWD, &hook.path, fs::AtFlags::empty()),
        &at,
        path(),
    )?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Refusal::new(at, format!("{}: not a file", path())));
    }
    refuse(fs::may_execute(fs::AT_FDCWD, &hook.path), &at, path())
}

/// Opens a namespace to join, and refuses to change in it what would be the host's: a path may lead to our own namespace.
fn joined(join: &Join, plan: &Plan) -> Result<(Namespaces, OwnedFd), Refusal> {
    let (kind, fd) = namespace(join.kind, &join.path, &join.at)?;
    let file = NAMESPACE_FILES.iter().find(|(_, known)| *known == kind);
    let own = file
        .map(|(file, _)| format!("/proc/self/ns/{file}"))
        .unwrap_or_default();
    let own = refuse(
        fs::fstatat(fs::AT_FDCWD, own.as_str(), fs::AtFlags::empty()),
        &join.at,
        &own,
    )?;
    let there = refuse(fs::fstat(&fd), &join.at, join.path.display())?;
    if (own.st_dev, own.st_ino) != (there.st_dev, there.st_ino) {
        return Ok((kind, fd));
    }
    let named = |name: &Option<String>| name.is_some() && kind == Namespaces::UTS;
    let sysctl = plan.sysctl.iter().find(|sysctl| sysctl.namespace == kind);
    let at = match sysctl {
        Some(sysctl) => &sysctl.at,
        None if named(&plan.hostname) => "hostname",
        None if named(&plan.domainname) => "domainname",
        None if kind == Namespaces::NETWORK && !plan.net_devices.is_empty() => "linux.netDevices",
        None => return Ok((kind, fd)),
    };
    let path = join.path.display();
    Err(Refusal::new(
        at,
        format!(
            "would change the host: {path} ({}) is its own namespace",
            join.at
        ),
    ))
}

fn namespace(kind: Namespaces, path: &Path, at: &str) -> Result<(Namespaces, OwnedFd), Refusal> {
    let fd = refuse(
        fs::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()),
        at,
        path.display(),
    )?;
    match sys::process::namespace_kind(&fd) {
        Ok(found) if found == kind => Ok((kind, fd)),
        Ok(found) => {
            let name = |kind: Namespaces| {
                kind.iter_names()
                    .next()
                    .map_or("unknown", |(name, _)| name)
                    .to_lowercase()
            };
            Err(Refusal::new(
                at,
                format!(
                    "{} is a {} namespace, not a {} namespace",
                    path.display(),
                    name(found),
                    name(kind)
                ),
            ))
        }
        Err(_) => Err(Refusal::new(
            at,
            format!("{} is not a namespace", path.display()),
        )),
    }
}

pub(crate) fn root(path: &Path, copier: Copier) -> Result<Loose, Refusal> {
    let at = "root.path";
    let tree = match copier {
        Copier::Child => fs::open_path(path).map(Loose::from),
        // Here it may turn out that this kernel has one half of the mount calls (Linux 5.2 to 5.11): it is made without both.
        Copier::Parent => match private(path) {
            Err(Errno::ENOSYS) => private(path),
            other => other,
        },
    };
    let tree = refuse(tree, at, path.display())?;
    if !is_directory(&tree, at, path)? {
        return Err(Refusal::new(
            at,
            format!("{}: not a directory", path.display()),
        ));
    }
    Ok(tree)
}

/// Copies a tree whose mounts hear of the host's; the root itself does not, so that nothing of the container's can reach the host.
fn private(path: &Path) -> sys::Result<Loose> {
    let mut tree = sys::mount::clone_path(path, Extent::Tree)?;
    let none = Attr::empty();
    tree.set(Extent::Tree, none, none, Some(Propagation::Slave))?;
    tree.set(Extent::One, none, none, Some(Propagation::Private))?;
    Ok(tree)
}

fn is_directory(fd: impl AsFd, at: &str, path: &Path) -> Result<bool, Refusal> {
    let stat = refuse(fs::fstat(fd), at, path.display())?;
    Ok(SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR)
}

fn source(mount: &Mount, terms: Terms<'_>) -> Result<Source, Refusal> {
    let MountKind::Bind {
        source,
        extent,
        symlinks,
    } = &mount.kind
    else {
        return Ok(Source::None);
    };
    let at = format!("{}.source", mount.at);
    if *symlinks == Symlinks::Copy {
        match fs::readlinkat(fs::AT_FDCWD, source) {
            Ok(target) => return Ok(Source::Link(target.into())),
            // Not a symlink: an ordinary bind mount.
            Err(Errno::EINVAL) => {}
            Err(errno) => return refuse(Err(errno), &at, source.display()),
        }
    }
    let tree = match terms.copier {
        Copier::Parent => copy(source, *extent, *symlinks),
        Copier::Child => look(source, *symlinks).map(Loose::from),
    };
    let mut tree = refuse(tree, &at, source.display())?;
    if terms.copier == Copier::Parent {
        attributes(&mut tree, mount, terms).map_err(|errno| unsettable(mount, source, errno))?;
        terms
            .users
            .map(&tree, mount)
            .map_err(|errno| idmap::refusal(mount, source, errno))?;
    }
    let directory = is_directory(&tree, &at, source)?;
    if mount.target == Path::new("/proc")
        && refuse(fs::fstatfs(&tree), &at, source.display())?.filesystem_type()
            != fs::PROC_SUPER_MAGIC
    {
        return Err(Refusal::new(
            at,
            format!(
                "{} is not a procfs; nothing else may stand at /proc",
                source.display()
            ),
        ));
    }
    Ok(if directory {
        Source::Directory(tree)
    } else {
        Source::File(tree)
    })
}

/// Copies the mount of a bind source.
pub(crate) fn copy(source: &Path, extent: Extent, symlinks: Symlinks) -> sys::Result<Loose> {
    if symlinks != Symlinks::NoFollow {
        return sys::mount::clone_path(source, extent);
    }
    let opened = look(source, symlinks)?;
    Ok(sys::mount::clone_tree(opened, "", extent)?.found_at(source))
}

/// Opens a bind source without copying its mount.
fn look(source: &Path, symlinks: Symlinks) -> sys::Result<OwnedFd> {
    if symlinks != Symlinks::NoFollow {
        return fs::open_path(source);
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fs::open(source, flags, Mode::empty())
}

/// Says why a mount's attributes could not be set.
fn unsettable(mount: &Mount, source: &Path, errno: Errno) -> Refusal {
    if errno == Errno::ENOSYS && !(mount.set_tree | mount.clear_tree).is_empty() {
        return Refusal::new(format!("{}.options", mount.at), NO_TREE);
    }
    let at = format!("{}.source", mount.at);
    Refusal::new(at, format!("{}: {}", source.display(), sys::reason(errno)))
}

/// Sets what the mount asks for, on the copy: the host's mount keeps its attributes and its peers.
pub(crate) fn attributes(tree: &mut Loose, mount: &Mount, terms: Terms<'_>) -> sys::Result<()> {
    // A shared base keeps the peers: that is what `rshared` volumes of a `shared` root are for.
    let base = (terms.base != Propagation::Shared).then_some(terms.base);
    let mut set = |extent, set, clear, propagation| tree.set(extent, set, clear, propagation);
    set(Extent::Tree, Attr::empty(), Attr::empty(), base)?;
    if let Some((propagation, extent)) = mount.propagation {
        set(extent, Attr::empty(), Attr::empty(), Some(propagation))?;
    }
    if !(mount.set | mount.clear).is_empty() {
        set(Extent::One, mount.set, mount.clear, None)?;
    }
    if !(mount.set_tree | mount.clear_tree).is_empty() {
        set(Extent::Tree, mount.set_tree, mount.clear_tree, None)?;
    }
    Ok(())
}

/// Opens the nodes that are bound.
pub(crate) fn devices(plan: &Plan, copier: Copier) -> Result<Vec<Option<Loose>>, Refusal> {
    plan.devices.iter().map(|one| device(one, copier)).collect()
}

fn device(device: &Device, copier: Copier) -> Result<Option<Loose>, Refusal> {
    let numbers = match device.kind {
        DeviceKind::Char { major, minor } => (SFlag::S_IFCHR, fs::makedev(major, minor)),
        DeviceKind::Block { major, minor } => (SFlag::S_IFBLK, fs::makedev(major, minor)),
        DeviceKind::Fifo => return Ok(None),
    };
    if !device.bind {
        return Ok(None);
    }
    let at = if device.at.is_empty() {
        "linux.namespaces"
    } else {
        &device.at
    };
    let opened = node(&device.path, numbers, copier);
    Ok(Some(refuse(opened, at, device.path.display())?))
}

/// Read-only still lets the device be written, but not the host's inode be changed: its mode and owner are the host's.
pub(crate) const NODE: Attr = Attr::RDONLY.union(Attr::NOSUID).union(Attr::NOEXEC);

/// Copies the mount of a device node, once it is known to be that device (CVE-2025-31133: not what its name promises).
fn node(path: &Path, (kind, rdev): (SFlag, u64), copier: Copier) -> sys::Result<Loose> {
    let mut node = match copier {
        Copier::Parent => sys::mount::clone_path(path, Extent::One)?,
        Copier::Child => fs::open_path(path)?.into(),
    };
    let stat = fs::fstat(&node)?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != kind || stat.st_rdev != rdev {
        return Err(Errno::ENODEV);
    }
    if copier == Copier::Parent {
        let private = Some(Propagation::Private);
        node.set(Extent::One, NODE, Attr::empty(), private)?;
    }
    Ok(node)
}

/// Opens what files are masked with, where there are any.
pub(crate) fn null(plan: &Plan, copier: Copier) -> Result<Option<Loose>, Refusal> {
    if plan.masked_paths.is_empty() {
        return Ok(None);
    }
    let numbers = (SFlag::S_IFCHR, fs::makedev(1, 3));
    let opened = node(Path::new("/dev/null"), numbers, copier);
    refuse(opened, "linux.maskedPaths", "/dev/null of the host").map(Some)
}
