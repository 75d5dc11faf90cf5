//! `state` and `list`.

use anyhow::Result;

use crate::state::{Found, OciState, Record, StateRoot, Status};
use crate::{ContainerId, reached};

/// Returns one container's state.
pub fn state(root: &StateRoot, id: &ContainerId) -> Result<OciState> {
    let record = root.load(id)?;
    Ok(full(root, id, &record))
}

/// Returns the states of all containers, by id, and warnings about records that cannot be read.
pub fn list(root: &StateRoot) -> Result<(Vec<OciState>, Vec<String>)> {
    let (mut states, mut warnings) = (Vec::new(), Vec::new());
    for id in root.ids()? {
        match root.find(&id) {
            Ok(Found::Container(record)) => states.push(full(root, &id, &record)),
            // A creation that goes on is no container yet.
            Ok(Found::Unfinished(_) | Found::Nothing) => {}
            Err(error) => warnings.push(format!("{error:#}")),
        }
    }
    Ok((states, warnings))
}

fn full(root: &StateRoot, id: &ContainerId, record: &Record) -> OciState {
    let mut state = record.state(root.status(id, record));
    if state.status == Status::Stopped {
        reached::annotate(&mut state.annotations, record);
    }
    OciState {
        rootfs: Some(record.rootfs.clone()),
        created: Some(record.created.clone()),
        owner: Some(user_name(record.owner)),
        ..state
    }
}

/// Returns a user's name by the host's `/etc/passwd`, or the number.
fn user_name(uid: u32) -> String {
    let number = uid.to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&number));
    line.and_then(|line| line.split(':').next())
        .map_or(number.clone(), String::from)
}
