//! `lade save`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use engine::{Engine, Save};
use nix::fcntl::{Flock, FlockArg};

use super::platform;
use crate::failure::Failure;
use crate::session::Session;

/// Write images into a tar archive, which docker, podman and skopeo read
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Write to this file instead of standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
    /// Save only the image for this platform: os/architecture[/variant]
    #[arg(long)]
    platform: Option<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let options = Save {
        platform: platform(args.platform.as_ref())?,
    };
    let engine = session.engine()?;
    match &args.output {
        Some(path) => to_file(path, |out| write(engine, args, &options, out)),
        None if io::stdout().is_terminal() => {
            let failure = Failure::new("an archive is not for a terminal");
            Err(failure.hint("lade save -o FILE, or send the output into a pipe or a file"))
        }
        None => {
            let mut out = Told {
                out: io::stdout(),
                error: None,
            };
            let written = engine.save(&args.images, &options, &mut out);
            match out.error {
                Some(error) => Err(Failure::output(&error)),
                None => Ok(written?),
            }
        }
    }
}

fn write(
    engine: &Engine,
    args: &Args,
    options: &Save,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    Ok(engine.save(&args.images, options, out)?)
}

/// Writes a file that is either whole or not there. What is no plain file (a pipe, a device) is written as it is.
fn to_file(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let refused = |what: &str, path: &Path, error: &io::Error| {
        Failure::new(format!("{what} {}: {error}", path.display()))
    };
    let special = path.metadata().is_ok_and(|meta| !meta.is_file());
    if special {
        let open = OpenOptions::new().write(true).open(path);
        let mut out = open.map_err(|error| refused("open", path, &error))?;
        return write(&mut out);
    }
    let aside = Aside::new(path).map_err(|error| refused("create", path, &error))?;
    let mut out = BufWriter::with_capacity(1 << 20, &*aside.file);
    write(&mut out)?;
    let written = out.flush().and_then(|()| aside.file.sync_all());
    drop(out);
    let renamed = written.and_then(|()| std::fs::rename(&aside.path, path));
    // What was renamed is not there to be removed when `aside` goes.
    renamed.map_err(|error| refused("write", path, &error))
}

/// A file beside another that takes its place at the end.
struct Aside {
    path: PathBuf,
    /// Locked, so that nobody takes it for what a killed process has left.
    file: Flock<File>,
}

impl Aside {
    fn new(target: &Path) -> io::Result<Self> {
        let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".{}", std::process::id()));
        let path = target.with_file_name(aside);
        sweep(target);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                // As docker's: an image may hold secrets.
                .mode(0o600)
                .open(&path)?;
            // Until here another process may take it for one that was left, and remove it.
            let file = Flock::lock(file, FlockArg::LockExclusive);
            let file = file.map_err(|(_, errno)| io::Error::from(errno))?;
            let there = path.symlink_metadata().map(|stat| stat.ino());
            if there.is_ok_and(|ino| file.metadata().is_ok_and(|stat| stat.ino() == ino)) {
                return Ok(Self { path, file });
            }
        }
    }
}

/// Removes what processes that were killed have left beside a file: whoever is at work has locked its own. What cannot be removed stays.
fn sweep(target: &Path) {
    let Some(name) = target.file_name() else {
        return;
    };
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(dir.unwrap_or(Path::new("."))) else {
        return;
    };
    for entry in entries.flatten() {
        let other = entry.file_name();
        let id = other.as_bytes().strip_prefix(b".");
        let id = id.and_then(|rest| rest.strip_prefix(name.as_bytes())?.strip_prefix(b"."));
        let ours = id.is_some_and(|id| !id.is_empty() && id.iter().all(u8::is_ascii_digit));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let file = OpenOptions::new().write(true).open(entry.path());
        let lock = file.map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock));
        if let Ok(Ok(_lock)) = lock {
            // Another one may have removed it in the same moment.
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // There is nothing left to do about a file that cannot be removed.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Standard output, with the error that a write met: who has gone away is told nothing, and that is known from here only.
struct Told<W> {
    out: W,
    error: Option<io::Error>,
}

impl<W: Write> Told<W> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }
}

impl<W: Write> Write for Told<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.note(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = std::env::temp_dir().join(format!("lade-save-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("x.tar");
        let files = || std::fs::read_dir(&dir).unwrap().count();

        let failed = to_file(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(Failure::new("no"))
        });
        assert_eq!(failed, Err(Failure::new("no")));
        assert_eq!(files(), 0);

        std::fs::write(&path, "before").unwrap();
        to_file(&path, |out| {
            out.write_all(b"whole").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(files(), 1);

        let nowhere = to_file(&dir.join("no/x.tar"), |_| Ok(())).unwrap_err();
        assert!(nowhere.problems[0].message.starts_with("create "));
        to_file(Path::new("/dev/null"), |out| {
            out.write_all(b"x").map_err(|error| Failure::output(&error))
        })
        .unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
