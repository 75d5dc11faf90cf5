//! `checkpoint`, and the options that it shares with `restore`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser};
use container::criu::{CgroupMode, Dump, NetworkLock, Options};
use container::verbs::{self, Checkpoint};

use super::create::{absolute, refuse_ordinary_user};
use super::{Done, Failure, on_container, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Line {
    #[command(flatten)]
    common: Common,
    /// Earlier images that a pre-dump made, relative to --image-path
    #[arg(long, value_name = "DIR")]
    parent_path: Option<PathBuf>,
    /// Let the container go on
    #[arg(long)]
    leave_running: bool,
    /// Do without connections that are not established yet
    #[arg(long)]
    tcp_skip_in_flight: bool,
    /// Give unlinked files a name while they are saved
    #[arg(long)]
    link_remap: bool,
    /// Write a NUL byte to this descriptor when the page server is ready
    #[arg(long, value_name = "FD")]
    status_fd: Option<i32>,
    /// Send pages to, or with --lazy-pages serve them at, this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    page_server: Option<String>,
    /// Save memory only, and let the container go on
    #[arg(long)]
    pre_dump: bool,
    /// Id of the container
    #[arg(value_name = "ID")]
    id: Vec<String>,
}

// What both commands take.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Directory of the image
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    image_path: PathBuf,
    /// Directory of criu's log and work files (the image's without it)
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Take established TCP connections along
    #[arg(long)]
    tcp_established: bool,
    /// Close established TCP connections
    #[arg(long)]
    tcp_close: bool,
    /// Allow unix sockets that are connected to the host
    #[arg(long)]
    ext_unix_sk: bool,
    /// Allow a terminal of the host
    #[arg(long)]
    shell_job: bool,
    /// Take file locks along
    #[arg(long)]
    file_locks: bool,
    /// Take away pages that a later image has anew
    #[arg(long)]
    auto_dedup: bool,
    /// Move memory when it is used
    #[arg(long)]
    lazy_pages: bool,
    /// What criu does with cgroups: soft, full, strict or ignore
    #[arg(long, value_name = "MODE", default_value = "soft")]
    manage_cgroups_mode: String,
    /// Leave a namespace empty: network
    #[arg(long, value_name = "KIND")]
    empty_ns: Vec<String>,
    /// How connections are held still: iptables, nftables or skip
    #[arg(long, value_name = "METHOD")]
    network_lock: Option<String>,
}

impl Common {
    pub(super) fn options(&self) -> Result<Options> {
        if let Some(kind) = self.empty_ns.iter().find(|kind| *kind != "network") {
            bail!("--empty-ns: {kind:?} is not supported; use network");
        }
        let work = self.work_path.as_deref();
        Ok(Options {
            images: absolute(&self.image_path)?,
            // Callers send an empty value where they mean none.
            work: work
                .filter(|path| !path.as_os_str().is_empty())
                .map(absolute)
                .transpose()?,
            search: std::env::var("PATH").ok(),
            tcp_established: self.tcp_established,
            tcp_close: self.tcp_close,
            ext_unix_sk: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            lazy_pages: self.lazy_pages,
            empty_network: !self.empty_ns.is_empty(),
            cgroups: cgroup_mode(&self.manage_cgroups_mode)?,
            network_lock: self.network_lock.as_deref().map(network_lock).transpose()?,
        })
    }
}

fn cgroup_mode(name: &str) -> Result<CgroupMode> {
    Ok(match name {
        "" | "soft" => CgroupMode::Soft,
        "full" => CgroupMode::Full,
        "strict" => CgroupMode::Strict,
        "ignore" => CgroupMode::Ignore,
        _ => {
            bail!("--manage-cgroups-mode: {name:?} is not known; use soft, full, strict or ignore")
        }
    })
}

fn network_lock(name: &str) -> Result<NetworkLock> {
    Ok(match name {
        "iptables" => NetworkLock::Iptables,
        "nftables" => NetworkLock::Nftables,
        "skip" => NetworkLock::Skip,
        _ => bail!("--network-lock: {name:?} is not known; use iptables, nftables or skip"),
    })
}

fn page_server(text: &str) -> Result<(String, u16)> {
    let split = text.rsplit_once(':');
    let parsed = split.and_then(|(address, port)| Some((address, port.parse().ok()?)));
    match parsed {
        Some((address, port)) if !address.is_empty() && port > 0 => Ok((address.to_string(), port)),
        _ => bail!("--page-server: {text:?} is no address; use ADDRESS:PORT"),
    }
}

pub(super) fn checkpoint(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Line| {
        refuse_ordinary_user("checkpoint")?;
        let checkpoint = Checkpoint {
            options: args.common.options()?,
            dump: Dump {
                parent: args.parent_path.filter(|path| !path.as_os_str().is_empty()),
                leave_running: args.leave_running,
                tcp_skip_in_flight: args.tcp_skip_in_flight,
                link_remap: args.link_remap,
                pre_dump: args.pre_dump,
                page_server: args.page_server.as_deref().map(page_server).transpose()?,
            },
            status_fd: args.status_fd.filter(|fd| *fd >= 0),
        };
        on_container(invocation, &args.id, |root, id| {
            verbs::checkpoint(root, id, &checkpoint)?;
            Ok(Done::default())
        })
    })
}
