//! Containers in units of systemd, saved and brought back.

use crate::{Place, count, counter, passes};
use orlop_tests::{Done, Env, Must, cgroup_of, skip, until};
use serde_json::json;
use std::fs;
use std::path::Path;

fn place(case: &str) -> Option<Place> {
    if !Path::new("/run/systemd/system").is_dir() {
        skip(case, "systemd does not run here");
        return None;
    }
    Place::new(case)
}

fn property(env: &Env, unit: &str, name: &str) -> String {
    let shown = env
        .cmd("systemctl")
        .args(["show", "--value", "--property", name, unit]);
    shown.run().ok().stdout().trim().to_owned()
}

/// Runs `restore` with systemd's driver.
fn restore(place: &Place, bundle: &orlop_tests::Bundle, id: &str) -> Done {
    let images = place.images().display().to_string();
    let command = place.orlop(&[
        "--systemd-cgroup",
        "restore",
        "--detach",
        "--image-path",
        &images,
    ]);
    command.arg("--bundle").arg(&bundle.dir).arg(id).run()
}

#[test]
fn a_unit_is_made_around_what_comes_back() {
    let Some(place) = place("a_unit_is_made_around_what_comes_back") else {
        return;
    };
    let env = &place.env;
    for saved_by_systemd in [true, false] {
        let mut bundle = counter(env);
        bundle.set("/linux/resources/pids", json!({"limit": 77}));
        bundle.write();
        let (id, unit) = {
            let id = env.id();
            (id.clone(), format!("orlop-{id}.scope"))
        };
        let driver: &[&str] = if saved_by_systemd {
            &["--systemd-cgroup"]
        } else {
            &[]
        };
        let create = env.orlop(driver).args(["create", "--bundle"]);
        create.arg(&bundle.dir).arg(&id).run().ok();
        env.orlop(&["start", &id]).run().ok();
        passes(&bundle, 2);
        place.checkpoint(&id, &[]).ok();
        let saved = count(&bundle);
        env.orlop(&["delete", &id]).run().ok();
        assert_eq!(property(env, &unit, "LoadState"), "not-found");

        restore(&place, &bundle, &id).ok();
        passes(&bundle, saved);
        assert_eq!(env.state(&id)["status"], "running");
        assert_eq!(property(env, &unit, "ActiveState"), "active");
        let pid = env.pid(&id);
        let scope = Path::new("system.slice").join(&unit);
        let of = |controller: &str| cgroup_of(pid, controller).must("its cgroup");
        let dir = cgroup_of(pid, "pids").unwrap_or_else(|| of(""));
        assert!(dir.ends_with(&scope), "{}", dir.display());
        let limit = fs::read_to_string(dir.join("pids.max")).must("pids.max");
        assert_eq!(limit, "77\n");
        // No process of criu's own is left in it, and its manager keeps it.
        until("criu's end", || {
            let inside = fs::read_to_string(dir.join("cgroup.procs")).ok()?;
            let comm =
                |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let foreign = |pid: &&str| !["sh\n", "sleep\n", "mv\n"].contains(&&*comm(pid));
            inside.lines().find(foreign).is_none().then_some(())
        });
        env.cmd("systemctl").arg("daemon-reload").run().ok();
        env.exec(&id, &["true"]).ok();
        env.orlop(&["update", "--pids-limit", "88", &id]).run().ok();
        assert_eq!(property(env, &unit, "TasksMax"), "88");
        env.orlop(&["delete", "--force", &id]).run().ok();
        assert_eq!(property(env, &unit, "LoadState"), "not-found");
        fs::remove_dir_all(place.images()).must("the images");
    }
}

#[test]
fn a_restore_that_fails_leaves_no_unit() {
    let Some(place) = place("a_restore_that_fails_leaves_no_unit") else {
        return;
    };
    let env = &place.env;
    let mut bundle = counter(env);
    let id = env.start(&bundle);
    passes(&bundle, 2);
    place.checkpoint(&id, &[]).ok();
    env.orlop(&["delete", &id]).run().ok();
    let failing = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]);
    bundle.set("/hooks/createRuntime", failing).write();
    let before = env.world();
    restore(&place, &bundle, &id).refused(1, &["hooks.createRuntime[0]"]);
    env.as_before(&before, "a restore whose hook fails");
    let unit = format!("orlop-{id}.scope");
    assert_eq!(property(env, &unit, "LoadState"), "not-found");
}
