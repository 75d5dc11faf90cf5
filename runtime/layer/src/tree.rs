//! Looking at directories: what pack and verify, and unpack for its corrections, have in common.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::Errno;
use sys::file;
use sys::fs::{self, Dir, FileStat, FileType, Mode, OFlag, SFlag};

/// What the overlay file system calls its attributes, for root and with `userxattr`.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Opens a directory by one plain name, not following symlinks.
pub(crate) fn open(dir: BorrowedFd<'_>, name: &[u8]) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fs::openat(dir, name, flags, Mode::empty())
}

/// The names in a directory, close together: there may be millions.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// One name, and of which kind the file is where the file system says so.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u32,
    len: u16,
    kind: Option<FileType>,
}

impl Place {
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..][..self.len.into()]
    }
}

impl Names {
    fn add(&mut self, name: &[u8], kind: Option<FileType>) -> sys::Result<()> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::EOVERFLOW)?;
        let len = u16::try_from(name.len()).map_err(|_| Errno::EOVERFLOW)?;
        self.bytes.extend_from_slice(name);
        self.places.push(Place { start, len, kind });
        Ok(())
    }

    /// Puts them in the order of their bytes.
    pub(crate) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places.sort_unstable_by_key(|place| place.of(bytes));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| place.of(&self.bytes))
    }

    /// Returns the names with their kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = (&[u8], Option<FileType>)> {
        let places = self.places.iter();
        places.map(|place| (place.of(&self.bytes), place.kind))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns how many bytes of memory they take.
    pub(crate) fn held(&self) -> u64 {
        (self.bytes.len() + size_of_val(self.places.as_slice())) as u64
    }
}

/// Returns the names in a directory, in no order. Where they take more than `most` bytes of memory the rest is left out, which
/// [`Names::held`] tells.
pub(crate) fn names(dir: BorrowedFd<'_>, most: u64) -> sys::Result<Names> {
    let mut dir = Dir::from_fd(open(dir, b".")?)?;
    let mut names = Names::default();
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.add(name, entry.file_type())?;
            if names.held() > most {
                break;
            }
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
fn is_foreign(xattr: &[u8]) -> bool {
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
