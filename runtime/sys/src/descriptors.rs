//! All descriptors of this process at once: close_range(2), or one by one where the kernel lacks it.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::fs::{
    Dir, FcntlArg, FdFlag, Mode, OFlag, PROC_SUPER_MAGIC, Whence, fcntl, fstatfs, lseek, open,
};
use crate::newer::Newer;
use crate::{Errno, Result, check};

/// How many numbers are tried where nothing tells which are in use: more than any limit that is set in practice.
const MANY: i32 = 1 << 20;

/// Marks every descriptor from `first` upwards close-on-exec (close_range(2), Linux 5.11; else one by one).
pub fn cloexec_from(first: u32) -> Result<()> {
    let all = Newer::CloseRange.call(|| {
        // SAFETY: close_range with CLOEXEC only sets a flag on descriptors; it closes and touches no memory.
        check(unsafe {
            libc::syscall(
                libc::SYS_close_range,
                first,
                u32::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        })
    });
    match all {
        // A kernel before 5.11 does not know the flag.
        Err(Errno::ENOSYS | Errno::EINVAL) => {
            let first = i32::try_from(first).map_err(|_| Errno::EINVAL)?;
            let list = list().ok();
            for number in in_use(list.as_ref(), first)? {
                let flag = FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC);
                // SAFETY: the number is used for this call only, which closes nothing; one that is not open answers EBADF.
                match fcntl(unsafe { BorrowedFd::borrow_raw(number) }, flag) {
                    Ok(_) | Err(Errno::EBADF) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Closes every descriptor from `first` upwards but those to keep (close_range(2), Linux 5.9; else one by one).
///
/// For a process that is about to become another one: whoever still owns a closed descriptor must neither use nor reuse it.
pub fn close_all_but(first: i32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut keep: Vec<i32> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    keep.retain(|fd| *fd >= first);
    keep.sort_unstable();
    keep.dedup();
    let mut from = first;
    for fd in keep.iter().copied().chain([i32::MAX]) {
        if from < fd {
            let range = Newer::CloseRange.call(|| {
                // SAFETY: the callers are children between clone and exec that use none of the closed descriptors afterwards.
                check(unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) })
            });
            match range {
                Err(Errno::ENOSYS) => return close_each(first, &keep),
                other => other?,
            };
        }
        from = fd.saturating_add(1);
    }
    Ok(())
}

thread_local! {
    /// The list of this process's own descriptors: by the time of a second call its `/proc` may be a container's.
    static LIST: RefCell<Option<OwnedFd>> = const { RefCell::new(None) };
}

fn close_each(first: i32, keep: &[i32]) -> Result<()> {
    let kept = LIST.take();
    let again = kept.is_some();
    let list = kept.map_or_else(list, Ok).ok();
    let own = list.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    for number in in_use(list.as_ref(), first)? {
        if number != own && keep.binary_search(&number).is_err() {
            // SAFETY: as with the range above. One that is not open answers EBADF.
            unsafe { libc::close(number) };
        }
    }
    if let (Some(list), false) = (list, again) {
        // Closed by the second call, by a clone or by exec.
        LIST.set(Some(list));
    }
    Ok(())
}

/// Closes the list, before a process is cloned: it is not of the child's descriptors, and leads to whatever lies around this `/proc`, the
/// host's too. Closed by the child it would be open there until its first step (CVE-2016-9962).
pub(crate) fn close_list() {
    LIST.set(None);
}

fn list() -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let list = open("/proc/self/fd", flags, Mode::empty())?;
    if fstatfs(&list)?.filesystem_type() == PROC_SUPER_MAGIC {
        Ok(list)
    } else {
        Err(Errno::EXDEV)
    }
}

/// Returns the numbers from `first` upwards that are in use by the list; without one, all up to the limit.
fn in_use(list: Option<&OwnedFd>, first: i32) -> Result<Vec<i32>> {
    let Some(list) = list else {
        let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
        return Ok((first..i32::try_from(soft).unwrap_or(MANY).clamp(1024, MANY)).collect());
    };
    lseek(list, 0, Whence::SeekSet)?;
    let copy = list.as_fd().try_clone_to_owned();
    let copy = copy.map_err(|error| error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw))?;
    let number = copy.as_raw_fd();
    let mut dir = Dir::from_fd(copy)?;
    let mut numbers = Vec::new();
    for entry in dir.iter() {
        let name = entry?;
        let named = name
            .file_name()
            .to_str()
            .ok()
            .and_then(|name| name.parse::<i32>().ok());
        numbers.extend(named.filter(|named| *named >= first && *named != number));
    }
    Ok(numbers)
}
