//! From an image's configuration and a user's options to a container's config.json, as Docker 20.10 makes it: values in, values out.
//!
//! Everything that can be refused about a container is refused here, with Docker's words where programs and people know them.

mod accounts;
pub mod files;
mod mounts;
mod process;
mod seccomp;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use image::Config;
use serde_json::{Value, json};

pub use accounts::{Accounts, User};
pub use files::Files;

/// Which network the container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Its own, with nothing in it but `lo`.
    None,
}

impl std::str::FromStr for Network {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            "default" | "bridge" => bail!(
                "network {name} is not there yet: host (the host's own) and none (nothing but lo) are"
            ),
            other => bail!("network {other} not found: host and none are there"),
        }
    }
}

/// What a user asked for beside the image.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What stands behind the image's name; empty for what the image says.
    pub command: Vec<String>,
    /// Takes the place of the image's entrypoint and command; an empty one stands for none.
    pub entrypoint: Option<String>,
    /// `NAME=value`; a bare `NAME` takes the variable away. What it is in the caller's own environment is for the caller to fill in.
    pub env: Vec<String>,
    /// Where the program starts; absolute.
    pub working_dir: Option<String>,
    /// `user[:group]`, by name or number.
    pub user: Option<String>,
    /// The container's host name; otherwise the beginning of its id, or in the host's network the host's.
    pub hostname: Option<String>,
    /// Which network it is in.
    pub network: Network,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// What the runtime and its hooks are told of the container; nothing here takes notice of it.
    pub annotations: BTreeMap<String, String>,
}

/// Where the container is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// 64 hexadecimal digits.
    pub id: &'a str,
    /// Its root, absolute or below the bundle.
    pub root: &'a Path,
    /// Where [`Files`] were written.
    pub files: &'a Path,
    /// What its cgroup is below.
    pub cgroup: &'a str,
}

/// What is to be known of the host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Major and minor version of its kernel.
    pub kernel: (u32, u32),
    /// Whether it has one cgroup hierarchy only (v2): containers then have a cgroup namespace.
    pub unified: bool,
    /// Whether our user namespace is another than the host's: nobody makes devices there, and cgroups are seldom his.
    pub inner: bool,
    /// Whether a process may have groups beside its first: not where the own id alone is mapped.
    pub groups: bool,
    /// The last group that our user namespace has an id for.
    pub last_group: u32,
}

/// All that a config.json is made of.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub config: &'a Config,
    pub options: &'a Options,
    pub accounts: Accounts<'a>,
    pub place: Place<'a>,
    pub host: &'a Host,
}

impl Request<'_> {
    /// Returns the container's host name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        match (&self.options.hostname, self.options.network) {
            (Some(name), _) => name,
            (None, Network::Host) => &self.host.name,
            (None, Network::None) => self.place.id.get(..12).unwrap_or(self.place.id),
        }
    }
}

/// What Docker gives a container that nobody asked more for, in its order.
pub const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Makes the config.json. The same request gives the same bytes: that is why it is not a typed specification, whose sets have no order.
pub fn make(request: &Request<'_>) -> Result<Value> {
    let (options, place) = (request.options, request.place);
    let user = accounts::find(wanted_user(request), request.accounts)?;
    let mut spec = json!({
        "ociVersion": "1.0.2",
        "process": process::make(request, &user)?,
        "root": { "path": place.root },
        "hostname": request.hostname(),
        "mounts": mounts::all(request),
        "linux": {
            "namespaces": namespaces(options.network, request.host.unified),
            "seccomp": seccomp::profile(&seccomp::Target {
                capabilities: &CAPABILITIES,
                architecture: std::env::consts::ARCH,
                kernel: request.host.kernel,
            })?,
            "maskedPaths": mounts::MASKED,
            "readonlyPaths": mounts::READ_ONLY,
        },
    });
    if !options.annotations.is_empty() {
        spec["annotations"] = json!(options.annotations);
    }
    if !request.host.inner {
        spec["linux"]["resources"] = json!({ "devices": mounts::device_rules() });
        spec["linux"]["cgroupsPath"] = json!(format!("{}/{}", place.cgroup, place.id));
    }
    if options.network == Network::None {
        // The kernel takes groups that are none of the namespace's for an error, and so what is beyond these.
        let last = request.host.last_group.min(2_147_483_647);
        spec["linux"]["sysctl"] = json!({
            // In a network of its own any port may be bound and any group may ping.
            "net.ipv4.ip_unprivileged_port_start": "0",
            "net.ipv4.ping_group_range": format!("0 {last}"),
        });
    }
    Ok(spec)
}

fn wanted_user<'a>(request: &'a Request<'_>) -> &'a str {
    let image = request.config.config.as_ref();
    let of_image = image.map_or("", |process| process.user.as_str());
    match request.options.user.as_deref() {
        None | Some("") => of_image,
        Some(user) => user,
    }
}

fn namespaces(network: Network, unified: bool) -> Vec<Value> {
    let own = network == Network::None;
    let kinds = [
        ("mount", true),
        ("network", own),
        ("uts", true),
        ("pid", true),
        ("ipc", true),
        ("cgroup", unified),
    ];
    let made = kinds.into_iter().filter(|(_, made)| *made);
    made.map(|(kind, _)| json!({ "type": kind })).collect()
}

#[cfg(test)]
mod tests;
