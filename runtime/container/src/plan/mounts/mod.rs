//! Mounts: what their options mean, and where one may lie.

mod cgroup;
mod idmap;
mod label;
mod options;
mod proc;
mod rootless;

use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;
use serde::{Serialize, Serializer};
use sys::mount::{Attr, Extent, Propagation};
use sys::process::Namespaces;

use self::cgroup::{cgroup_tree, cgroup2};
pub(crate) use self::idmap::Ids;
pub use self::idmap::{Idmap, Mapping};
pub(crate) use self::label::{CONTEXT_TYPE, Label};
pub(super) use self::options::KNOWN;
use self::options::{Parsed, parse};
use self::proc::refuse_inside_proc;
use super::devices::Link;
use super::root::{clean, propagation_name};
use super::{Options, Refusal};
use crate::{Bundle, Host};

/// One mount, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The path in the container, resolved by text; symlinks are resolved below the container's root when it is made.
    pub target: PathBuf,
    #[serde(flatten)]
    pub kind: MountKind,
    #[serde(serialize_with = "attr_names")]
    pub set: Attr,
    #[serde(serialize_with = "attr_names")]
    pub clear: Attr,
    /// Likewise for the mounts below a bound tree, after the two above.
    #[serde(serialize_with = "attr_names")]
    pub set_tree: Attr,
    #[serde(serialize_with = "attr_names")]
    pub clear_tree: Attr,
    pub idmap: Option<Idmap>,
    #[serde(serialize_with = "propagation_name")]
    pub propagation: Option<(Propagation, Extent)>,
    /// Do not follow a symlink at the target.
    pub target_nofollow: bool,
    /// The JSON path.
    pub at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the host.
    Bind {
        source: PathBuf,
        #[serde(serialize_with = "extent_name")]
        extent: Extent,
        symlinks: Symlinks,
    },
    /// A new file system.
    Fs {
        fstype: String,
        source: Option<String>,
        settings: Vec<Setting>,
        /// Start with a copy of what lies at the target.
        copy_up: bool,
    },
    /// The container's own cgroup in every hierarchy of version 1, on a small tmpfs.
    Cgroup {
        hierarchies: Vec<Hierarchy>,
        links: Vec<Link>,
        /// The SELinux label of the tmpfs.
        settings: Vec<Setting>,
    },
    /// A part of the host's cgroup hierarchy of version 2.
    Cgroup2 {
        source: PathBuf,
        /// Shown read-only where `source` could not be made: the cgroup that the container shares with its creator.
        #[serde(skip_serializing_if = "Option::is_none")]
        instead: Option<PathBuf>,
    },
    /// Other attributes for a mount that is there.
    Remount,
}

/// What happens to a bind source that is a symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Symlinks {
    Follow,
    /// Mount the symlink itself (`src-nofollow`).
    NoFollow,
    /// Make the same symlink in the container instead of a mount (`copy-symlink`).
    Copy,
}

/// One option of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub key: String,
    pub value: Option<String>,
}

/// The container's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hierarchy {
    /// The directory's name below the target, such as `cpu,cpuacct`.
    pub name: String,
    /// Where it is on the host.
    pub source: PathBuf,
    /// Shown read-only where `source` could not be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<PathBuf>,
}

fn attr_names<S: Serializer>(attr: &Attr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(attr.iter_names().map(|(name, _)| name.to_lowercase()))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn extent_name<S: Serializer>(extent: &Extent, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *extent == Extent::Tree {
        "tree"
    } else {
        "one"
    })
}

/// What mounts depend on beside their own text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    /// Where relative sources begin.
    pub(crate) dir: &'a Path,
    pub(crate) host: &'a Host,
    pub(crate) cgroup: Option<&'a ::cgroup::Plan>,
    pub(crate) label: &'a Label,
    pub(crate) ids: Ids<'a>,
    /// The kinds of namespaces in which the container differs from the host.
    pub(crate) own: Namespaces,
}

impl Surroundings<'_> {
    /// Whether the container's root is not the host's.
    fn is_mapped(&self) -> bool {
        self.ids.own || self.host.user_namespace
    }
}

/// Plans a list of mounts; `at` is the JSON path of the list.
pub(crate) fn list(
    mounts: &[oci::Mount],
    at: &str,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Mount>, Refusal> {
    let each = |(index, mount)| one(mount, &format!("{at}[{index}]"), around, warnings);
    mounts.iter().enumerate().map(each).collect()
}

pub(super) fn plan(
    bundle: &Bundle,
    around: &Surroundings<'_>,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Vec<Mount>, Refusal> {
    let given = bundle.spec.mounts().as_ref().map_or(&[][..], Vec::as_slice);
    let mut mounts = list(given, "mounts", around, warnings)?;
    if let Some(dir) = &options.notify_dir {
        mounts.push(Mount {
            target: "/run/notify".into(),
            kind: MountKind::Bind {
                source: dir.clone(),
                extent: Extent::One,
                symlinks: Symlinks::Follow,
            },
            set: Attr::RDONLY | Attr::NOSUID | Attr::NODEV | Attr::NOEXEC,
            clear: Attr::empty(),
            set_tree: Attr::empty(),
            clear_tree: Attr::empty(),
            idmap: None,
            propagation: None,
            target_nofollow: false,
            at: "NOTIFY_SOCKET".into(),
        });
    }
    Ok(mounts)
}

fn one(
    mount: &oci::Mount,
    at: &str,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Result<Mount, Refusal> {
    let target = target(mount, at)?;
    if !mount.destination().is_absolute() {
        warnings.push(format!(
            "{at}.destination: {:?} is not an absolute path, which the specification does not want any more; taken for {:?}",
            mount.destination(),
            target
        ));
    }
    let mut parsed = parse(mount.options().as_ref().map_or(&[][..], Vec::as_slice), at)?;
    let fstype = mount.typ().as_deref().unwrap_or("");
    if fstype == "bind" && parsed.bind.is_none() {
        parsed.bind = Some(Extent::One);
    }
    around.label.apply(fstype, &mut parsed, at, warnings);
    let idmap = idmap::plan(mount, parsed.idmap.take(), around.ids, at)?;
    rootless::refuse_idmap(idmap.as_ref(), around)?;
    rootless::drop_unmapped(fstype, &mut parsed.settings, around, at, warnings);
    let stand_in = rootless::stand_in(fstype, &mut parsed, around, at, warnings);
    let kind = if parsed.remount {
        MountKind::Remount
    } else if let Some(extent) = parsed.bind {
        bind(mount, (extent, stand_in), &mut parsed, at, around, warnings)?
    } else {
        // Nothing lies below it yet.
        parsed.one = parsed.one.then(std::mem::take(&mut parsed.tree));
        file_system(fstype, mount, &mut parsed, at, around)?
    };
    if parsed.copy_up && !matches!(&kind, MountKind::Fs { fstype, .. } if fstype == "tmpfs") {
        return Err(Refusal::new(
            format!("{at}.options"),
            "tmpcopyup works with the type tmpfs only",
        ));
    }
    if idmap.is_some() && parsed.bind.is_none() {
        return Err(Refusal::new(
            format!("{at}.type"),
            "only bind mounts can have their ids mapped; remove the mappings, or bind a directory of the host",
        ));
    }
    let of_cgroups = matches!(kind, MountKind::Cgroup { .. } | MountKind::Cgroup2 { .. });
    let bare = of_cgroups && around.is_mapped() && !around.own.contains(Namespaces::CGROUP);
    // CVE-2023-25809: without a cgroup namespace its processes see the host's paths, and must not change what lies there.
    let forced = if bare { Attr::RDONLY } else { Attr::empty() };
    Ok(Mount {
        target,
        kind,
        set: parsed.one.set | forced,
        clear: parsed.one.clear - forced,
        set_tree: parsed.tree.set,
        clear_tree: parsed.tree.clear,
        idmap,
        propagation: parsed.propagation,
        target_nofollow: parsed.target_nofollow,
        at: at.to_string(),
    })
}

/// Plans a bind mount of a path, or of what stands in for a file system.
fn bind(
    mount: &oci::Mount,
    (extent, stand_in): (Extent, Option<&str>),
    parsed: &mut Parsed,
    at: &str,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Result<MountKind, Refusal> {
    if !parsed.settings.is_empty() {
        let names: Vec<_> = parsed.settings.iter().map(|s| s.key.as_str()).collect();
        let names = names.join(", ");
        warnings.push(format!(
            "{at}.options: a bind mount takes no data; ignored: {names}"
        ));
    }
    let source = match stand_in {
        Some(path) => path.into(),
        None => around.dir.join(bind_source(mount, at)?),
    };
    if around.is_mapped() && extent == Extent::Tree && clean(&source).starts_with("/sys") {
        // CVE-2023-25809, by another way: the cgroups below belong to the user who runs this.
        let read_only = parsed.one.set & Attr::RDONLY;
        parsed.tree.set |= read_only;
        parsed.tree.clear -= read_only;
    }
    Ok(MountKind::Bind {
        source,
        extent,
        symlinks: parsed.symlinks.unwrap_or(Symlinks::Follow),
    })
}

/// Returns where a mount goes.
pub(crate) fn target(mount: &oci::Mount, at: &str) -> Result<PathBuf, Refusal> {
    let at = format!("{at}.destination");
    let destination = mount.destination();
    if destination.as_os_str().is_empty() {
        return Err(Refusal::new(at, "empty; name the path in the container"));
    }
    // Relative destinations are deprecated by the specification and mean the same below `/`.
    let target = clean(destination);
    if target == Path::new("/") {
        let why = "a mount over the whole root; name a directory below it";
        return Err(Refusal::new(at, why));
    }
    refuse_inside_proc(&target, &at)?;
    Ok(target)
}

fn bind_source<'a>(mount: &'a oci::Mount, at: &str) -> Result<&'a Path, Refusal> {
    let source = mount.source().as_deref();
    source
        .filter(|source| !source.as_os_str().is_empty())
        .ok_or_else(|| {
            Refusal::new(
                format!("{at}.source"),
                "missing; a bind mount needs a path of the host",
            )
        })
}

fn file_system(
    fstype: &str,
    mount: &oci::Mount,
    parsed: &mut Parsed,
    at: &str,
    around: &Surroundings<'_>,
) -> Result<MountKind, Refusal> {
    let (host, cgroup) = (around.host, around.cgroup);
    match fstype {
        "" => Err(Refusal::new(
            format!("{at}.type"),
            "missing; name a file system such as \"tmpfs\", or add \"bind\" to the options",
        )),
        "cgroup" if host.cgroups.kind() != ::cgroup::Kind::V2 => {
            Ok(cgroup_tree(host, cgroup, &around.label.setting))
        }
        "cgroup" | "cgroup2" => match cgroup2(around) {
            Some(kind) => Ok(kind),
            None => Err(Refusal::new(
                format!("{at}.type"),
                "this host has no cgroup2 hierarchy mounted",
            )),
        },
        fstype => {
            let source = mount
                .source()
                .as_ref()
                .map(|source| source.to_string_lossy().into_owned());
            let settings = std::mem::take(&mut parsed.settings);
            Ok(MountKind::Fs {
                fstype: fstype.into(),
                source,
                settings,
                copy_up: parsed.copy_up,
            })
        }
    }
}
