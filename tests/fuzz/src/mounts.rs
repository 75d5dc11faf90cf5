//! Mounts: what a destination becomes, and what options mean. One mount a line: `destination type source option option…`.

use container::plan::{Mount, MountKind};
use container::{Bundle, bundle};
use serde_json::{Value, json};
use sys::mount::Attr;

use crate::config;
use crate::is_message;

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<Vec<&str>> = text
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| line.split(' ').collect())
        .collect();
    let word =
        |line: &[&str], index: usize| line.get(index).copied().unwrap_or_default().to_owned();
    let mounts: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "destination": word(line, 0), "type": word(line, 1), "source": word(line, 2),
                "options": line.get(3..).unwrap_or_default(),
            })
        })
        .collect();
    let list = Value::from(mounts.clone()).to_string();
    if let Err(error) = bundle::parse_mounts(list.as_bytes(), "mounts") {
        is_message(&error.to_string());
    }
    let spec = json!({
        "ociVersion": "1.2.0", "root": {"path": "rootfs"}, "mounts": mounts,
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    });
    let Ok(bundle) = Bundle::parse("/bundle".into(), spec.to_string().as_bytes(), "config.json")
    else {
        return;
    };
    let Ok(plan) = config::plan(&bundle, bytes.len()) else {
        return;
    };
    config::check(&plan);
    for (mount, line) in plan.mounts.iter().zip(&lines) {
        check(mount, line.get(3..).unwrap_or_default());
    }
}

/// Attributes by the options that give them and take them away.
const SWITCHES: [(Attr, &str, &str); 6] = [
    (Attr::RDONLY, "ro", "rw"),
    (Attr::NOSUID, "nosuid", "suid"),
    (Attr::NODEV, "nodev", "dev"),
    (Attr::NOEXEC, "noexec", "exec"),
    (Attr::NODIRATIME, "nodiratime", "diratime"),
    (Attr::NOSYMFOLLOW, "nosymfollow", "symfollow"),
];

const TIMES: [&str; 5] = [
    "noatime",
    "strictatime",
    "relatime",
    "atime",
    "nostrictatime",
];

/// Files of procfs that a mount may cover.
const HARMLESS: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

fn check(mount: &Mount, options: &[&str]) {
    if let MountKind::Bind { source, .. } = &mount.kind {
        attributes(mount, options, "", [mount.set, mount.clear]);
        // In a user namespace the host's /sys is read-only with all that is mounted in it, whoever asks for it.
        if !source.iter().any(|name| name == "sys") {
            attributes(mount, options, "r", [mount.set_tree, mount.clear_tree]);
        }
        assert!(source.is_absolute(), "{mount:?}");
    }
    if let Ok(inside) = mount.target.strip_prefix("/proc") {
        let inside = inside.to_str().unwrap_or("?");
        assert!(inside.is_empty() || HARMLESS.contains(&inside), "{mount:?}");
    }
}

/// Of two options that contradict each other the last one counts.
fn attributes(mount: &Mount, options: &[&str], prefix: &str, [set, clear]: [Attr; 2]) {
    let last = |known: &[&str]| {
        let words = options
            .iter()
            .rev()
            .filter_map(|option| option.strip_prefix(prefix));
        words.into_iter().find(|word| known.contains(word))
    };
    for (attr, on, off) in SWITCHES {
        let said = last(&[on, off]);
        assert_eq!(set.contains(attr), said == Some(on), "{mount:?}");
        assert_eq!(clear.contains(attr), said == Some(off), "{mount:?}");
    }
    let want = match last(&TIMES) {
        Some("noatime") => Attr::NOATIME,
        Some("strictatime") => Attr::STRICTATIME,
        _ => Attr::empty(),
    };
    assert_eq!(set & (Attr::NOATIME | Attr::STRICTATIME), want, "{mount:?}");
}
