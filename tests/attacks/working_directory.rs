//! A leaked directory of the host as working directory (CVE-2024-21626).

use orlop_tests::{Bundle, Cmd, Env, Must, copy_program, sys};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

/// Reads a file of the host by climbing from the working directory.
fn look(env: &Env) -> String {
    format!(
        "cat ../../../../../../../../..{}/secret 2>/dev/null; cat secret 2>/dev/null; echo ran",
        env.dir.display()
    )
}

/// Gives the command two directories of the host, as a careless engine would.
fn leaking(env: &Env, command: Cmd) -> Cmd {
    let (root, own) = (
        File::open("/").must("/"),
        File::open(&env.dir).must("the directory"),
    );
    command.with(|command| {
        sys::give_fd(command, root, 7);
        sys::give_fd(command, own, 9);
    })
}

fn bundle(env: &Env) -> Bundle {
    fs::write(env.dir.join("secret"), "the host's secret\n").must("a secret");
    let mut bundle = env.bundle();
    bundle.sh(&look(env));
    bundle
}

/// The directories that an attacker hopes for: any fd of the runtime, by number and through a link in the image.
fn hopes(bundle: &Bundle) -> Vec<String> {
    symlink("/proc/self/fd/7", bundle.rootfs().join("seven")).must("a link");
    let numbers = (0..24).map(|fd| format!("/proc/self/fd/{fd}"));
    let others = [
        "/proc/self/fd/7/tmp",
        "/proc/1/fd/7",
        "/proc/self/cwd",
        "/proc/self/root",
        "/proc/1/root/..",
        "/seven",
        "/seven/tmp",
    ];
    numbers.chain(others.map(str::to_owned)).collect()
}

#[test]
fn cve_2024_21626_of_a_container() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    for cwd in hopes(&bundle) {
        bundle.set("/process/cwd", json!(cwd)).write();
        let before = env.world();
        let command = env
            .orlop(&["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(env.id());
        let done = leaking(&env, command).run();
        assert!(
            !done.stdout().contains("secret"),
            "cwd {cwd} leads out\n{done}"
        );
        if done.rc != 0 {
            done.refused(1, &[&format!("process.cwd|{cwd}")]);
        }
        env.as_before(&before, &cwd);
    }
}

#[test]
fn cve_2024_21626_of_exec() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    let script = look(&env);
    let hopes = hopes(&bundle);
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    for cwd in hopes {
        let done = leaking(
            &env,
            env.orlop(&["exec", "--cwd", &cwd, &id, "sh", "-c", &script]),
        )
        .run();
        assert!(
            !done.stdout().contains("secret"),
            "cwd {cwd} leads out\n{done}"
        );
        if done.rc != 0 {
            done.refused(255, &[&cwd]);
        }
    }
}

#[test]
fn the_check_comes_before_a_filter_that_denies_it() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    symlink("/proc/self/fd/7", bundle.rootfs().join("seven")).must("a link");
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["getcwd", "statx", "readlink"], "action": "SCMP_ACT_ERRNO"}]}));
    env.run(&bundle).ok().prints("ran");
    bundle.set("/process/cwd", json!("/seven")).write();
    let command = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    leaking(&env, command)
        .run()
        .refused(1, &["process.cwd|/seven"])
        .prints("");
}

#[test]
fn a_program_of_the_host_is_not_reached_through_an_fd() {
    let env = Env::new();
    let mut bundle = bundle(&env);
    // A static program: a dynamic one would not find its loader inside.
    copy_program(Path::new("/bin/busybox"), &env.dir.join("sh"));
    for program in [
        "/proc/self/fd/7/bin/sh",
        "/proc/self/fd/9/sh",
        "/seven/bin/sh",
    ] {
        if !bundle.rootfs().join("seven").exists() {
            symlink("/proc/self/fd/7", bundle.rootfs().join("seven")).unwrap_or_default();
        }
        bundle.args(&[program, "-c", "echo out"]).write();
        let done = leaking(
            &env,
            env.orlop(&["run", "--bundle"])
                .arg(&bundle.dir)
                .arg(env.id()),
        )
        .run();
        assert!(!done.stdout().contains("out"), "{done}");
        done.refused(1, &[program]);
    }
}

#[test]
fn no_descriptor_reaches_the_program() {
    let env = Env::new();
    let mut bundle = env.bundle();
    // Its streams, and the directory that it reads.
    let (show, own) = (["ls", "/proc/self/fd"], "0\n1\n2\n3");
    bundle.args(&show).write();
    let command = env
        .orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id());
    leaking(&env, command).run().ok().prints(own);
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    let command = env.orlop(&["exec", &id]).args(show);
    leaking(&env, command).run().ok().prints(own);
}

#[test]
fn cve_2024_21626_no_own_descriptor_leads_to_a_program_of_the_host() {
    let env = Env::new();
    copy_program(Path::new("/bin/busybox"), &env.dir.join("busybox"));
    let up = "../".repeat(12);
    let program = |fd: i32| format!("/proc/self/fd/{fd}/{up}{}/busybox", env.dir.display());
    let mut bundle = env.bundle();
    let mut wrong = Vec::new();
    for fd in 3..40 {
        bundle.args(&[&program(fd), "echo", "out"]);
        let done = env.run(&bundle);
        wrong.extend((done.rc == 0).then(|| done.to_string()));
    }
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    for fd in 3..40 {
        let done = env.exec(&id, &[&program(fd), "echo", "out"]);
        wrong.extend((done.rc == 0).then(|| done.to_string()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
