//! `create`, and what `run` shares with it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser};
use container::foreground::{on_terminal, terminal_size};
use container::launch::{self, Console, Created, PidFile, Request, When};
use container::state::NOTIFY;
use container::timing::Phase;
use container::{Bundle, ContainerId, Host, Options, Plan, StateRoot, Timing, text};

use super::timings::Timings;
use super::{Done, Failure, exactly, with};
use crate::global::Invocation;
use crate::log::{self, Level};

#[derive(Debug, Parser)]
pub(super) struct Create {
    #[command(flatten)]
    common: Common,
}

// The options of `create`, which `run` has too.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Read this file instead of the bundle's config.json
    #[arg(long, short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send the terminal's master to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a pidfd of the container's process to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Write the process id to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Change the root by chroot instead of pivot_root (for hosts that run from an initramfs; less safe)
    #[arg(long)]
    no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    no_new_keyring: bool,
    /// Give the program this many more descriptors, from 3 upwards
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Write where the time of the start went to this file, as a trace for Chrome or Perfetto, and as a table to standard error
    #[arg(long, value_name = "FILE")]
    pub(super) timings: Option<PathBuf>,
    /// Do not become a subreaper
    #[arg(long)]
    pub(super) no_subreaper: bool,
    /// Id of the container
    #[arg(value_name = "ID")]
    id: Vec<String>,
}

pub(super) fn create(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Create| {
        let mut timings = Timings::wanted(args.common.timings.as_deref())?;
        let prepared = Prepared::new(invocation, &args.common, Terminal::Handed, &mut timings)?;
        let launched = prepared.launch(When::OnStart, &timings.timing);
        timings.finish(launched.map(|(_, done)| done))
    })
}

/// What becomes of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    /// It goes to the console socket.
    Handed,
    /// We stand in front of it.
    Ours,
}

/// A creation that is ready to go.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) id: ContainerId,
    pub(super) root: StateRoot,
    /// The host's NOTIFY_SOCKET.
    pub(super) notify: Option<PathBuf>,
    bundle: Bundle,
    plan: Plan,
    console: Console,
    pidfd_socket: Option<OwnedFd>,
    pid_file: Option<PidFile>,
    /// Whether the steps of the plan are wanted in the log.
    debug: bool,
}

impl Prepared {
    pub(super) fn new(
        invocation: &Invocation,
        args: &Common,
        terminal: Terminal,
        timings: &mut Timings,
    ) -> Result<Self> {
        let [id] = exactly(&args.id)?;
        let id = ContainerId::parse(id)?;
        let (root, _) = invocation.root()?;
        let bundle = Bundle::load(&args.bundle, args.config.as_deref())?;
        timings.timing.parent(Phase::Configuration);
        let notify = std::env::var_os("NOTIFY_SOCKET")
            .filter(|socket| !socket.is_empty())
            .map(PathBuf::from);
        let listen_fds = listen_fds();
        let options = Options {
            no_pivot: args.no_pivot,
            no_new_keyring: args.no_new_keyring,
            preserve_fds: listen_fds.saturating_add(args.preserve_fds),
            listen_fds,
            no_cgroup: invocation.no_cgroup(),
            systemd: invocation.systemd(),
            rootless: invocation.rootless(),
            notify_dir: notify
                .as_ref()
                .map(|_| root.container_dir(&id).join(NOTIFY)),
        };
        check_descriptors(listen_fds, args.preserve_fds)?;
        let host = Host::probe_for(&bundle)?;
        timings.timing.parent(Phase::Host);
        let plan = Plan::new(&id, &bundle, &host, &options)?;
        timings.timing.parent(Phase::Plan);
        timings.name_steps(&plan);
        let wanted = plan
            .process
            .as_ref()
            .is_some_and(|process| process.terminal.is_some());
        let console = console(wanted, args.console_socket.as_deref(), terminal)?;
        let pidfd_socket = args
            .pidfd_socket
            .as_deref()
            .map(|path| connect("--pidfd-socket", path))
            .transpose()?;
        let pid_file = args.pid_file.as_deref().map(PidFile::open).transpose()?;
        timings.open(&id)?;
        Ok(Self {
            id,
            root,
            notify,
            bundle,
            plan,
            console,
            pidfd_socket,
            pid_file,
            debug: invocation.log_level == Level::Debug,
        })
    }

    /// Makes the container; returns it with what there is to say about it.
    pub(super) fn launch(self, when: When, timing: &Timing) -> Result<(Created, Done)> {
        let mut done = Done {
            warnings: self.plan.warnings.clone(),
            ..Done::default()
        };
        if self.debug {
            done.steps = self.plan.show().lines().map(String::from).collect();
        }
        let request = Request {
            id: &self.id,
            bundle: &self.bundle,
            plan: &self.plan,
            root: &self.root,
            console: self.console,
            when,
            pid_file: self.pid_file,
            pidfd_socket: self.pidfd_socket,
            notify: self.notify,
            timing,
        };
        let created = launch::create(request, &mut done.warnings);
        // Beside an error they do not belong into the log, which podman reads as one object.
        let created = created.inspect_err(|_| beside_an_error(&done.warnings))?;
        done.warnings.extend(created.warnings.iter().cloned());
        Ok((created, done))
    }
}

/// Says what is to be said of a creation that has failed.
pub(super) fn beside_an_error(warnings: &[String]) {
    for warning in warnings {
        log::to_stderr(&format!("warning: {warning}"));
    }
}

/// Refuses what takes privileges on the host whatever the container.
pub(super) fn refuse_ordinary_user(verb: &str) -> Result<()> {
    if !sys::process::geteuid().is_root() {
        bail!("{verb}: not possible for an ordinary user; run as root");
    }
    Ok(())
}

/// Decides where a terminal goes; runc's callers rely on both wrong combinations being refused.
pub(super) fn console(wanted: bool, socket: Option<&Path>, terminal: Terminal) -> Result<Console> {
    match (wanted, socket, terminal) {
        (true, Some(socket), Terminal::Handed) => {
            Ok(Console::Socket(connect("--console-socket", socket)?))
        }
        (true, None, Terminal::Handed) => bail!(text::TERMINAL_WITHOUT_SOCKET),
        (true, None, Terminal::Ours) if !on_terminal() => bail!(
            "process.terminal is true, and there is no terminal here: none of the standard streams is one, and open /dev/tty fails; set \
             process.terminal to false, leave out --tty, or pass --detach and --console-socket"
        ),
        (true, None, Terminal::Ours) => Ok(Console::Parent(terminal_size())),
        (false, None, _) => Ok(Console::None),
        (_, Some(_), _) => bail!(text::SOCKET_WITHOUT_TERMINAL),
    }
}

pub(super) fn connect(option: &str, path: &Path) -> Result<OwnedFd> {
    sys::socket::connect(path).map_err(|errno| {
        anyhow::anyhow!(
            "{option}: connect to {}: {}",
            path.display(),
            sys::reason(errno)
        )
    })
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("path {}", path.display()))
}

/// Returns how many descriptors socket activation has passed to this very process (sd_listen_fds(3)).
fn listen_fds() -> u32 {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse::<u32>().ok())
    };
    let ours = number("LISTEN_PID") == u32::try_from(sys::process::getpid().as_raw()).ok();
    number("LISTEN_FDS").filter(|_| ours).unwrap_or(0)
}

/// Refuses a descriptor that was promised to the payload and is not open, before it could be mistaken for one of ours.
pub(super) fn check_descriptors(listen_fds: u32, count: u32) -> Result<()> {
    let open = |number: u32| {
        i32::try_from(number)
            .ok()
            .and_then(sys::fs::inherited)
            .is_some()
    };
    if let Some(index) = (0..listen_fds).find(|index| !open(index.saturating_add(3))) {
        bail!(
            "LISTEN_FDS={listen_fds}: descriptor {} is not open",
            index.saturating_add(3)
        );
    }
    let first = listen_fds.saturating_add(3);
    for index in 0..count {
        if !open(first.saturating_add(index)) {
            bail!(
                "unable to stat preserved-fd {index} (of {count}): descriptor {} is not open",
                first + index
            );
        }
    }
    Ok(())
}
