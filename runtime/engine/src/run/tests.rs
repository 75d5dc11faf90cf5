//! Real containers, by the runtime that was built beside this test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::Config;
use serde_json::json;
use store::Store;

use super::sweep::sweep;
use super::{Ended, Ground, Made, Run, foreground};
use crate::spec::{Network, Options};

struct Place {
    dir: PathBuf,
    store: Store,
    state: PathBuf,
    runtime: PathBuf,
    layer: PathBuf,
}

/// The runtime that was built in the same folder as this test, or for release beside it.
fn runtime() -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let target = test.ancestors().nth(3).expect("the target folder");
    let built = ["debug/orlop", "release/orlop"].map(|path| target.join(path));
    let mut built = built.into_iter().filter(|path| path.exists());
    built.next().expect("cargo build -p orlop comes first")
}

impl Place {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("run-{name}-{}", std::process::id()));
        fs::create_dir(&dir).expect("a fresh directory");
        let dir = dir.canonicalize().expect("its path");
        let layer = dir.join("layer");
        for below in ["bin", "etc", "tmp"] {
            fs::create_dir_all(layer.join(below)).expect("a directory of the image");
        }
        fs::copy("/bin/busybox", layer.join("bin/busybox")).expect("busybox-static is needed");
        for name in ["sh", "true", "cat", "id", "sleep", "touch", "env", "kill"] {
            symlink("busybox", layer.join("bin").join(name)).expect("a program");
        }
        fs::write(
            layer.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nu:x:7:8::/:\n",
        )
        .expect("users");
        fs::write(layer.join("etc/group"), "u:x:8:\nmore:x:9:u\n").expect("groups");
        let runtime = runtime();
        Self {
            store: Store::open(&dir.join("data")).expect("a store"),
            state: dir.join("run/runtime"),
            runtime,
            layer,
            dir,
        }
    }

    fn ground(&self) -> Ground<'_> {
        Ground {
            store: &self.store,
            runtime: &self.runtime,
            state: &self.state,
        }
    }

    fn run(&self, command: &[&str], options: Options) -> anyhow::Result<Ended> {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Env": ["A=1"] },
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let config = Config::parse(config.to_string().as_bytes())?;
        let run = Run {
            options: Options {
                command: command.iter().map(|&word| word.to_owned()).collect(),
                network: Network::None,
                ..options
            },
            remove: true,
            interactive: false,
        };
        let made = Made {
            config: &config,
            layers: std::slice::from_ref(&self.layer),
        };
        foreground(made, &run, self.ground(), self.store.container()?)
    }

    /// Nothing is left of any container.
    fn check_clean(&self) {
        for dir in [self.dir.join("data/containers"), self.state.clone()] {
            let left = fs::read_dir(&dir).map(|list| {
                let names = list.flatten().map(|entry| entry.file_name());
                names
                    .filter(|name| !name.as_encoded_bytes().starts_with(b"."))
                    .count()
            });
            assert_eq!(left.unwrap_or(0), 0, "{}", dir.display());
        }
        let table = fs::read_to_string("/proc/self/mountinfo").expect("the mount table");
        assert!(!table.contains(&*self.dir.to_string_lossy()), "{table}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that failed may have left a container, which nobody would know of without its state.
        sweep(&self.ground()).ok();
        fs::remove_dir_all(&self.dir).ok();
    }
}

fn code(code: u8) -> Ended {
    Ended {
        code,
        ..Ended::default()
    }
}

#[test]
fn the_code_is_the_programs() {
    let place = Place::new("codes");
    let sh = |script: &str| place.run(&["/bin/sh", "-c", script], Options::default());
    for (script, want) in [
        ("true", 0),
        ("exit 7", 7),
        // The kernel keeps signals from the first process, those of its own as well.
        ("kill -9 $$; exit 3", 3),
        ("touch /new && cat /etc/hosts | grep -q localhost", 0),
        ("test \"$A$HOSTNAME\" = \"1$(cat /etc/hostname)\"", 0),
        ("test \"$(cat /sys/class/net/lo/operstate)\" = unknown", 0),
        ("test \"$(ls /sys/class/net)\" = lo", 0),
        ("test \"$(id)\" = 'uid=0(root) gid=0 groups=0'", 0),
    ] {
        assert_eq!(sh(script).expect(script), code(want), "{script}");
    }
    let user = Options {
        user: Some("u".to_owned()),
        ..Options::default()
    };
    let script = "test \"$(id -u) $(id -g) $(id -G)\" = '7 8 8 9'";
    let ended = place.run(&["/bin/sh", "-c", script], user);
    assert_eq!(ended.expect("a run"), code(0));
    assert!(!place.layer.join("new").exists());
    place.check_clean();
}

#[test]
fn what_cannot_run_is_told_apart() {
    let place = Place::new("refused");
    for (program, want) in [("nope", 127), ("/bin/nope", 127), ("/etc/passwd", 126)] {
        let ended = place.run(&[program], Options::default()).expect("a run");
        assert_eq!(ended.code, want, "{ended:?}");
        assert!(ended.refused.is_some_and(|why| why.contains(program)));
    }
    let nobody = Options {
        user: Some("nobody".to_owned()),
        ..Options::default()
    };
    let error = place.run(&["true"], nobody).expect_err("no such user");
    assert_eq!(
        error.to_string(),
        "unable to find user nobody: no matching entries in passwd file"
    );
    place.check_clean();
}

#[test]
fn without_a_runtime_nothing_is_left() {
    let mut place = Place::new("none");
    place.runtime = PathBuf::from("/nowhere/orlop");
    let error = place
        .run(&["true"], Options::default())
        .expect_err("no runtime");
    assert_eq!(
        error.to_string(),
        "start the runtime /nowhere/orlop: not found; install orlop, or say where it is with --runtime"
    );
    place.check_clean();
}

/// Not a test: the run that the next one kills.
#[test]
#[ignore = "runs in a process that is killed"]
fn a_long_run() {
    let place = Place::new("killed");
    let ended = place.run(&["/bin/sleep", "60"], Options::default());
    fs::write(place.dir.join("ended"), format!("{ended:?}")).expect("tell");
    std::mem::forget(place);
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{what} in ten seconds");
}

/// Finds the process whose command line has all of these words.
fn process(words: &[&str]) -> Option<i32> {
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        words.iter().all(|word| line.contains(word))
    })
}

fn check_killed(victim_is_runtime: bool) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--ignored", "--exact", "run::tests::a_long_run"])
        .stdout(Stdio::null())
        .spawn()
        .expect("start the run");
    let dir = std::env::temp_dir().join(format!("run-killed-{}", child.id()));
    let text = dir.to_string_lossy().into_owned();
    let attending = wait_for("a runtime", || process(&[&text, "run --bundle"]));
    let state = dir.join("run/runtime");
    let id = wait_for("a container", || {
        let id = fs::read_dir(&state).ok()?.flatten().next()?.file_name();
        let procs = fs::read_to_string(state.join(&id).join("state.json")).is_ok();
        procs.then(|| id.to_string_lossy().into_owned())
    });
    let init = wait_for("a program", || {
        let pid =
            fs::read_to_string(format!("/proc/{attending}/task/{attending}/children")).ok()?;
        pid.split_whitespace().next()?.parse::<i32>().ok()
    });
    let kill = |pid: i32| sys::process::kill(sys::process::Pid::from_raw(pid), 9).expect("kill");
    if victim_is_runtime {
        kill(attending);
        child.wait().expect("wait for the run");
        let ended = fs::read_to_string(dir.join("ended")).expect("its end");
        assert!(ended.contains("code: 137"), "{ended}");
    } else {
        kill(child.id().cast_signed());
        child.wait().expect("wait for the run");
    }
    let place = Place {
        store: Store::open(&dir.join("data")).expect("the store"),
        runtime: runtime(),
        layer: dir.join("layer"),
        state,
        dir,
    };
    sweep(&place.ground()).expect("sweep");
    wait_for("the program's end", || {
        (!Path::new(&format!("/proc/{init}")).exists()).then_some(())
    });
    wait_for("the runtime's end", || {
        process(&[&text, &id]).is_none().then_some(())
    });
    place.check_clean();
    assert!(process(&[&text, "run --bundle"]).is_none());
}

#[test]
fn a_container_that_cannot_be_deleted_does_not_keep_the_others() {
    let mut place = Place::new("stubborn");
    let own = place.dir.join("runtime");
    let script = "#!/bin/sh\nfor id; do :; done\ncase $id in b*) echo busy >&2; exit 1; esac\nrmdir \"$2/$id\"\n";
    fs::write(&own, script).expect("a runtime");
    fs::set_permissions(&own, PermissionsExt::from_mode(0o755)).expect("its mode");
    let real = std::mem::replace(&mut place.runtime, own);
    let containers = place.dir.join("data/containers");
    for id in ["a1", "b1", "b2", "c1"] {
        fs::create_dir_all(place.state.join(id)).expect("a state");
        fs::create_dir(containers.join(id)).expect("a container");
        fs::write(containers.join(id).join("lock"), "").expect("its lock");
    }
    let error = sweep(&place.ground()).expect_err("two are busy");
    assert!(error.to_string().contains("busy"), "{error:#}");
    for (id, there) in [("a1", false), ("b1", true), ("b2", true), ("c1", false)] {
        assert_eq!(place.state.join(id).exists(), there, "{id}");
        assert_eq!(containers.join(id).exists(), there, "{id}");
    }
    for id in ["b1", "b2"] {
        fs::remove_dir(place.state.join(id)).expect("a state");
    }
    sweep(&place.ground()).expect("nobody is left");
    place.runtime = real;
    place.check_clean();
}

#[test]
fn a_killed_runtime_takes_its_container_along() {
    check_killed(true);
}

#[test]
fn what_a_killed_run_has_left_is_swept() {
    check_killed(false);
}
