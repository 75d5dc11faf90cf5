//! SELinux with a policy (tests/data/selinux.conf), which this test loads into the kernel: for good, so nothing else runs beside it, and it runs
//! only where there is none yet, in the virtual machine that is booted with `security=selinux selinux=1`.

use orlop_tests::{Bundle, Env, Must, skip, sys};
use serde_json::json;
use std::fs;
use std::path::Path;

const POLICY: &[u8] = include_bytes!("data/selinux.policy");

/// Prints the label of the session keyring: keyctl(2) with KEYCTL_GET_SECURITY, on x86-64.
const KEYRING: &str = "import ctypes; text = ctypes.create_string_buffer(99); ctypes.CDLL(None).syscall(250, 17, -3, text, 99); print(text.value.decode())";

/// Tells whether SELinux is on and has no policy yet: every process is `kernel` then.
fn has_bare_selinux() -> bool {
    Path::new("/sys/fs/selinux").exists()
        && fs::read_to_string("/proc/self/attr/current").is_ok_and(|own| own.starts_with("kernel"))
}

/// Loads the policy, with which many a mount gets an option: before any test looks at what is mounted.
fn load() {
    let point = std::env::temp_dir().join(format!("selinux{}", std::process::id()));
    fs::create_dir(&point).must("a mount point");
    sys::mount("selinuxfs", &point, "selinuxfs", 0, "").must("mount selinuxfs");
    fs::write(point.join("load"), POLICY).must("load the policy");
    sys::umount(&point).must("unmount selinuxfs");
    fs::remove_dir(&point).must("remove the mount point");
}

/// Prints the options of the file system at a path.
fn options(point: &str) -> String {
    format!("grep ' {point} ' /proc/self/mountinfo | sed 's/.* - //'")
}

#[test]
fn labels_of_processes_and_of_new_file_systems() {
    if !has_bare_selinux() {
        return skip("labels", "SELinux is off, or has a policy of its own");
    }
    load();
    let env = Env::new();
    let label = "system_u:object_r:box_t";
    for (kind, wanted) in [
        (None, " context="),
        (Some("fscontext"), "fscontext="),
        // `defcontext` is for file systems that keep labels of their own; a tmpfs does not.
        (Some("rootcontext"), "rootcontext="),
    ] {
        let mut bundle: Bundle = env.bundle();
        bundle.set("/linux/mountLabel", json!(label));
        if let Some(kind) = kind {
            bundle.set("/annotations", json!({"run.oci.mount_context_type": kind}));
        }
        bundle.sh(&options("/dev/shm"));
        let done = env.run(&bundle).ok();
        let text = done.stdout().replace(['"', ','], " ");
        let found = text.contains(&format!("{}{label}", wanted.trim()))
            || text.contains(&format!("{wanted} {label}"));
        assert!(found, "{wanted}\n{done}");
    }
    let look =
        format!("tr -d '\\0' < /proc/self/attr/current; echo; /usr/bin/python3 -c '{KEYRING}'");
    let look = look.as_str();
    let mut bundle = env.bundle();
    for path in ["/usr", "/lib", "/lib64"] {
        bundle.mount(path, "bind", path, &["bind", "ro"]);
    }
    let own = "system_u:system_r:box_t";
    // Without it the policy would have to allow the change of labels (nnp_transition).
    bundle
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/selinuxLabel", json!(own))
        .sh(look);
    env.run(&bundle).ok().prints(&format!("{own}\n{own}"));
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    env.exec(&id, &["sh", "-c", look])
        .ok()
        .prints(&format!("{own}\n{own}"));
    let base = "system_u:system_r:base_t";
    let exec = env.orlop(&["exec", "--process-label", base, &id, "sh", "-c", look]);
    exec.run().ok().prints(&format!("{base}\n{base}"));
    env.orlop(&["delete", "--force", &id]).run().ok();
    let mut bundle = env.bundle();
    bundle
        .set(
            "/process/selinuxLabel",
            json!("system_u:system_r:unknown_t"),
        )
        .args(&["true"]);
    env.run(&bundle)
        .refused(1, &["unknown_t", "`/proc/self/attr/"]);
}
