//! Killed at every step: whatever process of a command dies at whatever system call, what is left is known and can be deleted.
//!
//! A point is (process in order of birth, k-th system call of that process). All points of a command are tried up to a
//! number, beyond it a sample, with everything around clone, mount, rename and rmdir in it; ORLOP_LONG=1 tries all.
//! ORLOP_SEED repeats a sample.
//!
//! What may be left, until `delete --force`:
//! - the state directory with files of the runtime's own (`after::FILES`),
//! - cgroups named after the container, or its unit,
//! - the container's process and its network namespace, if the container was committed: `state` knows it then,
//! - criu and what it has made, until it notices that nobody listens, or, of a restore, until then.
//!
//! Never a mount, never a process of a container that does not exist, never a file elsewhere, never a network device that is lost.

mod after;
mod case;
mod criu;
mod device;
mod sweep;

use case::{Verb, With};
use orlop_tests::{Env, Must};
use sweep::{sweep, sweep_with};

#[test]
fn create() {
    sweep(Verb::Create);
}

#[test]
fn start() {
    sweep(Verb::Start);
}

#[test]
fn exec() {
    sweep(Verb::Exec);
}

#[test]
fn delete() {
    sweep(Verb::Delete);
}

#[test]
fn run_detached() {
    sweep(Verb::Run);
}

#[test]
fn update() {
    sweep(Verb::Update);
}

#[test]
fn checkpoint() {
    sweep(Verb::Checkpoint);
}

#[test]
fn restore() {
    sweep(Verb::Restore);
}

#[test]
fn unit_create() {
    sweep_with(Verb::Create, With::Unit);
}

#[test]
fn unit_start() {
    sweep_with(Verb::Start, With::Unit);
}

#[test]
fn unit_exec() {
    sweep_with(Verb::Exec, With::Unit);
}

#[test]
fn unit_delete() {
    sweep_with(Verb::Delete, With::Unit);
}

#[test]
fn unit_run_detached() {
    sweep_with(Verb::Run, With::Unit);
}

#[test]
fn unit_update() {
    sweep_with(Verb::Update, With::Unit);
}

#[test]
fn create_with_a_device() {
    sweep_with(Verb::Create, With::Device);
}

#[test]
fn killpoint_kills_exactly_one_process() {
    let env = Env::new();
    let program = env!("CARGO_BIN_EXE_killpoint");
    let script = "sh -c 'echo child; true'; echo child rc $?; (exit 7)";
    let list = env
        .cmd(program)
        .args(["--list", "/bin/busybox", "sh", "-c", script])
        .run()
        .exits(7)
        .stdout();
    let writes: Vec<&str> = list
        .lines()
        .filter(|line| line.ends_with(" write"))
        .collect();
    let child = writes
        .iter()
        .find(|line| line.starts_with("1:"))
        .must(format!("a write of the child in\n{list}"));
    let point = child.split(' ').next().must("a point");
    let done = env
        .cmd(program)
        .args(["--at", point, "/bin/busybox", "sh", "-c", script])
        .run()
        .exits(7);
    assert!(
        done.stdout().contains("child rc 137") && !done.stdout().contains("child\n"),
        "{done}"
    );
    let root = writes
        .iter()
        .find(|line| line.starts_with("0:"))
        .must("a write of the root");
    let point = root.split(' ').next().must("a point");
    let done = env
        .cmd(program)
        .args(["--at", point, "/bin/busybox", "sh", "-c", script])
        .run()
        .exits(137);
    assert_eq!(done.stdout(), "child\n", "{done}");
    env.cmd(program)
        .args(["--at", "0:99999", "/bin/busybox", "true"])
        .run()
        .exits(99);
}
