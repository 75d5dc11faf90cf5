//! Looking at directories: what pack and verify, and unpack for its corrections, have in common.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::file;
use sys::fs::{self, Dir, FileStat, Mode, OFlag, SFlag};

/// What the overlay file system calls its attributes, for root and with `userxattr`.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Opens a directory by one plain name, not following symlinks.
pub(crate) fn open(dir: BorrowedFd<'_>, name: &[u8]) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fs::openat(dir, name, flags, Mode::empty())
}

/// Returns the names in a directory, in no order.
pub(crate) fn names(dir: BorrowedFd<'_>) -> sys::Result<Vec<Vec<u8>>> {
    let mut dir = Dir::from_fd(open(dir, b".")?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Adds a component to a path.
pub(crate) fn join(path: &mut Vec<u8>, part: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(part);
}

/// Tells whether a file is of a kind.
pub(crate) fn is_kind(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

/// Tells whether a file is what hides a name of the layers below.
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    is_kind(stat, SFlag::S_IFCHR) && stat.st_rdev == 0
}

/// Tells whether an empty file is a whiteout by its attribute.
pub(crate) fn is_marked(dir: BorrowedFd<'_>, name: &[u8], stat: &FileStat) -> bool {
    if !is_kind(stat, SFlag::S_IFREG) || stat.st_size != 0 {
        return false;
    }
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(fd) = fs::openat(dir, name, flags, Mode::empty()) else {
        return false;
    };
    OVERLAY.iter().any(|overlay| {
        let name = [overlay, &b"whiteout"[..]].concat();
        matches!(file::get_xattr(fd.as_fd(), name.as_slice()), Ok(Some(_)))
    })
}

/// Tells whether an attribute speaks to the host's overlay mounts or integrity checks; a layer has no say there.
pub(crate) fn is_foreign(xattr: &[u8]) -> bool {
    OVERLAY.iter().any(|overlay| xattr.starts_with(overlay))
        || matches!(xattr, b"security.ima" | b"security.evm")
}

/// Tells whether an attribute says nothing: the kernel takes a capability without bytes, and then can neither read nor copy it.
pub(crate) fn is_void(xattr: &[u8], value: &[u8]) -> bool {
    xattr == b"security.capability" && value.is_empty()
}

/// Tells whether an attribute belongs to a layer. Of `security.*` only capabilities do: labels are the host's.
pub(crate) fn belongs(xattr: &[u8]) -> bool {
    !is_foreign(xattr) && (!xattr.starts_with(b"security.") || xattr == b"security.capability")
}

/// Extended attributes of a file.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    /// Those that belong to a layer, by name.
    pub(crate) kept: Vec<(Vec<u8>, Vec<u8>)>,
    /// What an overlay mount said about the directory: `y` hides everything below it.
    pub(crate) opaque: Option<Vec<u8>>,
    /// The attribute that says that what belongs here lies in another layer.
    pub(crate) elsewhere: Option<String>,
}

impl Attributes {
    /// Reads them.
    pub(crate) fn read(fd: BorrowedFd<'_>) -> sys::Result<Self> {
        let mut attributes = Self::default();
        for name in file::list_xattrs(fd)? {
            let overlay = OVERLAY
                .iter()
                .find_map(|overlay| name.strip_prefix(*overlay));
            match overlay {
                Some(b"opaque") => attributes.opaque = file::get_xattr(fd, name.as_slice())?,
                Some(b"redirect" | b"metacopy") => {
                    attributes.elsewhere = Some(String::from_utf8_lossy(&name).into_owned());
                }
                Some(_) => {}
                None if !belongs(&name) => {}
                None => {
                    if let Some(value) = file::get_xattr(fd, name.as_slice())? {
                        attributes.kept.push((name, value));
                    }
                }
            }
        }
        attributes.kept.sort_unstable();
        Ok(attributes)
    }
}
