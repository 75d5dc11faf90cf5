"""A mount namespace of our own in which every cgroup controller is a v1 hierarchy under its own name.

The validation programs read v1 files under /sys/fs/cgroup/<controller>, and crun refuses a host whose v2 mount
has a controller. Nothing of this is seen outside: the tmpfs that carries the mount points is a fresh one, and a
hierarchy goes away with its last mount and cgroup.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = "/sys/fs/cgroup"
INSIDE = "ORLOP_PRIVATE_CGROUP_MOUNTS"


def enter(unified=True):
    """Starts this program again in a namespace of its own, and returns there with the mounts made."""
    if INSIDE not in os.environ:
        command = ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]
        os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})
    del os.environ[INSIDE]
    _rebuild(unified)


def hierarchies():
    """Returns {mount point: set of controllers} of the v1 hierarchies (a named one: {"name=x"}), and the v2 mount points."""
    v1, v2 = {}, []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        point, (kind, _, options) = left.split()[4], right.split()[:3]
        if not point.startswith(f"{ROOT}/"):
            continue
        if kind == "cgroup":
            v1[point] = set(options.split(",")) - {"rw", "ro", "xattr", "clone_children", "noprefix"}
        elif kind == "cgroup2":
            v2.append(point)
    return v1, v2


def mount_points():
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _rebuild(unified):
    v1, v2 = hierarchies()
    if not v1:
        sys.exit(f"{Path(sys.argv[0]).name}: no cgroup v1 hierarchy is mounted here: this needs a v1 or hybrid host")
    fresh = tempfile.mkdtemp(prefix="cgroup-mounts-")
    _run("mount", "-n", "-t", "tmpfs", "-o", "mode=755", "tmpfs", fresh)
    for point in [*v1, *v2]:
        target = f"{fresh}/{Path(point).name}"
        os.mkdir(target)
        _run("mount", "-n", "--move", point, target)
    if not unified:
        for point in v2:
            _run("umount", "-n", f"{fresh}/{Path(point).name}")
    mounted = {controller: f"{fresh}/{Path(point).name}" for point, names in v1.items() for controller in names}
    for controller in _controllers():
        target = f"{fresh}/{controller}"
        if mounted.get(controller) == target:
            continue
        os.mkdir(target)
        if controller in mounted:  # co-mounted, as in net_cls,net_prio
            _run("mount", "-n", "--bind", mounted[controller], target)
        else:
            for point in v2 if unified else []:
                _release(controller, f"{fresh}/{Path(point).name}")
            _mount_v1(controller, target)
    # The old tmpfs is empty of mounts now; without it the new one is the only thing at this path.
    if os.path.ismount(ROOT):
        _run("umount", "-n", ROOT)
    _run("mount", "-n", "--move", fresh, ROOT)
    os.rmdir(fresh)


def _release(controller, unified):
    """Takes a controller back from the children of the v2 root, which a limit of an earlier container may have given it to."""
    try:
        Path(unified, "cgroup.subtree_control").write_text(f"-{controller}")
    except OSError:
        pass  # it was not given away, or is in use: the mount tells


def _mount_v1(controller, target):
    """Takes a controller from v2, where a cgroup that has just been removed may still hold it for a moment."""
    command = ["mount", "-n", "-t", "cgroup", "-o", controller, "cgroup", target]
    for _ in range(50):
        if subprocess.run(command, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    _run(*command)


def _controllers():
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    return [name for name, _hierarchy, _cgroups, enabled in rows if enabled == "1"]


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{Path(sys.argv[0]).name}: {' '.join(command)}: {done.stderr.strip()}")
