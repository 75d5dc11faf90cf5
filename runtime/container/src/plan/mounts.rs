//! Mounts: what the options of fstab(5) and of the specification mean, and where a mount may lie.

use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;
use serde::{Serialize, Serializer};
use sys::mount::{Attr, Extent, Propagation};
use sys::process::Namespaces;

use super::devices::Link;
use super::namespaces::NamespacePlan;
use super::root::{clean, propagation, propagation_name};
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

/// What an option does.
enum Meaning {
    Nothing,
    Set(Attr),
    Clear(Attr),
    /// A property of the file system, not of the mount.
    Fs(&'static str),
    Bind(Extent),
    Remount,
    Propagate(Propagation, Extent),
    CopyUp,
    TargetNoFollow,
    Source(Symlinks),
    /// Known to the specification, not built yet.
    Later,
    /// Goes to the file system as it stands.
    Data,
}

fn meaning(option: &str) -> Meaning {
    match option {
        // The opposites of superblock flags say what a new file system is anyway.
        "defaults" | "async" | "loud" | "nomand" | "noiversion" | "nolazytime" | "norelatime" => {
            Meaning::Nothing
        }
        "ro" => Meaning::Set(Attr::RDONLY),
        "rw" => Meaning::Clear(Attr::RDONLY),
        "nosuid" => Meaning::Set(Attr::NOSUID),
        "suid" => Meaning::Clear(Attr::NOSUID),
        "nodev" => Meaning::Set(Attr::NODEV),
        "dev" => Meaning::Clear(Attr::NODEV),
        "noexec" => Meaning::Set(Attr::NOEXEC),
        "exec" => Meaning::Clear(Attr::NOEXEC),
        "noatime" => Meaning::Set(Attr::NOATIME),
        "strictatime" => Meaning::Set(Attr::STRICTATIME),
        // Relatime is the zero of the access-time field: clearing the field chooses it.
        "relatime" | "atime" | "nostrictatime" => Meaning::Clear(Attr::ATIME_MASK),
        "nodiratime" => Meaning::Set(Attr::NODIRATIME),
        "diratime" => Meaning::Clear(Attr::NODIRATIME),
        "nosymfollow" => Meaning::Set(Attr::NOSYMFOLLOW),
        "symfollow" => Meaning::Clear(Attr::NOSYMFOLLOW),
        "sync" => Meaning::Fs("sync"),
        "dirsync" => Meaning::Fs("dirsync"),
        "lazytime" => Meaning::Fs("lazytime"),
        "mand" => Meaning::Fs("mand"),
        "iversion" => Meaning::Fs("iversion"),
        "silent" => Meaning::Fs("silent"),
        "bind" => Meaning::Bind(Extent::One),
        "rbind" => Meaning::Bind(Extent::Tree),
        "remount" => Meaning::Remount,
        "tmpcopyup" => Meaning::CopyUp,
        "dest-nofollow" => Meaning::TargetNoFollow,
        "src-nofollow" => Meaning::Source(Symlinks::NoFollow),
        "copy-symlink" => Meaning::Source(Symlinks::Copy),
        "rro" | "rrw" | "rnosuid" | "rsuid" | "rnodev" | "rdev" | "rnoexec" | "rexec"
        | "rnodiratime" | "rdiratime" | "rrelatime" | "rnorelatime" | "rnoatime" | "ratime"
        | "rstrictatime" | "rnostrictatime" | "rnosymfollow" | "rsymfollow" | "idmap"
        | "ridmap" => Meaning::Later,
        other if other.starts_with("idmap=") || other.starts_with("ridmap=") => Meaning::Later,
        other => propagation(other).map_or(Meaning::Data, |(propagation, extent)| {
            Meaning::Propagate(propagation, extent)
        }),
    }
}

/// Every option that has a meaning here, for the `features` document.
pub(super) const KNOWN: [&str; 45] = [
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "rbind",
    "relatime",
    "remount",
    "ro",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// The options of one mount, sorted by what they are about.
#[derive(Default)]
struct Parsed {
    set: Attr,
    clear: Attr,
    bind: Option<Extent>,
    remount: bool,
    propagation: Option<(Propagation, Extent)>,
    copy_up: bool,
    target_nofollow: bool,
    symlinks: Option<Symlinks>,
    settings: Vec<Setting>,
}

fn parse(options: &[String], at: &str) -> Result<Parsed, Refusal> {
    let mut parsed = Parsed::default();
    for (index, option) in options.iter().enumerate() {
        match meaning(option) {
            Meaning::Nothing => {}
            Meaning::Set(attr) => {
                // The three access-time modes share one field: the last one named wins.
                let field = if attr.intersects(Attr::ATIME_MASK) {
                    Attr::ATIME_MASK
                } else {
                    attr
                };
                parsed.set = (parsed.set - field) | attr;
                parsed.clear -= field;
            }
            Meaning::Clear(attr) => {
                parsed.set -= attr;
                parsed.clear |= attr;
            }
            Meaning::Fs(name) => parsed.settings.push(Setting {
                key: name.into(),
                value: None,
            }),
            Meaning::Bind(extent) => parsed.bind = Some(extent),
            Meaning::Remount => parsed.remount = true,
            Meaning::Propagate(propagation, extent) => {
                parsed.propagation = Some((propagation, extent))
            }
            Meaning::CopyUp => parsed.copy_up = true,
            Meaning::TargetNoFollow => parsed.target_nofollow = true,
            Meaning::Source(symlinks) => parsed.symlinks = Some(symlinks),
            Meaning::Later => {
                let at = format!("{at}.options[{index}]");
                return Err(Refusal::new(
                    at,
                    format!("{option:?} is not supported by this version; remove it"),
                ));
            }
            Meaning::Data => {
                let (key, value) = option
                    .split_once('=')
                    .map_or((option.as_str(), None), |(key, value)| (key, Some(value)));
                parsed.settings.push(Setting {
                    key: key.into(),
                    value: value.map(String::from),
                });
            }
        }
    }
    Ok(parsed)
}

pub(super) fn plan(
    bundle: &Bundle,
    host: &Host,
    namespaces: &NamespacePlan,
    cgroup: Option<&cgroup::Plan>,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Vec<Mount>, Refusal> {
    let mut mounts = Vec::new();
    let given = bundle.spec.mounts().as_ref().map_or(&[][..], Vec::as_slice);
    for (index, mount) in given.iter().enumerate() {
        let mut mount = one(
            mount,
            &format!("mounts[{index}]"),
            bundle,
            host,
            cgroup,
            warnings,
        )?;
        if matches!(mount.kind, MountKind::Cgroup { .. })
            && namespaces.has_user()
            && !namespaces.has(Namespaces::CGROUP)
        {
            // CVE-2023-25809: without a cgroup namespace its processes see the host's paths, and must not change what lies there.
            mount.set |= Attr::RDONLY;
        }
        mounts.push(mount);
    }
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
    bundle: &Bundle,
    host: &Host,
    cgroup: Option<&cgroup::Plan>,
    warnings: &mut Vec<String>,
) -> Result<Mount, Refusal> {
    let destination = mount.destination();
    if destination.as_os_str().is_empty() {
        return Err(Refusal::new(
            format!("{at}.destination"),
            "empty; name the path in the container",
        ));
    }
    // Relative destinations are deprecated by the specification and mean the same below `/`.
    let target = clean(destination);
    if target == Path::new("/") {
        return Err(Refusal::new(
            format!("{at}.destination"),
            "a mount over the whole root; name a directory below it",
        ));
    }
    let mut parsed = parse(mount.options().as_ref().map_or(&[][..], Vec::as_slice), at)?;
    drop_selinux_context(&mut parsed, host, at, warnings)?;
    let fstype = mount.typ().as_deref().unwrap_or("");
    if fstype == "bind" && parsed.bind.is_none() {
        parsed.bind = Some(Extent::One);
    }
    refuse_inside_proc(&target, &format!("{at}.destination"))?;
    let kind = if parsed.remount {
        MountKind::Remount
    } else if let Some(extent) = parsed.bind {
        if !parsed.settings.is_empty() {
            let names: Vec<_> = parsed.settings.iter().map(|s| s.key.as_str()).collect();
            let names = names.join(", ");
            warnings.push(format!(
                "{at}.options: a bind mount takes no data; ignored: {names}"
            ));
        }
        MountKind::Bind {
            source: bundle.dir.join(bind_source(mount, at)?),
            extent,
            symlinks: parsed.symlinks.unwrap_or(Symlinks::Follow),
        }
    } else {
        file_system(fstype, mount, &mut parsed, at, host, cgroup)?
    };
    if parsed.copy_up && !matches!(&kind, MountKind::Fs { fstype, .. } if fstype == "tmpfs") {
        return Err(Refusal::new(
            format!("{at}.options"),
            "tmpcopyup works with the type tmpfs only",
        ));
    }
    Ok(Mount {
        target,
        kind,
        set: parsed.set,
        clear: parsed.clear,
        propagation: parsed.propagation,
        target_nofollow: parsed.target_nofollow,
        at: at.to_string(),
    })
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
    host: &Host,
    cgroup: Option<&cgroup::Plan>,
) -> Result<MountKind, Refusal> {
    match fstype {
        "" => Err(Refusal::new(
            format!("{at}.type"),
            "missing; name a file system such as \"tmpfs\", or add \"bind\" to the options",
        )),
        "cgroup" => Ok(cgroup_tree(host, cgroup)),
        "cgroup2" => match own_cgroups(host, cgroup)
            .1
            .map(|hierarchy| hierarchy.source)
        {
            // The same view as a mount made inside a cgroup namespace, and one call instead of four.
            Some(source) => Ok(MountKind::Bind {
                source,
                extent: Extent::One,
                symlinks: Symlinks::Follow,
            }),
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

/// Returns the container's cgroup in each hierarchy of version 1 and in that of version 2; without a cgroup of its own, the caller's.
fn own_cgroups(host: &Host, cgroup: Option<&cgroup::Plan>) -> (Vec<Hierarchy>, Option<Hierarchy>) {
    let named = |mount: &Path, source: PathBuf| {
        let name = mount
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Hierarchy { name, source }
    };
    let own = |hierarchy: &cgroup::Hierarchy| {
        named(&hierarchy.mount, hierarchy.mount.join(&hierarchy.own))
    };
    let Some(plan) = cgroup else {
        return (
            host.cgroups.v1.iter().map(own).collect(),
            host.cgroups.unified.as_ref().map(own),
        );
    };
    let (unified, v1): (Vec<_>, Vec<_>) = plan.dirs.iter().partition(|dir| dir.is_unified());
    let view = |dir: &&cgroup::Dir| named(&dir.mount, dir.path.clone());
    (v1.iter().map(view).collect(), unified.first().map(view))
}

fn cgroup_tree(host: &Host, cgroup: Option<&cgroup::Plan>) -> MountKind {
    let (mut hierarchies, unified) = own_cgroups(host, cgroup);
    hierarchies.extend(unified);
    // Co-mounted controllers are reached under each single name too: cpu -> cpu,cpuacct.
    let links = |hierarchy: &Hierarchy| -> Vec<Link> {
        let link = |name: &str| Link {
            path: name.into(),
            target: hierarchy.name.clone().into(),
        };
        if hierarchy.name.contains(',') {
            hierarchy.name.split(',').map(link).collect()
        } else {
            Vec::new()
        }
    };
    let links = hierarchies.iter().flat_map(links).collect();
    MountKind::Cgroup { hierarchies, links }
}

/// Drops `context=` options where SELinux is off, and refuses them where it is on.
fn drop_selinux_context(
    parsed: &mut Parsed,
    host: &Host,
    at: &str,
    warnings: &mut Vec<String>,
) -> Result<(), Refusal> {
    let context = |setting: &Setting| {
        matches!(
            setting.key.as_str(),
            "context" | "fscontext" | "defcontext" | "rootcontext"
        )
    };
    if !parsed.settings.iter().any(context) {
        return Ok(());
    }
    if host.selinux {
        return Err(Refusal::new(
            format!("{at}.options"),
            "SELinux contexts are not supported by this version; remove the option",
        ));
    }
    parsed.settings.retain(|setting| !context(setting));
    warnings.push(format!("{at}.options: SELinux is off, context= is ignored"));
    Ok(())
}

/// Files of procfs that other programs (lxcfs, for one) replace without harm to a security decision.
const REPLACEABLE: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Tells whether a path lies where a mount would let the container fake procfs (CVE-2019-16884).
pub(crate) fn fakes_proc(target: &Path) -> bool {
    target.strip_prefix("/proc").is_ok_and(|inside| {
        inside != Path::new("") && !REPLACEABLE.iter().any(|file| inside == Path::new(file))
    })
}

fn refuse_inside_proc(target: &Path, at: &str) -> Result<(), Refusal> {
    if fakes_proc(target) {
        return Err(Refusal::new(
            at,
            format!(
                "{} lies inside /proc, where only some files may be replaced",
                target.display()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &str, want: &str) {
        let options: Vec<_> = options.split_whitespace().map(String::from).collect();
        let got = match parse(&options, "mounts[0]") {
            Err(refusal) => format!("{}: {}", refusal.at, refusal.why),
            Ok(parsed) => {
                let settings: Vec<_> = parsed
                    .settings
                    .iter()
                    .map(|s| format!("{}={}", s.key, s.value.as_deref().unwrap_or("-")))
                    .collect();
                format!(
                    "{:?} {:?} {:?} {:?} {settings:?}",
                    parsed.set, parsed.clear, parsed.bind, parsed.propagation
                )
            }
        };
        assert_eq!(got, want, "{options:?}");
    }

    #[test]
    fn options_mean_what_mount_8_says() {
        check("rbind ro", "Attr(RDONLY) Attr(0x0) Some(Tree) None []");
        check("ro rw", "Attr(0x0) Attr(RDONLY) None None []");
        check(
            "noatime strictatime",
            "Attr(STRICTATIME) Attr(0x0) None None []",
        );
        check(
            "noatime relatime",
            "Attr(0x0) Attr(ATIME_MASK) None None []",
        );
        check(
            "rslave size=64k newinstance",
            "Attr(0x0) Attr(0x0) None Some((Slave, Tree)) [\"size=64k\", \"newinstance=-\"]",
        );
        check(
            "rro",
            "mounts[0].options[0]: \"rro\" is not supported by this version; remove it",
        );
    }

    #[test]
    fn only_harmless_files_of_proc_may_be_replaced() {
        let check =
            |path: &str, fakes: bool| assert_eq!(fakes_proc(Path::new(path)), fakes, "{path}");
        check("/proc", false);
        check("/proc/cpuinfo", false);
        check("/proc/self/attr/exec", true);
        check("/proc/sys/kernel/ns_last_pid", false);
        check("/procfs", false);
    }
}
