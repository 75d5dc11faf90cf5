//! Waiting for something to come true, and turning a missing value into a failed test.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: long enough for a loaded machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Returns a limit of time as it is on this machine: `$ORLOP_PATIENCE` times as long (a whole number; 1 by default), for
/// machines that are emulated.
pub fn patient(limit: Duration) -> Duration {
    let factor =
        std::env::var("ORLOP_PATIENCE").map_or(1, |text| text.parse().must("ORLOP_PATIENCE"));
    limit * factor
}

/// Returns the value as soon as `ready` has one; fails the test when it has none for ten seconds.
#[track_caller]
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    match soon(PATIENCE, &mut ready) {
        Some(value) => value,
        None => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Returns the value as soon as `ready` has one, or None after `limit`, which is stretched by `patient`.
pub fn soon<T>(limit: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patient(limit);
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() > end {
            return None;
        }
        // The tests look at foreign processes and files, for which there is no event to wait on.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Unwraps with the name of what the test needed and could not have.
pub trait Must<T> {
    /// Returns the value, or fails the test with `what`.
    fn must(self, what: impl Display) -> T;
}

impl<T, E: Display> Must<T> for Result<T, E> {
    #[track_caller]
    fn must(self, what: impl Display) -> T {
        match self {
            Ok(value) => value,
            Err(why) => panic!("{what}: {why:#}"),
        }
    }
}

impl<T> Must<T> for Option<T> {
    #[track_caller]
    fn must(self, what: impl Display) -> T {
        match self {
            Some(value) => value,
            None => panic!("{what}: absent"),
        }
    }
}

/// Tells whether the runtime under test runs behind a filter that hides newer system calls (`hack/enosys`).
pub fn behind_filter() -> bool {
    std::env::var_os("ORLOP_ENOSYS").is_some()
}

/// Tells whether such a filter hides the call without which a case cannot be had, and says so.
pub fn hidden(case: &str, call: &str) -> bool {
    let hidden = behind_filter();
    if hidden {
        skip(case, &format!("{call} answers ENOSYS"));
    }
    hidden
}

/// Says visibly that a case was not run, and why.
#[expect(
    clippy::print_stderr,
    reason = "a skip must be seen, and the test framework has no word for it"
)]
pub fn skip(case: &str, reason: &str) {
    eprintln!("skip {case}: {reason}");
}
