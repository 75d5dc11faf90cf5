//! Push and pull.

use std::fs;
use std::sync::atomic::Ordering;

use super::support::{Breaking, Events, Registry, Scratch, engine, has, import, run, tar};
use crate::{Kind, List, ManifestCreate, ManifestInspect, ManifestPush, Pull, Push, Quiet};

#[test]
fn what_is_pushed_is_pulled() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let (here, there) = (Scratch::new(), Scratch::new());
    let ours = engine(&here.0);
    let name = format!("{}/team/app:1", registry.address);
    let id = import(&ours, &tar(&here.0, "app", &[300_000, 10]), &name);
    let events = Events::default();
    let pushed = ours.push(&name, &Push::default(), &events).unwrap();
    assert!(events.words().contains(&"Pushed".to_string()));
    let digest = pushed.tags[0].digest;
    assert_eq!(
        pushed.lines[0],
        format!("1: digest: {digest} size: {}", pushed.tags[0].size)
    );

    let events = Events::default();
    let again = ours.push(&name, &Push::default(), &events).unwrap();
    assert_eq!(again.tags[0].digest, digest);
    assert_eq!(events.words(), ["Preparing", "Layer already exists"]);

    let theirs = engine(&there.0);
    let pulled = theirs.pull(&name, &Pull::default(), &Quiet).unwrap();
    assert_eq!(pulled.images[0].id, id);
    assert_eq!(pulled.lines[0], format!("Digest: {digest}"));
    assert_eq!(
        pulled.lines[1],
        format!("Status: Downloaded newer image for {name}")
    );
    let layer = &theirs.layer_paths(&id).unwrap()[0];
    assert_eq!(fs::read_to_string(layer.join("etc/name")).unwrap(), "app");
    let pulled = theirs.pull(&name, &Pull::default(), &Quiet).unwrap();
    assert_eq!(
        pulled.lines[1],
        format!("Status: Image is up to date for {name}")
    );
    let verified = theirs.verify(&[], &Quiet).unwrap();
    assert_eq!(verified[0].differences, Vec::<String>::new());

    // On to another repository: mounted, and the same manifest.
    let other = format!("{}/team/other", registry.address);
    theirs.tag(&name, &other).unwrap();
    let events = Events::default();
    let pushed = theirs.push(&other, &Push::default(), &events).unwrap();
    assert_eq!(pushed.tags[0].digest, digest);
    assert!(
        events
            .words()
            .contains(&"Mounted from team/app".to_string())
    );
}

#[test]
fn a_download_goes_on_where_it_was() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let (here, there) = (Scratch::new(), Scratch::new());
    let ours = engine(&here.0);
    let size = 6_000_000;
    let name = format!("{}/big", registry.address);
    import(&ours, &tar(&here.0, "big", &[size]), &name);
    ours.push(&name, &Push::default(), &Quiet).unwrap();

    let breaking = Breaking::start(registry.address, 3_000_000, 1);
    let name = format!("{}/big", breaking.address);
    // Each attempt as a process of its own would make it.
    let error = engine(&there.0)
        .pull(&name, &Pull::default(), &Quiet)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Unreachable, "{error}");
    assert_eq!(engine(&there.0).images(&List::default()).unwrap().len(), 0);
    engine(&there.0)
        .pull(&name, &Pull::default(), &Quiet)
        .unwrap();
    let bytes = breaking.bytes.load(Ordering::Relaxed);
    assert!(bytes < size as u64 + 2_000_000, "{bytes} bytes for {size}");
    assert_eq!(engine(&there.0).check(false).unwrap().problems, []);
}

#[test]
fn what_is_not_there_is_said_in_one_line() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let here = Scratch::new();
    let engine = engine(&here.0);
    let name = format!("{}/nothing", registry.address);
    let error = engine.pull(&name, &Pull::default(), &Quiet).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "{error}");
    assert!(
        !error.to_string().contains('\n') && error.to_string().contains("nothing"),
        "{error}"
    );
    let error = engine.push(&name, &Push::default(), &Quiet).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("An image does not exist locally with the tag: {name}")
    );
    let error = engine
        .pull("Nothing!", &Pull::default(), &Quiet)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn other_programs_and_this_one_share_a_registry() {
    let Some(registry) = Registry::start().filter(|_| has("skopeo")) else {
        return;
    };
    let here = Scratch::new();
    let ours = engine(&here.0);
    let name = format!("{}/ours:1", registry.address);
    let id = import(&ours, &tar(&here.0, "ours", &[100_000]), &name);
    ours.push(&name, &Push::default(), &Quiet).unwrap();
    let dir = here.join("layout").display().to_string();
    let from = format!("docker://{name}");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--src-tls-verify=false",
            &from,
            &format!("oci:{dir}:x"),
        ],
    );
    let theirs = format!("{}/theirs:1", registry.address);
    let to = format!("docker://{theirs}");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--dest-tls-verify=false",
            &format!("oci:{dir}:x"),
            &to,
        ],
    );
    let there = Scratch::new();
    let pulled = engine(&there.0)
        .pull(&theirs, &Pull::default(), &Quiet)
        .unwrap();
    assert_eq!(pulled.images[0].id, id);
}

#[test]
fn a_list_is_made_pushed_and_pulled() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let here = Scratch::new();
    let ours = engine(&here.0);
    let name = format!("{}/one:1", registry.address);
    let id = import(&ours, &tar(&here.0, "one", &[1000]), &name);
    ours.push(&name, &Push::default(), &Quiet).unwrap();
    let list = format!("{}/list:1", registry.address);
    let line = ours
        .manifest_create(
            &list,
            std::slice::from_ref(&name),
            &ManifestCreate::default(),
        )
        .unwrap();
    assert_eq!(line, format!("Created manifest list {list}"));
    let again = ours
        .manifest_create(&list, &[], &ManifestCreate::default())
        .unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    let digest = ours
        .manifest_push(&list, &ManifestPush { purge: true })
        .unwrap();
    let shown = ours
        .registries
        .manifest_inspect(&list, &ManifestInspect::default())
        .unwrap();
    assert_eq!(shown["manifests"].as_array().unwrap().len(), 1);

    let there = Scratch::new();
    let theirs = engine(&there.0);
    let pulled = theirs.pull(&list, &Pull::default(), &Quiet).unwrap();
    assert_eq!((pulled.images[0].id, pulled.images[0].digest), (id, digest));
    // The index is here with all its parts: it is what is pushed.
    let pushed = theirs.push(&list, &Push::default(), &Quiet).unwrap();
    assert_eq!(pushed.tags[0].digest, digest);
    let missing = Pull {
        platform: Some("linux/s390x".parse().unwrap()),
        ..Pull::default()
    };
    let error = theirs.pull(&list, &missing, &Quiet).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no matching manifest for linux/s390x"),
        "{error}"
    );
}
