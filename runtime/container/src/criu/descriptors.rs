//! `descriptors.json` beside an image: what the container's standard streams were, so that a restore gives it new ones in their place.
//!
//! An array with one text per stream: `pipe:[INODE]` as /proc/PID/fd shows it (runc's form), `file[MOUNT:INODE]`, in hexadecimal, for a
//! file outside of the container's mounts (criu's form), or what else the link says, for streams that are the container's own.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use sys::fs::{self, Mode, OFlag};

use super::mounts;

const NAME: &str = "descriptors.json";

/// Describes the standard streams of a process.
pub(super) fn of_process(pid: i32) -> Result<Vec<String>> {
    let table = mounts::table(&format!("/proc/{pid}/mountinfo"))?;
    let describe = |stream: i32| {
        let path = format!("/proc/{pid}/fd/{stream}");
        let Ok(link) = std::fs::read_link(&path) else {
            return String::new();
        };
        let link = link.to_string_lossy().into_owned();
        let mount = fs::open_path(path.as_str()).and_then(fs::mount_id).ok();
        let outside = mount
            .filter(|_| link.starts_with('/'))
            .filter(|id| !table.iter().any(|entry| entry.id == *id));
        let stat = fs::fstatat(fs::AT_FDCWD, path.as_str(), fs::AtFlags::empty());
        match (outside, stat) {
            (Some(mount), Ok(stat)) => format!("file[{mount:x}:{:x}]", stat.st_ino),
            _ => link,
        }
    };
    Ok((0..3).map(describe).collect())
}

pub(super) fn write(images: &Path, streams: &[String]) -> Result<()> {
    let bytes = serde_json::to_vec(streams).context("write the streams as JSON")?;
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = fs::open(&images.join(NAME), flags, Mode::from_bits_truncate(0o600));
    let mut file = std::fs::File::from(file.with_context(|| format!("create {NAME}"))?);
    file.write_all(&bytes)
        .with_context(|| format!("write {NAME}"))
}

pub(super) fn read(images: &Path) -> Result<Vec<String>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = fs::open(&images.join(NAME), flags, Mode::empty());
    let file =
        file.with_context(|| format!("--image-path: open {NAME}; is it a whole checkpoint?"))?;
    let mut text = String::new();
    std::fs::File::from(file)
        .read_to_string(&mut text)
        .with_context(|| format!("read {NAME}"))?;
    serde_json::from_str(&text).with_context(|| format!("--image-path: {NAME}"))
}
