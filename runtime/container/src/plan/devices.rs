//! Device nodes and links of `/dev`.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use serde::Serialize;

use super::Refusal;
use super::mounts::{Mount, MountKind};
use super::root::clean;
use crate::Host;

/// Whose `/dev` it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dev {
    /// Ours to fill.
    Ours,
    /// Bound from the host, which must not be changed.
    Bound,
}

impl Dev {
    pub(super) fn of(mounts: &[Mount]) -> Self {
        let bound = |mount: &Mount| {
            mount.target == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. })
        };
        if mounts.iter().any(bound) {
            Self::Bound
        } else {
            Self::Ours
        }
    }
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    pub path: PathBuf,
    pub kind: DeviceKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bind the host's node instead of making one: mknod(2) is refused inside a user namespace.
    pub bind: bool,
    /// The JSON path; empty for the nodes that every container has.
    pub at: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    Char { major: u64, minor: u64 },
    Block { major: u64, minor: u64 },
    Fifo,
}

/// A symlink that every container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    pub path: PathBuf,
    pub target: PathBuf,
}

/// The highest numbers that the kernel keeps (`MINORBITS`, 20 of 32); of larger ones mknod(2) would take the lower part, another device.
const HIGHEST_MAJOR: u64 = 4095;
const HIGHEST_MINOR: u64 = 1_048_575;

/// The nodes that the specification promises ("Default Devices").
const DEFAULT: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Plans the nodes; with `bind` they are the host's own.
pub(super) fn plan(spec: &Spec, bind: bool, dev: Dev) -> Result<Vec<Device>, Refusal> {
    let mut plan = Vec::new();
    let given = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.devices().as_ref());
    for (index, device) in given.into_iter().flatten().enumerate() {
        let device = given_device(device, format!("linux.devices[{index}]"), bind)?;
        refuse_second(&device, &plan)?;
        plan.push(device);
    }
    if dev == Dev::Ours {
        for (name, major, minor) in DEFAULT {
            let path = Path::new("/dev").join(name);
            // The configuration's own node wins over the default one.
            if !plan.iter().any(|device: &Device| device.path == path) {
                plan.push(Device {
                    path,
                    kind: DeviceKind::Char { major, minor },
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                    bind,
                    at: String::new(),
                });
            }
        }
    }
    Ok(plan)
}

/// Refuses another node at the path of one before it; the same one twice does no harm.
fn refuse_second(device: &Device, before: &[Device]) -> Result<(), Refusal> {
    let other = before.iter().find(|other| other.path == device.path);
    match other.filter(|other| other.kind != device.kind) {
        Some(other) => Err(Refusal::new(
            format!("{}.path", device.at),
            format!(
                "{} is another node in {}; keep one of them",
                device.path.display(),
                other.at
            ),
        )),
        None => Ok(()),
    }
}

fn given_device(device: &LinuxDevice, at: String, bind: bool) -> Result<Device, Refusal> {
    if !device.path().is_absolute() {
        return Err(Refusal::new(
            format!("{at}.path"),
            format!("{:?} is not an absolute path", device.path()),
        ));
    }
    let number = |name: &str, value: i64, highest: u64| {
        let why = || format!("{value} is not a device number; use 0 to {highest}");
        let number = u64::try_from(value)
            .ok()
            .filter(|number| *number <= highest);
        number.ok_or_else(|| Refusal::new(format!("{at}.{name}"), why()))
    };
    let major = || number("major", device.major(), HIGHEST_MAJOR);
    let minor = || number("minor", device.minor(), HIGHEST_MINOR);
    let kind = match device.typ() {
        // A fifo has no numbers; what stands there is not looked at.
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::B => DeviceKind::Block {
            major: major()?,
            minor: minor()?,
        },
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char {
            major: major()?,
            minor: minor()?,
        },
        LinuxDeviceType::A => {
            let why = "\"a\" is no kind of node; use c, b, u or p";
            return Err(Refusal::new(format!("{at}.type"), why));
        }
    };
    Ok(Device {
        path: clean(device.path()),
        kind,
        mode: device.file_mode().unwrap_or(0o666),
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        bind,
        at,
    })
}

pub(super) fn links(host: &Host, dev: Dev) -> Vec<Link> {
    if dev == Dev::Bound {
        return Vec::new();
    }
    let mut links = vec![
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        // devpts(5): the node inside the container's own instance, never the host's.
        ("/dev/ptmx", "pts/ptmx"),
    ];
    if host.kcore {
        links.push(("/dev/core", "/proc/kcore"));
    }
    links
        .into_iter()
        .map(|(path, target)| Link {
            path: path.into(),
            target: target.into(),
        })
        .collect()
}
