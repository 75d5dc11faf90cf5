//! What a refusal of the kernel means for a file of a cgroup, where its reason alone does not say so.

use std::collections::BTreeSet;
use std::path::Path;

use sys::Errno;

use crate::file;

/// Returns it as the end of a message, empty or with what separates it.
#[expect(clippy::too_many_lines, reason = "table")]
pub(crate) fn hint(path: &Path, errno: Errno) -> String {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match (name, errno) {
        ("memory.limit_in_bytes", Errno::EBUSY) => {
            let usage = file::read(&path.with_file_name("memory.usage_in_bytes"))
                .unwrap_or_else(|_| "more".to_owned());
            format!("; {usage} bytes are in use and cannot be reclaimed")
        }
        ("memory.max", Errno::EBUSY) => {
            let usage = file::read(&path.with_file_name("memory.current"))
                .unwrap_or_else(|_| "more".to_owned());
            format!("; {usage} bytes are in use, and a limit below that kills")
        }
        ("memory.swap.max", Errno::ENOENT) => {
            "; swap accounting is off, boot with swapaccount=1".to_owned()
        }
        ("memory.memsw.limit_in_bytes", Errno::ENOENT) => {
            "; swap accounting is off, boot with swapaccount=1".to_owned()
        }
        ("memory.memsw.limit_in_bytes", Errno::EINVAL) => {
            "; it must not be below memory.limit".to_owned()
        }
        ("blkio.weight" | "blkio.weight_device" | "io.bfq.weight", Errno::ENOENT) => {
            "; nor is there the other one, so this kernel has no I/O scheduler with weights".to_owned()
        }
        ("blkio.leaf_weight" | "blkio.leaf_weight_device", Errno::ENOENT) => {
            "; Linux 5.0 removed it, remove the field".to_owned()
        }
        ("cpu.rt_runtime_us" | "cpu.rt_period_us", Errno::EINVAL) => {
            "; the parent cgroup's cpu.rt_runtime_us does not leave that much".to_owned()
        }
        ("cpu.rt_runtime_us" | "cpu.rt_period_us", Errno::ENOENT) => {
            "; this kernel has no real-time groups".to_owned()
        }
        ("cpuset.cpus" | "cpuset.mems", Errno::ERANGE | Errno::EINVAL | Errno::EACCES) => {
            there_are(path)
        }
        ("cpu.max" | "cpu.cfs_period_us" | "cpu.cfs_quota_us", Errno::EINVAL) => {
            "; a period is 1000 to 1000000 microseconds, a quota at least 1000, and on cgroup v1 no larger a part of its period than the cgroup above has".to_owned()
        }
        ("cpu.max.burst" | "cpu.cfs_burst_us", Errno::EINVAL) => {
            "; a burst is not above its quota".to_owned()
        }
        (name, Errno::ENOENT) if name.starts_with("hugetlb.") => page_sizes(path),
        ("devices.allow", Errno::EPERM) => {
            "; the parent cgroup does not allow it either".to_owned()
        }
        ("cgroup.subtree_control", Errno::EBUSY) => {
            "; processes are in that cgroup itself, move them to one below it or use another cgroupsPath".to_owned()
        }
        ("cgroup.subtree_control", Errno::ENOENT | Errno::EINVAL) => {
            "; a cgroup above does not hand the controller down".to_owned()
        }
        ("cgroup.subtree_control", Errno::EOPNOTSUPP) => {
            "; that cgroup distributes threads, use a cgroupsPath outside of it".to_owned()
        }
        (_, Errno::EACCES | Errno::EPERM | Errno::EROFS) if path.exists() => {
            "; have the cgroup delegated to this user, or remove the field".to_owned()
        }
        _ => String::new(),
    }
}

/// Names the processors or memory nodes that a cgroup can have: those of the one above.
fn there_are(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let above = path.parent().and_then(Path::parent);
    let read = |file: String| file::read(&above?.join(file)).ok();
    // On cgroup v2 the list is empty where nobody has set one.
    let list = read(format!("{name}.effective")).or_else(|| read(name.clone().into_owned()));
    match list.filter(|list| !list.is_empty()) {
        Some(list) => format!("; the cgroup above has {list}"),
        None => String::new(),
    }
}

/// Names the sizes of huge pages that this kernel has, by the files of a cgroup.
fn page_sizes(path: &Path) -> String {
    let entries = path.parent().map(std::fs::read_dir);
    let names = entries.into_iter().flatten().flatten().flatten();
    let size = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let size = name.strip_prefix("hugetlb.")?.split('.').next()?.to_owned();
        Some(size)
    };
    let sizes: BTreeSet<String> = names.filter_map(size).collect();
    let sizes: Vec<String> = sizes.into_iter().collect();
    if sizes.is_empty() {
        "; this kernel has no huge pages".to_owned()
    } else {
        format!("; this kernel has pages of {}", sizes.join(", "))
    }
}
