//! A kernel, or a filter around us, that lacks what a start needs.

use orlop_tests::{Env, hidden, orlop};

/// System calls that have no stand-in of their own: every kernel that has open_tree(2) and fsopen(2) has them as well.
const NEEDED: [&str; 3] = ["move_mount", "fsconfig", "fsmount"];

#[test]
fn a_filter_that_hides_a_part_of_a_family_is_told_in_one_line() {
    if hidden("a part of the mount calls", "the rest") {
        return;
    }
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
