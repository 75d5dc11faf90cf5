//! Ranges of ids: the maps of a user namespace and those of a mount, and the form that crun's mount option has.
//!
//! Lines of three numbers: `u 0 100000 65536` for the namespace's map of users, `g` for its groups, `U` and `G` for a mount's own; `o`
//! and a text is the mount's option. `-` on a line of its own: no user namespace.

use container::Bundle;
use container::plan::{IdMap, Mapping};
use serde_json::{Value, json};

use crate::config;

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let map = |letter: &str| -> Vec<Value> {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .filter(|(first, _)| *first == letter)
            .filter_map(|(_, rest)| range(rest))
            .collect()
    };
    let option = text.lines().find_map(|line| line.strip_prefix("o "));
    let user = !text.lines().any(|line| line == "-");
    let mut namespaces = vec![json!({"type": "mount"})];
    namespaces.extend(user.then(|| json!({"type": "user"})));
    let options: Vec<&str> = ["bind"].into_iter().chain(option).collect();
    let spec = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "mounts": [{
            "destination": "/data", "type": "bind", "source": "/data",
            "options": options,
            "uidMappings": map("U"), "gidMappings": map("G"),
        }],
        "linux": {"namespaces": namespaces, "uidMappings": map("u"), "gidMappings": map("g")},
    });
    for line in text.lines().filter_map(IdMap::parse) {
        assert_eq!(IdMap::parse(&line.to_string()), Some(line));
    }
    let bundle = Bundle::parse("/bundle".into(), spec.to_string().as_bytes(), "config.json");
    let Ok(plan) = bundle.map(|bundle| config::plan(&bundle, 0)) else {
        return;
    };
    let Ok(plan) = plan else {
        return;
    };
    config::check(&plan);
    let Some(idmap) = &plan.mounts[0].idmap else {
        return;
    };
    let Mapping::Ranges { uid, gid } = &idmap.by else {
        return;
    };
    let given = option.and_then(|option| option.split_once('='));
    let Some((_, ranges)) = given.filter(|(name, _)| ["idmap", "ridmap"].contains(name)) else {
        return;
    };
    for (name, planned, own) in [
        ("uids=", uid, &plan.namespaces.uid_map),
        ("gids=", gid, &plan.namespaces.gid_map),
    ] {
        let list = ranges
            .split(';')
            .find_map(|part| part.strip_prefix(name))
            .expect("both are there");
        says(list, planned, own, user);
    }
}

fn range(text: &str) -> Option<Value> {
    let numbers: Option<Vec<u64>> = text.split(' ').map(|word| word.parse().ok()).collect();
    let [container, host, size] = numbers?[..] else {
        return None;
    };
    Some(json!({"containerID": container, "hostID": host, "size": size}))
}

/// The planned map takes the first and the last id of every piece to where the option's text takes it.
fn says(list: &str, planned: &[IdMap], own: &[IdMap], user: bool) {
    let mut total = 0;
    for text in list.split('#') {
        let relative = text.starts_with('@') && user;
        let numbers: Vec<u64> = text
            .trim_start_matches('@')
            .split('-')
            .map(|n| n.parse().expect("a number"))
            .collect();
        let [disk, shown, size] = numbers[..] else {
            panic!("{text:?} was taken");
        };
        total += size;
        // The ends of the range, and those of every piece of the container's map in it.
        let edges = own.iter().flat_map(|map| {
            let first = u64::from(map.container);
            [first, first + u64::from(map.size) - 1]
        });
        let edges = edges
            .filter(|edge| relative && (shown..shown + size).contains(edge))
            .map(|edge| edge - shown);
        for offset in [0, size - 1].into_iter().chain(edges) {
            let want = if relative {
                through(own, shown + offset)
            } else {
                Some(shown + offset)
            };
            // Of two ranges that overlap the kernel takes none.
            let got: Vec<_> = planned
                .iter()
                .filter_map(|map| through(&[*map], disk + offset))
                .collect();
            assert!(
                want.is_some_and(|want| got.contains(&want)),
                "{list}: {offset}: {got:?}, {want:?}"
            );
        }
    }
    let all: u64 = planned.iter().map(|map| u64::from(map.size)).sum();
    assert_eq!(all, total, "{list}: {planned:?}");
}

fn through(map: &[IdMap], id: u64) -> Option<u64> {
    map.iter().find_map(|part| {
        let offset = id.checked_sub(u64::from(part.container))?;
        (offset < u64::from(part.size)).then(|| u64::from(part.host) + offset)
    })
}
