//! Known attacks on runtimes, tried for real: the host stays untouched, and the container is refused in one line or safe.

mod cgroup;
mod devices;
mod exe;
mod exec;
mod host;
mod mounts;
mod neighbour;
mod outputs;
mod paths;
mod procfs;
mod records;
mod working_directory;

use orlop_tests::{Bundle, Done, Env, Must};
use std::fs;
use std::path::{Path, PathBuf};

/// A directory on the host that no container may reach, with a file and a directory in it.
struct Victim {
    dir: PathBuf,
}

impl Victim {
    fn new(env: &Env) -> Self {
        let dir = env.dir.join("victim");
        fs::create_dir_all(dir.join("sub")).must("a victim");
        fs::write(dir.join("file"), "untouched").must("a victim's file");
        Self { dir }
    }

    /// Demands that nothing was added, removed, changed or covered by a mount.
    #[track_caller]
    fn untouched(&self, context: &str) {
        let names = |dir: &Path| -> Vec<_> {
            let entries = fs::read_dir(dir).must("the victim").flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(
            names(&self.dir),
            ["file", "sub"],
            "{context}: the host's directory is touched"
        );
        let sub = names(&self.dir.join("sub"));
        assert!(sub.is_empty(), "{context}: made on the host: {sub:?}");
        assert_eq!(
            fs::read_to_string(self.dir.join("file")).must("the file"),
            "untouched",
            "{context}"
        );
        let table = fs::read_to_string("/proc/thread-self/mountinfo").must("mountinfo");
        assert!(
            !table.contains(&self.dir.display().to_string()),
            "{context}: mounted on the host:\n{table}"
        );
    }
}

/// Runs the bundle; demands success, or a refusal in one line that names one of `names` and leaves nothing.
#[track_caller]
fn safe_or_refused(env: &Env, bundle: &Bundle, names: &str) -> Done {
    let before = env.world();
    let done = env.run(bundle);
    if done.rc != 0
        && let Some(complaint) = done.complaint(1, &[names])
    {
        panic!("{complaint}\n{done}");
    }
    env.as_before(&before, &done.to_string());
    done
}
