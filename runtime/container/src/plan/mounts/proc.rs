//! Where a mount would let the container fake procfs.

use std::path::Path;

use crate::plan::Refusal;

/// Files of procfs that other programs (lxcfs, for one) replace without harm to a security decision.
const REPLACEABLE: [&str; 11] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Tells whether a path lies where a mount would let the container fake procfs (CVE-2019-16884).
fn fakes_proc(target: &Path) -> bool {
    target.strip_prefix("/proc").is_ok_and(|inside| {
        inside != Path::new("") && !REPLACEABLE.iter().any(|file| inside == Path::new(file))
    })
}

pub(super) fn refuse_inside_proc(target: &Path, at: &str) -> Result<(), Refusal> {
    if fakes_proc(target) {
        return Err(Refusal::new(
            at,
            format!(
                "{} lies inside /proc, where only some files may be replaced",
                target.display()
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_files_of_proc_may_be_replaced() {
        let check =
            |path: &str, fakes: bool| assert_eq!(fakes_proc(Path::new(path)), fakes, "{path}");
        check("/proc", false);
        check("/proc/cpuinfo", false);
        check("/proc/self/attr/exec", true);
        check("/proc/sys/kernel/ns_last_pid", false);
        check("/procfs", false);
    }
}
