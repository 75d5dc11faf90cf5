//! Small files of the configuration: read with a limit, replaced at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
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
    let mut name = target
        .file_name()
        .ok_or(ErrorKind::InvalidInput)?
        .to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let aside = dir.join(name);
    let written = (|| {
        // What a killed process of the same id left.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, target)?;
        File::open(&dir)?.sync_all()
    })();
    if written.is_err() {
        // The first error is the one to tell.
        drop(fs::remove_file(&aside));
    }
    written
}
