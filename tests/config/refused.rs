//! Fields that are not implemented yet: refused by name, never ignored; null and empty count as absent.

use orlop_tests::Env;
use serde_json::{Value, json};

/// Each field that is refused: the JSON pointer, a value, what the message names, and values that count as absent.
#[expect(clippy::too_many_lines, reason = "table")]
fn later() -> Vec<(&'static str, Value, &'static str, Vec<Value>)> {
    let (null, empty) = (Value::Null, json!({}));
    let no_listener =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "", "listenerMetadata": ""});
    vec![
        (
            "/linux/timeOffsets",
            null.clone(),
            "",
            vec![null.clone(), empty.clone()],
        ),
        (
            "/linux/netDevices",
            null.clone(),
            "",
            vec![null.clone(), empty.clone()],
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "x"}),
            "linux.intelRdt",
            vec![null.clone(), empty.clone()],
        ),
        (
            "/linux/resources/rdma",
            json!({"mlx5_1": {"hcaHandles": 3}}),
            "linux.resources.rdma",
            vec![null.clone(), empty.clone()],
        ),
        (
            "/linux/seccomp",
            json!(""),
            "",
            vec![null.clone(), no_listener],
        ),
        (
            "/process/selinuxLabel",
            json!(""),
            "",
            vec![null.clone(), json!("")],
        ),
        (
            "/linux/mountLabel",
            json!(""),
            "",
            vec![null.clone(), json!("")],
        ),
        (
            "/process/apparmorProfile",
            json!(""),
            "",
            vec![null.clone(), json!("")],
        ),
        (
            "/process/execCPUAffinity",
            null.clone(),
            "",
            vec![null.clone(), empty.clone(), json!({"initial": ""})],
        ),
        ("/linux/memoryPolicy", null.clone(), "", vec![null.clone()]),
        ("/linux/personality", null.clone(), "", vec![null.clone()]),
        ("/process/scheduler", null.clone(), "", vec![null.clone()]),
        ("/process/ioPriority", null.clone(), "", vec![null.clone()]),
        ("/linux/seccomp", null.clone(), "", vec![null.clone()]),
        ("/hooks", null.clone(), "", vec![null, empty]),
    ]
}

#[test]
fn refused_by_name() {
    let env = Env::new();
    let mut wrong = Vec::new();
    for (pointer, value, name, _) in later().into_iter().filter(|row| !row.2.is_empty()) {
        let mut bundle = env.bundle();
        bundle.args(&["true"]).set(pointer, value.clone());
        let before = env.world();
        let done = env.run(&bundle);
        if let Some(complaint) = done.complaint(1, &[name]) {
            wrong.push(format!("## {pointer} {value}: {complaint}\n{done}"));
        }
        for left in env.left_since(&before) {
            wrong.push(format!("## {pointer}: {left}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn empty_counts_as_absent() {
    let env = Env::new();
    let mut wrong = Vec::new();
    for (pointer, _, _, absent) in later() {
        for value in absent {
            let mut bundle = env.bundle();
            bundle.args(&["true"]).set(pointer, value.clone());
            let done = env.run(&bundle);
            if done.rc != 0 {
                wrong.push(format!("## {pointer} {value}\n{done}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
