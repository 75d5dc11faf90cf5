//! Writes to /proc that an attacker redirects, and masks made from a false /dev/null.

use crate::safe_or_refused;
use orlop_tests::{Bundle, Env, Must, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Removes the mounts whose destination starts with `prefix`.
fn without_mounts(bundle: &mut Bundle, prefix: &str) {
    let mounts = bundle.config["mounts"].as_array_mut().must("mounts");
    mounts.retain(|mount| {
        !mount["destination"]
            .as_str()
            .is_some_and(|to| to.starts_with(prefix))
    });
}

#[test]
fn cve_2019_19921_a_volume_over_proc_gets_no_write_of_the_runtime() {
    let env = Env::new();
    let volume = env.dir.join("proc");
    let files = [
        "self/oom_score_adj",
        "self/attr/exec",
        "self/attr/apparmor/exec",
        "sys/net/ipv4/ip_forward",
        "thread-self/attr/exec",
    ];
    for file in files {
        let path = volume.join(file);
        fs::create_dir_all(path.parent().must("a parent")).must("a directory");
        fs::write(path, "fake").must("a false file");
    }
    let mut bundle = env.bundle();
    bundle
        .mount("/proc", "bind", &volume, &["rbind"])
        .set("/process/oomScoreAdj", json!(500))
        .args(&["true"]);
    bundle
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let before = env.world();
    let done = env.run(&bundle).refused(1, &["mounts[7]"]);
    env.as_before(&before, &done.to_string());
    for file in files {
        assert_eq!(
            fs::read_to_string(volume.join(file)).must(file),
            "fake",
            "{file} was written"
        );
    }
}

/// Where the runtime would write if it went through the container's `/proc`.
const FAKES: [&str; 2] = ["self/oom_score_adj", "sys/net/ipv4/ip_forward"];

#[test]
fn cve_2025_52881_settings_reach_the_kernel_whatever_stands_at_proc() {
    type Attack = fn(&mut Bundle);
    let attacks: [(&str, Attack); 3] = [
        ("files of the image", |_| ()),
        ("an empty tmpfs", |b| {
            b.mount("/proc", "tmpfs", "tmpfs", &[]);
        }),
        ("a tmpfs with files of the image", |b| {
            b.mount("/proc", "tmpfs", "tmpfs", &["tmpcopyup"]);
        }),
    ];
    for (name, attack) in attacks {
        let env = Env::new();
        let mut bundle = env.bundle();
        let fakes = FAKES.map(|file| bundle.rootfs().join("proc").join(file));
        for fake in &fakes {
            fs::create_dir_all(fake.parent().must("a parent")).must("a directory");
            fs::write(fake, "fake").must("a false file");
        }
        without_mounts(&mut bundle, "/proc");
        attack(&mut bundle);
        bundle
            .args(&["sleep", "1000"])
            .set("/root/readonly", json!(false))
            .set("/process/oomScoreAdj", json!(432))
            .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}))
            .set("/linux/maskedPaths", json!([]))
            .set("/linux/readonlyPaths", json!([]));
        let id = env.start(&bundle);
        let pid = env.pid(&id);
        assert_eq!(
            fs::read_to_string(format!("/proc/{pid}/oom_score_adj"))
                .must("oom_score_adj")
                .trim(),
            "432",
            "{name}"
        );
        let mut reader = env.bundle();
        reader
            .namespace("network", Some(&format!("/proc/{pid}/ns/net")))
            .args(&["cat", "/proc/sys/net/ipv4/ip_forward"]);
        env.run(&reader).ok().prints("1");
        for fake in fakes {
            let text = fs::read_to_string(&fake).must(fake.display());
            assert_eq!(text, "fake", "{name}: {} was written", fake.display());
        }
    }
}

/// A kernel that says that it has AppArmor, whether it does or not: what it has not got it refuses to be told, and nobody else hears of it.
#[test]
fn cve_2019_16884_labels_are_not_written_to_files_of_the_image() {
    let env = Env::new();
    let on = "/sys/module/apparmor/parameters/enabled";
    let pretended = !fs::read_to_string(on).is_ok_and(|text| text.starts_with('Y'));
    if pretended {
        sys::mount("none", "/sys/module", "tmpfs", 0, "").must("a tmpfs");
        let dir = Path::new(on).parent().must("a directory");
        fs::create_dir_all(dir).must(dir.display());
        fs::write(on, "Y\n").must(on);
    }
    let mut bundle = env.bundle();
    let files = ["self", "thread-self", "1"].map(|process| {
        ["attr/exec", "attr/apparmor/exec"].map(|file| {
            let fake = bundle.rootfs().join("proc").join(process).join(file);
            fs::create_dir_all(fake.parent().must("a parent")).must("a directory");
            fs::write(&fake, "fake").must("a false file");
            fake
        })
    });
    without_mounts(&mut bundle, "/proc");
    bundle
        .args(&["sleep", "1000"])
        .set("/root/readonly", json!(false))
        .set("/linux/maskedPaths", json!([]))
        .set("/linux/readonlyPaths", json!([]));
    let id = env.start(&bundle);
    let exec = env.orlop(&["exec", "--apparmor", "no-such-profile", &id, "true"]);
    exec.run()
        .refused(255, &["no-such-profile", "`/proc/self/attr/"]);
    bundle.set("/process/apparmorProfile", json!("no-such-profile"));
    env.run(&bundle)
        .refused(1, &["no-such-profile", "`/proc/self/attr/"]);
    for fake in files.iter().flatten() {
        let text = fs::read_to_string(fake).must(fake.display());
        assert_eq!(text, "fake", "{} was written", fake.display());
    }
    if pretended {
        sys::umount("/sys/module").must("the true /sys/module");
    }
}

/// A mount over a file that the runtime writes to, by name and through a link of the image.
#[test]
fn cve_2019_16884_nothing_is_mounted_inside_proc() {
    let env = Env::new();
    fs::write(env.dir.join("fake"), "fake").must("a false file");
    for target in [
        "/proc/self/attr/exec",
        "/proc/sys/net/ipv4/ip_forward",
        "/tmp/../proc/sys/kernel/hostname",
        "/to-proc/sys/kernel/hostname",
        "/to-file",
        "/to-sys/kernel/hostname",
    ] {
        let mut bundle = env.bundle();
        let links = [
            ("to-proc", "/proc"),
            ("to-file", "proc/sys/net/ipv4/ip_forward"),
            ("to-sys", "/../proc/sys"),
        ];
        for (link, to) in links {
            symlink(to, bundle.rootfs().join(link)).must("a link");
        }
        bundle.mount(target, "bind", env.dir.join("fake"), &["bind"]);
        let before = env.world();
        let done = env.run(&bundle).refused(1, &["mounts[7]"]);
        env.as_before(&before, &done.to_string());
    }
}

/// What an attacker would like to write to, in a namespace of the container's own, so that a success hurts nobody.
const PRIZE: &str = "/proc/sys/net/ipv4/ip_forward";

#[test]
fn cve_2025_31133_a_false_dev_null_masks_nothing_else() {
    let env = Env::new();
    for target in [PRIZE, "../proc/sys/net/ipv4/ip_forward", "/etc/passwd"] {
        let mut bundle = env.bundle();
        without_mounts(&mut bundle, "/dev");
        symlink(target, bundle.rootfs().join("dev/null")).must("a false /dev/null");
        bundle
            .set("/root/readonly", json!(false))
            .set("/linux/maskedPaths", json!(["/proc/version", "/proc/keys"]));
        bundle
            .set("/linux/readonlyPaths", json!([]))
            .capabilities(&["CAP_NET_ADMIN"]);
        bundle.sh(&format!(
            "cat /proc/version; echo 1 > /proc/version; cat {PRIZE}; grep -c root /etc/passwd"
        ));
        let done = safe_or_refused(&env, &bundle, "/dev/null");
        if done.rc == 0 {
            assert_eq!(
                done.stdout(),
                "0\n1\n",
                "the mask is not empty, or a write through it arrived\n{done}"
            );
        }
    }
}

/// An engine that runs in a container itself does not own the `/dev` that it sees.
#[test]
fn cve_2025_31133_a_false_dev_null_of_the_host_is_refused() {
    let env = Env::new();
    let fake = env.dir.join("fake-null");
    fs::write(&fake, "not empty").must("a false file");
    sys::mount(&fake, "/dev/null", "", libc::MS_BIND, "").must("a false /dev/null");
    let mut bundle = env.bundle();
    bundle
        .set("/linux/maskedPaths", json!(["/proc/version"]))
        .sh("cat /proc/version");
    env.run(&bundle)
        .refused(1, &["linux.maskedPaths"])
        .prints("");
    sys::umount("/dev/null").must("the true /dev/null");
}

#[test]
fn a_masked_path_that_is_a_symlink_does_not_reach_the_host() {
    let env = Env::new();
    let victim = crate::Victim::new(&env);
    for key in ["maskedPaths", "readonlyPaths"] {
        let mut bundle = env.bundle();
        symlink(victim.dir.join("file"), bundle.rootfs().join("file")).must("a link");
        symlink(&victim.dir, bundle.rootfs().join("dir")).must("a link");
        symlink(
            "../../../../../../../..".to_owned() + &victim.dir.display().to_string(),
            bundle.rootfs().join("up"),
        )
        .must("a link");
        bundle
            .set(
                &format!("/linux/{key}"),
                json!([
                    "/file",
                    "/dir",
                    "/dir/file",
                    "/up",
                    "/up/file",
                    "/../../up/file"
                ]),
            )
            .args(&["true"]);
        safe_or_refused(&env, &bundle, &format!("linux.{key}"));
        victim.untouched(key);
        fs::write(victim.dir.join("probe"), "").must("the victim is still writable");
        fs::remove_file(victim.dir.join("probe")).must("the probe");
    }
}

#[test]
fn a_masked_symlink_to_the_thing_masks_the_thing() {
    let env = Env::new();
    let mut bundle = env.bundle();
    symlink("/etc/passwd", bundle.rootfs().join("alias")).must("a link");
    bundle
        .set("/linux/maskedPaths", json!(["/alias"]))
        .sh("cat /alias");
    let done = safe_or_refused(&env, &bundle, "/alias");
    assert!(!done.stdout().contains("root:"), "{done}");
}
