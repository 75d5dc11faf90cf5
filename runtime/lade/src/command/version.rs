//! `lade version`: without the engine, so that it answers on any host and makes nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use super::info::lines;
use crate::failure::{Failure, print};
use crate::format;
use crate::session::Session;

/// Show the version and what it was made for
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print by a Go template, such as '{{.Client.Version}}', or json
    #[arg(long, short = 'f')]
    format: Option<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let host = image::Platform::host();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let version = serde_json::json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": host.os,
        "Arch": host.architecture,
        "KernelVersion": kernel.unwrap_or_default().trim_end(),
    });
    match args.format.as_deref() {
        None | Some("") => {
            let (client, runtime) = (lines(&version, 1), runtime(&session.settings.runtime));
            print(&format!("Client:\n{client}\nRuntime:\n{runtime}"))
        }
        // There is no server, but who asks for its version wants ours.
        Some(template) => {
            let both = serde_json::json!({"Client": version, "Server": version});
            print(&format::object(template, &both)?)
        }
    }
}

/// Returns what the runtime, which is all that there is beside us, says of itself; runtimes say it alike.
fn runtime(program: &Path) -> String {
    let mut command = Command::new(program);
    let said = command.arg("--version").stdin(Stdio::null()).output();
    match said {
        Ok(said) if said.status.success() => {
            let said = String::from_utf8_lossy(&said.stdout);
            said.lines().map(|line| format!(" {line}\n")).collect()
        }
        Ok(said) => format!(" {}: --version: {}\n", program.display(), said.status),
        Err(error) => format!(" {}: {error}\n", program.display()),
    }
}
