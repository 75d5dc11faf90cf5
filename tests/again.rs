//! What hack/again makes of a test program.

use orlop_tests::{Cmd, Env, copy_program};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Stands for a test program: `begun` is what it says when all its tests are run, `alone` when some are.
fn program(env: &Env, begun: &str, alone: &str) -> Cmd {
    let (written, path) = (env.dir.join("written"), env.dir.join("program"));
    let script = format!("#!/bin/sh\ncase \"$*\" in *--exact*) {alone} ;; *) {begun} ;; esac");
    std::fs::write(&written, script).expect("a script");
    std::fs::set_permissions(&written, Permissions::from_mode(0o755)).expect("its mode");
    copy_program(&written, &path);
    let again = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/again");
    env.cmd(again).arg(path).arg("--show-output")
}

const TWO_FAIL: &str = "printf 'test a ... ok\\ntest b::c ... FAILED\\ntest d ... FAILED\\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\\n'; exit 101";

#[test]
fn what_fails_once_is_told_and_passes() {
    let env = Env::new();
    let alone = "printf \"test result: ok. 2 passed; 0 failed; 0 ignored\\n%s\\n\" \"$*\"";
    let said = program(&env, TWO_FAIL, alone).run().ok().stdout();
    assert!(said.contains("--exact b::c d"), "{said}");
    assert!(
        said.contains("\nunsteady b::c: it failed among others and passed alone\nunsteady d: "),
        "{said}"
    );
    assert!(
        said.ends_with("\ntest result: ok. 3 passed; 0 failed; 0 ignored\n"),
        "{said}"
    );
}

#[test]
fn what_fails_twice_has_failed() {
    let env = Env::new();
    let alone = "printf 'test result: FAILED. 1 passed; 1 failed; 0 ignored\\n'; exit 101";
    let said = program(&env, TWO_FAIL, alone).run().exits(101).stdout();
    assert!(
        said.ends_with("\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n"),
        "{said}"
    );
    assert!(!said.contains("unsteady"), "{said}");
}

#[test]
fn what_fails_and_is_then_skipped_has_failed() {
    let env = Env::new();
    let alone =
        "printf 'skip labels: no\\ntest result: ok. 2 passed; 0 failed; 0 ignored\\n'; exit 0";
    let said = program(&env, TWO_FAIL, alone).run().exits(1).stdout();
    assert!(
        said.ends_with("\ntest result: FAILED. 1 passed; 2 failed; 0 ignored\n"),
        "{said}"
    );
    // A part that is skipped each time is none.
    let begun = format!("echo 'skip labels: no'; {TWO_FAIL}");
    let said = program(&env, &begun, alone).run().ok().stdout();
    assert!(said.contains("unsteady d: "), "{said}");
}

#[test]
fn many_failures_and_a_crash_are_not_run_again() {
    let env = Env::new();
    let many = "for n in 1 2 3 4; do echo \"test t$n ... FAILED\"; done; echo 'test result: FAILED. 0 passed; 4 failed; 0 ignored'; exit 101";
    for (begun, rc) in [(many, 101), ("kill -9 $$", 137)] {
        let said = program(&env, begun, "echo alone").run().exits(rc).stdout();
        assert!(!said.contains("alone"), "{said}");
    }
}
