//! Starting the program without the preparations that Rust makes for any program.
//!
//! They look for the bounds of the stack in `/proc/self/maps`, to tell a stack overflow from other faults, and keep a second stack for that
//! message: a tenth of a millisecond in each call of a program that itself runs for less than three. What protects others
//! is done here, too: no file of ours may become somebody's standard stream, and nobody ends us by closing a pipe.

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::fs::{self, Mode, OFlag};

/// Makes a function that takes nothing and returns an exit code the program's beginning; the crate says `#![cfg_attr(not(test), no_main)]`.
///
/// Standard output must be flushed by whoever writes to it.
#[macro_export]
macro_rules! main {
    ($function:path) => {
        /// What the C library calls.
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        pub extern "C" fn main() -> i32 {
            $crate::start::prepare();
            i32::from($function())
        }

        // The test harness brings a beginning of its own; this one says what is in use.
        #[cfg(test)]
        fn main() {
            $function();
        }
    };
}

/// Does what must be done before anything else.
pub fn prepare() {
    for number in 0..3 {
        // The lowest free number is this one. Without /dev/null nothing would be gained by going on, nor by ending here.
        if fs::inherited(number).is_none()
            && let Ok(null) = fs::open("/dev/null", OFlag::O_RDWR, Mode::empty())
        {
            // It stays open for good.
            std::mem::forget(null);
        }
    }
    // SAFETY: ignoring a signal installs no handler.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) }.ok();
}
