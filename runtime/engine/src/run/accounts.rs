//! The image's `/etc/passwd` and `/etc/group`, read as a file of a stranger's has to be read.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{Inside, Mode, OFlag, SFlag};

/// More than any user database has; the file is read into memory.
const MOST: u64 = 16 << 20;

type Text = Option<Vec<u8>>;

/// Reads both from a root that need not be mounted anywhere.
pub(super) fn read(root: impl AsFd) -> Result<(Text, Text)> {
    let root = root.as_fd();
    Ok((file(root, "etc/passwd")?, file(root, "etc/group")?))
}

fn file(root: impl AsFd, path: &str) -> Result<Text> {
    let found = sys::fs::open_inside(root, path, OFlag::O_PATH, Mode::empty(), Inside::Root);
    let found = match found {
        Ok(found) => found,
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        Err(errno) => bail!("read the image's /{path}: {}", sys::reason(errno)),
    };
    let stat = sys::fs::fstat(&found).with_context(|| format!("read the image's /{path}"))?;
    // Opening a device can do things, and a pipe would be waited for. Nobody is known by what is no file.
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Ok(None);
    }
    let said = || format!("read the image's /{path}");
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).with_context(said)?;
    let mut text = Vec::new();
    let length = file.take(MOST + 1).read_to_end(&mut text);
    if u64::try_from(length.with_context(said)?)? > MOST {
        bail!("the image's /{path} is longer than {MOST} bytes: no user is looked up in it");
    }
    Ok(Some(text))
}
