//! Containers of an ordinary user: without root, with ranges of ids by newuidmap(1) and with the own id alone; and of a root that is
//! one in a user namespace only. What needs a delegated cgroup runs where systemd can give one, in the virtual machine.

mod attacks;
mod cgroup;
mod config;
mod delegated;
mod life;
mod namespace;

use orlop_tests::{Bundle, Cmd, Done, Env, Must, copy_program, orlop, skip, sys, until};
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

/// Nobody on a usual machine has this id, nor this range.
const NOBODYS: u32 = 73_001;
const RANGE: (u32, u32) = (730_000_000, 65_536);

/// The helper of the virtual machine that runs something as its ordinary user, in a delegated cgroup.
const AS_USER: &str = "/usr/local/bin/as-orlop";

/// An ordinary user with a directory of its own, in the mount namespace of one test.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) env: Env,
    pub(crate) uid: u32,
    gid: u32,
    /// The first of its subordinate ids, and how many there are.
    pub(crate) range: (u32, u32),
    runtime: PathBuf,
    /// Files of the host that are covered.
    covered: Vec<&'static str>,
    delegated: bool,
}

impl User {
    /// Makes the user in the test's own mount namespace: the machine's files stay as they are. None where the kernel gives an ordinary
    /// user no user namespace.
    #[track_caller]
    pub(crate) fn new(case: &str) -> Option<Self> {
        let env = Env::new();
        let mut user = Self {
            uid: NOBODYS,
            gid: NOBODYS,
            range: RANGE,
            runtime: env.dir.join("own/run"),
            covered: Vec::new(),
            delegated: false,
            env,
        };
        let line = format!("ot{NOBODYS}:{}:{}\n", RANGE.0, RANGE.1);
        let passwd = fs::read_to_string("/etc/passwd").must("/etc/passwd");
        let passwd = format!("{passwd}ot{NOBODYS}:x:{NOBODYS}:{NOBODYS}::/:/bin/sh\n");
        for (file, text) in [
            ("/etc/passwd", &passwd),
            ("/etc/subuid", &line),
            ("/etc/subgid", &line),
        ] {
            user.cover(file, text);
        }
        user.prepare();
        user.usable(case).then_some(user)
    }

    /// Returns the virtual machine's user, in a delegated cgroup of its own systemd; None elsewhere.
    #[track_caller]
    pub(crate) fn delegated(case: &str) -> Option<Self> {
        if !Path::new(AS_USER).exists() || !orlop_tests::only_v2() {
            skip(case, "no user here has a delegated cgroup of version 2");
            return None;
        }
        let env = Env::new();
        let text = |file| fs::read_to_string(file).must(file);
        let field = |text: &str, index: usize| {
            let line = text.lines().find(|line| line.starts_with("orlop:"));
            let field = line.and_then(|line| line.split(':').nth(index)?.parse().ok());
            field.must("the user orlop")
        };
        let subuid = text("/etc/subuid");
        let uid = field(&text("/etc/passwd"), 2);
        let user = Self {
            uid,
            gid: field(&text("/etc/passwd"), 3),
            range: (field(&subuid, 1), field(&subuid, 2)),
            runtime: format!("/run/user/{uid}").into(),
            covered: Vec::new(),
            delegated: true,
            env,
        };
        user.prepare();
        user.usable(case).then_some(user)
    }

    /// Lays a file over one of the host's, which need not be there.
    fn cover(&mut self, file: &'static str, text: &str) {
        let name = Path::new(file).file_name().must(file);
        let own = self.env.dir.join(name);
        fs::write(&own, text).must(own.display());
        fs::set_permissions(&own, Permissions::from_mode(0o644)).must(own.display());
        assert!(
            Path::new(file).exists(),
            "{file} is missing: install uidmap (hack/deps test)"
        );
        sys::mount(&own, file, "", libc::MS_BIND, "").must(file);
        self.covered.push(file);
    }

    fn prepare(&self) {
        // The checkout may lie where no other user looks.
        let own = self.env.dir.join("own");
        fs::create_dir_all(own.join("run")).must(own.display());
        copy_program(&orlop(), &own.join("orlop"));
        fs::set_permissions(own.join("run"), Permissions::from_mode(0o700)).must(own.display());
        self.give(&own);
    }

    fn usable(&self, case: &str) -> bool {
        let tried = self.cmd("unshare").args(["--user", "true"]).run();
        if tried.rc != 0 {
            skip(case, "an ordinary user gets no user namespace here");
        }
        tried.rc == 0
    }

    /// Gives a directory, and what is in it, to the user.
    pub(crate) fn give(&self, path: &Path) {
        lchown(path, Some(self.uid), Some(self.gid)).must(path.display());
        if path.symlink_metadata().must(path.display()).is_dir() {
            for entry in fs::read_dir(path).must(path.display()) {
                self.give(&entry.must("an entry").path());
            }
        }
    }

    /// Prepares a program that the user runs.
    pub(crate) fn cmd(&self, program: &str) -> Cmd {
        if self.delegated {
            let cmd = self.env.cmd(AS_USER).args(["env", "-C"]);
            let tag = format!("ORLOP_TEST={}", self.env.tag);
            return cmd.arg(self.env.dir.join("own")).args([&tag, program]);
        }
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        let args = ["--reuid", &uid, "--regid", &gid, "--clear-groups", program];
        let cmd = self.env.cmd("setpriv").args(args);
        cmd.dir(&self.env.dir.join("own"))
            .env("XDG_RUNTIME_DIR", &self.runtime)
    }

    /// Prepares the runtime, as the user runs it.
    pub(crate) fn orlop(&self, args: &[&str]) -> Cmd {
        let program = self.env.dir.join("own/orlop");
        let program = program.to_str().must("a plain path");
        self.cmd(program).args(args)
    }

    /// Where the runtime keeps the user's containers.
    pub(crate) fn state_root(&self) -> PathBuf {
        self.runtime.join("orlop")
    }

    /// Returns a new bundle that is the user's, with the own id alone mapped.
    pub(crate) fn bundle(&self) -> Bundle {
        let mut bundle = self.env.bundle();
        self.give(&bundle.dir);
        bundle.namespace("user", None);
        // What a user's own `orlop spec --rootless` leaves out.
        bundle.config["mounts"][2]["options"] = json!([
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620"
        ]);
        if let Some(linux) = bundle.config["linux"].as_object_mut() {
            linux.remove("resources");
        }
        self.map(&mut bundle, Map::Single);
        bundle
    }

    /// Maps ids of the user.
    pub(crate) fn map(&self, bundle: &mut Bundle, map: Map) {
        let list = |own: u32| match map {
            Map::Single => json!([{"containerID": 0, "hostID": own, "size": 1}]),
            Map::Ranges => json!([
                {"containerID": 0, "hostID": own, "size": 1},
                {"containerID": 1, "hostID": self.range.0, "size": 1000},
                {"containerID": 1001, "hostID": self.range.0 + 1000, "size": 64_000},
            ]),
        };
        bundle.set("/linux/uidMappings", list(self.uid));
        bundle.set("/linux/gidMappings", list(self.gid));
    }

    /// Writes the bundle and runs it.
    #[track_caller]
    pub(crate) fn run(&self, bundle: &Bundle) -> Done {
        bundle.write();
        self.orlop(&["run", "--bundle"])
            .arg(&bundle.dir)
            .arg(self.env.id())
            .run()
    }

    /// Writes the bundle and creates a container; returns its id.
    #[track_caller]
    pub(crate) fn create(&self, bundle: &Bundle) -> String {
        bundle.write();
        let id = self.env.id();
        self.orlop(&["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(&id)
            .run()
            .ok();
        id
    }

    /// Creates and starts a container; returns its id.
    #[track_caller]
    pub(crate) fn start(&self, bundle: &Bundle) -> String {
        let id = self.create(bundle);
        self.orlop(&["start", &id]).run().ok();
        id
    }

    /// Returns what `state` prints.
    #[track_caller]
    pub(crate) fn state(&self, id: &str) -> Value {
        self.orlop(&["state", id]).run().ok().json()
    }

    /// Returns the host's id of the container's process.
    #[track_caller]
    pub(crate) fn pid(&self, id: &str) -> i32 {
        let pid = self.state(id)["pid"].as_i64().must("pid in state");
        i32::try_from(pid).must("pid")
    }

    /// Waits until the container has this status.
    #[track_caller]
    pub(crate) fn reaches(&self, id: &str, status: &str) {
        until(&format!("status {status} of {id}"), || {
            (self.state(id)["status"] == status).then_some(())
        });
    }

    /// The user on the host to whom a process belongs.
    pub(crate) fn owner_of(pid: i32) -> u32 {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).must(&path);
        let line = text.lines().find_map(|line| line.strip_prefix("Uid:"));
        let uid = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        uid.must("Uid")
    }

    /// The owner and the permissions of a file.
    pub(crate) fn mode(path: &Path) -> (u32, u32) {
        let found = fs::metadata(path).must(path.display());
        (found.uid(), found.mode() & 0o7777)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let root = self.state_root();
        for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if id.contains(&self.env.tag) {
                let done = self.orlop(&["delete", "--force", &id]).run();
                assert!(done.rc == 0 || std::thread::panicking(), "{done}");
            }
        }
        for file in &self.covered {
            sys::umount(file).unwrap_or_default();
        }
    }
}

/// How much of the ids is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    /// The own id, as 0.
    Single,
    /// Several ranges of /etc/subuid besides.
    Ranges,
}
