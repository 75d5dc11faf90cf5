//! Commands of which few moments are tried: what they change is small.

use super::{Case, FEW, SAMPLE, Scene, words};
use orlop_tests::Must;
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub(super) const TAG: Case = Case {
    name: "tag",
    points: FEW,
    piece: "",
    args: |scene| words(&["tag", &scene.name(), "other:one"]),
    prepare: |scene| {
        scene.emptied();
        scene.pulled();
    },
    after: |scene| {
        assert!(scene.lade.names().contains(&"other:one".to_owned()));
        scene.whole();
    },
};

pub(super) const LIST: Case = Case {
    name: "manifest create",
    points: FEW,
    piece: "",
    args: |scene| {
        words(&[
            "manifest",
            "create",
            "--amend",
            &scene.to.name("list:one"),
            &scene.name(),
        ])
    },
    prepare: |scene| {
        let list = scene.to.name("list:one");
        // It may not be there.
        scene.lade.cmd(&["manifest", "rm", &list]).run();
    },
    after: |scene| {
        let list = scene.to.name("list:one");
        let said = scene.lade.says(&["manifest", "inspect", &list]);
        assert!(said.contains(&scene.image.digest()), "{said}");
    },
};

pub(super) const PUSH_LIST: Case = Case {
    name: "manifest push",
    points: FEW,
    piece: "",
    args: |scene| words(&["manifest", "push", &scene.to.name("list:one")]),
    prepare: |scene| {
        let args = (LIST.args)(scene);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        scene.lade.ok(&args);
        scene.to.empty();
    },
    after: |scene| {
        let (_, list) = scene.to.manifest("list", "one").must("the list");
        let list = String::from_utf8_lossy(&list).into_owned();
        assert!(list.contains(&scene.image.digest()), "{list}");
        for layer in &scene.image.layers {
            assert!(scene.to.blob(&layer.digest()).is_some());
        }
    },
};

pub(super) const LOGIN: Case = Case {
    name: "login",
    points: FEW,
    piece: "",
    args: |scene| words(&["login", "-u", "ann", "-p", "secret", &scene.from.host()]),
    prepare: |scene| {
        scene.lade.ok(&["logout", &scene.from.host()]);
    },
    after: |scene| {
        let dir = scene.lade.home.join(".docker");
        let text = fs::read(dir.join("config.json")).must("config.json");
        let config: serde_json::Value = serde_json::from_slice(&text).must("JSON");
        assert!(config["auths"][scene.from.host()].is_object(), "{config}");
        // What was written aside holds the password, too.
        assert_eq!(fs::read_dir(&dir).must("the directory").count(), 1);
    },
};

pub(super) const LOGOUT: Case = Case {
    name: "logout",
    args: |scene| words(&["logout", &scene.from.host()]),
    prepare: |scene| {
        let args = (LOGIN.args)(scene);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        scene.lade.ok(&args);
    },
    after: |scene| {
        let dir = scene.lade.home.join(".docker");
        let text = fs::read_to_string(dir.join("config.json")).unwrap_or_default();
        assert!(!text.contains(&scene.from.host()), "{text}");
        assert!(fs::read_dir(&dir).must("the directory").count() <= 1);
    },
    ..LOGIN
};

pub(super) const MOUNT: Case = Case {
    name: "image mount",
    points: FEW,
    piece: "",
    args: |scene| words(&["image", "mount", &scene.name()]),
    prepare: |scene| {
        scene.pulled();
        // It may not be mounted.
        scene.lade.cmd(&["image", "unmount", &scene.name()]).run();
    },
    after: |scene| {
        scene.lade.ok(&["image", "unmount", &scene.name()]);
        assert!(!is_mounted(scene));
        scene.whole();
    },
};

/// Whether anything is mounted in the run root; a mount point that is nobody's any more goes with the next look.
fn is_mounted(scene: &Scene) -> bool {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").must("the mount table");
    table.contains(&scene.lade.run.display().to_string())
}

pub(super) const UNMOUNT: Case = Case {
    name: "image unmount",
    points: FEW,
    piece: "",
    args: |scene| words(&["image", "unmount", &scene.name()]),
    prepare: |scene| {
        scene.pulled();
        if !is_mounted(scene) {
            scene.lade.ok(&["image", "mount", &scene.name()]);
        }
    },
    after: |scene| {
        assert!(!is_mounted(scene));
        assert_eq!(scene.lade.says(&["image", "mount"]).lines().count(), 1);
        scene.whole();
    },
};

/// By a program that stands for docker's.
pub(super) const IMPORT_DOCKER: Case = Case {
    name: "import-docker",
    points: SAMPLE,
    piece: "",
    args: |scene| {
        let script = scene.lade.env.dir.join("docker").display().to_string();
        words(&["import-docker", "-q", "--program", &script, "loaded:one"])
    },
    prepare: |scene| {
        scene.emptied();
        let script = scene.lade.env.dir.join("docker");
        if script.exists() {
            return;
        }
        let text = format!("#!/bin/sh\nexec cat {}\n", scene.archive.display());
        // By a process that has ended when it is started: what is open for writing cannot be.
        let tee = scene.lade.other("tee").arg(&script).stdin(text);
        tee.run().ok();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).must("its mode");
    },
    after: Scene::whole,
};

pub(super) const REPAIR: Case = Case {
    name: "check --repair",
    points: FEW,
    piece: "",
    args: |_| words(&["system", "check", "--repair"]),
    prepare: |scene| {
        scene.emptied();
        scene.pulled();
        let blob = scene.image.layers[1].digest();
        let path = scene.lade.data.join("blobs/sha256").join(&blob[7..]);
        fs::remove_file(&path).must(path.display());
        let layer = scene.lade.layer(&scene.image.layers[2].diff_id());
        fs::remove_dir_all(layer.parent().must("its directory")).must("a layer");
    },
    after: |scene| {
        scene.lade.ok(&["system", "check"]);
        scene.pulled();
        scene.whole();
    },
};
