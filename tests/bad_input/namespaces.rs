//! What is wrong with what namespaces hold: clocks, network devices.

use crate::{case, check};
use serde_json::json;

/// Adds a time namespace and offsets.
fn offsets(t: &mut crate::Try<'_>, offsets: serde_json::Value) {
    t.bundle.namespace("time", None);
    t.set("/linux/timeOffsets", offsets);
}

#[test]
fn clocks() {
    check(&[
        case(
            "offsets without a time namespace",
            &["config.json: linux.timeOffsets", "{\"type\": \"time\"}"],
            |t| t.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}})),
        ),
        case(
            "offsets for a namespace that exists",
            &["linux.timeOffsets", "linux.namespaces[5].path"],
            |t| {
                t.bundle.namespace("time", Some("/proc/self/ns/time"));
                t.set("/linux/timeOffsets", json!({"monotonic": {"secs": 1}}));
            },
        ),
        case(
            "a clock that no namespace has",
            &["linux.timeOffsets.realtime", "boottime or monotonic"],
            |t| offsets(t, json!({"realtime": {"secs": 1}})),
        ),
        case(
            "a whole second of nanoseconds",
            &["linux.timeOffsets.monotonic.nanosecs", "1000000000"],
            |t| offsets(t, json!({"monotonic": {"nanosecs": 1_000_000_000}})),
        ),
        case(
            "negative nanoseconds",
            &["linux.timeOffsets.monotonic.nanosecs"],
            |t| offsets(t, json!({"monotonic": {"nanosecs": -1}})),
        ),
        case(
            "beyond all clocks",
            &["linux.timeOffsets.boottime.secs", "9223372037"],
            |t| offsets(t, json!({"boottime": {"secs": 9_223_372_037_i64}})),
        ),
        case(
            "before the clock's beginning",
            &["linux.timeOffsets", "boottime -9000000000 0", "below 0"],
            |t| offsets(t, json!({"boottime": {"secs": -9_000_000_000_i64}})),
        ),
    ]);
}

/// Asks for devices of the host.
fn devices(t: &mut crate::Try<'_>, devices: serde_json::Value) {
    t.set("/linux/netDevices", devices);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn net_devices() {
    check(&[
        case(
            "devices without a network namespace",
            &["config.json: linux.netDevices", "{\"type\": \"network\"}"],
            |t| {
                t.bundle.without_namespace("network");
                devices(t, json!({"eth7": {}}));
            },
        ),
        case(
            "devices for the host's own network",
            &["linux.netDevices", "would change the host"],
            |t| {
                t.bundle.namespace("network", Some("/proc/self/ns/net"));
                devices(t, json!({"lo0": {}}));
            },
        ),
        case(
            "a device that is not there",
            &["linux.netDevices.nosuch7", "no such network device"],
            |t| devices(t, json!({"nosuch7": {"name": "eth0"}})),
        ),
        case(
            "lo of the host",
            &["linux.netDevices.lo", "name another device"],
            |t| devices(t, json!({"lo": {"name": "eth0"}})),
        ),
        case(
            "lo of the container",
            &["linux.netDevices.eth7", "name another device"],
            |t| devices(t, json!({"eth7": {"name": "lo"}})),
        ),
        case(
            "a name with 16 bytes",
            &["linux.netDevices.eth7.name", "sixteen-bytes-xx"],
            |t| devices(t, json!({"eth7": {"name": "sixteen-bytes-xx"}})),
        ),
        case(
            "a name with a slash",
            &["linux.netDevices.eth7.name", "a/b"],
            |t| devices(t, json!({"eth7": {"name": "a/b"}})),
        ),
        case(
            "a name that is a place",
            &["linux.netDevices.eth7.name"],
            |t| {
                devices(t, json!({"eth7": {"name": ".."}}));
            },
        ),
        case(
            "a name with a blank",
            &["linux.netDevices.eth7.name"],
            |t| {
                devices(t, json!({"eth7": {"name": "a b"}}));
            },
        ),
        case(
            "two templates in a name",
            &["linux.netDevices.eth7.name", "%d"],
            |t| devices(t, json!({"eth7": {"name": "%d%d"}})),
        ),
        case(
            "a template for a device of the host",
            &["linux.netDevices.eth%d"],
            |t| devices(t, json!({"eth%d": {}})),
        ),
        case("an empty name", &["linux.netDevices."], |t| {
            devices(t, json!({"": {"name": "x"}}));
        }),
        case(
            "one name for two",
            &["linux.netDevices.eth8.name", "a second device"],
            |t| {
                devices(
                    t,
                    json!({"eth7": {"name": "net1"}, "eth8": {"name": "net1"}}),
                )
            },
        ),
    ]);
}
