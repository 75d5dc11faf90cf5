//! A place of its own for one test.

use crate::world::{cgroups, mountinfo, processes};
use crate::{Bundle, Cmd, Done, Must, Running, World, soon, sys};
use serde_json::Value;
use std::cell::Cell;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Returns the runtime under test: `$ORLOP`, or the release binary of this checkout.
#[track_caller]
pub fn orlop() -> PathBuf {
    let built = || {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .must("the checkout");
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| checkout.join("target"), PathBuf::from);
        target.join("release/orlop")
    };
    let path = std::env::var_os("ORLOP").map_or_else(built, PathBuf::from);
    assert!(
        path.is_file(),
        "no runtime at {}: build it with `cargo build --release -p orlop`, or set ORLOP",
        path.display()
    );
    path
}

/// A directory, a state root, a mount namespace and a tag for one test. Dropping it deletes all its containers and fails the
/// test when something is left.
#[derive(Debug)]
pub struct Env {
    pub dir: PathBuf,
    pub root: PathBuf,
    /// Part of every id, path and environment of this test, and of nothing else on the machine.
    pub tag: String,
    before: World,
    ids: Cell<u32>,
}

impl Env {
    /// Makes the place. The calling thread, and what it starts, gets a mount namespace of its own.
    #[track_caller]
    pub fn new() -> Self {
        let tag = format!(
            // Its end is marked: the tag of one test is not the beginning of another's.
            "ot{}x{}e",
            std::process::id(),
            SERIAL.fetch_add(1, Ordering::Relaxed)
        );
        sys::private_mounts().must("a mount namespace (these tests need root)");
        let dir = std::env::temp_dir().join(&tag);
        fs::create_dir(&dir).must(dir.display());
        // Open to the roots of user namespaces, whatever the caller's umask is.
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).must(dir.display());
        let root = dir.join("root");
        let before = World::look(&root, &tag);
        Self {
            dir,
            root,
            tag,
            before,
            ids: Cell::new(0),
        }
    }

    /// Returns a new container id.
    pub fn id(&self) -> String {
        self.ids.set(self.ids.get() + 1);
        format!("{}-{}", self.tag, self.ids.get())
    }

    /// Returns a new bundle.
    pub fn bundle(&self) -> Bundle {
        self.ids.set(self.ids.get() + 1);
        Bundle::make(
            self.dir.join(format!("bundle{}", self.ids.get())),
            &format!("ORLOP_TEST={}", self.tag),
        )
    }

    /// Prepares any program.
    pub fn cmd(&self, program: impl AsRef<std::ffi::OsStr>) -> Cmd {
        Cmd::new(program, &self.dir).env("ORLOP_TEST", &self.tag)
    }

    /// Prepares the runtime with this state root.
    #[track_caller]
    pub fn orlop(&self, args: &[&str]) -> Cmd {
        self.cmd(orlop()).arg("--root").arg(&self.root).args(args)
    }

    /// Writes the bundle and runs it in the foreground.
    #[track_caller]
    pub fn run(&self, bundle: &Bundle) -> Done {
        bundle.write();
        self.orlop(&["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(self.id())
            .run()
    }

    /// Writes the bundle and begins to run it in the foreground; returns the container's id, too.
    #[track_caller]
    pub fn spawn(&self, bundle: &Bundle) -> (String, Running) {
        let id = self.id();
        bundle.write();
        let command = self.orlop(&["run", "--bundle"]).arg(&bundle.dir);
        let running = command.arg(&id).spawn();
        (id, running)
    }

    /// Writes the bundle and creates a container; returns its id.
    #[track_caller]
    pub fn create(&self, bundle: &Bundle) -> String {
        let id = self.id();
        bundle.write();
        self.orlop(&["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(&id)
            .run()
            .ok();
        id
    }

    /// Creates and starts a container; returns its id.
    #[track_caller]
    pub fn start(&self, bundle: &Bundle) -> String {
        let id = self.create(bundle);
        self.orlop(&["start", &id]).run().ok();
        id
    }

    /// Runs `exec ID ARGS…`.
    #[track_caller]
    pub fn exec(&self, id: &str, args: &[&str]) -> Done {
        self.orlop(&["exec", id]).args(args).run()
    }

    /// Returns what `state` prints.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        self.orlop(&["state", id]).run().ok().json()
    }

    /// Returns the host pid of the container's init.
    #[track_caller]
    pub fn pid(&self, id: &str) -> i32 {
        let pid = self.state(id)["pid"].as_i64().must("pid in state");
        i32::try_from(pid).must("pid")
    }

    /// Waits until the container has this status.
    #[track_caller]
    pub fn reaches(&self, id: &str, status: &str) {
        crate::until(&format!("status {status} of {id}"), || {
            (self.state(id)["status"] == status).then_some(())
        });
    }

    /// Looks at what belongs to this test on the host.
    pub fn world(&self) -> World {
        World::look(&self.root, &self.tag)
    }

    /// Demands that the host becomes again as it was: at once, but for killed processes, which need a moment to go.
    #[track_caller]
    pub fn as_before(&self, before: &World, context: &str) {
        let left = self.left_since(before);
        assert!(
            left.is_empty(),
            "{context}\nthe host is not as before:\n  {}\ndirectory: {}",
            left.join("\n  "),
            self.dir.display()
        );
    }

    /// Returns what differs from `before`, when it still does after a moment.
    pub fn left_since(&self, before: &World) -> Vec<String> {
        let mut left = Vec::new();
        soon(Duration::from_millis(500), || {
            left = before.diff(&self.world());
            left.is_empty().then_some(())
        });
        left
    }

    /// Deletes every container of this state root; returns the complaints.
    fn delete_all(&self) -> Vec<String> {
        let ids = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name());
        let mut wrong = Vec::new();
        for id in ids.filter(|id| id.to_string_lossy().contains(&self.tag)) {
            let done = self.orlop(&["delete", "--force"]).arg(&id).run();
            if done.rc != 0 {
                wrong.push(done.to_string());
            }
        }
        wrong
    }

    /// Puts the host in order whatever the runtime did.
    fn clean(&self) {
        for pid in processes(&self.tag) {
            // It may have ended meanwhile.
            sys::kill(pid, libc::SIGKILL).unwrap_or_default();
        }
        let cgroups_gone = || {
            for cgroup in cgroups(&self.tag).iter().rev() {
                // Busy until the last process has gone; the loop comes back.
                fs::remove_dir(cgroup).unwrap_or_default();
            }
            cgroups(&self.tag).is_empty().then_some(())
        };
        soon(Duration::from_secs(2), cgroups_gone);
        self.remove_directory();
    }

    fn remove_directory(&self) {
        if std::env::var_os("ORLOP_KEEP").is_none() && self.unmount_below() {
            fs::remove_dir_all(&self.dir).unwrap_or_default();
        }
    }

    /// Unmounts everything below the directory, lest its removal reach through a bind mount; reports whether nothing is left.
    fn unmount_below(&self) -> bool {
        let below = |table: &str| -> Vec<String> {
            let points = table
                .lines()
                .filter_map(|line| line.split(' ').nth(4))
                .map(str::to_owned);
            points
                .filter(|point| Path::new(point).starts_with(&self.dir))
                .collect()
        };
        for point in below(&mountinfo()).iter().rev() {
            sys::umount(point).unwrap_or_default();
        }
        below(&mountinfo()).is_empty()
    }
}

impl Default for Env {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The panic is the news; a second one while it unwinds would abort the run.
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.delete_all()))
                .unwrap_or_default();
            self.clean();
            return;
        }
        let mut wrong = self.delete_all();
        let mut left = Vec::new();
        soon(Duration::from_secs(2), || {
            left = self.before.diff(&self.world());
            left.is_empty().then_some(())
        });
        if left.is_empty() {
            self.remove_directory();
        } else {
            self.clean();
        }
        wrong.extend(left);
        assert!(
            wrong.is_empty(),
            "left behind after delete --force of everything:\n  {}",
            wrong.join("\n  ")
        );
    }
}
