//! `lade version`: without the engine, so that it answers on any host and makes nothing.

use super::info::lines;
use crate::failure::{Failure, print};
use crate::format;

/// Show the version and what it was made for
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print by a Go template, such as '{{.Client.Version}}', or json
    #[arg(long, short = 'f')]
    format: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let host = image::Platform::host();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let version = serde_json::json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "Os": host.os,
        "Arch": host.architecture,
        "KernelVersion": kernel.unwrap_or_default().trim_end(),
    });
    match args.format.as_deref() {
        None | Some("") => print(&format!("Client:\n{}", lines(&version, 1))),
        // There is no server, but who asks for its version wants ours.
        Some(template) => {
            let both = serde_json::json!({"Client": version, "Server": version});
            print(&format::object(template, &both)?)
        }
    }
}
