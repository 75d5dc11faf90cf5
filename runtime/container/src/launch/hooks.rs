//! Running hooks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sys::fs::{self, FcntlArg, Mode, OFlag};
use sys::process::{Handle, Pid, PollTimeout};

use crate::plan::{Hook, Hooks, Plan, Refusal, annotations};
use crate::state::{OciState, Status};

/// Where hooks write to.
#[derive(Debug, Default)]
pub(crate) struct Output {
    stdout: Option<OwnedFd>,
    /// With its path, for messages.
    stderr: Option<(OwnedFd, PathBuf)>,
}

impl Output {
    /// Opens the files that the plan names, if there is a hook that could write.
    pub(crate) fn open(hooks: &Hooks) -> Result<Self, Refusal> {
        if hooks.is_empty() {
            return Ok(Self::default());
        }
        let open = |file: &Option<PathBuf>, key: &str| match file {
            None => Ok(None),
            Some(path) => append(path).map(Some).map_err(|errno| {
                let why = format!("{}: {}", path.display(), sys::reason(errno));
                Refusal::new(annotations::at(key), why)
            }),
        };
        let stderr = open(&hooks.stderr, annotations::HOOKS_STDERR)?;
        Ok(Self {
            stdout: open(&hooks.stdout, annotations::HOOKS_STDOUT)?,
            stderr: stderr.zip(hooks.stderr.clone()),
        })
    }

    /// Returns the descriptors, for a process that closes all others.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let stderr = self.stderr.iter().map(|(fd, _)| fd.as_fd());
        self.stdout.iter().map(AsFd::as_fd).chain(stderr)
    }
}

/// Opens a file to append to; a fifo that nobody reads is refused and not waited for.
fn append(path: &Path) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND;
    let now = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = fs::open(path, flags | now, Mode::from_bits_truncate(0o600))?;
    // Hooks are programs like any other, which take a full pipe for a slow one.
    fs::fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// Runs hooks one after the other, each with the container's state on its standard input; the first failure ends the list.
///
/// A hook inherits no descriptor but its three streams, and only the environment that the configuration gives it.
pub(crate) fn run(
    hooks: &[Hook],
    state: &OciState,
    dir: Option<&Path>,
    output: &Output,
) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec(state).context("write the state as JSON")?;
    for hook in hooks {
        one(hook, &json, dir, output)
            .with_context(|| format!("config.json: {}: {}", hook.at, hook.path.display()))?;
    }
    Ok(())
}

/// Runs all poststop hooks of a container that is gone: each of them runs, whatever the others do (runtime.md, lifecycle). Returns what failed.
pub(crate) fn poststop(hooks: &Hooks, state: &OciState, bundle: &Path) -> Vec<String> {
    if hooks.poststop.is_empty() {
        return Vec::new();
    }
    let mut failed = Vec::new();
    let output = Output::open(hooks).unwrap_or_else(|refusal| {
        failed.push(refusal.to_string());
        Output::default()
    });
    for hook in &hooks.poststop {
        let ran = run(std::slice::from_ref(hook), state, Some(bundle), &output);
        failed.extend(ran.err().map(|error| format!("{error:#}")));
    }
    failed
}

/// Does the same for a creation that has failed after its hooks had begun to run: the specification goes on where a container is deleted.
pub(crate) fn undo(plan: &Plan) -> Vec<String> {
    let state = OciState {
        status: Status::Stopped,
        ..super::state_of(plan)
    };
    poststop(&plan.hooks, &state, &plan.bundle)
}

fn one(hook: &Hook, state: &[u8], dir: Option<&Path>, output: &Output) -> Result<()> {
    let (name, args) = hook.args.split_first().context("no arguments")?;
    // Files, not pipes: a hook that does not read its input, or writes without end, holds up nobody but itself.
    let input = sys::fs::memory_file(state).context("file for the state")?;
    let said = sys::fs::memory_file(b"").context("file for messages")?;
    let mut command = Command::new(&hook.path);
    command.arg0(name).args(args).env_clear();
    let variables = hook
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='));
    command.envs(variables);
    let messages = output.stderr.as_ref().map_or(&said, |(fd, _)| fd);
    let messages = messages.try_clone().context("file for messages")?;
    let stdout = output.stdout.as_ref().map(OwnedFd::try_clone);
    let stdout = stdout.transpose().context("file for output")?;
    command.stdin(input).stderr(messages);
    command.stdout(stdout.map_or_else(Stdio::null, Stdio::from));
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let mut child = command
        .spawn()
        .map_err(|error| anyhow::anyhow!(crate::bundle::lower(&error)))?;
    wait(hook, &mut child)?;
    let status = child.wait().context("wait for the hook")?;
    if !status.success() {
        let said = match &output.stderr {
            Some((_, path)) => format!("what it said is in {}", path.display()),
            None => first_line(said),
        };
        let colon = if said.is_empty() { "" } else { ": " };
        bail!("{status}{colon}{said}");
    }
    Ok(())
}

/// Waits for a hook to end, not longer than its time.
fn wait(hook: &Hook, child: &mut Child) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("process id")?);
    let handle = Handle::child(pid).context("take hold of the hook")?;
    let limit = hook
        .timeout
        .map(|seconds| Duration::from_secs(seconds.into()));
    let timeout = limit.map_or(PollTimeout::NONE, |limit| {
        PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
    });
    if handle.has_ended(timeout).context("wait for the hook")? {
        return Ok(());
    }
    child.kill().context("kill the hook")?;
    child.wait().context("wait for the killed hook")?;
    let seconds = hook.timeout.unwrap_or_default();
    bail!("killed after its timeout of {seconds} s")
}

/// Returns the beginning of what the hook said; a file that cannot be read said nothing.
fn first_line(said: OwnedFd) -> String {
    let mut buffer = [0; 1024];
    let length = std::fs::File::from(said)
        .read_at(&mut buffer, 0)
        .unwrap_or(0);
    let text = String::from_utf8_lossy(&buffer[..length]);
    text.lines().next().unwrap_or_default().to_string()
}
