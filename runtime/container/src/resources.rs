//! `linux.resources` as values: reading them from a caller, and laying a change over what was there.

use anyhow::{Context, Result};
use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

use crate::bundle::{parse_document, parse_json};

/// Fields in which zero, or an empty text, means "as it is"; a limit of none at all is -1.
const UNSET: [(&str, &[&str]); 4] = [
    (
        "memory",
        &["limit", "reservation", "swap", "kernel", "kernelTCP"],
    ),
    (
        "cpu",
        &[
            "shares",
            "quota",
            "period",
            "realtimeRuntime",
            "realtimePeriod",
            "cpus",
            "mems",
        ],
    ),
    ("pids", &["limit"]),
    ("blockIO", &["weight", "leafWeight"]),
];

/// What tells the elements of a list apart: a change has some of them, and the others stay.
const KEYS: [&[&str]; 3] = [&["major", "minor"], &["pageSize"], &["name"]];

/// Parses resources as callers of `update` write them; `name` says where they come from.
pub fn parse(bytes: &[u8], name: &str) -> Result<LinuxResources> {
    let mut value: Value = parse_document(bytes, name)?;
    prune(&mut value);
    // Once more from text: an error then names the field's path.
    let text = serde_json::to_vec(&value).context("write resources as JSON")?;
    parse_json(&text, name)
}

/// The fields of `linux.resources`.
const FIELDS: [&str; 9] = [
    "blockIO",
    "cpu",
    "devices",
    "hugepageLimits",
    "memory",
    "network",
    "pids",
    "rdma",
    "unified",
];

/// Returns a warning where a change says something, and none of it is a field of `linux.resources`: nothing would be changed.
#[must_use]
pub fn nothing_known(bytes: &[u8], name: &str) -> Option<String> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let fields = value.as_object()?;
    if fields.is_empty() || fields.keys().any(|key| FIELDS.contains(&key.as_str())) {
        return None;
    }
    let keys: Vec<_> = fields.keys().map(String::as_str).collect();
    Some(format!(
        "{name}: {}: no field of linux.resources, which are {}; nothing is changed by it",
        keys.join(", "),
        FIELDS.join(", ")
    ))
}

/// Returns only what a change sets.
pub fn given(change: &LinuxResources) -> Result<LinuxResources> {
    let mut value = serde_json::to_value(change).context("write resources as JSON")?;
    prune(&mut value);
    serde_json::from_value(value).context("read resources as JSON")
}

/// Lays a change over what was there.
pub fn merged(before: &LinuxResources, change: &LinuxResources) -> Result<LinuxResources> {
    let mut all = Value::Null;
    let mut devices = Value::Null;
    // Both in the same way: of two elements about the same thing, in one list, the later one counts as well.
    for resources in [before, change] {
        let mut value = serde_json::to_value(resources).context("write resources as JSON")?;
        // The one list that is a whole: its rules have an order.
        if let Some(list) = value.get_mut("devices").map(Value::take)
            && list.as_array().is_some_and(|list| !list.is_empty())
        {
            devices = list;
        }
        lay_over(&mut all, value);
    }
    all["devices"] = devices;
    serde_json::from_value(all).context("read resources as JSON")
}

fn prune(value: &mut Value) {
    for (group, fields) in UNSET {
        let Some(group) = value.get_mut(group).and_then(Value::as_object_mut) else {
            continue;
        };
        for field in fields {
            let unset = |value: &Value| value == 0 || value == "" || value.is_null();
            if group.get(*field).is_some_and(unset) {
                group.remove(*field);
            }
        }
    }
    // The specification's Go types write an empty object where nothing is said of pids; ours want the limit in it.
    let object = value.as_object_mut();
    if let Some(object) = object
        && object
            .get("pids")
            .is_some_and(|pids| pids["limit"].is_null())
    {
        object.remove("pids");
    }
}

fn lay_over(value: &mut Value, change: Value) {
    match &change {
        Value::Object(_) if !value.is_object() => *value = Value::Object(Map::new()),
        Value::Array(_) if !value.is_array() => *value = Value::Array(Vec::new()),
        _ => {}
    }
    match (value, change) {
        (Value::Object(object), Value::Object(change)) => {
            for (name, change) in change {
                lay_over(object.entry(name).or_insert(Value::Null), change);
            }
        }
        (Value::Array(list), Value::Array(change)) => {
            for element in change {
                match list.iter_mut().find(|old| is_same(old, &element)) {
                    Some(old) => lay_over(old, element),
                    None => list.push(element),
                }
            }
        }
        (_, Value::Null) => {}
        (value, change) => *value = change,
    }
}

/// Whether two elements of lists are about the same thing.
fn is_same(a: &Value, b: &Value) -> bool {
    KEYS.iter().any(|key| {
        key.iter()
            .all(|field| a.get(field).is_some() && a.get(field) == b.get(field))
    })
}

#[cfg(test)]
mod tests {
    use super::{given, merged, parse};

    fn check(before: &str, change: &str, want: &str) {
        let read =
            |text: &str| parse(text.as_bytes(), "test").unwrap_or_else(|e| panic!("{text}: {e}"));
        let change = given(&read(change)).expect("plain");
        let merged = merged(&read(before), &change).expect("plain");
        assert_eq!(merged, read(want), "{before} + {change:?}");
    }

    #[test]
    fn a_change_replaces_what_it_names() {
        check(
            r#"{"memory":{"limit":4096,"swap":8192},"cpu":{"shares":5}}"#,
            r#"{"memory":{"limit":1024},"pids":{"limit":3}}"#,
            r#"{"memory":{"limit":1024,"swap":8192},"cpu":{"shares":5},"pids":{"limit":3}}"#,
        );
        // As Go's programs send what they do not set.
        check(
            r#"{"memory":{"limit":4096},"cpu":{"cpus":"0"},"pids":{"limit":7}}"#,
            r#"{"memory":{"limit":0},"cpu":{"cpus":"","shares":0},"pids":{},"blockIO":{"weight":0}}"#,
            r#"{"memory":{"limit":4096},"cpu":{"cpus":"0"},"pids":{"limit":7},"blockIO":{}}"#,
        );
        check(
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":2}]}}"#,
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":16,"rate":9}]}}"#,
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":16,"rate":9}]}}"#,
        );
        // Of one device twice in one list the last counts, as it does for the kernel.
        check(
            r#"{}"#,
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1},{"major":8,"minor":0,"rate":2}]}}"#,
            r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":2}]}}"#,
        );
        check(
            r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]}"#,
            r#"{"devices":[{"allow":false,"access":"rwm"}]}"#,
            r#"{"devices":[{"allow":false,"access":"rwm"}]}"#,
        );
    }

    #[test]
    fn a_wrong_shape_is_named_by_its_path() {
        let error = parse(br#"{"memory":{"limit":"1G"}}"#, "limits.json").expect_err("a text");
        assert!(
            error.to_string().starts_with("limits.json: memory.limit: "),
            "{error}"
        );
    }
}
