//! Running hooks.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sys::process::{Pid, PollTimeout};

use crate::plan::Hook;
use crate::state::OciState;

/// Runs hooks one after the other, each with the container's state on its standard input; the first failure ends the list.
///
/// A hook inherits no descriptor but its three streams, and only the environment that the configuration gives it.
pub(crate) fn run(hooks: &[Hook], state: &OciState, dir: Option<&Path>) -> Result<()> {
    if hooks.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec(state).context("write the state as JSON")?;
    for hook in hooks {
        one(hook, &json, dir)
            .with_context(|| format!("config.json: {}: {}", hook.at, hook.path.display()))?;
    }
    Ok(())
}

fn one(hook: &Hook, state: &[u8], dir: Option<&Path>) -> Result<()> {
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
    let messages = said.try_clone().context("file for messages")?;
    command.stdin(input).stdout(Stdio::null()).stderr(messages);
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let mut child = command
        .spawn()
        .map_err(|error| anyhow::anyhow!(crate::bundle::lower(&error)))?;
    wait(hook, &mut child)?;
    let status = child.wait().context("wait for the hook")?;
    if !status.success() {
        let said = first_line(said);
        let colon = if said.is_empty() { "" } else { ": " };
        bail!("{status}{colon}{said}");
    }
    Ok(())
}

/// Waits for a hook to end, not longer than its time.
fn wait(hook: &Hook, child: &mut Child) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id()).context("process id")?);
    let pidfd = sys::process::pidfd_open(pid).context("open the hook's pidfd")?;
    let limit = hook
        .timeout
        .map(|seconds| Duration::from_secs(seconds.into()));
    let timeout = limit.map_or(PollTimeout::NONE, |limit| {
        PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
    });
    if sys::process::has_ended(&pidfd, timeout).context("wait for the hook")? {
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
