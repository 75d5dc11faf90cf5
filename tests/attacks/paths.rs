//! Symlinks and `..` in an image or a shared volume that point a mount at the host.

use crate::{Victim, safe_or_refused};
use orlop_tests::{Bundle, Env, Must, copy_program, sys};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The ways to name a host path from inside an image: absolute, and climbing out.
fn ways(to: &Path) -> [PathBuf; 2] {
    [
        to.to_owned(),
        Path::new("../../../../../../../../../..")
            .join(to.strip_prefix("/").must("an absolute path")),
    ]
}

#[test]
fn cve_2019_18837_symlinked_mount_targets() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for way in ways(&victim.dir) {
        type Attack = fn(&mut Bundle, &Env);
        let attacks: [(&str, Attack); 5] = [
            ("tmpfs on the link", |b, _| {
                b.mount("/link", "tmpfs", "tmpfs", &[]);
            }),
            ("tmpfs below the link", |b, _| {
                b.mount("/link/new", "tmpfs", "tmpfs", &[]);
            }),
            ("a directory bound below the link", |b, env| {
                b.mount("/link/deep/er", "bind", &env.dir, &["bind"]);
            }),
            ("a file bound below the link", |b, _| {
                b.mount("/link/file", "bind", "/etc/passwd", &["bind"]);
            }),
            ("tmpcopyup of the link", |b, _| {
                b.mount("/link", "tmpfs", "tmpfs", &["tmpcopyup"]);
            }),
        ];
        for (name, attack) in attacks {
            let mut bundle = env.bundle();
            symlink(&way, bundle.rootfs().join("link")).must("a link");
            bundle.sh("cat /link/file 2>/dev/null | head -c 9");
            attack(&mut bundle, &env);
            let done = safe_or_refused(&env, &bundle, "mounts[7]");
            assert!(
                !done.stdout().contains("untouched"),
                "{name}: the container sees the host's file\n{done}"
            );
            victim.untouched(name);
        }
    }
}

#[test]
fn tmpcopyup_copies_a_link_and_not_what_it_names() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for way in ways(&victim.dir) {
        let mut bundle = env.bundle();
        fs::create_dir(bundle.rootfs().join("data")).must("a directory");
        symlink(way.join("file"), bundle.rootfs().join("data/file")).must("a link");
        symlink(&way, bundle.rootfs().join("data/dir")).must("a link");
        bundle
            .mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"])
            .sh("ls /data; cat /data/file /data/dir/file 2>/dev/null; true");
        env.run(&bundle).ok().prints("dir\nfile");
        victim.untouched(&way.display().to_string());
    }
}

#[test]
fn dots_in_mount_targets_stay_inside() {
    let env = Env::new();
    let victim = Victim::new(&env);
    let climb = ways(&victim.dir)[1].clone();
    for target in [
        format!("/{}", climb.display()),
        format!("/tmp/{}/new", climb.display()),
        climb.display().to_string(),
    ] {
        let mut bundle = env.bundle();
        bundle.mount(&target, "tmpfs", "tmpfs", &[]).args(&["true"]);
        safe_or_refused(&env, &bundle, "mounts[7]");
        victim.untouched(&target);
    }
}

#[test]
fn cve_2026_41579_symlinked_dev() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for way in ways(&victim.dir) {
        for with_mount in [true, false] {
            let mut bundle = env.bundle();
            fs::remove_dir(bundle.rootfs().join("dev")).must("no /dev");
            symlink(&way, bundle.rootfs().join("dev")).must("a link");
            if !with_mount {
                bundle.config["mounts"]
                    .as_array_mut()
                    .must("mounts")
                    .retain(|mount| {
                        !mount["destination"]
                            .as_str()
                            .is_some_and(|to| to.starts_with("/dev"))
                    });
            }
            bundle.set("/linux/devices", serde_json::json!([{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3}])).args(&["true"]);
            safe_or_refused(&env, &bundle, "/dev|mounts[1]");
            victim.untouched(&format!(
                "/dev is a symlink to {}, mount: {with_mount}",
                way.display()
            ));
        }
    }
}

#[test]
fn cve_2023_28642_symlinked_proc_and_sys() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for (name, index) in [("proc", 0), ("sys", 5)] {
        for way in ways(&victim.dir)
            .into_iter()
            .chain([PathBuf::from("/tmp"), PathBuf::from("tmp/../tmp")])
        {
            let mut bundle = env.bundle();
            fs::remove_dir(bundle.rootfs().join(name)).must("remove the directory");
            symlink(&way, bundle.rootfs().join(name)).must("a link");
            bundle.args(&["true"]).write();
            let before = env.world();
            let done = env
                .run(&bundle)
                .refused(1, &[&format!("mounts[{index}].destination|/{name}")]);
            env.as_before(&before, &done.to_string());
            victim.untouched(&format!("/{name} is a symlink to {}", way.display()));
        }
    }
}

#[test]
fn cve_2023_28642_symlinked_proc_and_sys_that_are_bound() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for (name, index) in [("proc", 0), ("sys", 5)] {
        for way in ways(&victim.dir)
            .into_iter()
            .chain([PathBuf::from("/tmp"), PathBuf::from("tmp/../tmp")])
        {
            for kind in ["rbind", "tmpfs"] {
                let mut bundle = env.bundle();
                fs::remove_dir(bundle.rootfs().join(name)).must("remove the directory");
                symlink(&way, bundle.rootfs().join(name)).must("a link");
                let source = format!("/{name}");
                bundle
                    .set(&format!("/mounts/{index}/type"), json!(kind))
                    .set(&format!("/mounts/{index}/source"), json!(source))
                    .set(&format!("/mounts/{index}/options"), json!([]));
                if kind == "rbind" {
                    bundle
                        .set(&format!("/mounts/{index}/type"), json!("none"))
                        .set(&format!("/mounts/{index}/options"), json!(["rbind", "ro"]));
                }
                bundle.args(&["true"]).write();
                let before = env.world();
                let done = env.run(&bundle).refused(
                    1,
                    &[&format!("mounts[{index}].destination"), "not a symlink"],
                );
                env.as_before(&before, &done.to_string());
                victim.untouched(&format!("/{name} is a symlink to {}", way.display()));
            }
        }
    }
}

/// Before the procfs is there, its place is a directory like any other; a volume would be hidden below it.
#[test]
fn a_volume_that_a_symlink_leads_to_the_place_of_proc_is_refused() {
    let env = Env::new();
    for to in ["/proc", "tmp/../proc", "/up/proc"] {
        let mut bundle = env.bundle();
        symlink(to, bundle.rootfs().join("data")).must("a link");
        symlink("..", bundle.rootfs().join("up")).must("a link");
        let volume = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"});
        let mounts = bundle.config["mounts"].as_array_mut().must("mounts");
        mounts.insert(0, volume);
        bundle.args(&["true"]).write();
        let before = env.world();
        let done = env
            .run(&bundle)
            .refused(1, &["mounts[0]", "/data", "leads to /proc"]);
        env.as_before(&before, &done.to_string());
    }
}

#[test]
fn a_symlink_where_a_file_is_bound() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for way in ways(&victim.dir.join("new-file"))
        .into_iter()
        .chain(ways(&victim.dir.join("file")))
    {
        let mut bundle = env.bundle();
        symlink(&way, bundle.rootfs().join("etc/resolv.conf")).must("a link");
        fs::write(bundle.dir.join("resolv.conf"), "the engine's\n").must("a file");
        bundle
            .mount("/etc/resolv.conf", "bind", "resolv.conf", &["bind"])
            .sh("cat /etc/resolv.conf");
        let done = safe_or_refused(&env, &bundle, "mounts[7]");
        if done.rc == 0 {
            assert_eq!(
                done.stdout(),
                "the engine's\n",
                "bound over something else\n{done}"
            );
        }
        victim.untouched(&way.display().to_string());
    }
}

#[test]
fn a_program_is_looked_up_inside() {
    let env = Env::new();
    let victim = Victim::new(&env);
    copy_program(Path::new("/bin/busybox"), &victim.dir.join("../program"));
    for way in ways(&env.dir.join("program")) {
        let mut bundle = env.bundle();
        symlink(&way, bundle.rootfs().join("bin/outside")).must("a link");
        for args in [&["outside"][..], &["/bin/outside"]] {
            bundle.args(args);
            env.run(&bundle).refused(1, &["outside"]);
        }
    }
    victim.untouched("programs");
}

#[test]
fn the_user_database_is_read_inside_and_never_blocks() {
    let env = Env::new();
    fs::write(
        env.dir.join("passwd"),
        "user:x:1000:1000::/home-of-the-host:/bin/sh\n",
    )
    .must("a user database");
    type Attack = fn(&Path, &Env);
    let attacks: [(&str, Attack); 4] = [
        ("link to the host's", |passwd, env| {
            symlink(env.dir.join("passwd"), passwd).must("a link")
        }),
        ("fifo", |passwd, _| {
            sys::mknod(passwd, libc::S_IFIFO | 0o644, (0, 0)).must("a fifo")
        }),
        ("endless device", |passwd, _| {
            sys::mknod(passwd, libc::S_IFCHR | 0o644, (1, 5)).must("a device")
        }),
        ("directory", |passwd, _| {
            fs::create_dir(passwd).must("a directory")
        }),
    ];
    for (name, attack) in attacks {
        let mut bundle = env.bundle();
        let passwd = bundle.rootfs().join("etc/passwd");
        fs::remove_file(&passwd).must("remove passwd");
        attack(&passwd, &env);
        bundle
            .set("/process/user/uid", serde_json::json!(1000))
            .sh("echo $HOME");
        let done = safe_or_refused(&env, &bundle, "passwd|process.user");
        assert!(
            !done.stdout().contains("home-of-the-host"),
            "{name}\n{done}"
        );
    }
}

/// Exchanges a directory of a volume with a symlink to the host, as fast as it can, while containers are created that mount
/// below it (CVE-2021-30465), or make directories there (CVE-2024-45310).
#[test]
fn cve_2021_30465_symlink_exchange_in_a_shared_volume() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for (n, way) in ways(&victim.dir).into_iter().enumerate() {
        let volume = env.dir.join(format!("volume{n}"));
        fs::create_dir_all(volume.join("a/sub")).must("a volume");
        symlink(way, volume.join("b")).must("a link");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    sys::exchange(&volume.join("a"), &volume.join("b")).must("exchange");
                }
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                race(&env, &volume, &victim)
            }));
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = done {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// The same, where each container needs directories that are not there yet, and by a link that stays.
#[test]
fn cve_2024_45310_directories_are_made_inside() {
    let env = Env::new();
    let victim = Victim::new(&env);
    let volume = env.dir.join("volume");
    fs::create_dir_all(volume.join("a")).must("a volume");
    symlink(&victim.dir, volume.join("b")).must("a link");
    symlink(&victim.dir, volume.join("link")).must("a link");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sys::exchange(&volume.join("a"), &volume.join("b")).must("exchange");
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..50 {
                let mut bundle = env.bundle();
                bundle
                    .mount("/volume", "bind", &volume, &["rbind"])
                    .mount(&format!("/volume/a/new{n}/er"), "tmpfs", "raced", &[])
                    .mount(&format!("/volume/link/new{n}/er"), "tmpfs", "raced", &[])
                    .args(&["true"]);
                let done = env.run(&bundle);
                if done.rc != 0
                    && let Some(complaint) = done.complaint(1, &["mounts["])
                {
                    panic!("{complaint}\n{done}");
                }
                victim.untouched("a race");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs the bundle as on a kernel from before Linux 5.6; demands success, or a refusal that names one of `names`.
fn without_openat2(env: &Env, bundle: &Bundle, names: &str) -> orlop_tests::Done {
    bundle.write();
    let run = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    let done = run
        .with(|command| sys::deny(command, libc::SYS_openat2, libc::ENOSYS))
        .run();
    if done.rc != 0
        && let Some(complaint) = done.complaint(1, &[names])
    {
        panic!("{complaint}\n{done}");
    }
    done
}

/// What stands in for openat2 is tried whatever the kernel has, so that its defences can be taken out one by one.
#[test]
fn without_openat2_paths_stay_inside() {
    let env = Env::new();
    let victim = Victim::new(&env);
    for way in ways(&victim.dir) {
        for target in ["/link/new", "/link/deep/er", "/../../link/file"] {
            let mut bundle = env.bundle();
            symlink(&way, bundle.rootfs().join("link")).must("a link");
            let source = env.dir.join("victim/sub");
            match target.ends_with("file") {
                true => bundle.mount(target, "bind", "/etc/passwd", &["bind"]),
                false => bundle.mount(target, "bind", &source, &["bind"]),
            };
            bundle.sh("cat /link/file 2>/dev/null | head -c 9");
            let done = without_openat2(&env, &bundle, "mounts[7]");
            assert!(
                !done.stdout().contains("untouched"),
                "{target}: the container sees the host's file\n{done}"
            );
            victim.untouched(target);
        }
    }
}

#[test]
fn without_openat2_proc_and_sys_are_no_symlinks() {
    let env = Env::new();
    for (name, index) in [("proc", 0), ("sys", 5)] {
        for way in ["/tmp", "tmp/../tmp"] {
            let mut bundle = env.bundle();
            fs::remove_dir(bundle.rootfs().join(name)).must("remove the directory");
            symlink(way, bundle.rootfs().join(name)).must("a link");
            bundle.args(&["true"]);
            let at = format!("mounts[{index}].destination");
            without_openat2(&env, &bundle, &at).refused(1, &[&at, "not a symlink"]);
        }
    }
}

fn race(env: &Env, volume: &Path, victim: &Victim) {
    let mut bundle = env.bundle();
    // A container may do to its own root file system what it likes; what must not happen is a mount or a file elsewhere.
    bundle
        .mount("/volume", "bind", volume, &["rbind"])
        .mount("/volume/a/sub", "tmpfs", "raced", &[])
        .mount("/volume/a/deep/er", "tmpfs", "raced", &[]);
    bundle
        .sh("grep ' - tmpfs raced ' /proc/self/mountinfo | cut -d' ' -f5")
        .write();
    let mut ran = 0;
    for _ in 0..100 {
        let done = env
            .orlop(&["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id())
            .run();
        if done.rc == 0 {
            ran += 1;
            let text = done.stdout();
            // A mount that hit the host's tree would have no place in the container's, or one outside of what it may name.
            assert_eq!(
                text.lines().count(),
                2,
                "a mount has gone elsewhere\n{done}"
            );
        } else if let Some(complaint) = done.complaint(1, &["mounts["]) {
            panic!("{complaint}\n{done}");
        }
        victim.untouched("a race");
    }
    assert!(
        ran > 0,
        "not one container was created: the race proves nothing"
    );
}
