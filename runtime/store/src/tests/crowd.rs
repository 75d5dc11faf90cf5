//! Many processes at once, and processes that are killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::*;
use crate::Collect;

/// What this program does when it was started as one of many.
#[test]
fn part() {
    let Ok(part) = std::env::var("STORE_PART") else {
        return;
    };
    let root = PathBuf::from(std::env::var("STORE_ROOT").unwrap());
    let more = std::env::var("STORE_MORE").unwrap_or_default();
    let number = || more.parse::<usize>().unwrap();
    match &*part {
        "churn" => churn(&root, number()),
        "write" => write(&root, number()),
        "pull" => pull(&root, number()),
        "prune" => prune(&root, Path::new(&more)),
        "once" => once(&root),
        "full" => super::full::full(&root),
        "tiny" => super::full::tiny(&root),
        other => panic!("no part {other}"),
    }
}

/// Pulls, removes, collects and sweeps until it is killed.
fn churn(root: &Path, seed: usize) {
    for n in seed.. {
        let store = Store::open(root).unwrap();
        let sample = Sample::new(n % 5);
        sample.pull(&store, &nothing).unwrap();
        append(&root.with_extension("done"), "x");
        if n % 3 == 2 {
            store
                .remove_image(&Sample::new((n + 2) % 5).id(), None)
                .unwrap();
            let unfinished = n % 2 == 0;
            store.collect(Collect { unfinished }).unwrap();
            store.sweep().unwrap();
        }
        let container = store.container().unwrap();
        fs::write(container.path().join("file"), b"x").unwrap();
    }
}

/// One of everything.
fn once(root: &Path) {
    let store = Store::open(root).unwrap();
    Sample::new(0).pull(&store, &nothing).unwrap();
    let container = store.container().unwrap();
    fs::write(container.path().join("file"), b"x").unwrap();
    container.remove().unwrap();
    for known in store.images().unwrap() {
        if known.id != Sample::new(1).id() {
            store.remove_image(&known.id, None).unwrap();
        }
    }
    store.collect(Collect { unfinished: true }).unwrap();
    store.sweep().unwrap();
}

fn write(root: &Path, seed: usize) {
    let store = Store::open(root).unwrap();
    for n in 0..10 {
        let lease = store.lease().unwrap();
        let text = format!("of {seed}: {n}");
        let blob = store.stage_bytes(&lease, text.as_bytes()).unwrap();
        let digest = *blob.digest();
        let staged = Staged {
            blobs: vec![blob],
            layers: vec![],
        };
        let records = Records {
            images: vec![ImageRecord {
                id: digest,
                manifest: Some(digest),
                config: None,
                layers: vec![],
                created: None,
                platform: None,
                size: 1,
            }],
            ..Records::default()
        };
        store.commit(staged, records).unwrap();
        assert!(store.images().unwrap().len() > n);
    }
}

fn pull(root: &Path, seed: usize) {
    let log = root.with_extension("log");
    for n in 0..4 {
        let store = Store::open(root).unwrap();
        let sample = Sample::new((seed + n) % 6);
        sample
            .pull(&store, &|what, digest| {
                append(&log, &format!("{what} {digest}\n"))
            })
            .unwrap();
        sample.assert_whole(&store);
    }
}

fn prune(root: &Path, until: &Path) {
    while !until.exists() {
        let store = Store::open(root).unwrap();
        let unfinished = true;
        store.collect(Collect { unfinished }).unwrap();
        store.sweep().unwrap();
        store.usage().unwrap();
        assert_sound(&store);
    }
}

#[test]
fn fifty_processes_share_the_database_from_the_first_moment() {
    let root = Root::new();
    let crowd: Vec<_> = (0..50)
        .map(|n| start("write", &root.0, &n.to_string()))
        .collect();
    crowd.into_iter().for_each(assert_done);
    let store = root.open();
    assert_eq!(store.images().unwrap().len(), 500);
    assert_eq!(store.check(false).unwrap(), []);
    assert_eq!(fs::read_dir(root.path("leases")).unwrap().count(), 0);
}

#[test]
fn eight_pulls_with_a_prune_beside_fetch_and_unpack_each_layer_once() {
    let root = Root::new();
    let (log, end) = (root.0.with_extension("log"), root.0.with_extension("end"));
    let pulls: Vec<_> = (0..8)
        .map(|n| start("pull", &root.0, &n.to_string()))
        .collect();
    let prune = start("prune", &root.0, end.to_str().unwrap());
    pulls.into_iter().for_each(assert_done);
    fs::write(&end, b"").unwrap();
    assert_done(prune);
    let mut told = BTreeMap::new();
    for line in fs::read_to_string(&log).unwrap().lines() {
        *told.entry(line.to_owned()).or_insert(0) += 1;
    }
    fs::remove_file(&log).unwrap();
    fs::remove_file(&end).unwrap();
    assert_eq!(told.len(), 16, "{told:#?}");
    assert!(told.values().all(|times| *times == 1), "{told:#?}");
    let store = root.open();
    for n in 0..6 {
        Sample::new(n).assert_whole(&store);
    }
    assert_eq!(store.check(false).unwrap(), []);
}

#[test]
fn one_fetches_and_the_other_waits_and_finds_it_done() {
    let root = Root::new();
    let store = root.open();
    let lease = store.lease().unwrap();
    let sample = Sample::new(0);
    let (first, id) = (&sample.layers[0], sample.diff_ids()[0]);
    let digest = Digest::of(first);
    let Ingest::Partial(begun) = store.ingest(&lease, &digest, first.len() as u64).unwrap() else {
        panic!("nobody has it");
    };
    let other = start("pull", &root.0, "0");
    std::thread::sleep(Duration::from_millis(300));
    write_missing(&begun, first).unwrap();
    let blob = begun.finish(&digest).unwrap();
    let Unpack::New(new) = store.unpack(&lease, &id).unwrap() else {
        panic!("the other one does the blob before the layer, or was faster");
    };
    fill(&new.path(), first).unwrap();
    let layer = new.finish(&id).unwrap();
    assert_done(other);
    let log = root.0.with_extension("log");
    let told = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    assert!(!told.contains(&digest.to_string()), "fetched twice: {told}");
    let staged = Staged {
        blobs: vec![blob],
        layers: vec![layer],
    };
    store.commit(staged, Records::default()).unwrap();
    sample.assert_whole(&store);
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_the_next_one_works_at_once() {
    let root = Root::new();
    let done = root.0.with_extension("done");
    let mut random = 88_172_645_463_325_252_u64;
    let images = || fs::metadata(&done).map_or(0, |file| file.len());
    let mut round = 0;
    // On a busy machine the early ones are killed before they have done anything.
    while round < 40 || images() < 20 {
        round += 1;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = start("churn", &root.0, &(round % 7).to_string());
        // From before the root is there, to several images later.
        std::thread::sleep(Duration::from_micros(random % (2_000 * (round + 5))));
        child.kill().unwrap();
        child.wait().unwrap();
        let began = Instant::now();
        let store = root.open();
        assert_sound(&store);
        for image in store.images().unwrap() {
            let samples = (0..5).map(Sample::new);
            samples
                .filter(|sample| sample.id() == image.id)
                .for_each(|sample| sample.assert_whole(&store));
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    }
    fs::remove_file(&done).unwrap();
    let store = root.open();
    for image in store.images().unwrap() {
        store.remove_image(&image.id, None).unwrap();
    }
    store.collect(Collect { unfinished: true }).unwrap();
    store.sweep().unwrap();
    assert_eq!(store.check(false).unwrap(), []);
    for place in [
        "blobs/sha256",
        "layers/sha256",
        "ingest",
        "unpack",
        "containers",
        "leases",
        "trash",
    ] {
        assert_eq!(
            fs::read_dir(root.path(place)).unwrap().count(),
            0,
            "{place}"
        );
    }
}

/// What changes something on the disk or waits for somebody, and the calls that stand around it.
const CALLS: [&str; 14] = [
    "rename",
    "unlink",
    "unlinkat",
    "mkdir",
    "rmdir",
    "flock",
    "openat",
    "pwrite64",
    "write",
    "fsync",
    "fdatasync",
    "syncfs",
    "ftruncate",
    "close",
];

#[test]
fn killed_at_each_kind_of_call_nothing_is_lost() {
    let strace = Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    if strace.is_err() {
        let skip = "skipped: needs strace to kill at a given call\n";
        std::io::stderr().write_all(skip.as_bytes()).unwrap();
        return;
    }
    let root = Root::new();
    let kept = Sample::new(1);
    let long = std::env::var("ORLOP_LONG").is_ok();
    let mut points = 0;
    for call in CALLS {
        let mut when = 1;
        // Every one of the first, then fewer and fewer (all, with ORLOP_LONG=1); until it comes to its end.
        while killed_at(&root.0, call, when) {
            points += 1;
            when += if long { 1 } else { 1 + when / 2 };
            let store = root.open();
            assert_sound(&store);
            for image in store.images().unwrap() {
                let known = [0, 1].map(Sample::new);
                let mut known = known.iter().filter(|sample| sample.id() == image.id);
                known.next().expect("one of the two").assert_whole(&store);
            }
            kept.pull(&store, &nothing).unwrap();
            store.sweep().unwrap();
        }
        kept.assert_whole(&root.open());
    }
    assert!(points > 60, "{points}");
}

/// Runs `once`, and kills it when one of its threads makes a call for the so-many-th time; tells whether it came to that.
fn killed_at(root: &Path, call: &str, when: usize) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
    command.arg(format!("trace={call}")).arg("-e");
    command.arg(format!("inject={call}:signal=KILL:when={when}"));
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "tests::crowd::part", "--test-threads=1"]);
    command.env("STORE_PART", "once").env("STORE_ROOT", root);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!said.contains("FAILED"), "{call} {when}: {said}");
    !output.status.success()
}
