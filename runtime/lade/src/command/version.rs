//! `lade version`.

use serde_json::Value;

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
    let version = session.engine()?.version();
    let version = serde_json::to_value(version)
        .map_err(|error| Failure::new(format!("write the version: {error}")))?;
    // There is no server, but who asks for its version wants ours.
    let value = serde_json::json!({"Client": version, "Server": version});
    match args.format.as_deref() {
        None | Some("") => print(&rendered(&value["Client"])),
        Some(template) => print(&format::object(template, &value)?),
    }
}

fn rendered(version: &Value) -> String {
    format!("Client:\n{}", lines(version, 1))
}
