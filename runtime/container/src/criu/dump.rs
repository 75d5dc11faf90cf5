//! The request that saves a container.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sys::fs;

use super::descriptors;
use super::mounts;
use super::proto::Message;
use super::request::{common, converse, field, namespace_key};
use super::rpc::{Criu, Kind, Setup};
use super::{Dump, Mark, Options, Place};
use crate::plan::Plan;

/// A container that is to be saved.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) pid: i32,
    /// The standard streams that it began with, as its record has them.
    pub(crate) streams: &'a [String],
    pub(crate) freezer: Option<&'a Path>,
    /// Where it is written down that criu works on it.
    pub(crate) mark: Mark<'a>,
}

/// Saves a container; `ready` is called when a page server waits for its client.
pub(crate) fn dump(
    program: &Path,
    mut subject: Subject<'_>,
    options: &Options,
    dump: &Dump,
    place: &Place,
    mut ready: impl FnMut() -> Result<()>,
) -> Result<()> {
    let mut opts = request(&subject, options, dump, place)?;
    if !dump.pre_dump {
        name_what_is_outside(&mut opts, &subject, place)?;
    }
    let kind = if dump.pre_dump {
        Kind::PreDump
    } else {
        Kind::Dump
    };
    // Dropped behind criu, which is told what to do when the mark is there.
    let mark = &mut subject.mark;
    let mut criu = Criu::start(Setup {
        program,
        path: options.search.as_deref(),
        dirs: &place.dirs(),
        fds: &[],
        root: None,
    })?;
    mark.write(criu.pid())?;
    let mut request = Message::default();
    criu.ask(kind, request.message(2, &opts), false)?;
    converse(&mut criu, kind, |event| match event.script {
        "status-ready" => ready(),
        _ => Ok(()),
    })?;
    // After a pre-dump criu waits for the next one, and takes our going for a failure.
    let exit = criu.end()?;
    if kind == Kind::Dump && exit.code() != 0 {
        bail!(
            "criu: ended with code {} after it had saved the container",
            exit.code()
        );
    }
    Ok(())
}

fn request(
    subject: &Subject<'_>,
    options: &Options,
    dump: &Dump,
    place: &Place,
) -> Result<Message> {
    let plan = subject.plan;
    let mut opts = common(options, place, &plan.annotations);
    opts.number(
        field::PID,
        u64::try_from(subject.pid).context("process id")?,
    )
    .switch(field::LEAVE_RUNNING, dump.leave_running)
    .switch(field::TCP_SKIP_IN_FLIGHT, dump.tcp_skip_in_flight)
    .switch(field::LINK_REMAP, dump.link_remap)
    .text(field::ROOT, plan.root.path.as_os_str().as_bytes());
    if let Some((address, port)) = &dump.page_server {
        let mut server = Message::default();
        opts.message(
            field::PAGE_SERVER,
            server.text(1, address).number(2, u64::from(*port)),
        );
    }
    if let Some(parent) = &dump.parent {
        opts.text(field::PARENT_IMAGES, parent.as_os_str().as_bytes());
    }
    opts.switch(field::TRACK_MEMORY, dump.parent.is_some() || dump.pre_dump);
    if let Some(freezer) = subject.freezer {
        opts.text(field::FREEZE_CGROUP, freezer.as_os_str().as_bytes());
    }
    for join in &plan.namespaces.join {
        if let Some((name, key)) = namespace_key(join.kind) {
            let path = format!("/proc/{}/ns/{name}", subject.pid);
            let stat = fs::fstatat(fs::AT_FDCWD, path.as_str(), fs::AtFlags::empty())
                .with_context(|| format!("look at {path}"))?;
            opts.text(field::EXTERNAL, &format!("{name}[{}]:{key}", stat.st_ino));
        }
    }
    Ok(opts)
}

/// Names the mounts and the streams that are the host's.
fn name_what_is_outside(opts: &mut Message, subject: &Subject<'_>, place: &Place) -> Result<()> {
    let root = format!("/proc/{}/root", subject.pid);
    let root = fs::open_path(root.as_str()).context("open the container's root")?;
    for external in mounts::of_process(subject.plan, subject.pid, &root)? {
        opts.text(field::EXTERNAL, &external);
    }
    let streams = descriptors::of_container(subject.pid, subject.streams)?;
    for external in streams.iter().filter(|stream| stream.starts_with("file[")) {
        opts.text(field::EXTERNAL, external);
    }
    descriptors::write(&place.images, &streams)
}
