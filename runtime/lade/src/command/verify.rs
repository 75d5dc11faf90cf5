//! `lade image verify`.

use crate::failure::{FAILED, Failure, print};
use crate::progress::{self, Place};
use crate::session::Session;

/// Hash every blob and every unpacked file again and compare them with what the image names
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids; all images without
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// Print only what differs
    #[arg(long, short = 'q')]
    quiet: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let engine = session.engine()?;
    let quiet = args.quiet || !Place::Errors.is_terminal();
    let progress = progress::show(Place::Errors, quiet, session);
    let verified = progress.during(|progress| engine.verify(&args.images, progress))?;
    let mut text = String::new();
    let mut bad = 0;
    for image in &verified {
        let count = image.differences.len();
        if count > 0 {
            bad += 1;
            let plural = if count == 1 { "" } else { "s" };
            text.push_str(&format!("{}: {count} difference{plural}\n", image.name));
            for difference in &image.differences {
                text.push_str(&format!("  {difference}\n"));
            }
        } else if !args.quiet {
            text.push_str(&format!(
                "{}: good (blobs: {}, layers: {})\n",
                image.name, image.blobs, image.layers
            ));
        }
    }
    print(&text)?;
    if bad == 0 {
        return Ok(());
    }
    let of = verified.len();
    let failure = Failure::new(format!("images that are not what they were: {bad} of {of}"));
    Err(failure
        .hint("lade rmi and lade pull get them again")
        .code(FAILED))
}
