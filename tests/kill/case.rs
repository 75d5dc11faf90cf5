//! What is killed, and where: a command, and the surroundings that its container has.

use crate::device::Device;
use orlop_tests::{Bundle, Cmd, Env, Must, criu_path, only_v2, skip};
use serde_json::json;
use std::path::{Path, PathBuf};

/// An update that writes into several hierarchies.
const UPDATE: [&str; 8] = [
    "update",
    "--memory",
    "256m",
    "--pids-limit",
    "99",
    "--cpu-share",
    "500",
    "ID",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Start,
    Exec,
    Delete,
    Run,
    Update,
    Checkpoint,
    Restore,
}

impl Verb {
    pub(crate) fn is_criu(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Restore)
    }
}

/// What a container has besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum With {
    Nothing,
    /// A unit of systemd, where that runs.
    Unit,
    /// A network device of the host, in a namespace of its own or in one that is joined, and, on cgroup v2, a cgroup that is delegated
    /// to it.
    Device,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) verb: Verb,
    pub(crate) with: With,
}

impl Case {
    /// Tells whether the case can be had here, and why not, if not.
    pub(crate) fn possible(self) -> bool {
        let why = match self {
            Self { verb, .. } if verb.is_criu() => criu_path(&Env::new()).err(),
            Self {
                with: With::Unit, ..
            } if !Path::new("/run/systemd/system").is_dir() => {
                Some("systemd does not run here".to_owned())
            }
            _ => None,
        };
        if let Some(why) = &why {
            skip(&format!("{self:?}"), why);
        }
        why.is_none()
    }
}

/// A place in which one case is tried again and again.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) case: Case,
    pub(crate) env: Env,
    pub(crate) bundle: Bundle,
    pub(crate) device: Option<Device>,
    /// The search path by which a criu is found that works.
    path: Option<String>,
}

impl Scene {
    pub(crate) fn new(case: Case) -> Self {
        let env = Env::new();
        let mut bundle = env.bundle();
        bundle.args(&["sleep", "1000"]);
        let device = (case.with == With::Device).then(|| Device::new(&mut bundle));
        if device.is_some() && only_v2() {
            let delegated = json!({"run.oci.delegate-cgroup": "payload"});
            bundle.set("/annotations", delegated);
        }
        bundle.write();
        let path = case.verb.is_criu().then(|| criu_path(&env).must("criu"));
        let scene = Self {
            case,
            env,
            bundle,
            device,
            path,
        };
        if case.verb == Verb::Restore {
            scene.save();
        }
        scene
    }

    /// Saves a container, as which others come back.
    fn save(&self) {
        let id = self.env.start(&self.bundle);
        self.checkpoint(&id, &self.images(""), false).run().ok();
        self.env.orlop(&["delete", &id]).run().ok();
    }

    /// Prepares the runtime, with what it needs to find criu.
    pub(crate) fn orlop(&self, args: &[&str]) -> Cmd {
        let command = self.env.orlop(args);
        match &self.path {
            Some(path) => command.env("PATH", path),
            None => command,
        }
    }

    pub(crate) fn checkpoint(&self, id: &str, images: &Path, goes_on: bool) -> Cmd {
        let command = self.orlop(&["checkpoint", "--image-path"]).arg(images);
        let goes_on = goes_on.then_some("--leave-running");
        command.args(goes_on).arg(id)
    }

    /// The directory of the image of a container; `""` is that of the scene.
    pub(crate) fn images(&self, id: &str) -> PathBuf {
        self.env.dir.join(format!("images{id}"))
    }

    /// Prepares `create`, without the device: what it leaves of that is another matter.
    pub(crate) fn create(&self, id: &str) -> Cmd {
        let driver = (self.case.with == With::Unit).then_some("--systemd-cgroup");
        let create = self.env.orlop(&[]).args(driver).arg("create");
        create.arg("--bundle").arg(&self.bundle.dir).arg(id)
    }

    /// Brings container `id` to where the verb begins.
    pub(crate) fn prepare(&self, id: &str) {
        if let Some(device) = &self.device {
            device.renew(&self.env);
        }
        let verb = self.case.verb;
        if !matches!(verb, Verb::Create | Verb::Run | Verb::Restore) {
            self.create(id).run().ok();
        }
        if matches!(
            verb,
            Verb::Exec | Verb::Delete | Verb::Update | Verb::Checkpoint
        ) {
            self.env.orlop(&["start", id]).run().ok();
        }
    }

    /// The command that is killed.
    pub(crate) fn args(&self, id: &str) -> Vec<String> {
        let dir = self.bundle.dir.display().to_string();
        let images = |id| self.images(id).display().to_string();
        let words: &[&str] = match self.case.verb {
            Verb::Create => &["create", "--bundle", &dir, id],
            Verb::Start => &["start", id],
            Verb::Exec => &["exec", id, "true"],
            Verb::Delete => &["delete", "--force", id],
            Verb::Run => &["run", "--detach", "--bundle", &dir, id],
            Verb::Update => &UPDATE.map(|word| if word == "ID" { id } else { word }),
            Verb::Checkpoint => &["checkpoint", "--image-path", &images(id), id],
            Verb::Restore => &[
                "restore",
                "--detach",
                "--image-path",
                &images(""),
                "--bundle",
                &dir,
                id,
            ],
        };
        let driver = (self.case.with == With::Unit).then_some("--systemd-cgroup");
        let words = driver.iter().chain(words);
        words.map(|word| (*word).to_owned()).collect()
    }

    /// Runs the verb on `id` under killpoint; returns its result.
    pub(crate) fn killpoint(&self, flags: &[&str], id: &str) -> orlop_tests::Done {
        let command = self.env.cmd(env!("CARGO_BIN_EXE_killpoint"));
        let command = match &self.path {
            // criu traces, which nobody can who is traced.
            Some(path) => command.env("PATH", path).arg("--own"),
            None => command,
        };
        let command = command.args(flags).arg(orlop_tests::orlop());
        let command = command.arg("--root").arg(&self.env.root);
        command.args(self.args(id)).run()
    }
}
