//! Console and terminal paths that an image has prepared (CVE-2025-52565), and devices.

use orlop_tests::{Bundle, ConsoleSocket, Env, Must, Pty, sys};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

/// A bundle with the image's own `/dev`, and in it the mounts that `keep` names.
fn own_dev(env: &Env, keep: &str) -> Bundle {
    let mut bundle = env.bundle();
    let mounts = bundle.config["mounts"].as_array_mut().must("mounts");
    mounts.retain(|mount| {
        !mount["destination"]
            .as_str()
            .is_some_and(|to| to.starts_with("/dev") && to != keep)
    });
    bundle
        .set("/process/terminal", json!(true))
        .set("/root/readonly", json!(false));
    bundle
}

/// Creates with a terminal; either a refusal that names `object`, or what the script prints on it.
fn with_terminal(env: &Env, bundle: &Bundle, object: &str) -> Option<String> {
    bundle.write();
    let id = env.id();
    let socket = ConsoleSocket::listen(env.dir.join(&id));
    let create = env
        .orlop(&["create", "--console-socket"])
        .arg(&socket.path)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&id);
    let done = create.run();
    if done.rc != 0 {
        done.refused(1, &[object]);
        return None;
    }
    let (_, master) = socket.receive();
    env.orlop(&["start", &id]).run().ok();
    let mut pty = Pty::of_master(File::from(master));
    let text = pty.expect("the end");
    env.orlop(&["delete", "--force", &id]).run().ok();
    Some(text)
}

#[test]
fn cve_2025_52565_console_symlinks() {
    let env = Env::new();
    let victim = crate::Victim::new(&env);
    for target in [
        victim.dir.join("file").display().to_string(),
        format!("../../../../../../..{}/file", victim.dir.display()),
        "/etc/passwd".to_owned(),
    ] {
        let mut bundle = own_dev(&env, "/dev/pts");
        fs::create_dir(bundle.rootfs().join("dev/pts")).must("a place for devpts");
        symlink(&target, bundle.rootfs().join("dev/console")).must("a false console");
        bundle.sh("stat -L -c 'console %t' /dev/console; cut -d' ' -f5 /proc/self/mountinfo | grep -v -e '^/proc' -e '^/sys'; echo the end");
        if let Some(text) = with_terminal(&env, &bundle, "/dev/console") {
            assert!(
                !text.contains("/etc/passwd"),
                "the terminal is bound over a file of the image's choice: {text}"
            );
            assert!(
                text.contains("console 88"),
                "/dev/console is not the terminal: {text}"
            );
        }
        victim.untouched(&target);
    }
}

#[test]
fn cve_2025_52565_a_false_multiplexer_is_refused() {
    let env = Env::new();
    type Attack = fn(&Path);
    let attacks: [(&str, Attack); 5] = [
        ("nothing", |_| ()),
        ("file", |ptmx| fs::write(ptmx, "").must("a file")),
        ("link", |ptmx| symlink("../null", ptmx).must("a link")),
        ("null", |ptmx| {
            sys::mknod(ptmx, libc::S_IFCHR | 0o666, (1, 3)).must("a device")
        }),
        // With a devpts beside it, the kernel takes it for the multiplexer of that one.
        ("true device elsewhere", |ptmx| {
            sys::mknod(ptmx, libc::S_IFCHR | 0o666, (5, 2)).must("a device")
        }),
    ];
    for (name, attack) in attacks {
        let mut bundle = own_dev(&env, "");
        let pts = bundle.rootfs().join("dev/pts");
        fs::create_dir_all(pts.join("pts")).must("a false /dev/pts");
        attack(&pts.join("ptmx"));
        bundle
            .mount("/dev/pts/pts", "devpts", "devpts", &["newinstance"])
            .sh("echo the end");
        let text = with_terminal(&env, &bundle, "/dev/pts/ptmx");
        assert!(text.is_none(), "{name}: a terminal by the image's device");
    }
}

/// With a true multiplexer among false terminals: the one that is made must not be opened by the name that it would have there.
#[test]
fn cve_2025_52565_what_stands_at_the_terminals_name() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/root/readonly", json!(false))
        .capabilities(&["CAP_SYS_ADMIN"]);
    bundle.sh(
        "mkdir /true && mount --bind /dev/pts /true && mount -t tmpfs false /dev/pts && touch /dev/pts/ptmx && \
         mount --bind /true/ptmx /dev/pts/ptmx && \
         mkdir /dev/pts/pts && mount --bind /true /dev/pts/pts && for n in 0 1 2 3 4 5 6 7; do echo false > /dev/pts/$n; done && \
         touch /ready; exec sleep 1000",
    );
    let id = env.start(&bundle);
    orlop_tests::until("the false terminals", || {
        bundle.rootfs().join("ready").exists().then_some(())
    });
    let socket = ConsoleSocket::listen(env.dir.join("console"));
    let exec = env
        .orlop(&["exec", "--tty", "--detach", "--console-socket"])
        .arg(&socket.path)
        .args([&id, "sh", "-c", "echo secret; sleep 1; echo the end"]);
    exec.run().ok();
    let (_, master) = socket.receive();
    let text = Pty::of_master(File::from(master)).expect("the end");
    assert!(text.contains("secret"), "{text}");
    env.exec(&id, &["sh", "-c", "cat /dev/pts/[0-7] | sort -u"])
        .ok()
        .prints("false");
}

#[test]
fn cve_2026_41579_what_stands_in_place_of_a_device() {
    let env = Env::new();
    let victim = crate::Victim::new(&env);
    type Attack = fn(&Path, &Path);
    let attacks: [(&str, Attack); 4] = [
        ("link to a new file", |node, victim| {
            symlink(victim.join("new"), node).must("a link")
        }),
        ("link to a file", |node, victim| {
            symlink(victim.join("file"), node).must("a link")
        }),
        ("file", |node, _| fs::write(node, "false").must("a file")),
        ("another device", |node, _| {
            sys::mknod(node, libc::S_IFCHR | 0o666, (1, 3)).must("a device")
        }),
    ];
    for (name, attack) in attacks {
        for (device, numbers) in [("zero", "1:5"), ("full", "1:7"), ("tty", "5:0")] {
            let mut bundle = own_dev(&env, "");
            attack(&bundle.rootfs().join("dev").join(device), &victim.dir);
            bundle
                .set("/process/terminal", json!(false))
                .sh(&format!("stat -c %t:%T /dev/{device}"));
            let done = crate::safe_or_refused(&env, &bundle, &format!("/dev/{device}"));
            if done.rc == 0 {
                assert_eq!(done.stdout().trim(), numbers, "{name} for {device}\n{done}");
            }
            victim.untouched(name);
        }
    }
}

#[test]
fn links_below_dev_stay_inside() {
    let env = Env::new();
    let victim = crate::Victim::new(&env);
    let mut bundle = env.bundle();
    symlink(&victim.dir, bundle.rootfs().join("out")).must("a link");
    bundle.set("/linux/devices", json!([{"path": "/out/device", "type": "c", "major": 1, "minor": 3}, {"path": "/../../out/other", "type": "c", "major": 1, "minor": 3}]));
    bundle.args(&["true"]);
    crate::safe_or_refused(&env, &bundle, "linux.devices");
    victim.untouched("devices through a link");
}
