//! Lists in places where the specification has objects.
//!
//! serde takes a list for a structure whose fields are its elements, in the order in which a crate happens to declare them: `"root":
//! ["rootfs", false]` would be a root. Nothing in the specification is meant so.

use serde_json::Value;

/// Fields that hold an object, and nothing else in any place.
const OBJECTS: [&str; 26] = [
    "blockIO",
    "capabilities",
    "consoleSize",
    "cpu",
    "execCPUAffinity",
    "hooks",
    "intelRdt",
    "ioPriority",
    "linux",
    "memory",
    "memoryPolicy",
    "netDevices",
    "network",
    "personality",
    "pids",
    "process",
    "rdma",
    "resources",
    "root",
    "scheduler",
    "seccomp",
    "sysctl",
    "timeOffsets",
    "unified",
    "user",
    "annotations",
];
/// Those of them whose contents are not looked at: names of the caller's own.
const CLOSED: [&str; 5] = ["annotations", "netDevices", "rdma", "sysctl", "unified"];
/// Lists that hold objects.
const LISTS: [&str; 24] = [
    "args",
    "createContainer",
    "createRuntime",
    "devices",
    "gidMappings",
    "hugepageLimits",
    "mounts",
    "namespaces",
    "poststart",
    "poststop",
    "prestart",
    "priorities",
    "rlimits",
    "startContainer",
    "syscalls",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "uidMappings",
    "weightDevice",
    "additionalGids",
    "env",
    "options",
];

/// Returns the JSON path of the first such list; the empty path is the whole text. Text that is no JSON has none.
pub(crate) fn misplaced_list(bytes: &[u8]) -> Option<String> {
    // Nearly every text is without one, and most can be told so by the characters before its brackets.
    if !is_suspect(bytes) {
        return None;
    }
    let value = serde_json::from_slice(bytes).ok()?;
    match value {
        Value::Array(_) => Some(String::new()),
        value => find(&value, ""),
    }
}

/// Whether a list begins the text, is an element, or is the value of a field that ought to be an object.
fn is_suspect(bytes: &[u8]) -> bool {
    let brackets = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'[')
        .map(|(at, _)| bytes[..at].trim_ascii_end());
    for before in brackets {
        match before.last() {
            None | Some(b'[' | b',') => return true,
            Some(b':') => {
                let name = before[..before.len() - 1].trim_ascii_end();
                let name = name.strip_suffix(b"\"").unwrap_or_default();
                if OBJECTS.iter().any(|field| name.ends_with(field.as_bytes())) {
                    return true;
                }
            }
            Some(_) => {}
        }
    }
    false
}

fn find(value: &Value, at: &str) -> Option<String> {
    let fields = value.as_object()?;
    fields.iter().find_map(|(name, value)| {
        let dot = if at.is_empty() { "" } else { "." };
        let here = format!("{at}{dot}{name}");
        match value {
            Value::Array(_) if OBJECTS.contains(&name.as_str()) => Some(here),
            Value::Array(list) if LISTS.contains(&name.as_str()) => {
                list.iter().enumerate().find_map(|(index, element)| {
                    let here = format!("{here}[{index}]");
                    match element {
                        Value::Array(_) => Some(here),
                        element => find(element, &here),
                    }
                })
            }
            Value::Object(_)
                if OBJECTS.contains(&name.as_str()) && !CLOSED.contains(&name.as_str()) =>
            {
                find(value, &here)
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::misplaced_list;

    #[test]
    fn lists_in_the_place_of_objects() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(misplaced_list(text.as_bytes()).as_deref(), want, "{text}");
        };
        check("[]", Some(""));
        check(r#" ["1.0"]"#, Some(""));
        check(r#"{"root": ["rootfs", false]}"#, Some("root"));
        check(r#"{"process" : [ ]}"#, Some("process"));
        check(
            r#"{"linux":{"resources":{"memory":[1]}}}"#,
            Some("linux.resources.memory"),
        );
        check(r#"{"mounts":[{}, ["/x"]]}"#, Some("mounts[1]"));
        check(
            r#"{"linux":{"seccomp":{"syscalls":[{"args":[[0]]}]}}}"#,
            Some("linux.seccomp.syscalls[0].args[0]"),
        );
        check(r#"{"memory":["x"]}"#, Some("memory"));
        for plain in [
            "",
            "{",
            "7",
            r#"{"mounts":[{"options":["a,[b"]}]}"#,
            r#"{"process":{"args":["[", "\"root\":[", ", ["]}}"#,
            r#"{"annotations":{"root":"x, ["}}"#,
            r#"{"unknown":{"root":["x"]},"args":["x"]}"#,
            r#"{"windows":{"resources":["x"]}}"#,
            r#"{"linux":{"devices":[],"maskedPaths":["/a"]}}"#,
        ] {
            check(plain, None);
        }
    }
}
