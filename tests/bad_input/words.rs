//! What messages say beside the place: what is there instead, or what would be right, in words that need no source to be read.

use crate::{case, check};
use orlop_tests::Must;
use serde_json::{Value, json};

#[test]
fn json() {
    check(&[
        case(
            "nothing",
            &["config.json: ", "the text ends", "whole"],
            |t| {
                t.raw = Some(String::new());
            },
        ),
        case("cut off", &["config.json: process", "the text ends"], |t| {
            t.raw = Some("{\"ociVersion\": \"1.0.0\", \"process\": {\"cwd\": ".to_owned());
        }),
        case("a list as a whole", &["config.json: is a list"], |t| {
            t.raw = Some("[]".to_owned());
        }),
        case(
            "a list as the root",
            &["config.json: root: is a list"],
            |t| {
                t.set("/root", json!(["rootfs", false]));
            },
        ),
        case("a list as a mount", &["mounts[1]: is a list"], |t| {
            t.set("/mounts/1", json!(["/dev", "tmpfs"]));
        }),
        case(
            "a capability that nobody knows",
            &[
                "process.capabilities",
                "unknown capability \"CAP_FOO\"",
                "capabilities(7)",
            ],
            |t| t.set("/process/capabilities/bounding", json!(["CAP_FOO"])),
        ),
        case(
            "an affinity in words",
            &[
                "process.execCPUAffinity",
                "is not a list of processors",
                "0-3,5",
            ],
            |t| t.set("/process/execCPUAffinity", json!({"initial": "all"})),
        ),
    ]);
}

#[test]
fn which_two() {
    fn maps(t: &mut crate::Try<'_>, second: Value) {
        let first = json!({"containerID": 0, "hostID": 100_000, "size": 10});
        t.bundle
            .namespace("user", None)
            .set("/linux/gidMappings", json!([first]))
            .set("/linux/uidMappings", json!([first, second]));
    }
    check(&[
        case(
            "ids of the container twice",
            &[
                "linux.uidMappings[1]",
                "of the container",
                "linux.uidMappings[0]",
            ],
            |t| maps(t, json!({"containerID": 9, "hostID": 200_000, "size": 10})),
        ),
        case(
            "ids of the host twice",
            &[
                "linux.uidMappings[1]",
                "of the host",
                "linux.uidMappings[0]",
            ],
            |t| maps(t, json!({"containerID": 10, "hostID": 100_009, "size": 10})),
        ),
        case(
            "two devices at one path",
            &["linux.devices[1].path", "/dev/x", "linux.devices[0]"],
            |t| {
                let device =
                    |minor: u32| json!({"path": "/dev/x", "type": "c", "major": 1, "minor": minor});
                t.set("/linux/devices", json!([device(3), device(5)]));
            },
        ),
    ]);
}

#[test]
fn what_there_is() {
    check(&[
        case(
            "a processor too many",
            &["linux.resources.cpu.cpus", "the cgroup above has 0"],
            |t| t.set("/linux/resources/cpu/cpus", json!("999")),
        ),
        case(
            "a period of a microsecond",
            &["linux.resources.cpu", "1000 to 1000000 microseconds"],
            |t| t.set("/linux/resources/cpu", json!({"period": 1, "quota": 1})),
        ),
        case(
            "pages of a size of their own",
            &[
                "linux.resources.hugepageLimits[0]",
                "has pages of|no huge pages|hugetlb controller",
            ],
            |t| {
                let limit = json!([{"pageSize": "3MB", "limit": 1}]);
                t.set("/linux/resources/hugepageLimits", limit);
            },
        ),
        case(
            "an unknown file system",
            &[
                "nosuchfs",
                "mounts[7]",
                "this kernel has no such file system",
            ],
            |t| _ = t.bundle.mount("/x", "nosuchfs", "x", &[]),
        ),
        case(
            "an unknown parameter",
            &["net.ipv4.nosuch", "has no such parameter"],
            |t| t.set("/linux/sysctl", json!({"net.ipv4.nosuch": "0"})),
        ),
    ]);
}

#[test]
fn what_cannot_be_run() {
    check(&[
        case(
            "a directory as program",
            &["exec: \"/bin\": is a directory", "process.args"],
            |t| _ = t.bundle.args(&["/bin"]),
        ),
        case(
            "a program that is not there",
            &[
                "exec: \"nosuch\": executable file not found in $PATH",
                "process.args",
            ],
            |t| _ = t.bundle.args(&["nosuch"]),
        ),
        case(
            "a file as working directory",
            &["/etc/passwd: not a directory", "process.cwd"],
            |t| t.set("/process/cwd", json!("/etc/passwd")),
        ),
        case(
            "arguments without end",
            &["argument list too long", "shorten process.args"],
            |t| {
                t.verb = "run";
                let long = "x".repeat(100_000);
                let args: Vec<_> = std::iter::once("true".to_owned())
                    .chain(vec![long; 40])
                    .collect();
                t.set("/process/args", json!(args));
            },
        ),
        case(
            "a filter without execve",
            &["exec: ", "operation not permitted", "linux.seccomp"],
            |t| {
                t.verb = "run";
                let rule = json!({"names": ["execve", "execveat"], "action": "SCMP_ACT_ERRNO"});
                let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
                t.set("/linux/seccomp", filter);
            },
        ),
    ]);
}

/// Another file's name, with the configuration in it and none of the bundle's own.
fn elsewhere(t: &mut crate::Try<'_>) {
    let file = t.bundle.dir.join("c2.json");
    let text = serde_json::to_vec(&t.bundle.config).must("JSON");
    std::fs::write(&file, text).must("c2.json");
    t.raw = Some("{}".to_owned());
    t.flags(&["--config", file.to_str().must("a path")]);
}

#[test]
fn which_file() {
    check(&[
        case(
            "a refusal of another file",
            &["create failed: /", "/c2.json: process.cwd: "],
            |t| {
                t.set("/process/cwd", json!("relative"));
                elsewhere(t);
            },
        ),
        case(
            "a refusal of another file by its source",
            &["run failed: /", "/c2.json: mounts[7]"],
            |t| {
                t.verb = "run";
                t.bundle.mount("/x", "bind", "/nosuch", &["bind"]);
                elsewhere(t);
            },
        ),
        case(
            "a refusal of the bundle's own",
            &["create failed: config.json: process.cwd: "],
            |t| t.set("/process/cwd", json!("relative")),
        ),
    ]);
}

#[test]
fn options() {
    check(&[
        case(
            "an unknown one before the command",
            &["--rot", "see orlop --help"],
            |t| {
                t.globals = vec!["--rot".to_owned(), "x".to_owned()];
            },
        ),
        case(
            "a log that is no file",
            &["--log: journald:x", "name a file"],
            |t| {
                t.globals = vec!["--log".to_owned(), "journald:x".to_owned()];
            },
        ),
        case(
            "a count in words",
            &["--preserve-fds", "not a whole number from 0 to 4294967295"],
            |t| t.flags(&["--preserve-fds", "many"]),
        ),
        case(
            "a count beyond all",
            &["--preserve-fds", "not a whole number from 0 to 4294967295"],
            |t| t.flags(&["--preserve-fds", "99999999999"]),
        ),
    ]);
}
