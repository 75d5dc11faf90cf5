//! What is wrong around the config: ids, directories, files of the caller, permissions.

use crate::{Try, case, check};
use orlop_tests::{Must, sys};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

#[test]
fn ids() {
    check(&[
        case("empty id", &["invalid container ID format"], |t| {
            t.id = String::new()
        }),
        case("one dot", &["invalid container ID format"], |t| {
            t.id = ".".to_owned()
        }),
        case("two dots", &["invalid container ID format"], |t| {
            t.id = "..".to_owned()
        }),
        case("a slash", &["invalid container ID format"], |t| {
            t.id = "a/b".to_owned()
        }),
        case("out of the root", &["invalid container ID format"], |t| {
            t.id = "../escape".to_owned()
        }),
        case("a blank", &["invalid container ID format"], |t| {
            t.id = "a b".to_owned()
        }),
        case(
            "a letter beyond ASCII",
            &["invalid container ID format"],
            |t| t.id = "\u{e4}".to_owned(),
        ),
        case("a new line", &["invalid container ID format"], |t| {
            t.id = "a\nb".to_owned()
        }),
        case(
            "longer than a file name",
            &["invalid container ID|name too long"],
            |t| t.id = "x".repeat(300),
        ),
    ]);
}

#[test]
fn bundles_and_files() {
    check(&[
        case("bundle missing", &["/nosuch/bundle"], |t| {
            t.flags(&["--bundle", "/nosuch/bundle"])
        }),
        case("bundle is a file", &["/etc/passwd"], |t| {
            t.flags(&["--bundle", "/etc/passwd"])
        }),
        case("config.json missing", &["config.json"], |t| {
            let dir = t.env.dir.join("empty");
            fs::create_dir_all(&dir).must("an empty bundle");
            t.flags(&["--bundle", dir.to_str().must("a path")]);
        }),
        case("config.json is a directory", &["config.json"], |t| {
            let dir = t.env.dir.join("strange");
            fs::create_dir_all(dir.join("config.json")).must("a strange bundle");
            t.flags(&["--bundle", dir.to_str().must("a path")]);
        }),
        case("pid file in a missing directory", &["/nosuch/pid"], |t| {
            t.flags(&["--pid-file", "/nosuch/pid"])
        }),
        case("pid file is a directory", &["/etc"], |t| {
            t.flags(&["--pid-file", "/etc"])
        }),
        case("log in a missing directory", &["/nosuch/log"], |t| {
            t.globals = vec!["--log".to_owned(), "/nosuch/log".to_owned()]
        }),
        case("console socket missing", &["/nosuch/socket"], |t| {
            t.set("/process/terminal", json!(true));
            t.flags(&["--console-socket", "/nosuch/socket"]);
        }),
        case("console socket is a file", &["/etc/passwd"], |t| {
            t.set("/process/terminal", json!(true));
            t.flags(&["--console-socket", "/etc/passwd"]);
        }),
        case("pidfd socket missing", &["/nosuch/socket"], |t| {
            t.flags(&["--pidfd-socket", "/nosuch/socket"])
        }),
        case("negative preserve-fds", &["preserve-fds"], |t| {
            t.flags(&["--preserve-fds=-1"])
        }),
        case("config file missing", &["/nosuch/config"], |t| {
            t.flags(&["--config", "/nosuch/config"])
        }),
    ]);
}

fn root_at(t: &mut Try<'_>, path: &str) {
    t.globals = vec!["--root".to_owned(), path.to_owned()];
}

/// A state root on a file system of its own with these options, which is gone after the case.
fn root_on_tmpfs(t: &mut Try<'_>, data: &str, flags: u64) -> String {
    let dir = t.env.dir.join("special-root");
    fs::create_dir_all(&dir).must("a directory");
    let data = format!("mode=0700,{data}");
    let data = data.trim_end_matches(',');
    sys::mount("tmpfs", &dir, "tmpfs", flags, data).must("mount tmpfs");
    let path = dir.to_str().must("a path").to_owned();
    root_at(t, &path);
    t.undo.push(Box::new(move || {
        let left: Vec<_> = fs::read_dir(&dir)
            .must("the root")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert!(
            left.iter().all(|name| name == "filler"),
            "left in the state root: {left:?}"
        );
        sys::umount(&dir).must("unmount tmpfs");
    }));
    path
}

#[test]
fn state_roots() {
    check(&[
        case("state root is a file", &["/etc/passwd"], |t| {
            root_at(t, "/etc/passwd")
        }),
        case("state root below a file", &["/etc/passwd/x"], |t| {
            root_at(t, "/etc/passwd/x")
        }),
        case("state root in /proc", &["/proc/nosuch"], |t| {
            root_at(t, "/proc/nosuch")
        }),
        case("state root is the root directory", &["root"], |t| {
            root_at(t, "/")
        }),
        case(
            "read-only state root",
            &["special-root", "read-only file system"],
            |t| {
                root_on_tmpfs(t, "", libc::MS_RDONLY);
            },
        ),
        case(
            "no inode left in the state root",
            &["special-root", "no space left on device"],
            |t| {
                root_on_tmpfs(t, "nr_inodes=1", 0);
            },
        ),
        case(
            "full state root",
            &["special-root", "no space left on device"],
            |t| {
                let path = root_on_tmpfs(t, "size=4096", 0);
                fs::write(format!("{path}/filler"), [0u8; 4096]).must("fill it");
            },
        ),
    ]);
}

#[test]
fn permissions() {
    check(&[
        case(
            "the host's mounts for an ordinary user",
            &["linux.namespaces", "ordinary user"],
            |t| {
                for dir in [&t.env.dir, &t.bundle.dir] {
                    fs::set_permissions(dir, Permissions::from_mode(0o777))
                        .must("open to everybody");
                }
                t.user = Some(65534);
                t.bundle.without_namespace("mount");
            },
        ),
        case(
            "--systemd-cgroup with a path",
            &["linux.cgroupsPath", "slice:prefix:name"],
            |t| {
                t.globals = vec!["--systemd-cgroup".to_owned()];
                t.set("/linux/cgroupsPath", json!("/orlop/x"));
            },
        ),
        case(
            "a terminal without a socket",
            &["cannot allocate tty", "without setting console socket"],
            |t| t.set("/process/terminal", json!(true)),
        ),
        case(
            "a program that the kernel cannot run",
            &["/bin/odd", "exec format error"],
            |t| {
                fs::write(t.bundle.rootfs().join("bin/odd"), "\0\u{1}\u{2}odd").must("a program");
                fs::set_permissions(
                    t.bundle.rootfs().join("bin/odd"),
                    Permissions::from_mode(0o755),
                )
                .must("a program");
                t.set("/process/args", json!(["/bin/odd"]));
                t.verb = "run";
            },
        ),
        case(
            "a program whose interpreter is missing",
            &["/bin/odd", "no such file or directory"],
            |t| {
                fs::write(t.bundle.rootfs().join("bin/odd"), "#!/nosuch/sh\n").must("a program");
                fs::set_permissions(
                    t.bundle.rootfs().join("bin/odd"),
                    Permissions::from_mode(0o755),
                )
                .must("a program");
                t.set("/process/args", json!(["/bin/odd"]));
                t.verb = "run";
            },
        ),
    ]);
}
