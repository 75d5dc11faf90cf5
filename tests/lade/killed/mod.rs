//! Killed at every step: whatever moment all of a command's processes die at, nothing is lost or half there, and the next command works.
//!
//! A moment is the K-th system call of all threads and children together (`tests/bin/killany.rs`). ORLOP_POINTS says how many moments of each
//! command are tried (a random sample, which ORLOP_SEED repeats); ORLOP_LONG=1 tries 300.

mod few;

use few::{IMPORT_DOCKER, LIST, LOGIN, LOGOUT, MOUNT, PUSH_LIST, REPAIR, TAG, UNMOUNT};
use orlop_tests::registry::image::oci_archive;
use orlop_tests::registry::{Image, Layer, Registry};
use orlop_tests::{Done, Lade, Must};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

const SAMPLE: usize = 12;
/// Of what is much like another command.
const FEW: usize = 4;
const LONG: usize = 300;
/// What a kill may cost, of what had been sent.
const LOST: u64 = 2 << 20;

/// A command and what has to be there for it.
struct Case {
    name: &'static str,
    /// How many moments are tried, where nobody says.
    points: usize,
    /// Bytes of a piece of a large blob; none: as ever.
    piece: &'static str,
    args: fn(&Scene) -> Vec<String>,
    /// Brings the store to where the command begins; it may have been there already, whole or in part.
    prepare: fn(&Scene),
    /// What holds when the command has been run again, to its end.
    after: fn(&Scene),
}

/// A store and the registries beside it.
struct Scene {
    lade: Lade,
    from: Registry,
    to: Registry,
    image: Image,
    archive: PathBuf,
    tar: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let lade = Lade::new();
        let mut layers = vec![Layer::busybox()];
        layers.extend((1..4).map(|seed| Layer::noise(seed, 300_000)));
        let image = Image::new(layers);
        let from = Registry::new();
        from.serve("thing:one", &image);
        let archive = lade.env.dir.join("archive.tar");
        fs::write(&archive, oci_archive(&[("loaded:one", &image)])).must("the archive");
        let tar = lade.env.dir.join("root.tar");
        fs::write(&tar, &image.layers[1].tar).must("the tar");
        Self {
            lade,
            from,
            to: Registry::new(),
            image,
            archive,
            tar,
        }
    }

    fn name(&self) -> String {
        self.from.name("thing:one")
    }

    fn target(&self) -> String {
        self.to.name("copy:one")
    }

    /// Runs the case's command under `killany`.
    fn killany(&self, case: &Case, aim: &[&str]) -> Done {
        let lade = self.lade.cmd(&[]).env("LADE_PIECE", case.piece);
        // The engine's own line, behind killany's.
        lade.before(env!("CARGO_BIN_EXE_killany"), aim)
            .args((case.args)(self))
            .limit(Duration::from_secs(300))
            .run()
    }

    fn pulled(&self) {
        self.lade.ok(&["pull", "-q", &self.name()]);
    }

    /// Nothing is here but what belongs to an empty store; the trash is swept.
    fn emptied(&self) {
        for name in self.lade.ids() {
            self.lade.ok(&["rmi", "-f", &name]);
        }
        self.lade.ok(&["image", "prune", "-a", "-f"]);
        self.lade.swept();
    }

    fn whole(&self) {
        assert_eq!(self.lade.ids(), [self.image.id()]);
        self.lade.whole();
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const PULL: Case = Case {
    name: "pull",
    points: SAMPLE,
    piece: "",
    args: |scene| words(&["pull", "-q", &scene.name()]),
    prepare: Scene::emptied,
    after: Scene::whole,
};

const PUSH: Case = Case {
    name: "push",
    points: SAMPLE,
    piece: "",
    args: |scene| words(&["push", "-q", &scene.target()]),
    prepare: |scene| {
        scene.pulled();
        scene.lade.ok(&["tag", &scene.name(), &scene.target()]);
        scene.to.empty();
    },
    after: |scene| {
        let pushed = scene.to.manifest("copy", "one").map(|(_, bytes)| bytes);
        assert_eq!(pushed.as_ref(), Some(&scene.image.manifest));
        scene.whole();
    },
};

const LOAD: Case = Case {
    name: "load",
    points: SAMPLE,
    piece: "",
    args: |scene| words(&["load", "-q", "-i", &scene.archive.display().to_string()]),
    prepare: Scene::emptied,
    after: Scene::whole,
};

const RMI: Case = Case {
    name: "rmi",
    points: SAMPLE,
    piece: "",
    args: |scene| words(&["rmi", "-f", &scene.name()]),
    prepare: Scene::pulled,
    after: |scene| {
        assert!(scene.lade.ids().is_empty());
        scene.lade.swept();
        scene.lade.ok(&["system", "check"]);
    },
};

const PRUNE: Case = Case {
    name: "prune",
    points: SAMPLE,
    piece: "",
    args: |_| words(&["image", "prune", "-a", "-f"]),
    prepare: Scene::pulled,
    after: RMI.after,
};

const IMPORT: Case = Case {
    name: "import",
    points: SAMPLE,
    piece: "",
    args: |scene| words(&["import", &scene.tar.display().to_string(), "made:one"]),
    prepare: Scene::emptied,
    after: |scene| {
        assert!(scene.lade.names().contains(&"made:one".to_owned()));
        scene.lade.whole();
    },
};

const RUN: Case = Case {
    name: "run",
    points: SAMPLE,
    piece: "",
    args: |scene| words(&["run", "--rm", "--network", "none", &scene.name(), "true"]),
    prepare: Scene::pulled,
    after: |scene| {
        scene.lade.ok(&["image", "prune", "-f"]);
        scene.lade.swept();
        let left = scene.lade.files().into_iter();
        let left: Vec<_> = left
            .filter(|path| path.starts_with(scene.lade.data.join("containers")))
            .collect();
        assert!(left.len() <= 1, "{left:?}");
        scene.whole();
    },
};

/// Pieces of which a layer here has several.
const PIECE: &str = "65536";

const PULL_PIECES: Case = Case {
    name: "pull in pieces",
    points: FEW,
    piece: PIECE,
    ..PULL
};

const PUSH_PIECES: Case = Case {
    name: "push in pieces",
    points: FEW,
    piece: PIECE,
    ..PUSH
};

/// An image that was made here: its layer is packed for the first time.
const PUSH_MADE: Case = Case {
    name: "first push",
    points: FEW,
    piece: "",
    args: |scene| words(&["push", "-q", &scene.to.name("made:one")]),
    prepare: |scene| {
        scene.emptied();
        let (tar, name) = (scene.tar.display().to_string(), scene.to.name("made:one"));
        scene.lade.ok(&["import", &tar, &name]);
        scene.to.empty();
    },
    after: |scene| {
        let (_, manifest) = scene.to.manifest("made", "one").must("the manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).must("JSON");
        let layer = manifest["layers"][0]["digest"].as_str().must("a digest");
        let blob = scene.to.blob(layer).must("the layer");
        let mut tar = Vec::new();
        let mut unpacked = flate2::read::MultiGzDecoder::new(blob.as_slice());
        std::io::Read::read_to_end(&mut unpacked, &mut tar).must("gzip");
        let name = scene.to.name("made:one");
        let diff_id = scene.lade.inspect(&name, "{{index .RootFS.Layers 0}}");
        assert_eq!(orlop_tests::registry::digest(&tar), diff_id);
        scene.lade.whole();
    },
};

/// How many moments are tried, and the seed.
fn sample(usual: usize) -> (usize, u64) {
    let long = std::env::var_os("ORLOP_LONG").map(|_| LONG);
    let given = std::env::var("ORLOP_POINTS").map(|number| number.parse().must("ORLOP_POINTS"));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .must("the time")
        .as_secs();
    let seed = std::env::var("ORLOP_SEED").map_or(now, |seed| seed.parse().must("ORLOP_SEED"));
    (given.unwrap_or(long.unwrap_or(usual)), seed)
}

fn calls(scene: &Scene, case: &Case) -> u64 {
    (case.prepare)(scene);
    let done = scene.killany(case, &["--count"]).ok();
    let text = done.stderr();
    let line = text.lines().rfind(|line| line.ends_with(" calls"));
    let number = line.and_then(|line| line.split(' ').next()?.parse().ok());
    number.must(format!("a number of calls\n{done}"))
}

/// Kills the command once, at a moment, and looks at everything; then runs it to its end.
fn attempt(scene: &Scene, case: &Case, aim: &str, at: u64) -> bool {
    (case.prepare)(scene);
    scene.from.forget();
    let done = scene.killany(case, &[aim, &at.to_string()]);
    let reached = done.rc != 99;
    let lade = &scene.lade;
    // What was damaged before is mended, or still to be mended.
    if case.name != "check --repair" {
        lade.whole();
    }
    let args = (case.args)(scene);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let again = lade.cmd(&args).env("LADE_PIECE", case.piece).run();
    // What was done before the kill is not there to be done.
    let done = match case.name {
        "rmi" => "o such image",
        "image unmount" => "mounted nowhere",
        "image mount" => "mounted already",
        _ => "nothing else may fail",
    };
    let done = again.stderr().contains(done);
    assert!(again.rc == 0 || done, "after the kill\n{again}");
    if case.name.starts_with("pull") {
        let most = scene.image.size() + LOST + (1 << 16);
        assert!(
            scene.from.sent() <= most,
            "{} bytes for {}",
            scene.from.sent(),
            scene.image.size()
        );
    }
    (case.after)(scene);
    reached
}

fn sweep(case: &Case) {
    let scene = Scene::new();
    let all = calls(&scene, case);
    let (points, seed) = sample(case.points);
    let mut state = seed | 1;
    let mut missed = 0;
    let mut failures = Vec::new();
    for turn in 0..points {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let at = state % all + 1;
        // Of a container's processes also one alone: the engine, the runtime.
        let aim = if case.name == "run" && turn % 2 == 1 {
            "--one"
        } else {
            "--at"
        };
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            attempt(&scene, case, aim, at)
        }));
        match tried {
            Ok(reached) => missed += usize::from(!reached),
            Err(why) => {
                let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                failures.push(format!("{} killed {aim} {at} of {all}: {why}", case.name));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {points} moments (ORLOP_SEED={seed}):\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
    // The number of calls differs from run to run, most with the time that threads wait for each other.
    assert!(
        missed * 2 <= points,
        "{missed} of {points} moments were not reached (ORLOP_SEED={seed}, {all} calls)"
    );
}

#[test]
fn pull() {
    sweep(&PULL);
}

#[test]
fn push() {
    sweep(&PUSH);
}

#[test]
fn load() {
    sweep(&LOAD);
}

#[test]
fn rmi() {
    sweep(&RMI);
}

#[test]
fn prune() {
    sweep(&PRUNE);
}

#[test]
fn import() {
    sweep(&IMPORT);
}

#[test]
fn run() {
    sweep(&RUN);
}

#[test]
fn pull_in_pieces() {
    sweep(&PULL_PIECES);
}

#[test]
fn push_in_pieces() {
    sweep(&PUSH_PIECES);
}

#[test]
fn first_push() {
    sweep(&PUSH_MADE);
}

#[test]
fn tag() {
    sweep(&TAG);
}

#[test]
fn manifest_create() {
    sweep(&LIST);
}

#[test]
fn manifest_push() {
    sweep(&PUSH_LIST);
}

#[test]
fn login() {
    sweep(&LOGIN);
}

#[test]
fn logout() {
    sweep(&LOGOUT);
}

#[test]
fn image_mount() {
    sweep(&MOUNT);
}

#[test]
fn image_unmount() {
    sweep(&UNMOUNT);
}

#[test]
fn import_docker() {
    sweep(&IMPORT_DOCKER);
}

#[test]
fn check_and_repair() {
    sweep(&REPAIR);
}

#[test]
fn killany_kills_every_thread_and_child() {
    let lade = Lade::new();
    let program = env!("CARGO_BIN_EXE_killany");
    let script = "sh -c 'sleep 0.2; echo child' & echo parent; wait; echo end";
    let killany = |aim: &[&str]| {
        lade.env
            .cmd(program)
            .args(aim)
            .args(["/bin/busybox", "sh", "-c", script])
            .run()
    };
    let counted = killany(&["--count"]).ok().stderr();
    let all: u64 = counted
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .must(&counted);
    let done = killany(&["--at", &(all / 2).to_string()]).exits(137);
    std::thread::sleep(Duration::from_millis(400));
    assert!(
        !done.stdout().contains("child") && !done.stdout().contains("end"),
        "{done}"
    );
    killany(&["--at", "1000000"]).exits(99);
    killany(&["--one", "3"]).exits(137);
}
