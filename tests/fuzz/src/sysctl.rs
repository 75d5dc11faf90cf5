//! linux.sysctl: `NAME=VALUE` on each line; a first line of letters names the namespaces (i, n, u, U).

use std::collections::BTreeSet;

use container::Bundle;
use serde_json::{Map, Value, json};

use crate::{config, is_message};

const KINDS: [(char, &str); 4] = [('i', "ipc"), ('n', "network"), ('u', "uts"), ('U', "user")];

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (letters, lines) = text.split_once('\n').unwrap_or((&text, ""));
    let kinds = KINDS.iter().filter(|(letter, _)| letters.contains(*letter));
    let namespaces: Vec<Value> = kinds.map(|(_, kind)| json!({"type": kind})).collect();
    let pairs = lines.split('\n').filter_map(|line| line.split_once('='));
    let map: Map<String, Value> = pairs
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    let ids = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let ids = if letters.contains('U') {
        ids
    } else {
        json!([])
    };
    let spec = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"},
        "linux": {"namespaces": namespaces, "sysctl": map, "uidMappings": ids, "gidMappings": ids},
    });
    let spec = spec.to_string();
    let plan = || {
        let bundle = Bundle::parse("/bundle".into(), spec.as_bytes(), "config.json");
        bundle.map(|bundle| config::plan(&bundle, 0))
    };
    let (planned, again) = match (plan(), plan()) {
        (Ok(planned), Ok(again)) => (planned, again),
        (Err(error), Err(_)) => return is_message(&error.to_string()),
        _ => panic!("the same text is a configuration and is none"),
    };
    assert_eq!(planned, again, "two plans of one configuration");
    let plan = match planned {
        Ok(plan) => plan,
        Err(refusal) => return is_message(&refusal.why),
    };
    config::check(&plan);
    assert_eq!(plan.sysctl.len(), map.len());
    let files: BTreeSet<&str> = plan
        .sysctl
        .iter()
        .map(|sysctl| sysctl.path.as_str())
        .collect();
    assert_eq!(
        files.len(),
        plan.sysctl.len(),
        "one file twice: which value counts?"
    );
    for sysctl in &plan.sysctl {
        let tree = ["net/", "user/", "fs/mqueue/", "kernel/"];
        assert!(
            tree.iter().any(|tree| sysctl.path.starts_with(tree)),
            "{sysctl:?}"
        );
        assert!(
            plan.namespaces.has(sysctl.namespace),
            "{sysctl:?} is the host's"
        );
    }
}
