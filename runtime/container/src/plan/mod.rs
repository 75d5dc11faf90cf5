//! The plan: everything that will be done for one container, decided before anything is done.
//!
//! [`Plan::new`] is pure: the same bundle, host and options give the same plan, in the same order. Every parse and default and
//! every refusal that these values can decide happens here. A plan is data: it can be printed, compared and tested without
//! a kernel.

pub(crate) mod annotations;
mod capabilities;
mod clocks;
mod devices;
mod hooks;
mod ids;
mod labels;
mod mounts;
mod namespaces;
mod net_devices;
pub(crate) mod newer;
mod numbers;
mod process;
mod refusal;
pub(crate) mod resctrl;
mod root;
mod scheduling;
mod seccomp;
mod show;
mod sysctl;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::Serialize;
use sys::mount::Attr;
use sys::process::Namespaces;

pub use capabilities::CapabilitySets;
pub use clocks::TimeOffset;
pub use devices::{Device, DeviceKind, Link};
pub use hooks::{Hook, Hooks};
pub use ids::{IdMap, Writer};
pub use mounts::{Idmap, Mapping, Mount, MountKind, Setting, Symlinks};
pub(crate) use mounts::{Ids, Label, Surroundings, list as plan_mounts, target as mount_target};
pub use namespaces::{Join, NamespacePlan};
pub use net_devices::NetDevice;
pub use numbers::Numbers;
pub use process::{Base, Process, Rlimit, Terminal, User};
pub use refusal::{Lack, Refusal};
pub use resctrl::{Resctrl, Schema};
pub use root::Root;
pub use scheduling::{
    Affinity, Common, IoPriority, MemoryPolicy, Personality, Scheduler, Scheduling,
};
pub use seccomp::{Listener, Seccomp};
pub use sysctl::Sysctl;

use crate::{Bundle, ContainerId, Host};

/// What the command line adds to a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Change the root by a mount move and chroot(2) instead of pivot_root(2), for hosts that run from an initramfs.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// How many descriptors from 3 upwards the payload keeps, socket activation's included.
    pub preserve_fds: u32,
    /// How many of them are socket activation's (sd_listen_fds(3)).
    pub listen_fds: u32,
    /// Make and join no cgroup.
    pub no_cgroup: bool,
    /// The systemd that makes the container's unit; none where cgroups are made directly.
    pub systemd: Option<cgroup::Systemd>,
    /// Do without what takes privileges on the host, if it was not asked for by name; without an answer, as our privileges are.
    pub rootless: Option<bool>,
    /// The directory with the notify socket that is shown to the payload at `/run/notify`.
    pub notify_dir: Option<PathBuf>,
}

/// Who copies the mounts of the host that the container uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Copier {
    /// Its creator, before anything is made.
    #[default]
    Parent,
    /// Its first process, in its own mount namespace: the creator has no say over its own. It takes only what the creator has looked at.
    Child,
}

/// Everything that will be done for one container, in the order in which it is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    pub id: String,
    pub bundle: PathBuf,
    pub oci_version: String,
    pub annotations: BTreeMap<String, String>,
    pub namespaces: NamespacePlan,
    /// What sets the clocks of a new time namespace apart from the host's.
    pub time_offsets: Vec<TimeOffset>,
    /// Devices of the host that become the container's.
    pub net_devices: Vec<NetDevice>,
    /// `None` where no cgroup is made.
    pub cgroup: Option<cgroup::Plan>,
    /// `None` where the container stays in the class of its creator.
    pub resctrl: Option<Resctrl>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub root: Root,
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    pub links: Vec<Link>,
    pub sysctl: Vec<Sysctl>,
    pub read_only_paths: Vec<PathBuf>,
    pub masked_paths: Vec<PathBuf>,
    pub hooks: Hooks,
    /// A Unix socket of the host that gets a pidfd of the container's process.
    pub pidfd_receiver: Option<PathBuf>,
    /// `None` where the configuration names no process: the container can be created, and starting it is an error.
    pub process: Option<Process>,
    pub new_keyring: bool,
    pub preserve_fds: u32,
    pub copier: Copier,
    /// Whether what only the host's root could have is passed over, with a warning, where the configuration does not insist on it.
    pub rootless: bool,
    /// What this host cannot do; a plan with an entry is shown but not carried out.
    pub lacks: Vec<Lack>,
    /// What is done in another way here than on a newer kernel; filled by [`Plan::explain`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stand_ins: Vec<String>,
    /// What is passed over, for the binary to print.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Decides everything for one container, or says which field is wrong and what would be right.
    #[expect(clippy::too_many_lines, reason = "step list")]
    pub fn new(
        id: &ContainerId,
        bundle: &Bundle,
        host: &Host,
        options: &Options,
    ) -> Result<Self, Refusal> {
        let spec = &bundle.spec;
        refusal::oci_version(spec.version())?;
        let mut warnings = Vec::new();
        let mut lacks = Vec::new();

        let namespaces = namespaces::plan(spec, host, &mut lacks, &mut warnings)?;
        let time_offsets = clocks::plan(spec, &namespaces, host, &mut lacks)?;
        let rootless = options.rootless.unwrap_or_else(|| host.is_rootless());
        let net_devices = net_devices::plan(spec, &namespaces, host, &mut lacks)?;
        let annotations = annotations::plan(spec, options.systemd.is_some(), &mut warnings)?;
        let ids = ids::of(spec, &namespaces)?;
        let mut cgroup = cgroup_plan(id, bundle, host, options)?;
        if let Some(cgroup) = &mut cgroup {
            cgroup.lenient = rootless;
        }
        if let (Some(plan), Some(path)) = (&mut cgroup, &annotations.delegate) {
            plan.delegate(path, &annotations::at_delegate())?;
        }
        let rdt = spec
            .linux()
            .as_ref()
            .and_then(|linux| linux.intel_rdt().as_ref());
        let resctrl = resctrl::plan(id.as_str(), rdt, host, &mut lacks)?;
        warnings.extend(cgroup.iter().flat_map(|plan| plan.warnings.clone()));
        let linux = spec.linux().as_ref();
        let label = linux.and_then(|linux| linux.mount_label().as_deref());
        warnings.extend(Label::warning(host.selinux, label));
        let label = Label::of(host.selinux, label, spec.annotations().as_ref())?;
        let around = Surroundings {
            dir: &bundle.dir,
            host,
            cgroup: cgroup.as_ref(),
            label: &label,
            ids: Ids {
                own: namespaces.has_user(),
                joined: namespaces.joins(Namespaces::USER),
                uid: &ids[0],
                gid: &ids[1],
            },
            own: namespaces.own(),
        };
        let mounts = mounts::plan(bundle, &around, options, &mut warnings)?;
        if let Some(cgroup) = &mut cgroup {
            cgroup.owner = match cgroup.delegated {
                // The container's root: it is to manage the cgroup, whoever its first process is.
                Some(_) if namespaces.has_user() => ids::on_host(&ids[0], 0),
                Some(_) => None,
                None => owner(cgroup, spec, &namespaces, &mounts),
            };
        }
        let dev = devices::Dev::of(&mounts);
        let process = match spec.process() {
            Some(process) => {
                let seccomp = seccomp::plan(spec, &mut warnings)?;
                let base = Base {
                    at: "process",
                    host,
                    user_namespace: namespaces.has_user(),
                    seccomp,
                    common: Common::of(spec),
                    extra_env: extra_env(options),
                    keep_groups: annotations.keep_groups,
                };
                Some(process::plan(process, base, &mut lacks, &mut warnings)?)
            }
            None => None,
        };
        if let Some(process) = &process {
            ids::refuse_unmapped(&namespaces, &process.user)?;
        }
        Ok(Self {
            id: id.to_string(),
            bundle: bundle.dir.clone(),
            oci_version: spec.version().clone(),
            annotations: spec
                .annotations()
                .iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            hostname: namespaces::uts_name(spec.hostname().as_ref(), "hostname", &namespaces)?,
            domainname: namespaces::uts_name(
                spec.domainname().as_ref(),
                "domainname",
                &namespaces,
            )?,
            root: root::plan(bundle, options)?,
            devices: devices::plan(spec, namespaces.has_user() || host.user_namespace, dev)?,
            links: devices::links(host, dev),
            sysctl: sysctl::plan(spec, &namespaces)?,
            read_only_paths: root::paths(spec, root::List::ReadOnly)?,
            masked_paths: root::paths(spec, root::List::Masked)?,
            hooks: hooks::plan(spec, &annotations)?,
            pidfd_receiver: annotations.pidfd_receiver,
            process,
            new_keyring: !options.no_new_keyring,
            preserve_fds: options.preserve_fds,
            copier: host.copier(),
            rootless,
            namespaces,
            time_offsets,
            net_devices,
            cgroup,
            resctrl,
            mounts,
            lacks,
            stand_ins: Vec::new(),
            warnings,
        })
    }

    /// Returns the plan as a readable list of steps.
    #[must_use]
    pub fn show(&self) -> String {
        show::list(self)
    }

    /// Returns the first thing that this host cannot do as a refusal.
    pub fn possible(&self) -> Result<(), Refusal> {
        self.lacks
            .first()
            .map_or(Ok(()), |lack| Err(Refusal::new(&lack.at, &lack.why)))
    }
}

/// Returns who is to own the container's cgroup, as the specification has it ("Cgroup ownership"): its process's user, where that one
/// could use it, in a cgroup namespace of its own that a writable mount shows.
fn owner(
    cgroup: &cgroup::Plan,
    spec: &Spec,
    namespaces: &NamespacePlan,
    mounts: &[Mount],
) -> Option<u32> {
    let shows = |mount: &Mount| {
        mount.target == Path::new("/sys/fs/cgroup")
            && matches!(mount.kind, MountKind::Cgroup2 { .. })
            && !mount.set.contains(Attr::RDONLY)
    };
    let usable = namespaces.new.contains(Namespaces::CGROUP) && mounts.iter().any(shows);
    if !usable || !cgroup.dirs.iter().any(cgroup::Dir::is_unified) {
        return None;
    }
    let user = spec.process().as_ref().map_or(0, |it| it.user().uid());
    if namespaces.new.contains(Namespaces::USER) {
        ids::on_host(&namespaces.uid_map, user)
    } else {
        // A joined user namespace has its maps already, and only it knows them.
        Some(user).filter(|user| *user != 0 && !namespaces.has_user())
    }
}

/// Plans one more process for a container that exists, from its own base values.
pub fn process(
    process: &oci_spec::runtime::Process,
    base: Base<'_>,
    warnings: &mut Vec<String>,
) -> Result<Process, Refusal> {
    let mut lacks = Vec::new();
    let planned = process::plan(process, base, &mut lacks, warnings)?;
    lacks
        .into_iter()
        .next()
        .map_or(Ok(planned), |lack| Err(Refusal::new(&lack.at, &lack.why)))
}

/// Returns every mount option that has a meaning, for the `features` document.
#[must_use]
pub fn mount_options() -> &'static [&'static str] {
    &mounts::KNOWN
}

/// Returns every known capability, for the `features` document.
#[must_use]
pub fn capability_names() -> Vec<String> {
    capabilities::list(u64::MAX).collect()
}

fn extra_env(options: &Options) -> Vec<String> {
    let mut env = Vec::new();
    if options.listen_fds > 0 {
        env.push(format!("LISTEN_FDS={}", options.listen_fds));
        env.push("LISTEN_PID=1".to_string());
    }
    if options.notify_dir.is_some() {
        env.push("NOTIFY_SOCKET=/run/notify/notify.sock".to_string());
    }
    env
}

fn cgroup_plan(
    id: &ContainerId,
    bundle: &Bundle,
    host: &Host,
    options: &Options,
) -> Result<Option<cgroup::Plan>, Refusal> {
    if options.no_cgroup {
        return Ok(None);
    }
    let linux = bundle.spec.linux().as_ref();
    let path = linux
        .and_then(|linux| linux.cgroups_path().as_deref())
        .map(Path::to_string_lossy);
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let Some(systemd) = &options.systemd else {
        let path = cgroup::CgroupPath::parse(path.as_deref(), id.as_str())?;
        return Ok(Some(cgroup::plan(&host.cgroups, &path, resources)?));
    };
    let annotations = bundle.spec.annotations().iter().flatten();
    let wanted = cgroup::Wanted {
        id: id.as_str(),
        cgroups_path: path.as_deref(),
        annotations: annotations
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect(),
        resources,
    };
    Ok(Some(cgroup::plan_unit(&host.cgroups, systemd, &wanted)?))
}
