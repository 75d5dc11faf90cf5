//! Work that goes on after the command that started it has ended.

use std::io;
use std::os::fd::RawFd;
use std::process::{Command, Stdio};

use crate::settings::Settings;

/// Starts `lade internal sweep` on the same roots and does not wait for it.
///
/// It holds nothing of the caller's: not its streams, not its working directory, and (see [`let_go`]) no other descriptor, so that a pipe from
/// this command ends with this command.
pub(crate) fn sweep(settings: &Settings) -> io::Result<()> {
    // The link is for a program that was replaced or removed meanwhile.
    let program = std::env::current_exe().ok().filter(|path| path.exists());
    let mut command = Command::new(program.unwrap_or_else(|| "/proc/self/exe".into()));
    for (name, dir) in settings.roots() {
        command.arg(name).arg(dir);
    }
    command
        .args(["internal", "sweep"])
        .env_remove("LADE_CONFIG")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // Its parent ends at once; init takes the child over.
    command.spawn().map(drop)
}

/// Leaves the caller's session and closes whatever it has passed on beyond the standard streams. Only at the start, before anything is opened.
pub(crate) fn let_go() {
    // Fails for the leader of a process group, who has been set apart by whoever started it.
    let _ = nix::unistd::setsid();
    let open = std::fs::read_dir("/proc/self/fd");
    let open = open.into_iter().flatten().flatten();
    // All names first: the directory's own descriptor is gone when the first is closed.
    let numbers: Vec<RawFd> = open
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in numbers {
        // Of the directory that was read: it is closed already.
        let _ = nix::unistd::close(number);
    }
    // A session of its own has a share of the processor of its own, which may be small. Not every kernel has this file.
    drop(std::fs::write("/proc/self/autogroup", "19"));
}
