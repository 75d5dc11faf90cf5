//! Short texts of the command line and of the environment; the first letter of a line says which.

use cgroup::{Address, CgroupPath, Socket, SubPaths};
use container::{ContainerId, Status, verbs};

use crate::machine::{is_clean, layout};
use crate::{config, is_message};

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.split('\n') {
        let mut rest = line.chars();
        let kind = rest.next();
        let text = rest.as_str();
        match kind {
            Some('i') => id(text),
            Some('p') => path(text, line.len()),
            Some('c') => sub(text),
            Some('s') => signal(text),
            Some('b') => address(text),
            Some('t') => interval(text),
            _ => {}
        }
    }
}

fn id(text: &str) {
    match ContainerId::parse(text) {
        Ok(id) => {
            assert_eq!(id.as_str(), text);
            assert!(
                is_clean(id.as_ref()) && !text.contains('/') && text.len() <= 255,
                "{text:?}"
            );
            // In the columns of `list`.
            assert!(!format!("{id:<20} {:<8}", Status::Running).contains('\n'));
        }
        Err(error) => is_message(&error.to_string()),
    }
}

fn path(text: &str, number: usize) {
    match CgroupPath::parse(Some(text), "id") {
        Ok(path) => config::cgroups(&cgroup::plan(&layout(number), &path, None).expect("a plan")),
        Err(refusal) => is_message(&refusal.message),
    }
}

fn sub(text: &str) {
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    // The name of a controller, which need not exist, is no path.
    let names = words.iter().filter_map(|word| word.split_once(':'));
    if names.into_iter().any(|(names, _)| names.contains("..")) {
        return;
    }
    match SubPaths::parse(&words) {
        // Its paths are not shown otherwise.
        Ok(paths) => assert!(
            !format!("{paths:?}")
                .split(['"', '/'])
                .any(|part| part == "..")
        ),
        Err(refusal) => is_message(&refusal.message),
    }
}

fn signal(text: &str) {
    match verbs::signal(text) {
        Ok(number) => assert!((0..=64).contains(&number), "{text:?} is {number}"),
        Err(error) => is_message(&error.to_string()),
    }
}

fn address(text: &str) {
    let found = Address::user(Some("/run/user/1".into()), Some(text));
    assert!(!found.is_empty());
    for address in &found {
        if let Address::Bus(Socket::Abstract(name)) = address {
            assert!(name.len() <= text.len());
        }
        let json = serde_json::to_string(address);
        // A path that is no text cannot be recorded, and is said to be so.
        if let Ok(json) = json {
            assert_eq!(
                serde_json::from_str::<Address>(&json).ok().as_ref(),
                Some(address)
            );
        }
    }
}

/// A time to wait for has an end.
fn interval(text: &str) {
    if let Some(interval) = orlop::command::events::duration(text) {
        let now = std::time::Instant::now();
        assert!(
            now.checked_add(interval).is_some(),
            "{text:?} is {interval:?}"
        );
    }
}
