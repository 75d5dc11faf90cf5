//! Cgroups of this machine: made, filled, limited, frozen, killed and removed. Needs root and cgroup v1 or hybrid.

mod life;
mod limits;
mod private;
mod unified;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cgroup::{Cgroup, CgroupPath, Error, Kind, Layout, Plan, plan};

/// A container's cgroups below a parent of this test's own; on drop everything in them dies and nothing may be left.
struct Case {
    cgroup: Cgroup,
    name: String,
}

impl Case {
    /// Makes cgroups with the given resources, or says why this host cannot.
    fn new(name: &str, resources: &str) -> Option<Self> {
        let plan = planned(name, resources)?;
        let cgroup = make(&plan).unwrap_or_else(|error| panic!("{resources}: {error}"));
        Some(Self {
            cgroup,
            name: name.to_owned(),
        })
    }

    /// The same on the cgroup v2 mount alone, whatever else is mounted here: as on a host that has only that.
    fn unified(name: &str, resources: &str) -> Option<Self> {
        let mut layout = Layout::probe().expect("proc");
        layout.v1.clear();
        let plan = planned_on(&layout, name, resources)?;
        let cgroup = make(&plan).unwrap_or_else(|error| panic!("{resources}: {error}"));
        Some(Self {
            cgroup,
            name: name.to_owned(),
        })
    }

    /// Whether there is nothing here but cgroup v2.
    fn only_v2(&self) -> bool {
        self.cgroup.dirs.iter().all(cgroup::Dir::is_unified)
    }

    /// Returns the directory of a controller, or of cgroup v2 by the name `unified`.
    fn dir(&self, controller: &str) -> PathBuf {
        let has = |d: &&cgroup::Dir| {
            d.hierarchy == controller || d.controllers.iter().any(|c| c == controller)
        };
        self.cgroup
            .dirs
            .iter()
            .find(has)
            .unwrap_or_else(|| panic!("no {controller} here"))
            .path
            .clone()
    }

    fn read(&self, controller: &str, file: &str) -> String {
        read(&self.dir(controller).join(file))
    }

    /// Starts a shell in the cgroups; the script runs once it is in them.
    fn shell(&self, script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("read go; {script}"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        for dir in &self.cgroup.dirs {
            std::fs::write(dir.path.join("cgroup.procs"), child.id().to_string()).expect("join");
        }
        child
            .stdin
            .take()
            .expect("piped")
            .write_all(b"go\n")
            .expect("the shell reads");
        child
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let killed = self.cgroup.kill_all(9);
        let removed = self.cgroup.remove();
        if !std::thread::panicking() {
            killed.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            removed.unwrap_or_else(|errors| panic!("{}: {errors:?}", self.name));
            assert_eq!(left(&self.name), Vec::<PathBuf>::new());
        }
    }
}

/// Carries out a whole plan; on failure it removes what it made.
fn make(plan: &Plan) -> Result<Cgroup, Error> {
    let mut cgroup = Cgroup::create(plan)?;
    match cgroup
        .limit(plan)
        .and_then(|()| cgroup.restrict_devices(plan))
    {
        Ok(()) => Ok(cgroup),
        Err(error) => {
            cgroup.remove().expect("nobody is in it");
            Err(error)
        }
    }
}

fn read(path: &Path) -> String {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_owned()
}

/// Returns the top of a test's cgroups: parents are made, too.
fn top(name: &str) -> String {
    format!("orlop-test-{}-{name}", std::process::id())
}

/// Plans a test's cgroups, or says on stderr why it is skipped.
fn planned(name: &str, resources: &str) -> Option<Plan> {
    planned_on(&Layout::probe().expect("proc"), name, resources)
}

fn planned_on(layout: &Layout, name: &str, resources: &str) -> Option<Plan> {
    // Our own directory in proc belongs to our effective user.
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("proc")) != 0 {
        return skip(name, "not root");
    }
    if layout.kind() == Kind::None {
        return skip(name, "no cgroups here");
    }
    let path = CgroupPath::parse(Some(&format!("/{}/inner", top(name))), "id").expect("plain");
    let resources =
        serde_json::from_str(resources).unwrap_or_else(|error| panic!("{resources}: {error}"));
    Some(plan(layout, &path, Some(&resources)).unwrap_or_else(|error| panic!("{name}: {error}")))
}

fn skip<T>(name: &str, reason: &str) -> Option<T> {
    // Straight to stderr: the test harness swallows what the print macros write.
    writeln!(std::io::stderr(), "skipped {name}: {reason}").expect("stderr");
    None
}

/// Finds what a test has left in any hierarchy.
fn left(name: &str) -> Vec<PathBuf> {
    let layout = Layout::probe().expect("proc");
    let tops = layout
        .v1
        .iter()
        .chain(&layout.unified)
        .map(|h| h.mount.join(top(name)));
    tops.filter(|path| path.exists()).collect()
}
