//! The payload's terminal, made in the container's own devpts instance.

use std::os::fd::OwnedFd;
use std::path::Path;

use sys::fs::{self, Inside, Mode, OFlag};
use sys::mount::{Extent, clone_tree};
use sys::pty::{self, Size};

use super::protocol::{At, Failure, Step};
use super::tree::Tree;
use crate::plan::Terminal;

type Result<T> = std::result::Result<T, Failure>;

/// Both sides of a terminal.
#[derive(Debug)]
pub(super) struct Pty {
    pub(super) master: OwnedFd,
    pub(super) peer: OwnedFd,
}

/// Opens a new terminal below `root`.
///
/// The container may have put anything at these paths (CVE-2025-52565): no symlink is followed, the file system must be a devpts
/// and the device a ptmx, and the other side is opened without a path.
pub(super) fn open(root: &Tree, terminal: Terminal) -> Result<Pty> {
    let object = "/dev/pts/ptmx";
    let open = |flags| {
        let path = "dev/pts/ptmx";
        fs::open_inside(&root.0, path, flags, Mode::empty(), Inside::NoSymlinks)
            .at(Step::Terminal, object)
    };
    // Looked at before it is opened, because with some devices the opening alone acts, and once more when it is.
    verify_multiplexer(&open(OFlag::O_PATH)?, object)?;
    let master = open(OFlag::O_RDWR | OFlag::O_NOCTTY)?;
    verify_multiplexer(&master, object)?;
    let peer = pty::open_peer(&master).at(Step::Terminal, object)?;
    if let Some((rows, columns)) = terminal.size {
        pty::set_size(&peer, Size { rows, columns }).at(Step::Terminal, "size")?;
    }
    Ok(Pty { master, peer })
}

fn verify_multiplexer(fd: &OwnedFd, object: &str) -> Result<()> {
    let fs_type = fs::fstatfs(fd)
        .at(Step::Terminal, object)?
        .filesystem_type();
    let device = fs::fstat(fd).at(Step::Terminal, object)?.st_rdev;
    if fs_type == fs::DEVPTS_SUPER_MAGIC && device == fs::makedev(5, 2) {
        return Ok(());
    }
    Err(Failure::new(
        Step::Terminal,
        format!("{object}: not the multiplexer of a devpts; mount one at /dev/pts"),
    ))
}

/// Shows the terminal at `/dev/console`, as the specification asks.
pub(super) fn bind(pty: &Pty, root: &Tree) -> Result<()> {
    let object = "/dev/console";
    let target = root
        .file(Path::new(object), Inside::NoSymlinks)
        .at(Step::Terminal, object)?;
    let copy = clone_tree(&pty.peer, "", Extent::One).at(Step::Terminal, object)?;
    copy.attach(target).at(Step::Terminal, object).map(drop)
}

/// Puts the terminal on the standard streams and makes it the controlling one; the caller leads a session of its own.
pub(super) fn take(peer: &OwnedFd, owner: u32) -> Result<()> {
    fs::fchown(peer, Some(fs::Uid::from_raw(owner)), None).at(Step::Terminal, "owner")?;
    for stream in 0..3 {
        fs::dup_onto(peer, stream).at(Step::Terminal, format!("standard stream {stream}"))?;
    }
    pty::make_controlling(peer).at(Step::Terminal, "make controlling")
}
