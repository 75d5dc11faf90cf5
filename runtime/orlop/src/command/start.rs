//! `start`.

use anyhow::Result;
use container::notify::Notify;
use container::verbs;

use super::{Done, Failure, OneId, on_container, with};
use crate::global::Invocation;

pub(super) fn start(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: OneId| {
        on_container(invocation, &args.id, |root, id| {
            let record = root.load(id)?;
            let host = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
            // Before the start: the payload may speak at once.
            let notify = host
                .map(|host| Notify::bind(root, id, host.as_ref()))
                .transpose()?
                .flatten();
            let init = verbs::start(root, id)?;
            if let Some(notify) = notify {
                notify.wait(record.process.pid, &init)?;
            }
            Ok(Done::default())
        })
    })
}
