//! The request that brings a container back.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sys::mount::Loose;
use sys::process::Namespaces;

use super::descriptors;
use super::mounts;
use super::proto::Message;
use super::request::{Event, common, converse, field, namespace_key};
use super::rpc::{self, Criu, Kind, Setup};
use super::{Mark, Options, Place, Restoring};
use crate::plan::Plan;

/// What a restore is made from.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a Options,
    pub(crate) restoring: &'a Restoring,
    pub(crate) place: &'a Place,
    /// The container's state directory.
    pub(crate) state: &'a Path,
    /// The directory that the root file system is attached at for criu.
    pub(crate) root: &'a Path,
    pub(crate) joins: &'a [(Namespaces, OwnedFd)],
    /// Whether the container has cgroups of its own.
    pub(crate) cgroups: bool,
}

/// A criu that waits to be told to restore.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    criu: Criu,
    opts: Message,
    cgroups: bool,
    /// Dropped behind criu.
    _mark: Mark<'a>,
}

/// Starts criu. Its processes are the container's soon: before it goes on it has to be in the container's cgroups, which in the image had
/// other names.
pub(crate) fn begin<'a>(program: &Path, image: &Image<'a>, root: Loose) -> Result<Begun<'a>> {
    let mut opts = request(image)?;
    let dirs = image.place.dirs();
    let fds = inherit(&mut opts, image, dirs.len())?;
    let mut mark = Mark::new(image.state, None);
    let criu = Criu::start(Setup {
        program,
        path: image.options.search.as_deref(),
        dirs: &dirs,
        fds: &fds,
        root: Some((root, image.root)),
    })?;
    mark.write(criu.pid())?;
    Ok(Begun {
        criu,
        opts,
        cgroups: image.cgroups,
        _mark: mark,
    })
}

impl Begun<'_> {
    /// Returns criu's own process, a child of ours.
    pub(crate) fn pid(&self) -> i32 {
        self.criu.pid()
    }

    /// Brings the container back; returns the id of its process, which is a child of ours.
    pub(crate) fn restore(mut self, event: impl FnMut(Event<'_>) -> Result<()>) -> Result<i32> {
        if self.cgroups {
            for (controller, path) in memberships(self.criu.pid())? {
                let mut root = Message::default();
                let root = root.text(1, &controller).text(2, &path);
                self.opts.message(field::CGROUP_ROOT, root);
            }
        }
        let mut request = Message::default();
        self.criu
            .ask(Kind::Restore, request.message(2, &self.opts), false)?;
        let response = converse(&mut self.criu, Kind::Restore, event)?;
        let exit = self.criu.end()?;
        if exit.code() != 0 {
            bail!(
                "criu: ended with code {} after it had restored the container",
                exit.code()
            );
        }
        response
            .restored
            .context("criu: a restored container without a process")
    }
}

fn request(image: &Image<'_>) -> Result<Message> {
    let plan = image.plan;
    let mut opts = common(image.options, image.place, &plan.annotations);
    opts.switch(field::EVASIVE_DEVICES, true)
        .switch(field::RESTORE_SIBLING, true)
        .text(field::ROOT, image.root.as_os_str().as_bytes());
    for (field, value) in [
        (field::LSM_PROFILE, &image.restoring.lsm_profile),
        (field::LSM_MOUNT_CONTEXT, &image.restoring.lsm_mount_context),
    ] {
        if let Some(value) = value {
            opts.text(field, value);
        }
    }
    for external in mounts::of_bundle(plan, image.state)? {
        opts.text(field::EXTERNAL, &external);
    }
    let joins = plan.namespaces.join.iter();
    for join in joins.filter(|join| namespace_key(join.kind).is_none()) {
        let file = crate::host::NAMESPACE_FILES
            .iter()
            .find(|(_, kind)| *kind == join.kind);
        let mut namespace = Message::default();
        namespace
            .text(1, file.map_or("", |(name, _)| name))
            .text(2, join.path.as_os_str().as_bytes());
        opts.message(field::JOIN_NAMESPACE, &namespace);
    }
    Ok(opts)
}

/// Gives the container our streams for those that it had, and the namespaces that it joins; returns the descriptors of these.
fn inherit<'a>(
    opts: &mut Message,
    image: &'a Image<'_>,
    dirs: usize,
) -> Result<Vec<BorrowedFd<'a>>> {
    let mut inherit = |key: &str, number: u64| {
        let mut fd = Message::default();
        opts.message(field::INHERIT_FD, fd.text(1, key).number(2, number));
    };
    for (key, number) in descriptors::read(&image.place.images)?.iter().zip(0..) {
        if descriptors::is_of_a_caller(key) {
            inherit(key, number);
        }
    }
    let mut fds = Vec::new();
    for (kind, fd) in image.joins {
        if let Some((_, key)) = namespace_key(*kind) {
            inherit(key, rpc::DIRS + (dirs + fds.len()) as u64);
            fds.push(fd.as_fd());
        }
    }
    Ok(fds)
}

/// Returns the cgroup of a process for each controller; cgroup v2 has an empty name.
fn memberships(pid: i32) -> Result<Vec<(String, String)>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = |line: &str| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let all: Vec<_> = names
            .split(',')
            .map(|name| (name.to_string(), path.to_string()))
            .collect();
        Some(all)
    };
    Ok(text.lines().filter_map(line).flatten().collect())
}
