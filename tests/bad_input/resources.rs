//! Limits and cgroup paths that cannot be.

use crate::{Try, case, check};
use orlop_tests::{Must, freeze, hierarchy, sys};
use serde_json::json;
use std::fs;

/// Makes a cgroup of somebody else's in the hierarchy that has `controller` with a process in it, and lets the container ask for it.
fn occupied(t: &mut Try<'_>, controller: &str) -> std::path::PathBuf {
    let name = format!("/{}-occupied", t.env.tag);
    let dir = hierarchy(controller).join(&name[1..]);
    fs::create_dir(&dir).must(dir.display());
    let mut child = std::process::Command::new("/bin/sleep")
        .arg("1000")
        .spawn()
        .must("sleep");
    fs::write(dir.join("cgroup.procs"), child.id().to_string()).must("join the cgroup");
    t.set("/linux/cgroupsPath", json!(name));
    let undo = dir.clone();
    t.undo.push(Box::new(move || {
        sys::kill(i32::try_from(child.id()).must("a pid"), 0)
            .must("the runtime has ended somebody else's process");
        child.kill().must("end sleep");
        child.wait().must("wait for sleep");
        orlop_tests::until("the empty cgroup", || fs::remove_dir(&undo).ok());
    }));
    dir
}

#[test]
fn cgroup_paths() {
    check(&[
        case(
            "a path below a file",
            &["linux.cgroupsPath|cgroup.procs"],
            |t| {
                t.set(
                    "/linux/cgroupsPath",
                    json!(format!("/cgroup.procs/{}", t.env.tag)),
                );
            },
        ),
        case(
            "a name that is too long",
            &["linux.cgroupsPath|xxxx"],
            |t| {
                t.set(
                    "/linux/cgroupsPath",
                    json!(format!("/{}{}", t.env.tag, "x".repeat(256))),
                );
            },
        ),
        case("NUL in the path", &["linux.cgroupsPath"], |t| {
            t.set("/linux/cgroupsPath", json!(format!("/{}\u{0}", t.env.tag)))
        }),
        case(
            "a cgroup with somebody else's process",
            &["linux.cgroupsPath|occupied", "empty|process"],
            |t| {
                occupied(t, "pids");
            },
        ),
        case(
            "a frozen cgroup",
            &[
                "linux.cgroupsPath|occupied",
                "frozen",
                "write THAWED to its freezer.state|write 0 to its cgroup.freeze",
            ],
            |t| {
                let dir = occupied(t, "freezer");
                freeze(&dir, true);
                t.undo.insert(0, Box::new(move || freeze(&dir, false)));
            },
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn limits() {
    check(&[
        case(
            "negative memory limit",
            &["linux.resources.memory.limit"],
            |t| t.set("/linux/resources/memory/limit", json!(-5)),
        ),
        case("swap below memory", &["linux.resources.memory.swap"], |t| {
            t.set(
                "/linux/resources/memory",
                json!({"limit": 20_000_000, "swap": 10_000_000}),
            );
        }),
        case(
            "swappiness above 100",
            &["linux.resources.memory.swappiness"],
            |t| {
                t.set("/linux/resources/memory/swappiness", json!(1000));
            },
        ),
        case(
            "quota below a millisecond",
            &["linux.resources.cpu.quota"],
            |t| {
                t.set(
                    "/linux/resources/cpu",
                    json!({"quota": 5, "period": 100_000}),
                )
            },
        ),
        case("period of days", &["linux.resources.cpu.period"], |t| {
            t.set("/linux/resources/cpu/period", json!(100_000_000_000_u64))
        }),
        case(
            "a processor that is not there",
            &["linux.resources.cpu.cpus", "9999"],
            |t| t.set("/linux/resources/cpu/cpus", json!("9999")),
        ),
        case("processors in words", &["linux.resources.cpu.cpus"], |t| {
            t.set("/linux/resources/cpu/cpus", json!("all"))
        }),
        case(
            "a memory node that is not there",
            &["linux.resources.cpu.mems"],
            |t| t.set("/linux/resources/cpu/mems", json!("77")),
        ),
        case(
            "weight below ten",
            &["linux.resources.blockIO.weight"],
            |t| t.set("/linux/resources/blockIO/weight", json!(5)),
        ),
        case(
            "unknown page size",
            &["linux.resources.hugepageLimits[0]"],
            |t| {
                t.set(
                    "/linux/resources/hugepageLimits",
                    json!([{"pageSize": "3MB", "limit": 1}]),
                );
            },
        ),
        case(
            "unknown type of a device rule",
            &["linux.resources.devices[1].type"],
            |t| {
                t.set(
                    "/linux/resources/devices/-",
                    json!({"allow": true, "type": "q", "access": "rwm"}),
                );
            },
        ),
        case(
            "unknown access of a device rule",
            &["linux.resources.devices[1].access"],
            |t| {
                t.set(
                    "/linux/resources/devices/-",
                    json!({"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rx"}),
                );
            },
        ),
        case(
            "unified key with a slash",
            &["linux.resources.unified", "../x"],
            |t| t.set("/linux/resources/unified", json!({"../x": "1"})),
        ),
        case(
            "unified key of no controller",
            &["linux.resources.unified", "nosuch.max"],
            |t| {
                t.set("/linux/resources/unified", json!({"nosuch.max": "1"}));
            },
        ),
    ]);
}
