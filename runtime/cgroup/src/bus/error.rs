//! What can go wrong between us and a manager.

use sys::Errno;

use super::wire::Malformed;

/// Why a manager did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Each address with its reason.
    #[error("systemd is not running here ({0}); use --cgroup-manager cgroupfs")]
    Unreachable(String),

    #[error("systemd's bus does not accept us; ask as root, or as the user whose systemd it is")]
    Rejected,

    #[error("systemd's bus closed the connection; look at its journal for the reason")]
    Closed,

    #[error("systemd's bus sent {0}; is it a D-Bus?")]
    Malformed(Malformed),

    #[error("systemd did not send {0} in time; it may be busy or stopped")]
    Late(String),

    /// A D-Bus error, by its name.
    #[error("systemd: {text} ({name})")]
    Refused { name: String, text: String },

    /// A job that did not end as it should.
    #[error("systemd: {job} {unit}: {result}; its journal tells more: journalctl -u {unit}")]
    Job {
        job: &'static str,
        unit: String,
        result: String,
    },

    #[error("systemd's bus: {call}: {}", sys::reason(*errno))]
    Call { call: String, errno: Errno },
}

impl Error {
    pub(crate) fn call(call: &str, errno: Errno) -> Self {
        Self::Call {
            call: call.to_owned(),
            errno,
        }
    }

    /// Tells whether this is a certain D-Bus error, by the end of its name.
    pub(crate) fn is(&self, suffix: &str) -> bool {
        matches!(self, Self::Refused { name, .. } if name.rsplit('.').next() == Some(suffix))
    }
}

impl From<Malformed> for Error {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}
