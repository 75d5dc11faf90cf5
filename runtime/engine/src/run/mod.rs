//! Running a program in a container of its own, in the foreground.
//!
//! What is made on the way, in this order: a directory with a lock (the store's), the container's root (a mount in a mount namespace that
//! only this run and its runtime are in), a bundle, the container. The host's mount table never changes, and whatever end comes, the
//! kernel takes the mount away with the last process; what a kill leaves on disk has a lock that nobody holds, and the next run sweeps it.

mod accounts;
mod attend;
mod bundle;
pub(crate) mod containers;
mod end;
mod host;
mod root;
mod sweep;

use std::path::{Path, PathBuf};

use anyhow::Context;
use image::{Config, Digest};
use store::{NewContainer, Store};

use crate::spec;
use crate::{Engine, Error, Kind, Result, find};

pub use end::Ended;

/// What to run, and how.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// What becomes part of the container's config.json.
    pub options: spec::Options,
    /// Whether the program gets our standard input; otherwise there is nothing to read.
    pub interactive: bool,
    /// Whether nothing of the container has to outlive it (`--rm`): what it writes is then never synced to the disk.
    pub remove: bool,
}

/// What a container is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made<'a> {
    pub(crate) config: &'a Config,
    /// The directories of the layers, the lowest first.
    pub(crate) layers: &'a [PathBuf],
}

/// Where containers are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) store: &'a Store,
    /// The OCI runtime.
    pub(crate) runtime: &'a Path,
    /// Where the runtime keeps its state.
    pub(crate) state: &'a Path,
}

impl Engine {
    fn ground<'a>(&'a self, state: &'a Path) -> Ground<'a> {
        Ground {
            store: self.store(),
            runtime: &self.settings().runtime,
            state,
        }
    }

    /// Ends what killed runs have left, before their directories are collected.
    pub(crate) fn end_abandoned(&self) -> anyhow::Result<()> {
        sweep::sweep(&self.ground(&self.runtime_state()))
    }

    /// Runs a program in a new container of an image that is here, with our terminal and standard streams, until it ends.
    ///
    /// An error is of the engine; what the runtime refuses it has said on standard error, and is in [`Ended`].
    pub fn run(&self, image: &Digest, run: &Run) -> Result<Ended> {
        let state = self.runtime_state();
        let ground = self.ground(&state);
        // What somebody else left is nothing that this run has to fail for.
        let mut warnings = sweep::sweep(&ground).err();
        let container = ground.store.container()?;
        let lease = ground.store.lease()?;
        let record = {
            // Whoever removes images has seen us before, or we see that it is gone.
            let _still = self.still()?;
            containers::note(container.path(), image)?;
            ground.store.hold_image(&lease, image)?
        };
        let record = record.ok_or_else(|| find::no_such(&image.to_string()))?;
        // By what is held: the names may go meanwhile, and the record with them.
        let (config, layers) = (self.config_of(&record)?, self.layers_of(&record)?);
        let made = Made {
            config: &config,
            layers: &layers,
        };
        let mut ended = foreground(made, run, ground, container).map_err(Error::from)?;
        let warnings = warnings.take().map(|error| format!("{error:#}"));
        ended.warnings.extend(warnings);
        Ok(ended)
    }
}

impl Engine {
    /// Where the runtime keeps what it knows of this data root's containers. Another data root may have the same run root, and what is
    /// swept for one must not be the other's.
    fn runtime_state(&self) -> PathBuf {
        self.below_run_root("runtime")
    }

    /// A directory in the run root that is of this data root alone.
    pub(crate) fn below_run_root(&self, name: &str) -> PathBuf {
        let root = Digest::of(self.store().root().as_os_str().as_encoded_bytes());
        self.settings().run_root.join(name).join(root.short())
    }
}

/// Makes the container, attends to it, and takes it away.
pub(crate) fn foreground(
    made: Made<'_>,
    run: &Run,
    ground: Ground<'_>,
    container: NewContainer,
) -> anyhow::Result<Ended> {
    // Before there is anything to lose: a signal that comes early is for the container, and one that comes late finds nothing.
    let signals = attend::Held::take()?;
    let ended = std::thread::scope(|scope| {
        let body = || within(made, run, ground, &container, &signals);
        let thread = std::thread::Builder::new().spawn_scoped(scope, body);
        let thread = thread.context("start a thread for the container")?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    // After the thread: with it goes the mount.
    let removed = container.remove();
    let mut ended = ended?;
    let left = removed.err().map(|error| error.to_string());
    ended.warnings.extend(left);
    Ok(ended)
}

/// What happens in the thread that leaves the mount namespace.
fn within(
    made: Made<'_>,
    run: &Run,
    ground: Ground<'_>,
    container: &NewContainer,
    signals: &attend::Held,
) -> anyhow::Result<Ended> {
    let stage = root::leave()?;
    let root = root::mount(made.layers, container.path(), run.remove)?;
    let (passwd, group) = accounts::read(&root)?;
    let host = host::read();
    let bundle = bundle::make(container.path())?;
    let request = spec::Request {
        config: made.config,
        options: &run.options,
        accounts: spec::Accounts {
            passwd: passwd.as_deref(),
            group: group.as_deref(),
        },
        place: spec::Place {
            id: container.id(),
            root: &bundle.root,
            files: &bundle.dir,
            cgroup: "/lade",
        },
        host: &host.host,
    };
    let spec =
        spec::make(&request).map_err(|error| Error::new(Kind::Invalid, format!("{error:#}")))?;
    host.refuse_unmapped(&spec["process"]["user"])?;
    let (network, name) = (run.options.network, request.hostname());
    let files = spec::files::make(network, name, &host.hosts, &host.resolv_conf);
    bundle.write(&spec, &files)?;
    root::attach(root, &bundle.root)?;
    // Over `/` in the container's namespace, which is a copy of this one, it would keep the runtime from taking away the host's tree.
    stage.strike()?;
    let (runtime, _terminal) = attend::start(ground, run, &bundle, container.id())?;
    let kill = || end::kill(ground, container.id());
    let (exit, forced) = attend::attend(&runtime, signals, kill)?;
    let mut ended = end::settle(ground, container.id(), &bundle, exit)?;
    ended.warnings.extend(forced);
    Ok(ended)
}

#[cfg(test)]
mod tests;
