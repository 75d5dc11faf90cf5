//! What the two halves of a launch say to each other: these two enums, and the mounts that go with them, are the whole protocol.
//!
//! Messages travel over a sequenced-packet pair, one packet each: a tag byte and, for a failure, its fields. The end of the
//! pair is a message too: to the child it means that its parent is gone, and it exits; to the parent it means that the
//! payload runs (the descriptor is close-on-exec) or, before that, that the child died.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use sys::{Errno, socket};

/// From the child.
#[derive(Debug)]
pub(crate) enum ToParent {
    /// The mounts are there; hooks that want to see them may run.
    Mounted,
    /// It has made a time namespace, which nobody is in yet.
    Clocks,
    /// The next step depends on the limits of the cgroups.
    Limited,
    /// The master of the payload's terminal, for a parent that keeps it.
    Terminal(OwnedFd),
    /// The descriptor at which the filter's calls arrive.
    Listener(OwnedFd),
    /// A file system that only a process in the container's namespaces can make.
    FileSystem(OwnedFd),
    /// Everything is there but the last steps; the parent may commit.
    Ready,
    Failed(Failure),
}

/// From the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToChild {
    /// The id maps are written.
    Mapped,
    /// The copy of a bind source that the child itself cannot make, by descriptor.
    Source,
    /// The network namespace, by descriptor.
    Network,
    /// Devices have moved into the network namespace that it was born into.
    Devices,
    /// systemd has made the unit around it.
    Joined,
    /// Hooks have run, or the clocks or the limits are set.
    Continue,
    /// The container is recorded; it may live on without its parent.
    Go,
}

impl ToChild {
    fn tag(self) -> u8 {
        match self {
            Self::Mapped => b'M',
            Self::Source => b'S',
            Self::Network => b'N',
            Self::Devices => b'D',
            Self::Joined => b'J',
            Self::Continue => b'C',
            Self::Go => b'G',
        }
    }
}

/// The step that failed, the object it was about, and the kernel's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) object: String,
    pub(crate) errno: Option<Errno>,
}

macro_rules! steps {
    ($($name:ident = $text:literal),* $(,)?) => {
        /// The steps of a launch, with the words that name them in messages.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Step { $($name),* }
        impl Step {
            const ALL: &[Step] = &[$(Step::$name),*];
            fn text(self) -> &'static str {
                match self { $(Step::$name => $text),* }
            }
        }
    };
}

steps! {
    Hide = "hide from the container",
    Cgroup = "join cgroup",
    Session = "new session",
    Keyring = "new session keyring",
    Namespace = "join namespace",
    Become = "become root of the user namespace",
    Network = "bring up",
    Name = "set",
    Root = "root file system",
    Mount = "mount",
    Unmount = "unmount",
    Device = "device",
    Link = "link",
    Terminal = "terminal",
    Hook = "hook",
    Pivot = "change root to",
    Sysctl = "sysctl",
    ReadOnly = "make read-only",
    Mask = "mask",
    Cwd = "working directory",
    Rlimit = "limit",
    User = "user",
    Capabilities = "capabilities",
    MemoryPolicy = "memory policy",
    Personality = "personality",
    Affinity = "processors",
    AppArmor = "apparmor profile",
    SeLinux = "selinux label",
    Seccomp = "seccomp filter",
    Descriptor = "descriptor",
    Start = "wait for start",
    Exec = "exec:",
    Parent = "parent",
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.step.text(), self.object)?;
        if let Some(errno) = self.errno {
            write!(f, ": {}{}", sys::reason(errno), self.hint())?;
        }
        match self.step {
            Step::Cwd => f.write_str(" (process.cwd)"),
            Step::Exec => f.write_str(" (process.args)"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    pub(crate) fn new(step: Step, object: impl fmt::Display) -> Self {
        Self {
            step,
            object: object.to_string(),
            errno: None,
        }
    }

    /// A cgroup that cannot be joined.
    pub(crate) fn at_cgroup(hierarchy: &str, errno: Errno) -> Self {
        Self {
            errno: Some(errno),
            ..Self::new(Step::Cgroup, hierarchy)
        }
    }

    /// Returns what the kernel's reason means for the step, where it does not say so itself.
    fn hint(&self) -> &'static str {
        match (self.step, self.errno) {
            (Step::Sysctl, Some(Errno::ENOENT)) => {
                "; this kernel, or this namespace of it, has no such parameter: a module may be missing"
            }
            (Step::Exec, Some(Errno::EPERM)) => {
                "; a seccomp filter has to allow execve (linux.seccomp)"
            }
            (Step::Exec, Some(Errno::E2BIG)) => "; shorten process.args or process.env",
            _ => "",
        }
    }

    /// Writes the failure as bytes: step, errno, text.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let step = Step::ALL
            .iter()
            .position(|step| *step == self.step)
            .and_then(|n| u8::try_from(n).ok())
            .unwrap_or(0);
        let errno = self.errno.map_or(0, |errno| errno as i32);
        let mut bytes = vec![step];
        bytes.extend_from_slice(&errno.to_le_bytes());
        bytes.extend(self.object.bytes().take(LONGEST - 8));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let step = bytes
            .first()
            .and_then(|n| Step::ALL.get(usize::from(*n)))
            .copied()
            .unwrap_or(Step::Parent);
        let errno = bytes
            .get(1..5)
            .and_then(|raw| raw.try_into().ok())
            .map_or(0, i32::from_le_bytes);
        let object = String::from_utf8_lossy(bytes.get(5..).unwrap_or_default()).into_owned();
        Self {
            step,
            object,
            errno: (errno != 0).then(|| Errno::from_raw(errno)),
        }
    }
}

/// Gives a failed system call its step and object.
pub(crate) trait At<T> {
    fn at(self, step: Step, object: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> At<T> for sys::Result<T> {
    fn at(self, step: Step, object: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step,
            object: object.to_string(),
            errno: Some(errno),
        })
    }
}

/// The longest packet; longer objects are cut.
const LONGEST: usize = 8192;

/// One end of the pair.
#[derive(Debug)]
pub(crate) struct Channel(pub(crate) OwnedFd);

impl Channel {
    /// Sends the child's message.
    pub(crate) fn tell_parent(&self, message: &ToParent) -> sys::Result<()> {
        let (tag, rest, fd): (u8, Vec<u8>, Option<BorrowedFd<'_>>) = match message {
            ToParent::Mounted => (b'm', Vec::new(), None),
            ToParent::Clocks => (b'c', Vec::new(), None),
            ToParent::Limited => (b'l', Vec::new(), None),
            ToParent::Terminal(master) => (b't', Vec::new(), Some(master.as_fd())),
            ToParent::Listener(listener) => (b'n', Vec::new(), Some(listener.as_fd())),
            ToParent::FileSystem(made) => (b's', Vec::new(), Some(made.as_fd())),
            ToParent::Ready => (b'r', Vec::new(), None),
            ToParent::Failed(failure) => (b'f', failure.encode(), None),
        };
        socket::send(&self.0, &[&[tag], rest.as_slice()].concat(), fd)
    }

    /// Waits for the child; `None` is the end: it runs the payload or is dead.
    pub(crate) fn hear_child(&self) -> sys::Result<Option<ToParent>> {
        match self.hear() {
            // A child that died with unread messages of ours resets the pair; the kernel tells that once, before what it has said.
            Err(Errno::ECONNRESET) => self.hear(),
            other => other,
        }
    }

    fn hear(&self) -> sys::Result<Option<ToParent>> {
        let mut buffer = [0; LONGEST];
        let (bytes, fd) = socket::receive(&self.0, &mut buffer)?;
        match (bytes.split_first(), fd) {
            (None, _) => Ok(None),
            (Some((b'm', _)), _) => Ok(Some(ToParent::Mounted)),
            (Some((b'c', _)), _) => Ok(Some(ToParent::Clocks)),
            (Some((b'l', _)), _) => Ok(Some(ToParent::Limited)),
            (Some((b't', _)), Some(fd)) => Ok(Some(ToParent::Terminal(fd))),
            (Some((b'n', _)), Some(fd)) => Ok(Some(ToParent::Listener(fd))),
            (Some((b's', _)), Some(fd)) => Ok(Some(ToParent::FileSystem(fd))),
            (Some((b'r', _)), _) => Ok(Some(ToParent::Ready)),
            (Some((b'f', rest)), _) => Ok(Some(ToParent::Failed(Failure::decode(rest)))),
            _ => Err(Errno::EPROTO),
        }
    }

    /// Sends the parent's message.
    pub(crate) fn tell_child(&self, message: ToChild) -> sys::Result<()> {
        socket::send(&self.0, &[message.tag()], None)
    }

    /// Sends the parent's message with a descriptor.
    pub(crate) fn hand_child(&self, message: ToChild, fd: impl AsFd) -> sys::Result<()> {
        socket::send(&self.0, &[message.tag()], Some(fd.as_fd()))
    }

    /// Waits for one certain message of the parent; anything else, its death above all, ends the child.
    pub(crate) fn expect(&self, want: ToChild) -> Result<(), Failure> {
        self.hear_parent(want).map(drop)
    }

    /// Waits likewise for a message that carries a descriptor.
    pub(crate) fn receive(&self, want: ToChild) -> Result<OwnedFd, Failure> {
        self.hear_parent(want)?
            .ok_or_else(|| Failure::new(Step::Parent, "is gone"))
    }

    fn hear_parent(&self, want: ToChild) -> Result<Option<OwnedFd>, Failure> {
        let mut buffer = [0; 8];
        let (bytes, fd) = socket::receive(&self.0, &mut buffer).at(Step::Parent, "socket")?;
        if bytes == [want.tag()] {
            Ok(fd)
        } else {
            Err(Failure::new(Step::Parent, "is gone"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        let check = |failure: Failure, text: &str| {
            assert_eq!(Failure::decode(&failure.encode()), failure);
            assert_eq!(failure.to_string(), text);
        };
        let result: sys::Result<()> = Err(Errno::ENOENT);
        check(
            result.at(Step::Mount, "proc on /proc").unwrap_err(),
            "mount proc on /proc: no such file or directory",
        );
        check(
            Failure::new(Step::Exec, "\"x\": executable file not found in $PATH"),
            "exec: \"x\": executable file not found in $PATH (process.args)",
        );
    }
}
