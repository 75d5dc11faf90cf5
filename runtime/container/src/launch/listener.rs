//! The filter whose calls somebody else answers (SCMP_ACT_NOTIFY, seccomp_unotify(2)).
//!
//! The kernel makes the listener's descriptor when the filter is loaded, in the very process that is filtered from then on, and
//! whatever that process would call to pass it on may be a call that waits for the listener. So a second thread, which the filter
//! does not cover, does everything that is left to do: it passes the descriptor to the parent, waits for its word and for the
//! start. The first one waits for it in futex(2), which the plan has made sure of, and then executes the payload, which ends the
//! second. This is the only thread there ever is, and no clone comes after it but those of hooks.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock};

use anyhow::Context;
use serde::Serialize;
use sys::process::Pid;
use sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use sys::{Errno, process};

use super::protocol::{At, Channel, Failure, Step, ToParent};
use crate::plan::Seccomp;
use crate::state::OciState;

/// More than the deepest step of the second thread needs, hooks included.
const STACK: usize = 512 << 10;

/// What the listener is told (runtime-spec, config-linux.md, "The Container Process State").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'static str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a OciState,
}

/// Gives the listener its descriptor, on a connection of its own that ends with it.
pub(super) fn introduce(
    socket: Option<OwnedFd>,
    filter: Option<&Seccomp>,
    descriptor: &OwnedFd,
    pid: Pid,
    state: &OciState,
) -> anyhow::Result<()> {
    let listener = filter.and_then(|filter| filter.listener.as_ref());
    let (Some(socket), Some(listener)) = (socket, listener) else {
        anyhow::bail!("nobody listens to the filter");
    };
    let message = ContainerProcessState {
        oci_version: &state.oci_version,
        fds: ["seccompFd"],
        pid: pid.as_raw(),
        metadata: listener.metadata.as_deref(),
        state,
    };
    let json = serde_json::to_vec(&message).context("write the process state as JSON")?;
    sys::socket::send(&socket, &json, Some(descriptor.as_fd())).map_err(|errno| {
        anyhow::anyhow!(
            "config.json: linux.seccomp.listenerPath: send to {}: {}",
            listener.path.display(),
            sys::reason(errno)
        )
    })
}

/// Loads the filter, has the rest done by a thread that it does not cover, and calls `leave` with the result, which replaces this
/// program.
///
/// When the rest fails, it is reported from where it failed, and the process ends.
pub(super) fn load<T: Send + Sync>(
    filter: &Seccomp,
    channel: &Channel,
    rest: impl FnOnce() -> Result<T, Failure> + Send,
    leave: impl FnOnce(&T) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let loaded = OnceLock::new();
    let done = OnceLock::new();
    let thread = || match pass_on(&loaded, channel).map(|passed| passed.then(rest)) {
        // The filter was not loaded: the first thread says why.
        Ok(None) => {}
        // Nobody else sets it.
        Ok(Some(Ok(value))) => drop(done.set(value)),
        Ok(Some(Err(failure))) | Err(failure) => {
            // The parent is told, unless it is gone; nobody else listens.
            channel.tell_parent(&ToParent::Failed(failure)).ok();
            process::exit(1);
        }
    };
    // For the second thread: what it writes to may be gone, and the signal of that would end both.
    let all = SigSet::all();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&all), None).at(Step::Exec, "signals")?;
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, thread)
            .map_err(|error| Failure {
                errno: error.raw_os_error().map(Errno::from_raw),
                ..Failure::new(Step::Seccomp, "thread for the listener")
            })?;
        let prepared = prepare().and_then(|()| {
            sys::seccomp::load_listened(&filter.program, filter.flags).at(Step::Seccomp, "load")
        });
        let (listener, result) = match prepared {
            Ok(listener) => (Some(listener), Ok(())),
            Err(failure) => (None, Err(failure)),
        };
        // From here to the end of this program: futex(2) and execve(2) only.
        drop(loaded.set(Mutex::new(listener)));
        result.and_then(|()| leave(done.wait()))
    })
}

/// Does for the first thread what it cannot do later.
fn prepare() -> Result<(), Failure> {
    // No signal is blocked in what becomes the payload; the rest resets what the process ignores, for both.
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .at(Step::Exec, "signals")?;
    // The second thread notices the end of the parent by its socket, until it is told to go.
    process::set_pdeathsig(None).at(Step::Parent, "watch")
}

/// Gives the descriptor to the parent; false where there is none to give.
fn pass_on(loaded: &OnceLock<Mutex<Option<OwnedFd>>>, channel: &Channel) -> Result<bool, Failure> {
    let taken = loaded.wait().lock().ok().and_then(|mut held| held.take());
    taken.map_or(Ok(false), |listener| {
        channel
            .tell_parent(&ToParent::Listener(listener))
            .at(Step::Parent, "socket")
            .map(|()| true)
    })
}
