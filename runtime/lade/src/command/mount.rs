//! `lade image mount`, `lade image unmount`.

use std::path::PathBuf;

use engine::Unmount;

use crate::failure::{Failure, print, print_lines};
use crate::session::Session;
use crate::table;

/// Show an image's files in a directory, read-only; without an image: list what is mounted
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or id
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
    /// Where; below the run root without
    #[arg(value_name = "DIR", requires = "image")]
    at: Option<PathBuf>,
}

/// Take away what `lade image mount` has mounted
#[derive(Debug, clap::Args)]
pub(crate) struct UnmountArgs {
    /// Names, ids or directories
    #[arg(value_name = "IMAGE|DIR", required = true)]
    mounts: Vec<String>,
    /// Also when somebody is using it
    #[arg(long, short = 'f')]
    force: bool,
}

impl Args {
    /// Refuses a mount that nobody would see: an ordinary user can mount in a namespace of his own only, which ends with the command.
    pub(super) fn refuse_unseen(&self) -> Result<(), Failure> {
        if self.image.is_none() || nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let text = "image mount: an ordinary user's mount is seen by the process that makes it alone, and ends with it";
        Err(Failure::new(text)
            .hint("begin a shell of your own to mount in: unshare --map-auto -rm"))
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let engine = session.engine()?;
    let Some(image) = &args.image else {
        let mut text = String::from("IMAGE ID\tPATH\n");
        for mounted in engine.mounts()? {
            text.push_str(&format!(
                "{}\t{}\n",
                mounted.id.short(),
                mounted.path.display()
            ));
        }
        return print(&table::align(&text));
    };
    let path = engine.mount(image, args.at.as_deref())?;
    print_lines([path.display()])
}

pub(crate) fn unmount(args: &UnmountArgs, session: &Session) -> Result<(), Failure> {
    let engine = session.engine()?;
    let options = Unmount { force: args.force };
    let mut errors = Vec::new();
    for mount in &args.mounts {
        match engine.unmount(mount, &options) {
            Ok(path) => print_lines([path.display()])?,
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::all(&errors))
}
