//! Images that somebody else may have made: what lies beside the image's files, and what the image says of its processes.

use crate::{Place, count, counter, passes, text};
use orlop_tests::{Bundle, Must};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{chown, symlink};

/// Saves a counter and deletes it; returns its id, and how far it had come.
fn saved(place: &Place, bundle: &Bundle) -> (String, u64) {
    let id = place.env.start(bundle);
    passes(bundle, 2);
    place.checkpoint(&id, &[]).ok();
    place.env.orlop(&["delete", &id]).run().ok();
    (id, count(bundle))
}

#[test]
fn a_restore_writes_through_no_link_in_an_image() {
    let Some(place) = Place::new("a_restore_writes_through_no_link_in_an_image") else {
        return;
    };
    let bundle = counter(&place.env);
    let (id, before) = saved(&place, &bundle);
    let victim = place.env.dir.join("victim");
    fs::write(&victim, "untouched").must("a file");
    for name in ["stats-restore", "restore.log"] {
        symlink(&victim, place.images().join(name)).must("a link");
    }
    place.restoring(&bundle, &id, &[]).run().ok();
    assert_eq!(text(&victim), "untouched");
    assert!(text(&place.images().join("restore.log")).contains("Restore finished"));
    passes(&bundle, before);
}

#[test]
fn criu_writes_nothing_where_others_may_put_links() {
    let Some(place) = Place::new("criu_writes_nothing_where_others_may_put_links") else {
        return;
    };
    let bundle = counter(&place.env);
    let (id, _) = saved(&place, &bundle);
    chown(place.images(), Some(65534), None).must("chown");
    let world = place.env.world();
    let parts = ["belongs to user 65534", "--work-path"];
    place.restoring(&bundle, &id, &[]).run().refused(1, &parts);
    place.env.as_before(&world, "an image of somebody else");
    let own = place.env.dir.join("work").display().to_string();
    let options = ["--work-path", &own];
    place.restoring(&bundle, &id, &options).run().ok();
}

#[test]
fn an_image_names_no_descriptors_of_ours() {
    let Some(place) = Place::new("an_image_names_no_descriptors_of_ours") else {
        return;
    };
    let bundle = counter(&place.env);
    let (id, _) = saved(&place, &bundle);
    let pipes = json!(["pipe:[1]", "pipe:[2]", "pipe:[3]", "pipe:[4]"]);
    fs::write(place.images().join("descriptors.json"), pipes.to_string()).must("descriptors.json");
    let done = place.restoring(&bundle, &id, &[]).run();
    done.refused(1, &["descriptors.json: 4 streams"]);
}

#[test]
fn an_image_gives_no_more_than_the_configuration() {
    let Some(place) = Place::new("an_image_gives_no_more_than_the_configuration") else {
        return;
    };
    let mut bundle = counter(&place.env);
    bundle.set("/process/noNewPrivileges", json!(false));
    let (id, before) = saved(&place, &bundle);
    let world = place.env.world();
    let own = bundle.config.clone();
    for (pointer, value, what) in [
        ("/process/user/uid", json!(1000), "uid 0"),
        ("/process/user/gid", json!(1000), "gid 0"),
        (
            "/process/capabilities/bounding",
            json!(["CAP_KILL"]),
            "CapBnd",
        ),
        (
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}),
            "linux.seccomp",
        ),
    ] {
        bundle.set(pointer, value);
        bundle.write();
        let done = place.restoring(&bundle, &id, &[]).run();
        done.refused(1, &[what, "more than config.json"]);
        place.env.as_before(&world, pointer);
        assert_eq!(count(&bundle), before, "{pointer}: it has run");
        bundle.config = own.clone();
    }
    bundle.write();
    place.restoring(&bundle, &id, &[]).run().ok();
    passes(&bundle, before);
}
