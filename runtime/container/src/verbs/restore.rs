//! `restore`: a new container from a bundle and an image of criu's.
//!
//! It is made in the order of a creation: id and intent, cgroups, then criu in the place of the clone, around which systemd makes the unit where
//! it is systemd's to make. When criu says that all processes
//! are there and none runs yet, limits are set and the record is put in place; then they go on.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use sys::process::{Child, Handle, Namespaces, Pid, Signal};

use crate::criu::{self, Event, Image, Options, Place, Restoring};
use crate::launch::{CgroupGuard, Console, Created, PidFile, hooks, points, tell_receiver};
use crate::plan::{Plan, Refusal};
use crate::state::{CRIU_ROOT, Identity, Intent, NOTIFY, Record, Reservation, StateRoot};
use crate::{Bundle, ContainerId, check};

const LOG: &str = "restore.log";

/// One restore.
#[derive(Debug)]
pub struct Restore<'a> {
    pub id: &'a ContainerId,
    pub bundle: &'a Bundle,
    pub plan: &'a Plan,
    pub root: &'a StateRoot,
    pub console: Console,
    pub pid_file: Option<PidFile>,
    pub options: &'a Options,
    pub restoring: &'a Restoring,
}

/// Brings a container back. Whatever fails, nothing is left of it but criu's log; `warnings` gets what is to be said beside the error.
pub fn restore(request: Restore<'_>, warnings: &mut Vec<String>) -> Result<Created> {
    let (plan, begun) = (request.plan, Cell::new(false));
    bring_back(request, &begun).inspect_err(|_| {
        if begun.get() {
            warnings.extend(hooks::undo(plan));
        }
    })
}

#[expect(clippy::too_many_lines, reason = "step list")]
fn bring_back(request: Restore<'_>, begun: &Cell<bool>) -> Result<Created> {
    let plan = request.plan;
    plan.possible()?;
    refuse(plan)?;
    let place = Place::open(request.options, false, LOG)?;
    let program = criu::find(request.options.search.as_deref())?;
    criu::check(&program, request.options, None, Some(request.restoring))?;
    let reservation = request.root.reserve(request.id, &Intent::of(plan))?;
    let state = request.root.container_dir(request.id);
    let notify = state.join(NOTIFY);
    std::fs::create_dir(&notify).with_context(|| format!("make {}", notify.display()))?;
    let mut opened = check::open(plan)?;
    points::make(plan, &opened)?;
    if let Some(filter) = plan
        .process
        .as_ref()
        .and_then(|process| process.seccomp.as_ref())
    {
        StateRoot::save_filter(&reservation.dir, &filter.program)?;
    }
    let root = MountPoint::make(state.join(CRIU_ROOT))?;
    let cgroup = CgroupGuard::make(plan)?;
    let mut coming = Coming {
        request: &request,
        reservation: &reservation,
        begun,
        verified: false,
        cgroup,
        output: std::mem::take(&mut opened.output),
        receiver: opened.receiver.take(),
        record: None,
        terminal: None,
        child: None,
    };
    let image = Image {
        plan,
        options: request.options,
        restoring: request.restoring,
        place: &place,
        state: &state,
        root: &root.0,
        joins: &opened.joins,
        cgroups: plan.cgroup.is_some(),
    };
    let criu = criu::begin(&program, &image, opened.root)?;
    coming.cgroup.receive(plan, criu.pid())?;
    criu.restore(|event| coming.meet(event))
        .map_err(|error| place.explain(error))?;
    if !coming.verified {
        bail!("criu: restored a container without asking before it went on; install a newer one");
    }
    let Some((child, record)) = coming.child.take().zip(coming.record.take()) else {
        bail!("criu: restored a container without saying so; install a newer one");
    };
    let terminal = coming.terminal.take();
    let warnings = coming.cgroup.keep();
    drop(coming);
    drop(root);
    reservation.keep();
    Ok(Created {
        child,
        record,
        terminal,
        notify: None,
        warnings,
    })
}

/// Refuses what criu could not bring back.
fn refuse(plan: &Plan) -> Result<(), Refusal> {
    criu::refuse(plan)?;
    let kinds = Namespaces::MOUNT | Namespaces::CGROUP;
    let join = plan
        .namespaces
        .join
        .iter()
        .find(|join| kinds.contains(join.kind));
    if let Some(join) = join {
        return Err(Refusal::new(
            &join.at,
            "criu cannot restore into a mount or cgroup namespace that exists; remove the path",
        ));
    }
    if plan.process.is_none() {
        return Err(Refusal::new(
            "process",
            "missing; what the processes of the image may do is compared with it",
        ));
    }
    if !plan.namespaces.new.contains(Namespaces::MOUNT) {
        return Err(Refusal::new(
            "linux.namespaces",
            "criu restores only into a mount namespace of its own; add {\"type\": \"mount\"}",
        ));
    }
    Ok(())
}

/// A directory for a mount that only criu sees; removed with its guard.
#[derive(Debug)]
struct MountPoint(PathBuf);

impl MountPoint {
    fn make(path: PathBuf) -> Result<Self> {
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        // What is left, `delete --force` removes.
        drop(std::fs::remove_dir(&self.0));
    }
}

/// A container that is on its way back.
struct Coming<'a> {
    request: &'a Restore<'a>,
    reservation: &'a Reservation,
    /// Whether hooks have begun to run.
    begun: &'a Cell<bool>,
    /// Whether what the processes may do has been compared with the configuration.
    verified: bool,
    cgroup: CgroupGuard,
    output: hooks::Output,
    /// Wants a pidfd of the container's process.
    receiver: Option<OwnedFd>,
    record: Option<Record>,
    terminal: Option<OwnedFd>,
    child: Option<Child>,
}

impl Coming<'_> {
    fn meet(&mut self, event: Event<'_>) -> Result<()> {
        match event.script {
            "setup-namespaces" => self.set_up(event.pid),
            "orphan-pts-master" => self.hand_terminal(event.fd),
            "post-restore" => self.commit(event.pid),
            criu::LAST => self.verify(),
            // Connections are held still by criu itself.
            _ => Ok(()),
        }
    }

    /// Runs the hooks that may still change the container's namespaces.
    fn set_up(&self, pid: i32) -> Result<()> {
        let plan = self.request.plan;
        self.begun.set(true);
        let state = crate::state::OciState {
            pid,
            ..crate::launch::state_of(plan)
        };
        let run = |list| hooks::run(list, &state, Some(&plan.bundle), &self.output);
        run(&plan.hooks.prestart)?;
        run(&plan.hooks.create_runtime)
    }

    fn hand_terminal(&mut self, master: Option<OwnedFd>) -> Result<()> {
        let master = master.context("criu: a terminal without a descriptor")?;
        match &self.request.console {
            Console::Socket(socket) => {
                sys::socket::send(socket, b"/dev/ptmx", Some(master.as_fd()))
                    .context("send the terminal to --console-socket")
            }
            Console::Parent(_) => {
                self.terminal = Some(master);
                Ok(())
            }
            Console::None => {
                bail!("the image has a terminal and config.json has none; set process.terminal")
            }
        }
    }

    /// All processes are there, and none runs yet.
    fn commit(&mut self, pid: i32) -> Result<()> {
        let plan = self.request.plan;
        let handle = Handle::open(Pid::from_raw(pid)).context("open the container's process")?;
        self.child = Some(Child {
            pid: Pid::from_raw(pid),
            handle,
        });
        // Not before: criu's own helpers and the nodes that it makes are not the container's.
        self.cgroup.limit(plan)?;
        self.cgroup.complete(plan)?;
        criu::repair(plan, pid)?;
        let identity = Identity::of(pid).context("the container's process is gone")?;
        let created = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
        let spec = &self.request.bundle.spec;
        let mut record = Record::new(plan, spec, identity, self.cgroup.cgroup().cloned(), created);
        record.restored = true;
        if differs(pid, "time") {
            // criu gives each container a clock of its own, so that it does not jump.
            record.namespaces |= Namespaces::TIME.bits();
            record.made |= Namespaces::TIME.bits();
        }
        self.reservation.write_record(&record)?;
        if let (Some(socket), Some(child)) = (self.receiver.take(), &self.child) {
            tell_receiver(&socket, child)?;
        }
        self.reservation.commit()?;
        self.record = Some(record);
        if let Some(file) = &self.request.pid_file {
            file.write(pid)?;
        }
        Ok(())
    }

    /// Compares what the processes may do with the configuration. Only now have they got it from the image, and none runs yet.
    fn verify(&mut self) -> Result<()> {
        let child = self.child.as_ref();
        let child = child.context("criu: processes go on before they are there")?;
        criu::verify(self.request.plan, child.pid.as_raw())?;
        self.verified = true;
        Ok(())
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        // Left to us only when the restore has failed.
        if let Some(child) = self.child.take() {
            child.handle.signal(Signal::SIGKILL as i32).ok();
            child.handle.wait().ok();
        }
        self.cgroup.end();
    }
}

fn differs(pid: i32, namespace: &str) -> bool {
    let read =
        |of: &str| std::fs::read_link(Path::new("/proc").join(of).join("ns").join(namespace));
    matches!((read("self"), read(&pid.to_string())), (Ok(ours), Ok(theirs)) if ours != theirs)
}
