//! `tmpcopyup`: what lies at a mount point, copied into the tmpfs that will cover it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use sys::fs::{
    self, AtFlags, Dir, FileStat, Gid, Mode, OFlag, SFlag, TimeSpec, Uid, UtimensatFlags,
};

/// Copies a directory's contents with owners, permissions and times. Symlinks are copied, never followed.
pub(super) fn copy(from: impl AsFd, to: impl AsFd) -> sys::Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let reopen = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(from, ".", reopen, Mode::empty())?;
    let names: Vec<_> = dir
        .iter()
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect::<sys::Result<_>>()?;
    for name in names
        .iter()
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
    {
        let stat = fs::fstatat(from, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        entry(from, to, name, &stat)?;
        finish(to, name, &stat)?;
    }
    Ok(())
}

fn entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &CStr,
    stat: &FileStat,
) -> sys::Result<()> {
    let mode = Mode::from_bits_truncate(stat.st_mode);
    let open = |dir: BorrowedFd<'_>, flags| {
        fs::openat(
            dir,
            name,
            flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            mode,
        )
    };
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => {
            fs::mkdirat(to, name, mode)?;
            let directory = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            copy(&open(from, directory)?, &open(to, directory)?)
        }
        SFlag::S_IFREG => {
            let mut source = std::fs::File::from(open(from, OFlag::O_RDONLY)?);
            let mut copy =
                std::fs::File::from(open(to, OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL)?);
            let copied = std::io::copy(&mut source, &mut copy);
            copied.map(drop).map_err(|error| {
                error
                    .raw_os_error()
                    .map_or(sys::Errno::EIO, sys::Errno::from_raw)
            })
        }
        SFlag::S_IFLNK => fs::symlinkat(fs::readlinkat(from, name)?.as_os_str(), to, name),
        sort => fs::mknodat(to, name, sort, mode, stat.st_rdev),
    }
}

fn finish(to: BorrowedFd<'_>, name: &CStr, stat: &FileStat) -> sys::Result<()> {
    let nofollow = AtFlags::AT_SYMLINK_NOFOLLOW;
    fs::fchownat(
        to,
        name,
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
        nofollow,
    )?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFLNK {
        // After the change of owner, which clears the set-id bits.
        fs::fchmodat(
            to,
            name,
            Mode::from_bits_truncate(stat.st_mode),
            fs::FchmodatFlags::FollowSymlink,
        )?;
    }
    let times = [
        TimeSpec::new(stat.st_atime, stat.st_atime_nsec),
        TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
    ];
    fs::utimensat(
        to,
        name,
        &times[0],
        &times[1],
        UtimensatFlags::NoFollowSymlink,
    )
}
