//! Devices, masked and read-only paths.

use crate::check;
use orlop_tests::{Bundle, Env, Must};
use serde_json::json;
use std::fs;

#[test]
fn default_devices() {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T %a %u %F' /dev/$d; done; echo x > /dev/null; head -c 2 /dev/zero | wc -c";
    let rows = [
        ("null", 3),
        ("zero", 5),
        ("full", 7),
        ("random", 8),
        ("urandom", 9),
    ];
    let mut wanted: String = rows
        .iter()
        .map(|(name, minor)| format!("/dev/{name} 1:{minor} 666 0 character special file\n"))
        .collect();
    wanted += "/dev/tty 5:0 666 0 character special file\n2";
    check(|_| (), script, &wanted);
    let links = "for l in fd stdin stdout stderr ptmx; do echo $l $(readlink /dev/$l); done; ls -d /dev/core";
    check(
        |b| {
            b.sh(&links.replace("; ls -d /dev/core", ""));
        },
        "",
        "fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\nptmx pts/ptmx",
    );
}

#[test]
fn devices_of_every_type() {
    let devices = json!([
        {"path": "/dev/mychar", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/sub/myunbuffered", "type": "u", "major": 1, "minor": 7, "fileMode": 0o600},
        {"path": "/dev/myblock", "type": "b", "major": 7, "minor": 0, "fileMode": 0o660},
        {"path": "/dev/myfifo", "type": "p", "major": 8, "minor": 666, "fileMode": 0o622, "uid": 9},
        {"path": "/elsewhere/null", "type": "c", "major": 1, "minor": 3},
    ]);
    let script = "stat -c '%n %F %t:%T %a %u:%g' /dev/mychar /dev/sub/myunbuffered /dev/myblock; stat -c '%n %F %a %u' /dev/myfifo; stat -c '%n %t:%T' /elsewhere/null";
    check(
        |b| {
            b.set("/linux/devices", devices);
        },
        script,
        "/dev/mychar character special file 1:5 640 3:4\n/dev/sub/myunbuffered character special file 1:7 600 0:0\n/dev/myblock block special file 7:0 660 0:0\n/dev/myfifo fifo 622 9\n/elsewhere/null 1:3",
    );
}

#[test]
fn the_mode_of_a_device_is_not_cut_by_the_umask() {
    let device =
        json!([{"path": "/dev/open", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/linux/devices", device)
        .args(&["stat", "-c", "%a", "/dev/open"])
        .write();
    let line = format!(
        "umask 077; exec {} --root {} run -b {} {}",
        orlop_tests::orlop().display(),
        env.root.display(),
        bundle.dir.display(),
        env.id()
    );
    env.cmd("/bin/sh")
        .args(["-c", &line])
        .run()
        .ok()
        .prints("666");
}

#[test]
fn a_device_that_the_image_has_is_replaced_or_kept_only_if_right() {
    let env = Env::new();
    let mut bundle = env.bundle();
    fs::create_dir_all(bundle.rootfs().join("opt")).must("/opt");
    fs::write(bundle.rootfs().join("opt/null"), "a plain file").must("a file");
    bundle
        .set(
            "/linux/devices",
            json!([{"path": "/opt/null", "type": "c", "major": 1, "minor": 3}]),
        )
        .args(&["stat", "-c", "%t:%T", "/opt/null"]);
    let done = env.run(&bundle);
    assert!(
        done.stdout().trim() == "1:3" || (done.rc == 1 && done.stderr().contains("/opt/null")),
        "{done}"
    );
}

#[test]
fn masked_paths() {
    let masked = |b: &mut Bundle| {
        fs::create_dir_all(b.rootfs().join("secret/dir")).must("a directory");
        fs::write(b.rootfs().join("secret/dir/file"), "secret").must("a file");
        fs::write(b.rootfs().join("secret/plain"), "secret").must("a file");
        b.config["root"]["readonly"] = json!(false);
        b.config["linux"]["maskedPaths"] = json!([
            "/secret/dir",
            "/secret/plain",
            "/proc/version",
            "/sys/firmware",
            "/nosuch/path"
        ]);
    };
    check(
        masked,
        "ls /secret/dir; cat /secret/plain; ls /sys/firmware; wc -c < /proc/version",
        "0",
    );
    check(
        masked,
        "touch /secret/dir/x 2>&1; true",
        "touch: /secret/dir/x: Read-only file system",
    );
    // Nothing can be stored in a masked file, and nothing read back from another container's mask.
    check(masked, "echo text > /secret/plain; cat /secret/plain", "");
    let bare = |b: &mut Bundle| b.config["linux"]["maskedPaths"] = json!([]);
    check(
        bare,
        "test -n \"$(cat /proc/version)\" && echo bare",
        "bare",
    );
}

#[test]
fn read_only_paths() {
    let edit = |b: &mut Bundle| {
        fs::create_dir_all(b.rootfs().join("data")).must("a directory");
        b.config["root"]["readonly"] = json!(false);
        b.config["linux"]["readonlyPaths"] =
            json!(["/data", "/etc/passwd", "/proc/sys", "/nosuch/path"]);
    };
    let script = "touch /data/x 2>&1; touch /free && echo free; (echo x >> /etc/passwd) 2>&1; (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&1; cat /etc/passwd | wc -l";
    let wanted = "touch: /data/x: Read-only file system\nfree\nsh: can't create /etc/passwd: Read-only file system\nsh: can't create /proc/sys/net/ipv4/ip_forward: Read-only file system\n2";
    check(edit, script, wanted);
}

#[test]
fn the_flags_below_a_read_only_path_stay() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .mount("/data", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec"])
        .set("/linux/readonlyPaths", json!(["/data"]));
    bundle.sh("grep ' /data ' /proc/self/mountinfo | tail -n 1 | cut -d' ' -f6");
    env.run(&bundle)
        .ok()
        .prints("ro,nosuid,nodev,noexec,relatime");
}

#[test]
fn annotations_of_other_platforms_are_ignored() {
    check(
        |b| {
            b.set("/windows", json!({"layerFolders": ["x"]}))
                .set("/vm", json!({"kernel": {"path": "/x"}}))
                .set("/solaris", json!({}))
                .set("/zos", json!({"namespaces": [{"type": "pid"}]}))
                .set("/freebsd", json!({"jail": {"parent": "x"}}));
            b.set("/unknownField", json!({"a": [1, 2]}))
                .set("/process/unknownField", json!(true))
                .set("/linux/unknownField", json!(null));
        },
        "echo ran",
        "ran",
    );
}

#[test]
fn a_path_that_cannot_be_covered_is_named_by_its_field() {
    let env = Env::new();
    for field in ["maskedPaths", "readonlyPaths"] {
        let mut bundle = env.bundle();
        bundle.config["linux"][field] = json!(["/etc", "/proc/self/exe"]);
        bundle.args(&["true"]);
        let wants = ["/proc/self/exe", &format!("linux.{field}[1]"), "symlinks"];
        env.run(&bundle).refused(1, &wants);
    }
}
