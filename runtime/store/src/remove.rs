//! Deleting a tree that somebody else has filled: by descriptors, following nothing, however deep it is.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use sys::Errno;
use sys::fs::{AtFlags, Dir, FchmodatFlags, FileType, Mode, OFlag, SFlag, UnlinkatFlags};

use crate::error::{At, Result};
use crate::layout::unique;

/// What lies deeper is moved up to the trash itself first: each level costs two descriptors.
const DEEP: usize = 32;

/// Deletes an entry of the trash, and whatever comes up from it. What is gone meanwhile is no error.
pub(crate) fn remove(trash: &Path, name: &Path) -> Result<()> {
    let top = open_dir(sys::fs::AT_FDCWD, trash.as_os_str()).at(trash)?;
    let mut names = vec![CString::new(name.as_os_str().as_encoded_bytes()).unwrap_or_default()];
    while let Some(name) = names.pop() {
        let mut removal = Removal {
            top: top.as_fd(),
            lifted: Vec::new(),
        };
        let done = removal.entry(top.as_fd(), &name, None, 0);
        done.at(&trash.join(OsStr::new(&*name.to_string_lossy())))?;
        names.extend(removal.lifted);
    }
    Ok(())
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// What was moved up, to be deleted next.
    lifted: Vec<CString>,
}

impl Removal<'_> {
    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        kind: Option<FileType>,
        depth: usize,
    ) -> sys::Result<()> {
        let is_dir = match kind {
            Some(kind) => kind == FileType::Directory,
            // Not every file system tells.
            None => match sys::fs::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                Err(Errno::ENOENT) => return Ok(()),
                stat => SFlag::from_bits_truncate(stat?.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR,
            },
        };
        if !is_dir {
            return gone(sys::fs::unlinkat(dir, name, UnlinkatFlags::NoRemoveDir));
        }
        if depth == DEEP {
            let lifted = CString::new(unique()).unwrap_or_default();
            sys::fs::renameat(dir, name, self.top, lifted.as_c_str())?;
            self.lifted.push(lifted);
            return Ok(());
        }
        self.directory(dir, name, depth)
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, name: &CStr, depth: usize) -> sys::Result<()> {
        loop {
            let opened = match open_dir(dir, name) {
                Err(Errno::EACCES) => {
                    // Ours, but closed to ourselves; root never comes here.
                    let mode = Mode::S_IRWXU;
                    let follow = FchmodatFlags::FollowSymlink;
                    sys::fs::fchmodat(dir, name, mode, follow)?;
                    open_dir(dir, name)
                }
                other => other,
            };
            let inside = match opened {
                Err(Errno::ENOENT) => return Ok(()),
                other => other?,
            };
            each(&inside, |name, kind| {
                self.entry(inside.as_fd(), name, kind, depth + 1)
            })?;
            drop(inside);
            match sys::fs::unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
                // Somebody still writes into it: a process that has it open. Or a file system has not listed all, since some went meanwhile.
                Err(Errno::ENOTEMPTY) => {}
                other => return gone(other),
            }
        }
    }
}

fn gone(done: sys::Result<()>) -> sys::Result<()> {
    match done {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// Opens a directory, and no symlink to one.
pub(crate) fn open_dir<P: ?Sized + sys::NixPath>(dir: impl AsFd, name: &P) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    sys::fs::openat(dir, name, flags, Mode::empty())
}

/// Calls a function with what is in a directory, and of which kind where the file system says so: with one after the other, as there may be
/// millions. It may delete them.
pub(crate) fn each(
    dir: &OwnedFd,
    mut then: impl FnMut(&CStr, Option<FileType>) -> sys::Result<()>,
) -> sys::Result<()> {
    let again = open_dir(dir, ".")?;
    for entry in Dir::from_fd(again)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            then(name, entry.file_type())?;
        }
    }
    Ok(())
}
