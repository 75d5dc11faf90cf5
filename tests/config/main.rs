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
mod sub_cgroups;
mod time;

use orlop_tests::{Bundle, Env};

/// Runs `script` in a container of the edited spec and demands its output.
#[track_caller]
fn check(edit: impl FnOnce(&mut Bundle), script: &str, wanted: &str) {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh(script);
    edit(&mut bundle);
    env.run(&bundle).ok().prints(wanted);
}
