//! Files that a command writes on the host: links that somebody has left in the directory lead nowhere.

use orlop_tests::{Bundle, Cmd, Env, Must};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory that is not only ours, with links to a file of ours under names that can be guessed.
fn planted(env: &Env, names: &[&str]) -> (PathBuf, PathBuf) {
    let (dir, victim) = (env.dir.join("shared"), env.dir.join("victim"));
    fs::create_dir(&dir).must("a directory");
    fs::write(&victim, "untouched").must("a file");
    for name in names {
        symlink(&victim, dir.join(name)).must("a link");
    }
    (dir, victim)
}

#[track_caller]
fn untouched(victim: &Path, written: &Path) {
    assert_eq!(fs::read_to_string(victim).must("the file"), "untouched");
    let kind = written.symlink_metadata().must("what was written");
    assert!(kind.is_file(), "{}: a link", written.display());
}

fn create(env: &Env, bundle: &Bundle, id: &str) -> Cmd {
    let create = env.orlop(&["create", "--bundle"]);
    create.arg(&bundle.dir).arg(id)
}

#[test]
fn a_pid_file_is_not_written_through_a_link() {
    let env = Env::new();
    let (dir, victim) = planted(&env, &[".pid", "pid", ".second", "second"]);
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "1000"]).write();
    let id = env.id();
    let file = dir.join("pid");
    create(&env, &bundle, &id)
        .arg("--pid-file")
        .arg(&file)
        .run()
        .ok();
    untouched(&victim, &file);
    let pid = fs::read_to_string(&file).must("the pid file");
    assert_eq!(pid, env.pid(&id).to_string());
    env.orlop(&["start", &id]).run().ok();
    let file = dir.join("second");
    let exec = env.orlop(&["exec", "--pid-file"]).arg(&file);
    exec.args([&id, "true"]).run().ok();
    untouched(&victim, &file);
}

#[test]
fn timings_are_not_written_through_a_link() {
    let env = Env::new();
    let id = env.id();
    let names = [format!("{id}.json"), format!("{id}.txt")];
    let (dir, victim) = planted(&env, &[&names[0], &names[1]]);
    let mut bundle = env.bundle();
    bundle.args(&["true"]).write();
    let create = create(&env, &bundle, &id);
    create.env("ORLOP_TIMINGS", &dir).run().ok();
    for name in &names {
        untouched(&victim, &dir.join(name));
    }
}
