//! The files of a container's cgroup -> what `events` prints. The files of the input stand behind lines with `== NAME`.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cgroup::{Cgroup, Dir, Stats};
use serde_json::Value;

/// A directory of this process's; hack/fuzz has it in memory.
static PLACE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("orlop-fuzz-{}", std::process::id())));

const FILES: usize = 40;

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let files: Vec<(&str, &str)> = text
        .split("== ")
        .filter_map(|file| file.split_once('\n'))
        .filter(|(name, _)| is_name(name))
        .take(FILES)
        .collect();
    let place = PLACE.join(
        std::thread::current()
            .name()
            .unwrap_or("main")
            .replace(':', "-"),
    );
    std::fs::create_dir_all(&place).expect("a directory");
    for (name, content) in &files {
        std::fs::write(place.join(name), content).expect("a file");
    }
    let cgroup = Cgroup {
        dirs: vec![dir(&place, bytes.len().is_multiple_of(2))],
        ..Cgroup::default()
    };
    let read = || cgroup.stats().expect("plain files");
    let stats = read();
    // Not of each: files take their time.
    if bytes.len().is_multiple_of(8) {
        let json = |stats: &Stats| serde_json::to_value(stats).expect("JSON");
        assert_eq!(json(&stats), json(&read()));
    }
    check(&stats, &files);
    let reached = [cgroup.reached_memory(), cgroup.reached_pids()];
    reached
        .map(|reached| reached.expect("plain files"))
        .iter()
        .flatten()
        .for_each(|reached| assert!(reached.count > 0));
    std::fs::remove_dir_all(&place).expect("own files");
    // Another thread may have its files there.
    drop(std::fs::remove_dir(&*PLACE));
}

/// A file's name, and no way to anywhere else.
fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "._".contains(c);
    name.contains('.') && name.len() < 64 && name.chars().all(known) && !name.starts_with('.')
}

fn dir(place: &Path, unified: bool) -> Dir {
    let (hierarchy, controllers) = if unified {
        ("unified", "cpuset cpu io memory hugetlb pids rdma misc")
    } else {
        ("all", "cpuset cpu cpuacct blkio memory hugetlb pids")
    };
    Dir {
        hierarchy: hierarchy.to_owned(),
        controllers: controllers.split(' ').map(str::to_owned).collect(),
        mount: place.parent().expect("a directory above").to_owned(),
        relative: place.file_name().expect("a name").into(),
        path: place.to_owned(),
    }
}

/// What readers of `events` rely on: numbers are numbers, and sums do not wrap.
fn check(stats: &Stats, files: &[(&str, &str)]) {
    let json = serde_json::to_value(stats).expect("JSON");
    for part in ["cpu", "memory", "blkio"] {
        for psi in ["some", "full"].map(|kind| &json[part]["psi"][kind]) {
            let Some(psi) = psi.as_object() else { continue };
            for name in ["avg10", "avg60", "avg300"] {
                let share = psi[name].as_f64();
                assert!(
                    share.is_some_and(|share| share.is_finite() && share >= 0.0),
                    "{part}: {name}: {}",
                    psi[name]
                );
            }
        }
    }
    is_whole(&json);
    let found = |name: &str| {
        files
            .iter()
            .rev()
            .find(|(file, _)| *file == name)
            .map(|(_, text)| *text)
    };
    let entry = |name: &str, key: &str| -> Option<u128> {
        let lines = found(name)?
            .trim_end()
            .lines()
            .filter_map(|line| line.split_once(' '));
        lines
            .filter(|(found, _)| *found == key)
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .next_back()
            .map(u128::from)
    };
    if let (true, Some(micros)) = (stats.cpu.usage.total > 0, entry("cpu.stat", "usage_usec")) {
        let most = u128::from(u64::MAX);
        assert!(
            found("cpuacct.usage").is_some()
                || u128::from(stats.cpu.usage.total) == (micros * 1000).min(most)
        );
    }
}

/// No number got lost on the way to JSON, where what is not finite becomes null.
fn is_whole(value: &Value) {
    match value {
        Value::Null => panic!("a number that is none"),
        Value::Array(list) => list.iter().for_each(is_whole),
        Value::Object(map) => map.values().for_each(is_whole),
        _ => {}
    }
}
