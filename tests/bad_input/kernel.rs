//! A kernel, or a filter around us, that lacks what a start needs.

use orlop_tests::{Env, orlop};

/// The system calls that a start has no other way for.
const NEEDED: [&str; 9] = [
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "clone3",
    "openat2",
    "close_range",
    "mount_setattr",
];

#[test]
fn a_kernel_without_a_needed_call_is_told_in_one_line() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]).write();
    let before = env.world();
    for call in NEEDED {
        let id = env.id();
        let old = env
            .cmd(env!("CARGO_BIN_EXE_enosys"))
            .arg(call)
            .arg(orlop())
            .arg("--root")
            .arg(&env.root);
        old.args(["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(&id)
            .run()
            .refused(1, &["needs Linux 5.12"]);
        env.as_before(&before, call);
    }
}
