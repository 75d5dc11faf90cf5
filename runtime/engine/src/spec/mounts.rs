//! What a container sees of the kernel and of its own files: tables.

use serde_json::{Value, json};

use super::{Network, Request};

/// Hidden: what they tell is the host's.
pub(super) const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    // Docker since 24.0.7: power meters tell what others compute.
    "/sys/devices/virtual/powercap",
];

/// Seen, not written.
pub(super) const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Target, type, source, options.
const KERNEL: [(&str, &str, &str, &[&str]); 7] = [
    ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
    (
        "/dev",
        "tmpfs",
        "tmpfs",
        &["nosuid", "strictatime", "mode=755", "size=65536k"],
    ),
    (
        "/dev/pts",
        "devpts",
        "devpts",
        &[
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ],
    ),
    (
        "/sys",
        "sysfs",
        "sysfs",
        &["nosuid", "noexec", "nodev", "ro"],
    ),
    (
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["ro", "nosuid", "noexec", "nodev"],
    ),
    (
        "/dev/mqueue",
        "mqueue",
        "mqueue",
        &["nosuid", "noexec", "nodev"],
    ),
    (
        "/dev/shm",
        "tmpfs",
        "shm",
        &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
    ),
];

/// The kernel's file systems, then the files that say where the container is.
pub(super) fn all(request: &Request<'_>) -> Vec<Value> {
    // The kernel makes a sysfs for who owns the network that it shows, and nobody else.
    let bound = request.host.inner && request.options.network == Network::Host;
    let kernel = KERNEL.iter().map(|(target, kind, source, options)| {
        if bound && *target == "/sys" {
            let options = [&["rbind", "rslave"], *options].concat();
            return json!({ "destination": target, "type": "bind", "source": target, "options": options });
        }
        // Terminals are of the group tty, where there is one.
        let has = |option: &&&str| **option != "gid=5" || request.host.last_group >= 5;
        let options: Vec<_> = options.iter().filter(has).collect();
        json!({ "destination": target, "type": kind, "source": source, "options": options })
    });
    let files = request.place.files;
    let own = ["resolv.conf", "hostname", "hosts"].map(|name| {
        json!({
            "destination": format!("/etc/{name}"),
            "type": "bind",
            "source": files.join(name),
            "options": ["rbind", "rprivate"],
        })
    });
    kernel.chain(own).collect()
}

/// Character devices: null, zero, full, random, urandom, tty, console; not fuse.
pub(super) fn device_rules() -> Vec<Value> {
    let rule = |allow: bool, major: u32, minor: u32| json!({ "allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm" });
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    let allowed = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1)];
    rules.extend(allowed.map(|(major, minor)| rule(true, major, minor)));
    rules.push(rule(false, 10, 229));
    rules
}
