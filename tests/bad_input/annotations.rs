//! What annotations ask for and cannot have.

use crate::{case, check};
use orlop_tests::Must;
use serde_json::json;

/// Sets the one annotation.
fn annotation(t: &mut crate::Try<'_>, key: &str, value: impl Into<serde_json::Value>) {
    t.set("/annotations", json!({key: value.into()}));
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn annotations() {
    let delegate: &'static [&'static str] = if orlop_tests::only_v2() {
        &[
            "annotations[\"run.oci.delegate-cgroup\"]",
            "is not the path of a cgroup",
        ]
    } else {
        &[
            "annotations[\"run.oci.delegate-cgroup\"]",
            "cgroup v2 alone",
        ]
    };
    let mut cases = vec![
        case(
            "keeping groups in a word",
            &[
                "annotations[\"run.oci.keep_original_groups\"]",
                "write \"1\"",
            ],
            |t| annotation(t, "run.oci.keep_original_groups", "yes"),
        ),
        case(
            "a relative file for hooks",
            &["annotations[\"run.oci.hooks.stdout\"]", "absolute"],
            |t| annotation(t, "run.oci.hooks.stdout", "log"),
        ),
        case(
            "a file for hooks in no directory",
            &[
                "annotations[\"run.oci.hooks.stderr\"]",
                "/nosuch/log",
                "no such file",
            ],
            |t| {
                annotation(t, "run.oci.hooks.stderr", "/nosuch/log");
                t.set("/hooks/prestart", json!([{"path": "/bin/true"}]));
            },
        ),
        case(
            "a fifo for hooks that nobody reads",
            &["annotations[\"run.oci.hooks.stderr\"]", "/fifo"],
            |t| {
                let fifo = t.bundle.dir.join("fifo");
                std::process::Command::new("mkfifo")
                    .arg(&fifo)
                    .status()
                    .must("mkfifo");
                annotation(t, "run.oci.hooks.stderr", json!(fifo));
                t.set("/hooks/prestart", json!([{"path": "/bin/true"}]));
            },
        ),
        case(
            "a receiver that is not there",
            &[
                "annotations[\"run.oci.pidfd_receiver\"]",
                "connect to /nosuch",
            ],
            |t| annotation(t, "run.oci.pidfd_receiver", "/nosuch"),
        ),
        case(
            "a kind of label that is not known",
            &["annotations[\"run.oci.mount_context_type\"]", "fscontext"],
            |t| annotation(t, "run.oci.mount_context_type", "other"),
        ),
        case(
            "a relative receiver",
            &["annotations[\"run.oci.pidfd_receiver\"]", "absolute"],
            |t| annotation(t, "run.oci.pidfd_receiver", "nosuch"),
        ),
    ];
    let below: [fn(&mut crate::Try<'_>); 5] = [
        |t| annotation(t, "run.oci.delegate-cgroup", "../x"),
        |t| annotation(t, "run.oci.delegate-cgroup", "a/../../x"),
        |t| annotation(t, "run.oci.delegate-cgroup", ".hidden"),
        |t| annotation(t, "run.oci.delegate-cgroup", "/"),
        |t| annotation(t, "run.oci.delegate-cgroup", "a\nb"),
    ];
    let name = "a cgroup that is not below the container's";
    cases.extend(below.map(|spoil| crate::Case {
        name,
        wants: delegate,
        spoil,
    }));
    check(&cases);
}
