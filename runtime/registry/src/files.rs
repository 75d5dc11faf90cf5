//! Small files of the configuration: read with a limit, replaced at once.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// More than any such file has; docker's own with hundreds of logins has 100 KiB.
pub(crate) const MOST: u64 = 4 << 20;

/// Reads a file, or nothing where there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let fault = |what: &dyn std::fmt::Display| {
        Error::new(Kind::Settings, format!("{}: {what}", path.display()))
    };
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(fault(&error)),
    };
    // Before it is opened: a fifo would wait for its writer.
    if !meta.is_file() {
        return Err(fault(&"is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(fault(&error)),
    };
    file.take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(&error))?;
    if bytes.len() as u64 > MOST {
        return Err(fault(&format_args!(
            "has more than {} MiB, which no such file needs",
            MOST >> 20
        )));
    }
    Ok(Some(bytes))
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Puts a file of mode 0600 in the place of another at once; its directory is made with 0700. A link is followed, and stays a link.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    write_aside(&target, bytes)
        .map_err(|error| Error::new(Kind::Settings, format!("{}: {error}", path.display())))
}

fn write_aside(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = match target.parent() {
        Some(dir) if dir != Path::new("") => dir.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut making = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut making, 0o700);
    making.recursive(true).create(&dir)?;
    let name = target.file_name().ok_or(ErrorKind::InvalidInput)?;
    sweep(&dir, name);
    let mut aside = name.to_owned();
    // Processes of other pid namespaces have our number, too.
    let number = RandomState::new().build_hasher().finish();
    aside.push(format!(".{number}{ASIDE}"));
    let aside = dir.join(aside);
    let written = create(&aside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, target)?;
        File::open(&dir)?.sync_all()
    });
    if written.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_file(&aside));
    }
    written
}

/// What the name of a file ends with that is being written.
const ASIDE: &str = ".new";

/// Makes a file and locks it, so that nobody takes it for what a killed process has left.
fn create(path: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        // Until here another process may have removed it.
        if file.lock().is_err() {
            // A file system without locks: nobody else can get one, either.
            return Ok(file);
        }
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what killed processes have left beside a file: it may hold logins. What cannot be removed stays.
fn sweep(dir: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let other = entry.file_name();
        let id = other.as_bytes().strip_prefix(name.as_bytes());
        let id = id.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(ASIDE.as_bytes()));
        let ours = id.is_some_and(|id| !id.is_empty() && id.iter().all(u8::is_ascii_digit));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(entry.path()) else {
            continue;
        };
        if file.try_lock().is_ok() {
            // Another one may have removed it in the same moment.
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_login_has_left_is_removed_by_the_next() {
        let dir = std::env::temp_dir().join(format!("registry-files-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("config.json");
        let left = ["config.json.1.new", "config.json.4194304.new"];
        let others = ["config.json.x.new", "config.json..new", "other.1.new"];
        for name in left.iter().chain(&others) {
            fs::write(dir.join(name), "secret").unwrap();
        }
        let at_work = dir.join("config.json.2.new");
        let held = create(&at_work).unwrap();
        replace(&path, b"{}").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}");
        for name in left {
            assert!(!dir.join(name).exists(), "{name}");
        }
        for name in others {
            assert!(dir.join(name).exists(), "{name}");
        }
        assert!(at_work.exists(), "somebody is writing it");
        drop(held);
        replace(&path, b"{}").unwrap();
        assert!(!at_work.exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
