//! What is the host's and must stay as it is, whatever a container does with what it was given.

use orlop_tests::{Env, Must, hidden, hierarchy, sys, until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_masked_file_does_not_lead_to_the_mode_of_the_hosts_null() {
    let env = Env::new();
    let mode = || fs::metadata("/dev/null").must("/dev/null").permissions();
    let before = mode();
    let mut bundle = env.bundle();
    bundle.capabilities(&["CAP_FOWNER", "CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    bundle.sh("chmod 640 /proc/keys; chown 5 /proc/keys; echo gone > /proc/keys && echo written");
    let done = env.run(&bundle);
    let after = mode();
    fs::set_permissions("/dev/null", before.clone()).must("restore /dev/null");
    assert_eq!(after.mode(), before.mode(), "{done}");
    assert!(done.stdout().contains("written"), "{done}");
}

#[test]
fn options_of_the_hosts_mounts_are_locked_in_a_user_namespace() {
    let env = Env::new();
    let dir = env.dir.join("volume");
    fs::create_dir(&dir).must("a directory");
    sys::mount("tmpfs", &dir, "tmpfs", 0, "").must("mount");
    fs::write(dir.join("file"), "host").must("a file");
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID;
    sys::mount("", &dir, "", flags, "").must("remount");
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    let mut bundle = env.bundle();
    bundle
        .namespace("user", None)
        .capabilities(&["CAP_SYS_ADMIN"]);
    bundle.set("/linux/uidMappings", map.clone());
    bundle.set("/linux/gidMappings", map);
    bundle.mount("/volume", "bind", &dir, &["bind"]);
    bundle.sh("mount -o remount,bind,rw /volume && echo unlocked; echo mine > /volume/file");
    let done = env.run(&bundle);
    let text = fs::read_to_string(dir.join("file")).must("the file");
    sys::umount(&dir).must("unmount");
    assert_eq!(text, "host", "{done}");
    assert!(!done.stdout().contains("unlocked"), "{done}");
}

/// The old root is taken away by its place, which is also that of whatever was mounted over it.
#[test]
fn what_lies_over_the_hosts_root_does_not_keep_it_in_the_container() {
    let env = Env::new();
    let secret = env.dir.join("secret");
    fs::write(&secret, "of the host").must("a file of the host");
    let mut bundle = env.bundle();
    let path = secret.display().to_string();
    bundle.sh(&format!("cat {path} /..{path}; cat /proc/self/mountinfo"));
    bundle.write();
    let dir = bundle.dir.display().to_string();
    let over = "mount -t tmpfs over / && mount -t tmpfs above /.. && exec \"$0\" \"$@\"";
    let run = env.orlop(&["run", "--bundle", &dir, &env.id()]);
    let apart = ["--mount", "--propagation", "private", "sh", "-c", over];
    let done = run.before("unshare", &apart).run().ok();
    assert!(!done.stdout().contains("of the host"), "{done}");
    let roots = done.stdout();
    let roots = roots
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some("/"));
    assert_eq!(roots.count(), 1, "{done}");
}

#[test]
fn a_joined_namespace_that_is_the_hosts_is_not_changed() {
    let env = Env::new();
    let check = |kind: &str, file: &str, pointer: &str, value: serde_json::Value, at: &str| {
        let mut bundle = env.bundle();
        bundle.namespace(kind, Some(&format!("/proc/self/ns/{file}")));
        bundle.set(pointer, value).args(&["true"]);
        if kind == "uts" && pointer != "/hostname" {
            bundle.remove("/hostname");
        }
        env.run(&bundle).refused(1, &[at, "would change the host"]);
    };
    let forward = json!({"net.ipv4.ip_forward": "1"});
    check(
        "network",
        "net",
        "/linux/sysctl",
        forward,
        "net.ipv4.ip_forward",
    );
    let shared = json!({"kernel.msgmax": "8192"});
    check("ipc", "ipc", "/linux/sysctl", shared, "kernel.msgmax");
    check("uts", "uts", "/hostname", json!("mine"), "hostname");
}

#[test]
fn exec_stays_in_the_root_of_a_container_that_shares_the_hosts_mounts() {
    if hidden("a container without a mount namespace", "open_tree") {
        return;
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    fs::write(bundle.rootfs().join("only-here"), "inside\n").must("a file");
    // Nor has it mounts of its own: they need a newer kernel there.
    bundle
        .without_namespace("mount")
        .set("/mounts", json!([]))
        .args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    env.exec(&id, &["cat", "/only-here"]).ok().prints("inside");
}

#[test]
fn clearing_a_killed_creation_spares_a_cgroup_that_was_there_before() {
    let env = Env::new();
    let name = format!("{}-before", env.tag);
    let cgroup = hierarchy("pids").join(&name);
    fs::create_dir(&cgroup).must("a cgroup");
    let fifo = env.dir.join("fifo");
    sys::mknod(&fifo, libc::S_IFIFO | 0o600, (0, 0)).must("a fifo");
    let mut bundle = env.bundle();
    // The creation waits here until it is killed.
    let hook = json!({"path": "/bin/cat", "args": ["cat", fifo]});
    bundle.set("/hooks/createRuntime/-", hook);
    bundle
        .set("/linux/cgroupsPath", json!(format!("/{name}")))
        .args(&["true"])
        .write();
    let id = env.id();
    let creation = env
        .orlop(&["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .spawn();
    // Opening for writing waits for the hook.
    let writer = fs::OpenOptions::new()
        .write(true)
        .open(&fifo)
        .must("the fifo");
    sys::kill(creation.pid(), libc::SIGKILL).must("kill the creation");
    creation.wait();
    drop(writer);
    let mut other = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .must("a process");
    fs::write(cgroup.join("cgroup.procs"), other.id().to_string()).must("enter the cgroup");
    env.orlop(&["delete", "--force", &id]).run().ok();
    let alive = other.try_wait().must("look").is_none();
    other.kill().must("end the process");
    other.wait().must("wait");
    fs::remove_dir(&cgroup).must("remove the cgroup");
    assert!(
        alive,
        "delete has killed a process that is not the container's"
    );
}

/// A number may be another process's by the time that it is used: whoever is signalled is held by a descriptor.
#[test]
fn no_process_of_a_container_is_signalled_by_its_number() {
    if hidden("signals by pidfd", "pidfd_send_signal") {
        return;
    }
    let env = Env::new();
    for (verb, rest) in [
        ("kill", Some("KILL")),
        ("kill", Some("TERM")),
        ("delete", None),
    ] {
        let mut bundle = env.bundle();
        // Several processes, none of which dies with another.
        bundle
            .without_namespace("pid")
            .set("/linux/maskedPaths", json!([]))
            .sh("sleep 1000 & sleep 1000 & exec sleep 1000");
        let id = env.start(&bundle);
        let count = || {
            env.orlop(&["ps", "--format", "json", &id])
                .run()
                .ok()
                .json()
        };
        until("three processes", || {
            (count().as_array().must("a list").len() == 3).then_some(())
        });
        let flag = if verb == "kill" { "--all" } else { "--force" };
        let args: Vec<&str> = [verb, flag, &id].into_iter().chain(rest).collect();
        let command = env.orlop(&args).with(|command| {
            sys::deny(command, libc::SYS_kill, libc::EPERM);
        });
        command.run().ok();
        if verb == "kill" {
            env.reaches(&id, "stopped");
            until("no process", || {
                let left = env.orlop(&["ps", "--format", "json", &id]).run();
                (left.rc != 0 || left.json().as_array().is_some_and(Vec::is_empty)).then_some(())
            });
        }
    }
}

#[test]
fn descriptors_of_socket_activation_that_are_not_open_are_refused() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("ls -l /proc/self/fd").write();
    let run = format!(
        "LISTEN_PID=$$ LISTEN_FDS=2 exec {} --root {} run -b {} {} 3>&- 4>&-",
        orlop_tests::orlop().display(),
        env.root.display(),
        bundle.dir.display(),
        env.id()
    );
    env.cmd("/bin/sh")
        .args(["-c", &run])
        .run()
        .refused(1, &["LISTEN_FDS"]);
}
