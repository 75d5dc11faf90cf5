//! What both requests have in common, and the conversation that follows each.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Result, bail};
use sys::process::Namespaces;

use super::proto::Message;
use super::rpc::{self, Criu, Kind, Response};
use super::{Options, Place};

/// Fields of `criu_opts`.
pub(super) mod field {
    pub(in crate::criu) const IMAGES_DIR_FD: u64 = 1;
    pub(in crate::criu) const PID: u64 = 2;
    pub(in crate::criu) const LEAVE_RUNNING: u64 = 3;
    pub(in crate::criu) const EXT_UNIX_SK: u64 = 4;
    pub(in crate::criu) const TCP_ESTABLISHED: u64 = 5;
    pub(in crate::criu) const EVASIVE_DEVICES: u64 = 6;
    pub(in crate::criu) const SHELL_JOB: u64 = 7;
    pub(in crate::criu) const FILE_LOCKS: u64 = 8;
    pub(in crate::criu) const LOG_LEVEL: u64 = 9;
    pub(in crate::criu) const LOG_FILE: u64 = 10;
    pub(in crate::criu) const PAGE_SERVER: u64 = 11;
    pub(in crate::criu) const NOTIFY_SCRIPTS: u64 = 12;
    pub(in crate::criu) const ROOT: u64 = 13;
    pub(in crate::criu) const PARENT_IMAGES: u64 = 14;
    pub(in crate::criu) const TRACK_MEMORY: u64 = 15;
    pub(in crate::criu) const AUTO_DEDUP: u64 = 16;
    pub(in crate::criu) const WORK_DIR_FD: u64 = 17;
    pub(in crate::criu) const LINK_REMAP: u64 = 18;
    pub(in crate::criu) const MANAGE_CGROUPS: u64 = 24;
    pub(in crate::criu) const CGROUP_ROOT: u64 = 25;
    pub(in crate::criu) const RESTORE_SIBLING: u64 = 26;
    pub(in crate::criu) const INHERIT_FD: u64 = 27;
    pub(in crate::criu) const EXT_MASTERS: u64 = 30;
    pub(in crate::criu) const MANAGE_CGROUPS_MODE: u64 = 34;
    pub(in crate::criu) const EXTERNAL: u64 = 37;
    pub(in crate::criu) const EMPTY_NAMESPACES: u64 = 38;
    pub(in crate::criu) const JOIN_NAMESPACE: u64 = 39;
    pub(in crate::criu) const FREEZE_CGROUP: u64 = 44;
    pub(in crate::criu) const TCP_SKIP_IN_FLIGHT: u64 = 46;
    pub(in crate::criu) const LAZY_PAGES: u64 = 48;
    pub(in crate::criu) const ORPHAN_PTS_MASTER: u64 = 50;
    pub(in crate::criu) const CONFIG_FILE: u64 = 51;
    pub(in crate::criu) const TCP_CLOSE: u64 = 52;
    pub(in crate::criu) const LSM_PROFILE: u64 = 53;
    pub(in crate::criu) const LSM_MOUNT_CONTEXT: u64 = 63;
    pub(in crate::criu) const NETWORK_LOCK: u64 = 64;
}

/// Options of both requests.
pub(super) fn common(
    options: &Options,
    place: &Place,
    annotations: &BTreeMap<String, String>,
) -> Message {
    let mut opts = Message::default();
    let log = place.log.file_name().unwrap_or_default();
    opts.number(field::IMAGES_DIR_FD, rpc::DIRS)
        .switch(field::EXT_UNIX_SK, options.ext_unix_sk)
        .switch(field::TCP_ESTABLISHED, options.tcp_established)
        .switch(field::TCP_CLOSE, options.tcp_close)
        .switch(field::SHELL_JOB, options.shell_job)
        .switch(field::FILE_LOCKS, options.file_locks)
        // As runc: with debugging in it, the log explains what criu did.
        .number(field::LOG_LEVEL, 4)
        .text(field::LOG_FILE, log.as_bytes())
        .switch(field::NOTIFY_SCRIPTS, true)
        .switch(field::AUTO_DEDUP, options.auto_dedup)
        .switch(field::MANAGE_CGROUPS, true)
        .number(field::MANAGE_CGROUPS_MODE, options.cgroups as u64)
        .switch(field::LAZY_PAGES, options.lazy_pages)
        // Volumes hear of the host's mounts.
        .switch(field::EXT_MASTERS, true)
        .switch(field::ORPHAN_PTS_MASTER, true);
    if place.work.is_some() {
        opts.number(field::WORK_DIR_FD, rpc::DIRS + 1);
    }
    if options.empty_network {
        opts.number(field::EMPTY_NAMESPACES, Namespaces::NETWORK.bits());
    }
    if let Some(lock) = options.network_lock {
        opts.number(field::NETWORK_LOCK, lock as u64);
    }
    if let Some(file) = config_file(annotations) {
        opts.text(field::CONFIG_FILE, &file);
    }
    opts
}

/// Returns the file with further options of criu's, which win over ours: named by an annotation, or the host's for containers.
fn config_file(annotations: &BTreeMap<String, String>) -> Option<String> {
    const OURS: &str = "/etc/criu/orlop.conf";
    match annotations.get("org.criu.config") {
        Some(file) => Some(file.clone()).filter(|file| !file.is_empty()),
        None if Path::new(OURS).exists() => Some(OURS.to_string()),
        // criu passes over a file that is not there.
        None => Some("/etc/criu/runc.conf".to_string()),
    }
}

/// The name of a joined namespace in an image, as runc has it.
pub(super) fn namespace_key(kind: Namespaces) -> Option<(&'static str, &'static str)> {
    match kind {
        Namespaces::NETWORK => Some(("net", "extRootNetNS")),
        Namespaces::PID => Some(("pid", "extRootPidNS")),
        _ => None,
    }
}

/// The question that criu asks last of a restore, when all is as in the image and nothing runs yet.
pub(crate) const LAST: &str = "pre-resume";

/// Answers criu's questions until the request is carried out.
pub(super) fn converse(
    criu: &mut Criu,
    kind: Kind,
    mut event: impl FnMut(Event<'_>) -> Result<()>,
) -> Result<Response> {
    let mut failed = None;
    loop {
        let (response, fd) = match (criu.hear(), failed.take()) {
            // Told that its question was answered with no, criu gives up: our own error is the reason.
            (Err(_), Some(error)) => return Err(error),
            (Ok((response, _)), Some(error)) if !response.success => return Err(error),
            (heard, kept) => {
                failed = kept;
                heard?
            }
        };
        if !response.success {
            bail!(failure(&response, kind));
        }
        let Some((script, pid)) = &response.notify else {
            return match failed {
                Some(error) => Err(error),
                None if response.kind == kind as u64 => Ok(response),
                None => bail!("criu: an answer of kind {} to {kind:?}", response.kind),
            };
        };
        if failed.is_none() {
            failed = event(Event {
                script,
                pid: *pid,
                fd,
            })
            .err();
        }
        if *script == LAST
            && let Some(error) = failed.take()
        {
            // It would not give up any more, but go on to wait for processes that are not there.
            criu.kill();
            return Err(error);
        }
        let mut answer = Message::default();
        answer.number(3, u64::from(failed.is_none()));
        criu.ask(Kind::Notify, &answer, false)?;
    }
}

fn failure(response: &Response, kind: Kind) -> String {
    let what = match kind {
        Kind::Restore => "restore",
        _ => "checkpoint",
    };
    let errno = i32::try_from(response.errno).unwrap_or_default();
    let mut text = format!("criu could not {what} the container");
    if errno != 0 {
        text.push_str(&format!(": {}", sys::reason(sys::Errno::from_raw(errno))));
    }
    text
}

/// A moment at which criu stops and asks.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) script: &'a str,
    /// The container's process.
    pub(crate) pid: i32,
    /// The master of a terminal whose other side is in the container.
    pub(crate) fd: Option<OwnedFd>,
}
