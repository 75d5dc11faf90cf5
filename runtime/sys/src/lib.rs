//! The one door to the kernel, and the only crate with `unsafe`.
//!
//! Every wrapper takes borrowed file descriptors, returns owned ones that are close-on-exec from birth, and fails with an
//! [`Errno`]. What `nix` wraps safely is passed on from here, so that a reader of the other crates meets one vocabulary.
//! The crate knows system calls and file descriptors; it knows nothing of OCI, of our files or of messages.

pub mod bpf;
pub mod capability;
mod descriptors;
mod early;
pub mod exe;
pub mod file;
pub mod fs;
mod handle;
pub mod mount;
pub mod mountinfo;
pub mod net;
pub mod netlink;
pub mod newer;
pub mod process;
pub mod pty;
pub mod scheduler;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod start;
pub mod timeline;
pub mod userns;
mod walk;

pub use nix::NixPath;
pub use nix::errno::Errno;

/// What every wrapper returns.
pub type Result<T> = std::result::Result<T, Errno>;

/// Returns the kernel's reason in lower case, as messages use it: `no such file or directory`.
///
/// Whatever has no stand-in is in Linux 5.12; some filters, too, hide the newer calls in this way.
#[must_use]
pub fn reason(errno: Errno) -> String {
    let text = errno.desc().to_lowercase();
    if errno == Errno::ENOSYS {
        return format!(
            "{text} by this kernel, or hidden by a seccomp filter (this needs Linux 5.12)"
        );
    }
    text
}

/// Turns the `-1` of a raw system call into its errno.
fn check(ret: libc::c_long) -> Result<libc::c_long> {
    if ret < 0 { Err(Errno::last()) } else { Ok(ret) }
}

/// Turns the return value of a call that yields a file descriptor into an owned one.
fn owned(ret: libc::c_long) -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let raw = i32::try_from(check(ret)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the kernel has just made this descriptor for us; every caller passes the result of a call that opens one.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(raw) })
}
