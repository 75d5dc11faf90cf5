//! Words of the specification that the crate which parses it spells otherwise, or refuses.
//!
//! oci-spec 0.10 derives the names of two scheduler flags from those of its variants, and takes an empty list of processors for
//! a wrong one. This goes when it reads what the specification writes.

use serde_json::Value;

/// The flags as the specification writes them, and as the crate does.
const FLAGS: [(&str, &str); 2] = [
    ("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"),
    ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN"),
];

/// Rewrites a configuration, or a single process, for the crate; tells whether there was anything to rewrite.
pub(crate) fn translate(document: &mut Value) -> bool {
    let process = match document.get("process") {
        Some(_) => &mut document["process"],
        None => document,
    };
    let mut found = false;
    if let Some(Value::Array(flags)) = process.pointer_mut("/scheduler/flags") {
        for flag in flags {
            if let Some((_, theirs)) = FLAGS.iter().find(|(ours, _)| flag == ours) {
                *flag = Value::from(*theirs);
                found = true;
            }
        }
    }
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        let before = affinity.len();
        affinity.retain(|_, list| list != "");
        found |= affinity.len() != before;
    }
    found
}
