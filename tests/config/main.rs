//! What each field of config.json does, as a container and its host see it.

mod annotations;
mod cgroup;
mod device_rules;
mod idmap;
mod linux;
mod lsm;
mod mount_options;
mod mounts;
mod namespaces;
mod net_devices;
mod process;
mod refused;
mod scheduling;
mod seccomp;
#[cfg(target_arch = "x86_64")]
mod seccomp_calls;
mod sub_cgroups;
mod time;

use orlop_tests::{Bundle, Env, Must};
use serde_json::{Value, json};

/// Runs `script` in a container of the edited spec and demands its output.
#[track_caller]
fn check(edit: impl FnOnce(&mut Bundle), script: &str, wanted: &str) {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh(script);
    edit(&mut bundle);
    env.run(&bundle).ok().prints(wanted);
}

fn map(host: u32, size: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": size}])
}

/// Adds a user namespace whose root is 100000 on the host, and gives it the root file system.
fn user_namespace(bundle: &mut Bundle) {
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", map(100_000, 65536))
        .set("/linux/gidMappings", map(200_000, 65536));
    std::os::unix::fs::chown(bundle.rootfs(), Some(100_000), Some(200_000)).must("an owner");
}
