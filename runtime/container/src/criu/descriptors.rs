//! `descriptors.json` beside an image: what the container's standard streams were, so that a restore gives it new ones in their place.
//!
//! An array with one text per stream: `pipe:[INODE]` as /proc/PID/fd shows it (runc's form), `file[MOUNT:INODE]`, in hexadecimal, for a
//! file outside of the container's mounts (criu's form), or what else the link says, for streams that are the container's own.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};

use super::mounts;

const NAME: &str = "descriptors.json";

/// Describes our own standard streams, which a container gets: for its record.
pub(crate) fn own() -> Vec<String> {
    let nowhere = |_| false;
    (0..3)
        .map(|number| describe("self", number, nowhere))
        .collect()
}

/// Describes the standard streams of a container: those that it began with, and where these are its own or not known, those of its
/// process now. A shell that writes a line to a file has another standard output meanwhile, and the first one elsewhere.
pub(super) fn of_container(pid: i32, began: &[String]) -> Result<Vec<String>> {
    let table = mounts::table(&format!("/proc/{pid}/mountinfo"))?;
    let inside = |id: u64| table.iter().any(|entry| entry.id == id);
    let stream = |number: usize| {
        let began = began.get(number).filter(|stream| is_of_a_caller(stream));
        let began = began.filter(|stream| !mount_of(stream).is_some_and(inside));
        let now = || describe(&pid.to_string(), number, inside);
        began.cloned().unwrap_or_else(now)
    };
    Ok((0..3).map(stream).collect())
}

fn mount_of(stream: &str) -> Option<u64> {
    let (mount, _) = stream.strip_prefix("file[")?.split_once(':')?;
    u64::from_str_radix(mount, 16).ok()
}

/// Tells whether a stream can be given by whoever restores, which others cannot.
pub(super) fn is_of_a_caller(stream: &str) -> bool {
    stream.starts_with("pipe:") || stream.starts_with("file[")
}

fn describe(process: &str, number: usize, inside: impl Fn(u64) -> bool) -> String {
    let path = format!("/proc/{process}/fd/{number}");
    let Ok(link) = std::fs::read_link(&path) else {
        return String::new();
    };
    let link = link.to_string_lossy().into_owned();
    if !link.starts_with('/') {
        return link;
    }
    let mount = fs::open_path(path.as_str()).and_then(fs::mount_id).ok();
    let stat = fs::fstatat(fs::AT_FDCWD, path.as_str(), fs::AtFlags::empty());
    match (mount.filter(|id| !inside(*id)), stat) {
        (Some(mount), Ok(stat)) => format!("file[{mount:x}:{:x}]", stat.st_ino),
        _ => link,
    }
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
    let file = images.join(NAME);
    let file = fs::open(&file, flags, Mode::empty()).map_err(|errno| {
        let hint = if errno == Errno::ENOENT {
            "; name the directory of a whole checkpoint, which checkpoint --image-path has made without --pre-dump"
        } else {
            ""
        };
        let why = sys::reason(errno);
        anyhow::anyhow!("--image-path: {}: {why}{hint}", file.display())
    })?;
    let mut text = String::new();
    std::fs::File::from(file)
        .read_to_string(&mut text)
        .with_context(|| format!("read {NAME}"))?;
    let streams: Vec<String> =
        serde_json::from_str(&text).with_context(|| format!("--image-path: {NAME}"))?;
    // Those behind them would name descriptors of ours: the connection to criu, the image, namespaces.
    if streams.len() > 3 {
        bail!(
            "--image-path: {NAME}: {} streams, and a process has three; is it a checkpoint?",
            streams.len()
        );
    }
    Ok(streams)
}
