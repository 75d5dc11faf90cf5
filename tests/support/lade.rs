//! A place of its own for one test of `lade`: data root, run root, home, and commands that know them.

use crate::{Cmd, Done, Env, Must, orlop, soon, world};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a caller's environment may hold that would lead a test elsewhere.
const FOREIGN: [&str; 14] = [
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "REGISTRY_AUTH_FILE",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Returns the engine under test: `$LADE`, or the release binary beside the runtime.
#[track_caller]
pub fn lade() -> PathBuf {
    let beside = || orlop().with_file_name("lade");
    let path = std::env::var_os("LADE").map_or_else(beside, PathBuf::from);
    assert!(
        path.is_file(),
        "no engine at {}: build it with hack/build, or set LADE",
        path.display()
    );
    path
}

/// An engine's data root and what belongs to it. Dropping it looks, as `Env` does, whether anything is left.
#[derive(Debug)]
pub struct Lade {
    pub env: Env,
    pub data: PathBuf,
    pub run: PathBuf,
    pub home: PathBuf,
}

impl Lade {
    #[track_caller]
    pub fn new() -> Self {
        let env = Env::new();
        let data = env.dir.join("data");
        let run = env.dir.join("run");
        let home = env.dir.join("home");
        fs::create_dir(&home).must(home.display());
        Self {
            env,
            data,
            run,
            home,
        }
    }

    /// Prepares a command of the engine.
    #[track_caller]
    pub fn cmd(&self, args: &[&str]) -> Cmd {
        self.at(&self.data, args)
    }

    /// Prepares a command with another data root.
    #[track_caller]
    pub fn at(&self, data: &Path, args: &[&str]) -> Cmd {
        self.hermetic(self.env.cmd(lade()))
            .arg("--data-root")
            .arg(data)
            .arg("--run-root")
            .arg(&self.run)
            .args(args)
    }

    /// Prepares a program of somebody else's in this home.
    pub fn other(&self, program: &str) -> Cmd {
        self.hermetic(self.env.cmd(program))
    }

    fn hermetic(&self, cmd: Cmd) -> Cmd {
        cmd.with(|command| {
            for name in FOREIGN {
                command.env_remove(name);
            }
        })
        .env("HOME", &self.home)
        .env("LADE_RUNTIME", orlop())
        .limit(Duration::from_secs(120))
    }

    /// Runs a command of the engine, which has to succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Done {
        self.cmd(args).run().ok()
    }

    /// Runs a command and returns its stdout without the blanks around it.
    #[track_caller]
    pub fn says(&self, args: &[&str]) -> String {
        self.ok(args).stdout().trim().to_owned()
    }

    /// Runs a command that has to fail with 1 and one line (a hint may follow) that holds every one of `parts`.
    #[track_caller]
    pub fn fails(&self, args: &[&str], parts: &[&str]) -> Done {
        let done = self.cmd(args).run();
        if let Some(complaint) = complaint(&done, &[1], parts) {
            panic!("{complaint}\n{done}");
        }
        done
    }

    /// Demands that the store is whole: everything in it is what it should be, and nothing is half there.
    #[track_caller]
    pub fn whole(&self) {
        self.ok(&["system", "check"]);
        for id in self.ids() {
            self.ok(&["image", "verify", &id]);
        }
    }

    /// The ids of all images, in full.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .says(&["images", "-a", "-q", "--no-trunc"])
            .lines()
            .map(str::to_owned)
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// `REPOSITORY:TAG` of all images.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let text = self.says(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Returns what `inspect` says of an image through a template.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.says(&["image", "inspect", "--format", template, name])
    }

    /// Waits until no process works on the data root any more.
    #[track_caller]
    pub fn no_process(&self) {
        let data = self.data.display().to_string();
        let none = || {
            let all = fs::read_dir("/proc").into_iter().flatten().flatten();
            let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
            let ours = |line: &Vec<u8>| String::from_utf8_lossy(line).contains(&data);
            (!lines.into_iter().any(|line| ours(&line))).then_some(())
        };
        soon(Duration::from_secs(10), none).must("no process is left within 10 s");
    }

    /// Waits until nothing waits to be deleted.
    #[track_caller]
    pub fn swept(&self) {
        let trash = self.data.join("trash");
        let empty = || {
            let entries = fs::read_dir(&trash).into_iter().flatten().flatten();
            let left = entries.filter(|entry| entry.file_name() != "lock").count();
            (left == 0).then_some(())
        };
        soon(Duration::from_secs(10), empty).must("the trash is empty within 10 s");
    }

    /// The bytes that the data root takes on disk, as `du` counts them.
    pub fn disk(&self) -> u64 {
        disk(&self.data)
    }

    /// Every path in the data root but those of the database, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(&self.data, &mut |path, _| files.push(path.to_owned()));
        files.retain(|path| {
            !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("db.sqlite"))
        });
        files.sort();
        files
    }

    /// The ids of all containers.
    pub fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data.join("containers"));
        let names = entries.into_iter().flatten().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// What there is of a container beside its directory: processes, cgroups, and what the runtime knows of it.
    pub fn left_of(&self, id: &str) -> Vec<String> {
        let cgroups = world::cgroups(id).into_iter();
        let mut left: Vec<String> = cgroups
            .map(|path| format!("cgroup {}", path.display()))
            .collect();
        left.extend(
            world::processes(id)
                .iter()
                .map(|pid| format!("process {pid}")),
        );
        let states = self.states().into_iter().map(|state| state.join(id));
        let states = states.filter(|state| state.exists());
        left.extend(states.map(|state| format!("state {}", state.display())));
        left
    }

    /// The processes that a process has started.
    pub fn children(pid: i32) -> Vec<i32> {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        let threads = threads.into_iter().flatten().flatten();
        let text = threads.map(|thread| fs::read_to_string(thread.path().join("children")));
        let text: String = text.map(Result::unwrap_or_default).collect();
        text.split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect()
    }

    /// Where the runtime keeps its state, of each data root.
    fn states(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.run.join("runtime"));
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// The unpacked files of a layer.
    pub fn layer(&self, diff_id: &str) -> PathBuf {
        let hex = diff_id.trim_start_matches("sha256:");
        self.data.join("layers/sha256").join(hex).join("fs")
    }
}

impl Drop for Lade {
    /// Whatever a test was looking at, its containers end before what is known of them is removed.
    fn drop(&mut self) {
        for state in self.states() {
            for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
                let mut delete = std::process::Command::new(orlop());
                delete.arg("--root").arg(&state).args(["delete", "--force"]);
                // A file of the runtime's own is no container.
                drop(delete.arg(entry.file_name()).output());
            }
        }
    }
}

impl Default for Lade {
    fn default() -> Self {
        Self::new()
    }
}

/// Says what is wrong with a refusal: another exit code, more than one line (lines that begin with `hint:` or `warning:`, and
/// progress on lines of its own, do not count), or a part that is missing; `a|b` is either of the two.
pub fn complaint(done: &Done, codes: &[i32], parts: &[&str]) -> Option<String> {
    if !codes.contains(&done.rc) {
        return Some(format!("wanted one of rc {codes:?}"));
    }
    let text = done.stderr();
    let lines: Vec<&str> = text.lines().filter(|line| counts(line)).collect();
    let [line] = lines.as_slice() else {
        return Some(format!("wanted one line on stderr, not {}", lines.len()));
    };
    let missing = parts
        .iter()
        .find(|part| !part.split('|').any(|one| text.contains(one)));
    missing.map(|part| format!("wanted {part:?} on stderr, not {line:?}"))
}

/// Tells whether a line of stderr is the message, and not a hint, a warning or progress.
fn counts(line: &str) -> bool {
    let progress = |line: &str| {
        let Some((first, _)) = line.split_once(": ") else {
            return false;
        };
        first.len() == 12 && first.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let beside = ["hint:", "warning:", "WARNING:", "Unable to find image"];
    !beside.iter().any(|word| line.starts_with(word))
        && !line.contains(": Pulling from ")
        && !progress(line)
}

/// The bytes that a tree takes on disk; what has several names counts once.
pub fn disk(root: &Path) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    let mut sum = 0;
    walk(root, &mut |_, metadata| {
        if metadata.nlink() == 1
            || metadata.is_dir()
            || seen.insert((metadata.dev(), metadata.ino()))
        {
            sum += metadata.blocks() * 512;
        }
    });
    sum
}

fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    // Somebody may be deleting it at this moment.
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    visit(path, &metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path(), visit);
        }
    }
}
