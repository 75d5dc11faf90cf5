//! The directories of an image, and the log that criu writes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::Options;
use crate::bundle::lower;

/// Directories that are open, and the log that criu writes into one of them.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) images: PathBuf,
    pub(super) work: Option<PathBuf>,
    pub(super) log: PathBuf,
}

impl Place {
    /// Opens the directories of an image; with `make`, makes them first.
    pub(crate) fn open(options: &Options, make: bool, log: &str) -> Result<Self> {
        let open = |option: &str, dir: &Path, make: bool| {
            let text = |error: &std::io::Error| {
                let why = lower(error);
                anyhow::anyhow!("{option} {}: {why}", dir.display())
            };
            if make {
                let mut builder = std::fs::DirBuilder::new();
                std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700)
                    .create(dir)
                    .map_err(|error| text(&error))?;
            }
            let real = dir.canonicalize().map_err(|error| text(&error))?;
            if !real.is_dir() {
                bail!("{option} {}: not a directory", dir.display());
            }
            Ok(real)
        };
        let images = open("--image-path", &options.images, make)?;
        // Made in any case: criu's log goes there.
        let work = options.work.as_deref();
        let work = work.map(|dir| open("--work-path", dir, true)).transpose()?;
        let log = work.as_ref().unwrap_or(&images).join(log);
        // An older one would be taken for this one's, should criu not get as far as to write it.
        drop(std::fs::remove_file(&log));
        if !make {
            refuse_open(work.as_ref().unwrap_or(&images))?;
        }
        Ok(Self { log, images, work })
    }

    /// The directories as criu is given them.
    pub(super) fn dirs(&self) -> Vec<&Path> {
        [Some(&self.images), self.work.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
            .collect()
    }

    /// Makes sure that there is a log to be read, and adds to an error what it says and where it is.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let log = std::fs::read_to_string(&self.log);
        let log = log.unwrap_or_else(|_| {
            // containerd copies the log wherever a checkpoint fails, and its own error would hide ours.
            drop(std::fs::write(&self.log, format!("Error: {error:#}\n")));
            String::new()
        });
        match reason(&log) {
            Some(line) => anyhow::anyhow!("{error:#}: {line}; see {}", self.log.display()),
            None => error,
        }
    }
}

/// Makes sure that criu writes nothing through a link, which it would follow: an image may come from anywhere, with whatever lies beside it.
fn refuse_open(dir: &Path) -> Result<()> {
    let found = dir.metadata();
    let found = found.map_err(|error| anyhow::anyhow!("{}: {}", dir.display(), lower(&error)))?;
    let own = sys::process::geteuid().as_raw();
    if found.uid() != own || found.mode() & 0o022 != 0 {
        bail!(
            "{}: criu would write its log there, and others may put links there: it belongs to user {}, mode {:o}; name a directory of your own by --work-path",
            dir.display(),
            found.uid(),
            found.mode() & 0o7777
        );
    }
    // Its other file of a restore.
    match std::fs::remove_file(dir.join("stats-restore")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("remove {}/stats-restore: {}", dir.display(), lower(&error))
        }
        _ => Ok(()),
    }
}

/// Returns what a log gives as the reason: its first error that is more than the news of the failure; those behind it follow from it.
fn reason(log: &str) -> Option<&str> {
    let mut errors = log
        .lines()
        .filter_map(|line| line.split_once("Error ").map(|(_, error)| error));
    let said = |error: &&str| !error.contains("FAILED") && !error.contains("rlimit");
    let line = errors.find(said)?;
    // Behind the source's file and line.
    Some(line.split_once("): ").map_or(line, |(_, text)| text))
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_is_the_first_error_that_says_something() {
        let log = "(00.1) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self\n\
                   (00.2) Error (criu/mount.c:7): mnt: 24:./x doesn't have a proper root mount\n\
                   (00.3) Warn  (criu/x.c:1): something\n\
                   (00.4) Error (criu/cr-dump.c:2128): Dumping FAILED.\n";
        assert_eq!(
            reason(log),
            Some("mnt: 24:./x doesn't have a proper root mount")
        );
        assert_eq!(reason("(00.1) all fine\n"), None);
    }
}
