//! An archive of images -> a data root.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::{Engine, Event, Load, Progress, Quiet, Settings};
use image::{Digest, Hasher};
use store::Store;
use sys::process::set_rlimit;
use sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::archive::ATTRIBUTES;
use crate::is_line;
use crate::place::Place;

pub(crate) fn run(bytes: &[u8]) {
    // Those start programs.
    if bytes.starts_with(b"BZh") || bytes.starts_with(b"\xfd7zXZ\0") {
        return;
    }
    small_files();
    let place = Place::new();
    let root = place.inside().join("data");
    let engine = Engine::open(Settings {
        data_root: root.clone(),
        run_root: place.inside().join("run"),
        ..Settings::default()
    });
    let engine = engine.expect("a new data root");
    let mut input = bytes;
    let warned = Warned::default();
    let loaded = engine.load(&mut input, &Load::default(), &warned);
    place.check();
    let whole = whole(&root);
    let problems = engine.check(false).expect("a check").problems;
    let bad = problems.iter().find(|problem| !problem.harmless);
    assert!(bad.is_none(), "{bad:?}");
    let store = Store::open(&root).expect("the store");
    let images = store.images().expect("the images");
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            is_line(&error.to_string());
            // Never a part of what was asked for.
            return assert_eq!(images.len(), 0, "{error}");
        }
    };
    assert!(!loaded.images.is_empty() && loaded.images.len() == images.len());
    for image in &images {
        let named = loaded.images.iter().any(|one| one.id == image.id);
        assert!(named, "{} is here and nobody said so", image.id);
        let documents = image.config.iter().chain(&image.manifest);
        for digest in documents {
            assert!(whole.contains(digest), "{digest} is not here");
        }
    }
    loaded.lines.iter().for_each(|line| is_line(line));
    for verified in engine.verify(&[], &Quiet).expect("images to verify") {
        let mut differences = verified.differences;
        let left_out = warned.0.load(Ordering::Relaxed);
        differences.retain(|line| !left_out || !line.ends_with(ATTRIBUTES));
        assert_eq!(differences, Vec::<String>::new());
    }
}

/// Whether anything was left out.
#[derive(Debug, Default)]
struct Warned(AtomicBool);

impl Progress for Warned {
    fn event(&self, event: Event) {
        if let Event::Warning(line) = event {
            is_line(&line);
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// What an archive says that a file has may be a thousand times what it has: here it is no more than this.
fn small_files() {
    const FSIZE: u32 = 1;
    const MOST: u64 = 16 << 20;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_rlimit(FSIZE, MOST, MOST).expect("a lower limit"));
    // It would end the process; so it is an error of the write. Threads that begin here inherit it.
    let mut signal = SigSet::empty();
    signal.add(Signal::SIGXFSZ);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&signal), None).expect("a signal");
}

/// Every blob that lies under its final name has the digest that it is named by; returns those.
fn whole(root: &Path) -> Vec<Digest> {
    let mut whole = Vec::new();
    for algorithm in files(&root.join("blobs")) {
        let name = algorithm.file_name().unwrap_or_default().to_string_lossy();
        for file in files(&algorithm) {
            let hex = file.file_name().unwrap_or_default().to_string_lossy();
            let digest: Digest = format!("{name}:{hex}").parse().expect("a digest");
            let mut hasher = Hasher::new(digest.algorithm());
            io::copy(&mut File::open(&file).expect("a blob"), &mut hasher).expect("its bytes");
            assert_eq!(hasher.finish(), digest, "used before it was checked");
            whole.push(digest);
        }
    }
    whole
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}
