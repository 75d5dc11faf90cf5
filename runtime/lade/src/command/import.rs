//! `lade import`.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;

use engine::Import;

use super::platform;
use crate::failure::{Failure, print_lines};
use crate::progress::{self, Place};
use crate::session::Session;

/// Make an image of one layer from a tar archive, also compressed
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The archive, which http:// and https:// fetch; - for standard input
    #[arg(value_name = "FILE|URL|-")]
    file: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Apply this instruction of a Dockerfile, such as CMD or ENV
    #[arg(long, short = 'c', value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// Comment for the image's history
    #[arg(long, short = 'm', default_value = "", hide_default_value = true)]
    message: String,
    /// Say that it is for this platform: os/architecture[/variant]
    #[arg(long)]
    platform: Option<String>,
}

pub(crate) fn run(args: Args, session: &Session) -> Result<(), Failure> {
    let options = Import {
        platform: platform(args.platform.as_ref())?,
        name: args.name,
        changes: args.change,
        message: args.message,
        source: said(&args.file).to_owned(),
    };
    let file = args.file;
    if file == "-" && io::stdin().is_terminal() {
        let failure = Failure::new("an archive does not come from a terminal");
        return Err(failure.hint("lade import FILE, or send the archive in by a pipe"));
    }
    let engine = session.engine()?;
    let fetched = file.starts_with("http://") || file.starts_with("https://");
    // What is printed is the id alone.
    let quiet = !fetched || !Place::Errors.is_terminal();
    let progress = progress::show(Place::Errors, quiet, session);
    let id = if fetched {
        progress.during(|progress| engine.import_url(&file, &options, progress))?
    } else if file == "-" {
        progress.during(|progress| engine.import(&mut io::stdin(), &options, progress))?
    } else {
        if Path::new(&file).is_dir() {
            let failure = Failure::new(format!("import {file}: is a directory"));
            return Err(failure.hint(format!("tar -C {file} -c . | lade import -")));
        }
        let open = File::open(&file);
        let mut open = open.map_err(|error| Failure::new(format!("open {file}: {error}")))?;
        progress.during(|progress| engine.import(&mut open, &options, progress))?
    };
    print_lines([id])
}

/// What the history says of where a tar came from: of an address not the part that may be a signature.
fn said(source: &str) -> &str {
    let address = source.starts_with("http://") || source.starts_with("https://");
    let end = source.find(['?', '#']).filter(|_| address);
    &source[..end.unwrap_or(source.len())]
}
