//! Every file of `seeds` and `corpus` through its target: what once was wrong stays right.

use std::path::{Path, PathBuf};

use orlop_fuzz::TARGETS;

/// So that a checkout stays small; archives are whole blocks, and a tenth of that packed.
const MOST_FILES: usize = 1050;
const MOST_BYTES: u64 = 4_000_000;

fn files(dir: &Path) -> Vec<PathBuf> {
    // A target whose seeds reach everything has no corpus.
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn every_file_holds_all_invariants() {
    for target in TARGETS {
        for file in files(&folder("seeds").join(target.name))
            .into_iter()
            .chain(files(&folder("corpus").join(target.name)))
        {
            let bytes = std::fs::read(&file).expect("a file");
            if std::panic::catch_unwind(|| (target.run)(&bytes)).is_err() {
                panic!(
                    "{} breaks an invariant of {}, see above",
                    file.display(),
                    target.name
                );
            }
        }
    }
}

#[test]
fn what_is_kept_is_small_and_has_a_target() {
    let mut bytes = 0;
    for kind in ["seeds", "corpus"] {
        for dir in files(&folder(kind)) {
            let name = dir
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name");
            assert!(
                TARGETS.iter().any(|target| target.name == name),
                "{} is of no target",
                dir.display()
            );
            let files = files(&dir);
            assert!(
                files.len() <= MOST_FILES,
                "{}: {} files",
                dir.display(),
                files.len()
            );
            bytes += files
                .iter()
                .map(|file| file.metadata().expect("a file").len())
                .sum::<u64>();
        }
    }
    assert!(bytes <= MOST_BYTES, "{bytes} bytes, at most {MOST_BYTES}");
}

#[test]
fn targets_stand_in_order() {
    assert!(TARGETS.is_sorted_by_key(|target| target.name));
}
