//! Checkpoint and restore, by a criu that works on this kernel.

mod foreign;
mod killed;
mod moves;
mod outside;
mod refused;
mod streams;
mod systemd;
mod told;

use orlop_tests::{Bundle, Cmd, Done, Env, Must, criu_path, hierarchies, skip, until};
use std::fs::File;
use std::path::{Path, PathBuf};

/// A place for one test, with a criu that works.
struct Place {
    env: Env,
    path: String,
    _alone: File,
}

impl Place {
    /// Returns `None`, with the reason said, where no criu works.
    fn new(case: &str) -> Option<Self> {
        let alone = hierarchies();
        let env = Env::new();
        match criu_path(&env) {
            Ok(path) => Some(Self {
                env,
                path,
                _alone: alone,
            }),
            Err(why) => {
                skip(case, &why);
                None
            }
        }
    }

    fn orlop(&self, args: &[&str]) -> Cmd {
        self.env.orlop(args).env("PATH", &self.path)
    }

    fn images(&self) -> PathBuf {
        self.env.dir.join("images")
    }

    /// Runs `checkpoint` with further options.
    fn checkpoint(&self, id: &str, options: &[&str]) -> Done {
        let images = self.images().display().to_string();
        let command = self.orlop(&["checkpoint", "--image-path", &images]);
        command.args(options).arg(id).run()
    }

    /// Prepares a detached `restore` with further options.
    fn restoring(&self, bundle: &Bundle, id: &str, options: &[&str]) -> Cmd {
        let images = self.images().display().to_string();
        let dir = bundle.dir.display().to_string();
        let command = self.orlop(&[
            "restore",
            "--detach",
            "--image-path",
            &images,
            "--bundle",
            &dir,
        ]);
        command.args(options).arg(id)
    }

    /// Saves a container with the given options, deletes it, and brings it back.
    #[track_caller]
    fn there_and_back(&self, bundle: &Bundle, id: &str, options: &[&str]) {
        self.checkpoint(id, options).ok();
        assert_eq!(self.env.state(id)["status"], "stopped");
        self.orlop(&["delete", id]).run().ok();
        self.restoring(bundle, id, options).run().ok();
        assert_eq!(self.env.state(id)["status"], "running");
    }
}

/// A bundle whose container may write to its root.
fn writable(env: &Env) -> Bundle {
    let mut bundle = env.bundle();
    bundle.set("/root/readonly", serde_json::json!(false));
    bundle
}

/// A container that counts in `/tmp/count`.
fn counter(env: &Env) -> Bundle {
    let mut bundle = writable(env);
    bundle.sh(
        "i=0; while :; do i=$((i+1)); echo $i > /tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done",
    );
    bundle
}

/// What is in `/tmp/count` now.
fn count(bundle: &Bundle) -> u64 {
    let file = bundle.rootfs().join("tmp/count");
    until("a number in /tmp/count", || {
        std::fs::read_to_string(&file).ok()?.trim().parse().ok()
    })
}

/// Waits until the counter has passed a number.
#[track_caller]
fn passes(bundle: &Bundle, number: u64) -> u64 {
    until(&format!("a count above {number}"), || {
        Some(count(bundle)).filter(|count| *count > number)
    })
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).must(file.display())
}
