//! `checkpoint`: saving a running container as an image of criu's.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sys::fs::{self, FcntlArg, OFlag};
use sys::process::PollTimeout;

use super::open;
use crate::criu::{self, Dump, Mark, Options, Place, Subject};
use crate::state::{NOTIFY, Record, StateRoot, Status};
use crate::{Bundle, ContainerId, Host, Plan, text};

/// The log that criu writes into the work directory; containerd looks for it there.
const LOG: &str = "dump.log";

/// How long a saved container's process, which criu has killed, may take to end; and a criu whose checkpoint was killed, to notice.
const PATIENCE: Duration = Duration::from_secs(10);

/// One checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    pub options: Options,
    pub dump: Dump,
    /// The number of an inherited descriptor that gets a NUL byte when a page server is ready for its client.
    pub status_fd: Option<i32>,
}

/// Saves a container. It ends by that, unless it is told to go on; on failure it goes on in any case.
pub fn checkpoint(root: &StateRoot, id: &ContainerId, checkpoint: &Checkpoint) -> Result<()> {
    let record = root.load(id)?;
    // Whoever wants to change the container's status waits; `delete --force` does not.
    let _lock = root.lock(id)?;
    // Nobody but one that was killed can have left a criu at work: it gives the container back, if it gets the time.
    let cgroup = record.cgroup.as_ref();
    criu::relieve(&root.container_dir(id), cgroup, PATIENCE)?;
    match root.status(id, &record) {
        Status::Running | Status::Paused => {}
        Status::Stopped => bail!("{}: {id}", text::NOT_RUNNING),
        status => bail!("cannot checkpoint a container that is {status}: {id}; start it first"),
    }
    check(checkpoint)?;
    let init = open(&record.process)?;
    let place = Place::open(&checkpoint.options, true, LOG)?;
    save(root, id, &record, checkpoint, &place).map_err(|error| place.explain(error))?;
    if !checkpoint.dump.leave_running && !checkpoint.dump.pre_dump {
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        init.has_ended(patience)
            .context("wait for the container's process")?;
    }
    Ok(())
}

/// Refuses what the options alone tell to be wrong.
fn check(checkpoint: &Checkpoint) -> Result<()> {
    if let Some(parent) = &checkpoint.dump.parent {
        if parent.is_absolute() {
            bail!(
                "--parent-path {}: must be relative to --image-path",
                parent.display()
            );
        }
        let dir = seen_from(&checkpoint.options.images, parent);
        if !dir.is_dir() {
            bail!(
                "--parent-path {}: no directory {}",
                parent.display(),
                dir.display()
            );
        }
    }
    if let Some(number) = checkpoint.status_fd {
        let open = fs::inherited(number);
        let fd = open.with_context(|| format!("--status-fd {number}: not open"))?;
        let flags =
            fs::fcntl(fd, FcntlArg::F_GETFL).with_context(|| format!("--status-fd {number}"))?;
        if !OFlag::from_bits_truncate(flags).intersects(OFlag::O_WRONLY | OFlag::O_RDWR) {
            bail!("--status-fd {number}: not open for writing");
        }
    }
    Ok(())
}

/// Returns where a relative path leads from a directory that may still have to be made, and then is no symlink.
fn seen_from(dir: &Path, path: &Path) -> PathBuf {
    let mut place = dir.to_owned();
    for part in path.components() {
        if part == Component::ParentDir && !place.exists() {
            place.pop();
        } else {
            place.push(part);
        }
    }
    place
}

fn save(
    root: &StateRoot,
    id: &ContainerId,
    record: &Record,
    checkpoint: &Checkpoint,
    place: &Place,
) -> Result<()> {
    let options = &checkpoint.options;
    let program = criu::find(options.search.as_deref())?;
    criu::check(&program, options, Some(&checkpoint.dump), None)?;
    let state = root.container_dir(id);
    let notify = state.join(NOTIFY);
    let flags = crate::Options {
        no_cgroup: record.cgroup.is_none(),
        notify_dir: notify.is_dir().then_some(notify),
        ..crate::Options::default()
    };
    // What belongs to the host is in the configuration; the bundle stays in place as long as its container.
    let bundle = Bundle::load(&record.bundle, None)?;
    let plan = Plan::new(id, &bundle, &Host::probe()?, &flags)?;
    criu::refuse(&plan)?;
    let cgroup = record.cgroup.as_ref();
    let subject = Subject {
        plan: &plan,
        pid: record.process.pid,
        streams: &record.streams,
        freezer: cgroup.and_then(cgroup::Cgroup::freezer_path),
        mark: Mark::new(&state, cgroup),
    };
    criu::dump(&program, subject, options, &checkpoint.dump, place, || {
        report(checkpoint.status_fd)
    })
}

/// Tells the one who asked that the page server is ready, and lets go of the descriptor: a reader may wait for its end.
fn report(status_fd: Option<i32>) -> Result<()> {
    let Some(number) = status_fd else {
        return Ok(());
    };
    if let Some(fd) = fs::inherited(number) {
        fs::write(fd, &[0]).with_context(|| format!("--status-fd {number}: write"))?;
        let null = fs::open(
            "/dev/null",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            fs::Mode::empty(),
        );
        fs::dup_onto(null.context("open /dev/null")?, number).context("close --status-fd")?;
    }
    Ok(())
}
