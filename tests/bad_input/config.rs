//! What is wrong in config.json itself.

use crate::{case, check};
use orlop_tests::Must;
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn json() {
    check(&[
        case("empty file", &["config.json"], |t| {
            t.raw = Some(String::new())
        }),
        case("cut off", &["config.json", "line 1|offset|column"], |t| {
            t.raw = Some("{\"ociVersion\": ".to_owned())
        }),
        case("an array", &["config.json"], |t| {
            t.raw = Some("[]".to_owned())
        }),
        case("not UTF-8 text", &["config.json"], |t| {
            t.raw = Some("\0\0\0".to_owned())
        }),
        case("trailing text", &["config.json"], |t| {
            t.raw = Some(format!("{} x", t.bundle.config))
        }),
        case("wrong type", &["process.args"], |t| {
            t.set("/process/args", json!("sh"))
        }),
        case("wrong type in an array", &["process.args[1]"], |t| {
            t.set("/process/args", json!(["sh", 5]))
        }),
        case(
            "wrong type in depth",
            &["linux.resources.memory.limit"],
            |t| t.set("/linux/resources/memory/limit", json!("1G")),
        ),
        case("annotation that is no string", &["annotations"], |t| {
            t.set("/annotations", json!({"a": 1}))
        }),
        case("no ociVersion", &["ociVersion"], |t| {
            t.bundle.remove("/ociVersion");
        }),
        case("ociVersion in words", &["ociVersion", "invalid"], |t| {
            t.set("/ociVersion", json!("invalid"))
        }),
        case("ociVersion of a later age", &["ociVersion", "2.0.0"], |t| {
            t.set("/ociVersion", json!("2.0.0"))
        }),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn process() {
    check(&[
        case("negative uid", &["process.user.uid"], |t| {
            t.set("/process/user/uid", json!(-1))
        }),
        case("uid beyond 32 bits", &["process.user.uid"], |t| {
            t.set("/process/user/uid", json!(4_294_967_296_u64))
        }),
        case("the uid that means none", &["process.user.uid"], |t| {
            t.set("/process/user/uid", json!(4_294_967_295_u64))
        }),
        case(
            "the group that means none",
            &["process.user.additionalGids[1]"],
            |t| {
                t.set(
                    "/process/user/additionalGids",
                    json!([5, 4_294_967_295_u64]),
                )
            },
        ),
        case("no cwd", &["process.cwd"], |t| {
            t.bundle.remove("/process/cwd");
        }),
        case("relative cwd", &["process.cwd"], |t| {
            t.set("/process/cwd", json!("tmp"))
        }),
        case("cwd is a file", &["process.cwd|/etc/passwd"], |t| {
            t.set("/process/cwd", json!("/etc/passwd"))
        }),
        case("no arguments", &["process.args"], |t| {
            t.set("/process/args", json!([]))
        }),
        case("NUL in an argument", &["process.args[1]"], |t| {
            t.set("/process/args", json!(["echo", "a\u{0}b"]))
        }),
        case("NUL in a variable", &["process.env["], |t| {
            t.set("/process/env/-", json!("A=a\u{0}b"))
        }),
        case(
            "unknown capability",
            &["process.capabilities.bounding", "CAP_TEST"],
            |t| {
                t.set("/process/capabilities/bounding/-", json!("CAP_TEST"));
            },
        ),
        case(
            "unknown rlimit",
            &["process.rlimits[1]", "RLIMIT_FOO"],
            |t| {
                t.set(
                    "/process/rlimits/-",
                    json!({"type": "RLIMIT_FOO", "soft": 1, "hard": 1}),
                );
            },
        ),
        case(
            "duplicate rlimit",
            &["process.rlimits[1]", "RLIMIT_NOFILE"],
            |t| {
                t.set(
                    "/process/rlimits/-",
                    json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}),
                );
            },
        ),
        case(
            "soft limit above the hard one",
            &["process.rlimits[0]"],
            |t| t.set("/process/rlimits/0/soft", json!(2048)),
        ),
        case("negative rlimit", &["process.rlimits[0].soft"], |t| {
            t.set("/process/rlimits/0/soft", json!(-1))
        }),
        case(
            "more files than the kernel allows",
            &["process.rlimits[0]|RLIMIT_NOFILE"],
            |t| {
                t.set(
                    "/process/rlimits/0",
                    json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1_u64 << 40}),
                );
            },
        ),
        case(
            "oomScoreAdj out of range",
            &["process.oomScoreAdj", "2000"],
            |t| t.set("/process/oomScoreAdj", json!(2000)),
        ),
        case("negative console size", &["process.consoleSize"], |t| {
            t.set("/process/consoleSize", json!({"height": -1, "width": 1}))
        }),
        case(
            "program not found",
            &["executable file not found in $PATH", "nosuch"],
            |t| t.set("/process/args", json!(["nosuch"])),
        ),
        case(
            "program not found by path",
            &["/nosuch", "no such file or directory"],
            |t| t.set("/process/args", json!(["/nosuch"])),
        ),
        case(
            "program not executable",
            &["/etc/passwd", "permission denied"],
            |t| t.set("/process/args", json!(["/etc/passwd"])),
        ),
        case(
            "program is a directory",
            &["/etc", "permission denied|is a directory"],
            |t| t.set("/process/args", json!(["/etc"])),
        ),
        case(
            "program below a file",
            &["/etc/passwd/x", "not a directory"],
            |t| t.set("/process/args", json!(["/etc/passwd/x"])),
        ),
        case("no PATH", &["executable file not found in $PATH"], |t| {
            t.set("/process/env", json!([]))
        }),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn root_and_mounts() {
    check(&[
        case("no root", &["root"], |t| {
            t.bundle.remove("/root");
        }),
        case("empty root.path", &["root.path"], |t| {
            t.set("/root/path", json!(""))
        }),
        case("missing root file system", &["root.path", "nosuch"], |t| {
            t.set("/root/path", json!("nosuch"))
        }),
        case("root file system is a file", &["root.path"], |t| {
            t.set("/root/path", json!("config.json"))
        }),
        case(
            "mount without destination",
            &["mounts[7].destination"],
            |t| {
                t.set("/mounts/-", json!({"type": "tmpfs", "source": "tmpfs"}));
            },
        ),
        case(
            "bind source missing",
            &["mounts[7].source", "/nosuch/source"],
            |t| {
                t.bundle.mount("/tmp", "bind", "/nosuch/source", &["rbind"]);
            },
        ),
        case("unknown file system", &["mounts[7]", "nosuchfs"], |t| {
            t.bundle.mount("/tmp", "nosuchfs", "x", &[]);
        }),
        case("bad option of a file system", &["mounts[7]", "size"], |t| {
            t.bundle.mount("/tmp", "tmpfs", "x", &["size=much"]);
        }),
        case(
            "a directory on a file",
            &["mounts[7]", "/etc/passwd"],
            |t| {
                t.bundle.mount("/etc/passwd", "bind", "/tmp", &["bind"]);
            },
        ),
        case("a file on a directory", &["mounts[7]", "/tmp"], |t| {
            t.bundle.mount("/tmp", "bind", "/etc/passwd", &["bind"]);
        }),
        case(
            "destination in a symlink loop",
            &["mounts[7].destination", "/loop"],
            |t| {
                symlink("loop", t.bundle.rootfs().join("loop")).must("a symlink loop");
                t.bundle.mount("/loop/x", "tmpfs", "tmpfs", &[]);
            },
        ),
        case(
            "destination below a file by `..`",
            &["mounts[7].destination"],
            |t| {
                t.bundle
                    .mount("/../../etc/../etc/passwd/x", "tmpfs", "tmpfs", &[]);
            },
        ),
        case(
            "destination below a symlink to a file",
            &["mounts[7].destination", "/link/x"],
            |t| {
                symlink("/etc/passwd", t.bundle.rootfs().join("link")).must("a symlink");
                t.bundle.mount("/link/x", "tmpfs", "tmpfs", &[]);
            },
        ),
        case(
            "a mount inside /proc",
            &["mounts[7].destination", "/proc/sys"],
            |t| {
                t.bundle.mount("/proc/sys", "tmpfs", "x", &[]);
            },
        ),
        case(
            "a mount inside /proc by `..`",
            &["mounts[7].destination"],
            |t| {
                t.bundle
                    .mount("/tmp/../proc/./sys/kernel", "tmpfs", "x", &[]);
            },
        ),
        case(
            "unknown rootfsPropagation",
            &["linux.rootfsPropagation", "sideways"],
            |t| t.set("/linux/rootfsPropagation", json!("sideways")),
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn namespaces() {
    check(&[
        case("hostname without a namespace", &["hostname"], |t| {
            t.bundle.without_namespace("uts");
        }),
        case("domainname without a namespace", &["domainname"], |t| {
            t.bundle
                .without_namespace("uts")
                .remove("/hostname")
                .set("/domainname", json!("d"));
        }),
        case("hostname too long", &["hostname"], |t| {
            t.set("/hostname", json!("x".repeat(65)))
        }),
        case(
            "unknown namespace",
            &["linux.namespaces[5].type", "moon"],
            |t| {
                t.bundle.set("/linux/namespaces/-", json!({"type": "moon"}));
            },
        ),
        case(
            "namespace named twice",
            &["linux.namespaces[5]", "pid"],
            |t| {
                t.bundle.set("/linux/namespaces/-", json!({"type": "pid"}));
            },
        ),
        case(
            "namespace path missing",
            &["linux.namespaces[1].path", "/nosuch"],
            |t| t.set("/linux/namespaces/1/path", json!("/nosuch")),
        ),
        case(
            "namespace path of a plain file",
            &["linux.namespaces[1].path", "/etc/passwd"],
            |t| {
                t.set("/linux/namespaces/1/path", json!("/etc/passwd"));
            },
        ),
        case(
            "namespace path of another type",
            &["linux.namespaces[1].path"],
            |t| t.set("/linux/namespaces/1/path", json!("/proc/self/ns/ipc")),
        ),
        case(
            "user namespace without mappings",
            &["linux.uidMappings"],
            |t| {
                t.bundle.namespace("user", None);
            },
        ),
        case(
            "mappings without a user namespace",
            &["linux.uidMappings"],
            |t| {
                let map = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
                t.bundle
                    .set("/linux/uidMappings", map.clone())
                    .set("/linux/gidMappings", map);
            },
        ),
        case("overlapping mappings", &["linux.uidMappings"], |t| {
            let map = json!([{"containerID": 0, "hostID": 0, "size": 10}, {"containerID": 5, "hostID": 100, "size": 10}]);
            t.bundle
                .namespace("user", None)
                .set("/linux/gidMappings", json!([map[0]]))
                .set("/linux/uidMappings", map);
        }),
        case("empty mapping", &["linux.gidMappings[0]"], |t| {
            let map = |size| json!([{"containerID": 0, "hostID": 0, "size": size}]);
            t.bundle
                .namespace("user", None)
                .set("/linux/uidMappings", map(1))
                .set("/linux/gidMappings", map(0));
        }),
        case(
            "one sysctl in both spellings",
            &["linux.sysctl", "kernel/shmmax", "kernel.shmmax"],
            |t| {
                t.set(
                    "/linux/sysctl",
                    json!({"kernel.shmmax": "4096", "kernel/shmmax": "8192"}),
                )
            },
        ),
        case(
            "NUL in a masked path",
            &["linux.maskedPaths[0]", "NUL"],
            |t| t.set("/linux/maskedPaths", json!(["/proc/a\u{0}b"])),
        ),
        case(
            "sysctl of the host",
            &["linux.sysctl", "vm.swappiness"],
            |t| t.set("/linux/sysctl", json!({"vm.swappiness": "1"})),
        ),
        case(
            "sysctl of a namespace that is the host's",
            &["linux.sysctl", "net.ipv4.ip_forward"],
            |t| {
                t.bundle
                    .without_namespace("network")
                    .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "0"}));
            },
        ),
        case(
            "unknown sysctl",
            &["linux.sysctl", "net.ipv4.nosuch"],
            |t| t.set("/linux/sysctl", json!({"net.ipv4.nosuch": "0"})),
        ),
        case("sysctl out of its directory", &["linux.sysctl"], |t| {
            t.set("/linux/sysctl", json!({"net/../../kernel/panic": "0"}))
        }),
        case(
            "bad value of a sysctl",
            &["linux.sysctl", "kernel.shmmax"],
            |t| t.set("/linux/sysctl", json!({"kernel.shmmax": "much"})),
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn devices_and_seccomp() {
    fn seccomp(t: &mut crate::Try<'_>, pointer: &str, value: serde_json::Value) {
        let rule = json!({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"});
        t.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}),
        );
        t.set(&format!("/linux/seccomp{pointer}"), value);
    }
    check(&[
        case("unknown device type", &["linux.devices[0].type"], |t| {
            t.set(
                "/linux/devices",
                json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]),
            );
        }),
        case(
            "device of a number that the kernel would cut to that of /dev/mem",
            &["linux.devices[0].major", "4294967297", "4095"],
            |t| {
                t.set(
                    "/linux/devices",
                    json!([{"path": "/dev/x", "type": "c", "major": 4_294_967_297_u64, "minor": 1}]),
                );
            },
        ),
        case(
            "the same by its minor number",
            &["linux.devices[0].minor", "1048577", "1048575"],
            |t| {
                t.set(
                    "/linux/devices",
                    json!([{"path": "/dev/x", "type": "b", "major": 1, "minor": 1_048_577}]),
                );
            },
        ),
        case("device without path", &["linux.devices[0].path"], |t| {
            t.set(
                "/linux/devices",
                json!([{"type": "c", "major": 1, "minor": 3}]),
            )
        }),
        case(
            "device below a file",
            &["linux.devices[0].path", "/etc/passwd/x"],
            |t| {
                t.set(
                    "/linux/devices",
                    json!([{"path": "/etc/passwd/x", "type": "c", "major": 1, "minor": 3}]),
                );
            },
        ),
        case(
            "unknown seccomp action",
            &["linux.seccomp.syscalls[0].action", "SCMP_ACT_SING"],
            |t| {
                seccomp(t, "/syscalls/0/action", json!("SCMP_ACT_SING"));
            },
        ),
        case(
            "unknown seccomp architecture",
            &["linux.seccomp.architectures[0]", "SCMP_ARCH_Z80"],
            |t| {
                seccomp(t, "/architectures", json!(["SCMP_ARCH_Z80"]));
            },
        ),
        case(
            "seventh argument of a system call",
            &["linux.seccomp.syscalls[0].args[0].index"],
            |t| {
                seccomp(
                    t,
                    "/syscalls/0/args",
                    json!([{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]),
                );
            },
        ),
        case(
            "unknown seccomp operator",
            &["linux.seccomp.syscalls[0].args[0].op"],
            |t| {
                seccomp(
                    t,
                    "/syscalls/0/args",
                    json!([{"index": 0, "value": 0, "op": "SCMP_CMP_ISH"}]),
                );
            },
        ),
        case(
            "rule without names",
            &["linux.seccomp.syscalls[0].names"],
            |t| seccomp(t, "/syscalls/0/names", json!([])),
        ),
        case("unknown seccomp flag", &["linux.seccomp.flags[0]"], |t| {
            seccomp(t, "/flags", json!(["SECCOMP_FILTER_FLAG_X"]))
        }),
    ]);
}

#[test]
fn hooks() {
    check(&[
        case("relative hook", &["hooks.prestart[0].path"], |t| {
            t.set("/hooks/prestart", json!([{"path": "bin/true"}]))
        }),
        case(
            "hook missing",
            &["hooks.createRuntime[0]", "/nosuch/hook"],
            |t| t.set("/hooks/createRuntime", json!([{"path": "/nosuch/hook"}])),
        ),
        case(
            "poststop hook missing",
            &["hooks.poststop[0]", "/nosuch/hook"],
            |t| t.set("/hooks/poststop", json!([{"path": "/nosuch/hook"}])),
        ),
        case(
            "hook not executable",
            &["hooks.createContainer[1]", "permission denied"],
            |t| {
                let path = t.bundle.dir.join("hook");
                fs::write(&path, "#!/bin/sh\n").must("a hook");
                fs::set_permissions(&path, Permissions::from_mode(0o644)).must("a hook");
                t.set(
                    "/hooks/createContainer",
                    json!([{"path": "/bin/true"}, {"path": path}]),
                );
            },
        ),
        case("hook is a directory", &["hooks.prestart[0]", "/etc"], |t| {
            t.set("/hooks/prestart", json!([{"path": "/etc"}]))
        }),
        case("no time for a hook", &["hooks.prestart[0].timeout"], |t| {
            t.set(
                "/hooks/prestart",
                json!([{"path": "/bin/true", "timeout": 0}]),
            )
        }),
        case(
            "negative time for a hook",
            &["hooks.prestart[0].timeout"],
            |t| {
                t.set(
                    "/hooks/prestart",
                    json!([{"path": "/bin/true", "timeout": -5}]),
                );
            },
        ),
        case("hook without path", &["hooks.poststart[0].path"], |t| {
            t.set("/hooks/poststart", json!([{"args": ["x"]}]))
        }),
        case("failing hook", &["hooks.createRuntime[0]"], |t| {
            t.set("/hooks/createRuntime", json!([{"path": "/bin/false"}]))
        }),
    ]);
}
