//! Containers in units of systemd (`--systemd-cgroup`). Where systemd does not run, only what needs none; the rest runs in the
//! virtual machine.

mod engine;
mod keep;
mod life;
mod refused;

use orlop_tests::{Bundle, Cmd, Done, Env, Must, orlop, skip};
use std::fs;
use std::path::{Path, PathBuf};

/// Whether this host was booted with systemd (sd_booted(3)).
fn runs(case: &str) -> bool {
    let runs = Path::new("/run/systemd/system").is_dir();
    if !runs {
        skip(case, "systemd does not run here");
    }
    runs
}

/// Prepares the runtime with systemd's driver.
fn orlop_by_systemd(env: &Env, args: &[&str]) -> Cmd {
    let runtime = env.cmd(orlop()).arg("--root").arg(&env.root);
    runtime.arg("--systemd-cgroup").args(args)
}

/// Writes the bundle and prepares `create` with systemd's driver; returns it with the id.
fn creation(env: &Env, bundle: &Bundle) -> (Cmd, String) {
    bundle.write();
    let id = env.id();
    let create = orlop_by_systemd(env, &["create", "--bundle"]);
    (create.arg(&bundle.dir).arg(&id), id)
}

/// Creates and starts a container that sleeps, in a unit of its own.
fn sleeper(env: &Env, bundle: &mut Bundle) -> String {
    bundle.args(&["sleep", "600"]);
    let (create, id) = creation(env, bundle);
    create.run().ok();
    env.orlop(&["start", &id]).run().ok();
    id
}

/// Runs `systemctl`.
fn systemctl(env: &Env, args: &[&str]) -> Done {
    env.cmd("systemctl").args(args).run()
}

/// Returns a property of a unit.
fn property(env: &Env, unit: &str, name: &str) -> String {
    let shown = systemctl(env, &["show", "--value", "--property", name, unit]);
    shown.ok().stdout().trim().to_owned()
}

/// The unit of a container that was given no `cgroupsPath`.
fn unit(id: &str) -> String {
    format!("orlop-{id}.scope")
}

/// The directory of a process in the hierarchy with a controller, on this host.
fn directory(pid: i32, controller: &str) -> PathBuf {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).must("the cgroups of a process");
    let path = |wanted: &str| {
        table.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            let named = names.split(',').any(|name| name == wanted);
            named.then(|| path.trim_start_matches('/').to_owned())
        })
    };
    match path(controller) {
        Some(path) => Path::new("/sys/fs/cgroup").join(controller).join(path),
        None => Path::new("/sys/fs/cgroup").join(path("").must("cgroup v2")),
    }
}

/// Whether this host's controllers are on cgroup v2.
fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}
