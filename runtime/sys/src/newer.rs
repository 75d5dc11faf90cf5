//! System calls that not every kernel has, and what this process knows of them.
//!
//! Each is simply made. Where it turns out to be missing, this process and those that it clones go to the stand-in at once from then on;
//! where it is there, nothing is asked besides. Only the kernel's answer counts: no setting chooses a stand-in.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Errno, Result};

/// A call, or a family of calls that came to the kernel together, for which there is a stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Newer {
    /// fsopen(2), fsconfig(2), fsmount(2); Linux 5.2.
    FsOpen,
    /// open_tree(2), move_mount(2); Linux 5.2.
    OpenTree,
    /// mount_setattr(2), Linux 5.12.
    MountSetattr,
    /// pidfd_send_signal(2), Linux 5.1.
    PidfdSignal,
    /// pidfd_open(2), Linux 5.3.
    PidfdOpen,
    /// clone3(2), Linux 5.3.
    Clone3,
    /// openat2(2), Linux 5.6.
    Openat2,
    /// close_range(2), Linux 5.9, with CLOSE_RANGE_CLOEXEC 5.11.
    CloseRange,
}

/// One bit for each that was missing.
static LACKING: AtomicU8 = AtomicU8::new(0);

impl Newer {
    pub const ALL: [Self; 8] = [
        Self::FsOpen,
        Self::OpenTree,
        Self::MountSetattr,
        Self::PidfdSignal,
        Self::PidfdOpen,
        Self::Clone3,
        Self::Openat2,
        Self::CloseRange,
    ];

    /// Returns those that this kernel lacks, or that a filter hides, by asking for each.
    #[must_use]
    pub fn missing() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|call| call.is_hidden())
            .collect()
    }

    /// Returns the calls, and the version of Linux that they came with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FsOpen => "fsopen(2), fsconfig(2) and fsmount(2), Linux 5.2",
            Self::OpenTree => "open_tree(2) and move_mount(2), Linux 5.2",
            Self::MountSetattr => "mount_setattr(2), Linux 5.12",
            Self::PidfdSignal => "pidfd_send_signal(2), Linux 5.1",
            Self::PidfdOpen => "pidfd_open(2), Linux 5.3",
            Self::Clone3 => "clone3(2), Linux 5.3",
            Self::Openat2 => "openat2(2), Linux 5.6",
            Self::CloseRange => "close_range(2), Linux 5.11",
        }
    }

    /// Returns what is done in its place.
    #[must_use]
    pub fn stand_in(self) -> &'static str {
        match self {
            Self::FsOpen => "mount(2), in a place that nobody else sees",
            Self::OpenTree => "a bind mount of what was opened, by /proc/self/fd",
            Self::MountSetattr => {
                "a remount by mount(2), of one mount; ids are not mapped and trees not changed"
            }
            Self::PidfdSignal => "kill(2), after a look at the process's start time",
            Self::PidfdOpen => "the process's number and start time",
            Self::Clone3 => "clone(2), and a cgroup joined by its file",
            Self::Openat2 => "the path is walked name by name, each from the directory before it",
            Self::CloseRange => "what /proc/self/fd lists, one by one",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Tells whether it was missing when it was last made; `false` also where it has not been made yet.
    pub(crate) fn is_lacking(self) -> bool {
        LACKING.load(Ordering::Relaxed) & self.bit() != 0
    }

    /// Makes the call; `ENOSYS` says that there is none.
    pub(crate) fn call<T>(self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.is_lacking() {
            return Err(Errno::ENOSYS);
        }
        let lacking = match call() {
            Err(Errno::ENOSYS) => true,
            Err(Errno::EPERM) => self.is_hidden(),
            other => return other,
        };
        if !lacking {
            return Err(Errno::EPERM);
        }
        LACKING.fetch_or(self.bit(), Ordering::Relaxed);
        Err(Errno::ENOSYS)
    }

    /// Tells whether a filter answers in place of the kernel: one that is older than the call, as container engines had, says EPERM to
    /// all that it does not know. With these arguments the kernel says EINVAL, before it looks at anybody's privileges.
    fn is_hidden(self) -> bool {
        let none = usize::MAX;
        let (number, args) = match self {
            Self::FsOpen => (libc::SYS_fsconfig, [none, none, 0, 0]),
            Self::OpenTree => (libc::SYS_open_tree, [none, 0, none, 0]),
            Self::MountSetattr => (libc::SYS_mount_setattr, [none, 0, none, 0]),
            Self::PidfdSignal => (libc::SYS_pidfd_send_signal, [none, 0, 0, none]),
            Self::PidfdOpen => (libc::SYS_pidfd_open, [none, none, 0, 0]),
            Self::Clone3 => (libc::SYS_clone3, [0, 0, 0, 0]),
            Self::Openat2 => (libc::SYS_openat2, [none, 0, 0, 0]),
            Self::CloseRange => (libc::SYS_close_range, [1, 0, 0, 0]),
        };
        // SAFETY: none of these arguments means memory or a descriptor, and no kernel accepts them: nothing is read, written or changed.
        let answer = unsafe { libc::syscall(number, args[0], args[1], args[2], args[3], 0, 0) };
        answer < 0 && matches!(Errno::last(), Errno::EPERM | Errno::ENOSYS)
    }
}

#[cfg(test)]
mod tests {
    use super::Newer;

    #[test]
    fn what_the_kernel_answers_is_not_taken_for_a_filter() {
        for call in Newer::ALL {
            assert!(!call.is_hidden(), "{call:?}");
        }
    }
}
