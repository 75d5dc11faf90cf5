//! The process that the container runs, or one more that enters it.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;
use serde::Serialize;

use super::capabilities::{self, CapabilitySets};
use super::scheduling::{self, Common, Scheduling};
use super::{Lack, Refusal, Seccomp, labels};
use crate::Host;

/// A process, ready to be executed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Process {
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub cwd: PathBuf,
    pub user: User,
    pub terminal: Option<Terminal>,
    pub capabilities: CapabilitySets,
    pub rlimits: Vec<Rlimit>,
    pub no_new_privileges: bool,
    pub oom_score_adj: Option<i32>,
    pub scheduling: Scheduling,
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
    pub seccomp: Option<Seccomp>,
}

/// Ids in the container's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Whether those of the caller are kept, and nothing is set.
    pub keep_groups: bool,
    pub umask: Option<u32>,
}

/// A pseudo-terminal on standard input, output and error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Terminal {
    /// Rows and columns, where the configuration gives them.
    pub size: Option<(u16, u16)>,
}

/// One resource limit (getrlimit(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rlimit {
    pub name: String,
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}

/// What a process is planned on.
#[derive(Debug)]
pub struct Base<'a> {
    /// The JSON path of the process.
    pub at: &'a str,
    pub host: &'a Host,
    pub user_namespace: bool,
    pub seccomp: Option<Seccomp>,
    /// What all processes of the container have in common.
    pub common: Common<'a>,
    /// Whether the caller's supplementary groups are kept.
    pub keep_groups: bool,
    /// Variables that go behind the configured ones.
    pub extra_env: Vec<String>,
}

/// Names of resource limits by number (resource.h of x86-64 and all newer architectures).
const RLIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

pub(super) fn plan(
    process: &oci::Process,
    base: Base<'_>,
    lacks: &mut Vec<Lack>,
    warnings: &mut Vec<String>,
) -> Result<Process, Refusal> {
    let at = base.at;
    let args = process.args().clone().unwrap_or_default();
    if args.first().is_none_or(String::is_empty) {
        return Err(Refusal::new(
            format!("{at}.args"),
            "empty; name the program to run",
        ));
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(base.extra_env);
    refuse_nul(&args, &format!("{at}.args"))?;
    refuse_nul(&env, &format!("{at}.env"))?;
    if let Some(index) = env
        .iter()
        .position(|variable| variable.find('=').is_none_or(|at| at == 0))
    {
        return Err(Refusal::new(
            format!("{at}.env[{index}]"),
            format!("{:?} is not of the form NAME=VALUE", env[index]),
        ));
    }
    // A new user namespace starts with every capability, whatever the host's bounding set lacks (user_namespaces(7)).
    let grantable = if base.user_namespace {
        u64::MAX
    } else {
        base.host.capabilities
    };
    if base.seccomp.is_some()
        && !base.user_namespace
        && base.host.capabilities & 1 << sys::capability::SYS_ADMIN == 0
    {
        lacks.push(Lack {
            at: "linux.seccomp".into(),
            why: "loading a filter needs CAP_SYS_ADMIN or a user namespace".into(),
        });
    }
    Ok(Process {
        args,
        env,
        cwd: cwd(process.cwd(), &format!("{at}.cwd"))?,
        user: user(
            process.user(),
            base.keep_groups,
            &format!("{at}.user"),
            warnings,
        )?,
        terminal: terminal(process, &format!("{at}.consoleSize"))?,
        capabilities: capabilities::plan(process.capabilities().as_ref(), grantable, at, warnings),
        rlimits: rlimits(process.rlimits().as_ref(), &format!("{at}.rlimits"))?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj: oom_score_adj(process.oom_score_adj(), &format!("{at}.oomScoreAdj"))?,
        scheduling: scheduling::plan(process, base.common, at)?,
        apparmor: labels::apparmor(process.apparmor_profile().as_ref(), base.host, at, warnings)?,
        selinux: labels::selinux(process.selinux_label().as_ref(), base.host, at, warnings)?,
        seccomp: base.seccomp,
    })
}

fn refuse_nul(strings: &[String], at: &str) -> Result<(), Refusal> {
    match strings.iter().position(|string| string.contains('\0')) {
        Some(index) => Err(Refusal::new(
            format!("{at}[{index}]"),
            "holds a NUL character, which no program can receive",
        )),
        None => Ok(()),
    }
}

fn cwd(cwd: &Path, at: &str) -> Result<PathBuf, Refusal> {
    if !cwd.is_absolute() {
        return Err(Refusal::new(at, format!("{cwd:?} is not an absolute path")));
    }
    // CVE-2024-21626: a working directory that is one of our own descriptors would lie outside the container. The kernel's
    // answer is checked again before the payload runs; this one only gives the better message.
    let parts: Vec<_> = cwd
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(Component::as_os_str)
        .collect();
    if parts.first().is_some_and(|first| *first == "proc")
        && parts.iter().skip(2).any(|part| *part == "fd")
    {
        return Err(Refusal::new(
            at,
            format!(
                "{} is a descriptor of a process, not a directory of the container",
                cwd.display()
            ),
        ));
    }
    Ok(cwd.to_path_buf())
}

fn user(
    user: &oci::User,
    keep_groups: bool,
    at: &str,
    warnings: &mut Vec<String>,
) -> Result<User, Refusal> {
    let umask = user.umask();
    if let Some(umask) = umask.filter(|umask| *umask > 0o777) {
        return Err(Refusal::new(
            format!("{at}.umask"),
            format!("{umask} is more than 511 (octal 777)"),
        ));
    }
    // The kernel takes the highest id for "leave as it is" (setresuid(2)), which would run the payload as root.
    let mut groups = user.additional_gids().clone().unwrap_or_default();
    let more = groups.iter().enumerate();
    let more = more.map(|(index, gid)| (format!("additionalGids[{index}]"), *gid));
    let own = [("uid", user.uid()), ("gid", user.gid())].map(|(name, id)| (name.to_string(), id));
    if let Some((name, id)) = own.into_iter().chain(more).find(|(_, id)| *id == u32::MAX) {
        return Err(Refusal::new(
            format!("{at}.{name}"),
            format!("{id} is no id that a process can have"),
        ));
    }
    if keep_groups && !groups.is_empty() {
        groups.clear();
        warnings.push(format!(
            "{at}.additionalGids: an annotation asks for the caller's groups instead; ignored"
        ));
    }
    Ok(User {
        uid: user.uid(),
        gid: user.gid(),
        groups,
        keep_groups,
        umask,
    })
}

fn terminal(process: &oci::Process, at: &str) -> Result<Option<Terminal>, Refusal> {
    if !process.terminal().unwrap_or(false) {
        return Ok(None);
    }
    let Some(size) = process.console_size() else {
        return Ok(Some(Terminal::default()));
    };
    let fit = |name: &str, value: u64| {
        u16::try_from(value).map_err(|_| {
            Refusal::new(
                format!("{at}.{name}"),
                format!("{value} is more than 65535"),
            )
        })
    };
    let size = (fit("height", size.height())?, fit("width", size.width())?);
    Ok(Some(Terminal {
        size: (size != (0, 0)).then_some(size),
    }))
}

fn rlimits(given: Option<&Vec<oci::PosixRlimit>>, at: &str) -> Result<Vec<Rlimit>, Refusal> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for (index, limit) in given.into_iter().flatten().enumerate() {
        let name = limit.typ().to_string();
        let refuse = |why: String| Err(Refusal::new(format!("{at}[{index}]"), why));
        let Some(resource) = RLIMITS
            .iter()
            .position(|known| *known == name)
            .and_then(|n| u32::try_from(n).ok())
        else {
            return refuse(format!("{name} is not known on this architecture"));
        };
        if limits.iter().any(|limit| limit.name == name) {
            return refuse(format!("a second {name}; keep one"));
        }
        if limit.soft() > limit.hard() {
            return refuse(format!(
                "{name}: soft limit {} is above the hard limit {}",
                limit.soft(),
                limit.hard()
            ));
        }
        limits.push(Rlimit {
            name,
            resource,
            soft: limit.soft(),
            hard: limit.hard(),
        });
    }
    Ok(limits)
}

fn oom_score_adj(given: Option<i32>, at: &str) -> Result<Option<i32>, Refusal> {
    match given {
        Some(score) if !(-1000..=1000).contains(&score) => Err(Refusal::new(
            at,
            format!("{score} is not within -1000 to 1000"),
        )),
        other => Ok(other),
    }
}
