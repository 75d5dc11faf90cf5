"""The 58 validation programs, and why some of them cannot pass whatever the runtime does."""

from pathlib import Path

PROGRAMS = """
config_updates_without_affect create default delete delete_only_create_resources delete_resources hooks hooks_stdin
hostname kill kill_no_effect killsig linux_cgroups_blkio linux_cgroups_cpus linux_cgroups_devices linux_cgroups_hugetlb
linux_cgroups_memory linux_cgroups_network linux_cgroups_pids linux_cgroups_relative_blkio linux_cgroups_relative_cpus
linux_cgroups_relative_devices linux_cgroups_relative_hugetlb linux_cgroups_relative_memory
linux_cgroups_relative_network linux_cgroups_relative_pids linux_devices linux_masked_paths linux_mount_label
linux_ns_itype linux_ns_nopath linux_ns_path linux_ns_path_type linux_process_apparmor_profile linux_readonly_paths
linux_rootfs_propagation linux_seccomp linux_sysctl linux_uid_mappings misc_props mounts pidfile poststart
poststart_fail poststop poststop_fail prestart prestart_fail process process_capabilities process_capabilities_fail
process_oom_score_adj process_rlimits process_rlimits_fail process_user root_readonly_true start state
""".split()

# The fewest that must be clean for the lane to pass, however the others are explained.
CLEAN_AT_LEAST = 45

_POINTERS = "test compares two pointers, which are never equal"
_BLKIO = "asks for blkio.leaf_weight, gone since Linux 5.0, and for device 8:0"
_KMEM = "asks for memory.kmem.limit_in_bytes, which keeps nothing since Linux 5.16"

_CAUSES = {
    "delete": "test forbids to delete a created container; containerd's shim relies on it",
    "delete_resources": _POINTERS,
    "linux_cgroups_pids": _POINTERS,
    "linux_cgroups_relative_pids": _POINTERS,
    "linux_cgroups_blkio": _BLKIO,
    "linux_cgroups_relative_blkio": _BLKIO,
    "linux_cgroups_memory": _KMEM,
    "linux_cgroups_relative_memory": _KMEM,
    "misc_props": "test names a program that it did not copy into the root, and create refuses a missing one",
    "pidfile": "test's program has already exited when it must be killed, which program `kill` wants refused",
    "start": "test wants a start without a process to succeed; its own message and the specification want an error",
    "process_rlimits": "runtimetest is a Go program: Go raises its own soft RLIMIT_NOFILE before the check",
}

# Programs without a TAP test whose diagnostic says nothing about the runtime: they are clean by the suite's own count.
UNTESTED = {
    "hooks": "wants lines of output that its hooks do not write",
    "poststart": "wants the process and the hook, which run side by side, to write in a fixed order",
    "poststart_fail": "wants a failing poststart hook to be a warning; the specification has made it an error",
    "prestart": "wants prestart hooks to run in start; the specification has them run in create",
}


def cause(name):
    """Returns why this program cannot pass on this host, or None if it has to."""
    if name == "process_capabilities" and not _full_bounding_set():
        return "asks for every capability; this host's bounding set lacks some"
    return _CAUSES.get(name)


def _full_bounding_set():
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    status = Path("/proc/self/status").read_text().splitlines()
    bounding = next(line.split()[1] for line in status if line.startswith("CapBnd:"))
    return int(bounding, 16) == (1 << (last + 1)) - 1
