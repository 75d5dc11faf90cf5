//! Protecting this program's own file from the processes it starts.
//!
//! A payload that is told to run `/proc/self/exe`, or that opens `/proc/PID/exe` of our process, gets hold of the file of this
//! program on the host (CVE-2019-5736). It must then not be able to write it: the program runs from a read-only mount that is
//! attached nowhere, or, where the kernel or the privileges do not allow that, from a sealed copy in memory.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use crate::fs::{AT_FDCWD, FcntlArg, FsFlags, Mode, OFlag, fcntl, fstatvfs, open};
use crate::mount::{Attr, Extent, clone_tree};
use crate::process::{CStrings, execve_fd};
use crate::{Errno, Result, owned};

const SELF: &str = "/proc/self/exe";
const SEALS: libc::c_int =
    libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

/// Tells whether the running program's file can be written by nobody who reaches it through this process.
pub fn is_sealed() -> Result<bool> {
    let exe = open(SELF, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    if fstatvfs(&exe)?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(true);
    }
    // Only a memory file answers with seals; O_PATH descriptors cannot be asked, so this opens once more, for reading.
    let exe = open(SELF, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(fcntl(&exe, FcntlArg::F_GET_SEALS).is_ok_and(|seals| seals & SEALS == SEALS))
}

/// Runs this program again from a file that cannot be written; returns only to say why not.
pub fn seal(args: &CStrings, env: &CStrings) -> Result<Infallible> {
    let sealed = match read_only_mount() {
        Ok(exe) => exe,
        Err(_) => memory_copy()?,
    };
    execve_fd(sealed, args, env)
}

fn read_only_mount() -> Result<OwnedFd> {
    let mut exe = clone_tree(AT_FDCWD, SELF, Extent::One)?;
    if exe.is_promise() {
        return Err(Errno::ENOSYS);
    }
    exe.set(Extent::One, Attr::RDONLY, Attr::empty(), None)?;
    exe.keep()
}

fn memory_copy() -> Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Where vm.memfd_noexec is set only MFD_EXEC gives a file that can be run; kernels before 6.3 do not know the flag.
    let copy = memory(flags | libc::MFD_EXEC).or_else(|_| memory(flags))?;
    let exe = open(SELF, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    while send(&copy, &exe)? > 0 {}
    fcntl(
        &copy,
        FcntlArg::F_ADD_SEALS(nix::fcntl::SealFlag::from_bits_truncate(SEALS)),
    )?;
    Ok(copy)
}

fn memory(flags: libc::c_uint) -> Result<OwnedFd> {
    // SAFETY: the name is a static NUL-terminated string.
    owned(unsafe { libc::memfd_create(c"orlop".as_ptr(), flags) }.into())
}

fn send(to: impl AsFd, from: impl AsFd) -> Result<isize> {
    use std::os::fd::AsRawFd;
    let (to, from) = (to.as_fd().as_raw_fd(), from.as_fd().as_raw_fd());
    loop {
        // SAFETY: a null offset makes sendfile use and move the descriptors' own positions.
        let sent = unsafe { libc::sendfile(to, from, std::ptr::null_mut(), 1 << 30) };
        match Errno::result(sent) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}
