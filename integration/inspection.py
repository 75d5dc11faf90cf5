"""What containers and engines may leave behind: processes, mounts, cgroups, links, files. Taken before, compared after."""
import glob
import os
import re
import signal
import time

from checking import PATIENCE, Failure, command, read


class Inspection:
    """The state of the lane at one moment."""

    def __init__(self, engine):
        self.engine = engine
        self.cgroups = cgroups(engine)
        self.before = self.look()

    def look(self):
        return {
            "process": processes(self.engine),
            "mount": mounts() - set(self.engine.own_mounts),
            "cgroup": {path for path in cgroups(self.engine) if not self.is_parent(path)},
            "link": links() - set(self.engine.own_links),
            "file": state_files(self.engine),
        }

    def compare(self):
        """Waits a few seconds for what is still on its way out, then names all that is new."""
        end = time.monotonic() + 8 * PATIENCE
        while True:
            now = self.look()
            new = [f"{what} {thing}" for what in now for thing in sorted(now[what] - self.before[what])]
            if not new:
                return
            if time.monotonic() > end:
                raise Failure(f"{len(new)} things are left: " + "; ".join(new[:20]))
            time.sleep(0.1)

    def is_parent(self, path):
        """Tells the cgroups that engines, not runtimes, make and leave."""
        return re.search(f"({self.engine.cgroup_parents})$", path)

    def remove_new_cgroups(self):
        for folder in sorted(cgroups(self.engine) - self.cgroups, reverse=True):
            try:
                os.rmdir(folder)
            except OSError:
                # A parent of somebody else's cgroup, or already gone.
                pass


def end_processes(engine):
    """Kills what is left of this lane's processes."""
    end = time.monotonic() + 5 * PATIENCE
    while time.monotonic() < end:
        left = [int(line.split(" ")[0]) for line in processes(engine)]
        if not left:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                # It was faster.
                pass
        time.sleep(0.05)


def processes(engine):
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        words = read(f"/proc/{pid}/cmdline", "").split("\0")
        if int(pid) not in (1, os.getpid()) and words[0] and belongs(pid, engine):
            found.add(f"{pid} {' '.join(words)[:120]}")
    return found


def belongs(pid, engine):
    """Tells the lane's processes from the machine's: in a process namespace of the lane's own all are its, else those in its mounts or cgroups."""
    if not engine.options.systemd:
        return True
    try:
        if os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt"):
            return True
    except OSError:
        # It has ended meanwhile.
        return False
    return any(mark in read(f"/proc/{pid}/cgroup", "") for mark in engine.cgroup_marks)


def mounts():
    return {line.split(" ")[4] for line in read("/proc/self/mountinfo").splitlines()}


def cgroup_mounts():
    """Yields (mount point, controllers); the unified hierarchy has the controllers None."""
    for line in read("/proc/self/mountinfo").splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.split(" ")[:3]
        if kind in ("cgroup", "cgroup2"):
            yield fields.split(" ")[4], set(options.split(",")) if kind == "cgroup" else None


def show_hidden_hierarchies():
    """Mounts what /proc/PID/cgroup lists but no mount shows: containerd counts nothing where one is missing.

    Such a hierarchy belongs to another mount namespace. The machine's own /sys/fs/cgroup is not written to: it is
    rebuilt below /run, which is the lane's, and put over it.
    """
    mounted = dict(cgroup_mounts())
    shown = set().union(*(has for has in mounted.values() if has))
    active = [line.split()[0] for line in read("/proc/cgroups").splitlines()[1:] if line.split()[1] != "0"]
    hidden = [name for name in active if name not in shown]
    if not hidden or not any(mounted.values()):
        return
    place = "/run/cgroup"
    os.mkdir(place)
    command(["mount", "-t", "tmpfs", "-o", "mode=755", "lane", place])
    for entry in os.scandir("/sys/fs/cgroup"):
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), f"{place}/{entry.name}")
        elif entry.path in mounted:
            os.mkdir(f"{place}/{entry.name}")
            command(["mount", "--bind", entry.path, f"{place}/{entry.name}"])
    for name in hidden:
        os.makedirs(f"{place}/{name}", exist_ok=True)
        command(["mount", "-t", "cgroup", "-o", name, "cgroup", f"{place}/{name}"])
    command(["umount", "--recursive", "/sys/fs/cgroup"])
    command(["mount", "--move", place, "/sys/fs/cgroup"])
    os.rmdir(place)


def cgroups(engine):
    found = set()
    for mount, _ in cgroup_mounts():
        for folder, _, _ in os.walk(mount):
            if any(mark in folder[len(mount) :] for mark in engine.cgroup_marks):
                found.add(folder)
    return found


def links():
    return {line.split(":")[0].strip() for line in read("/proc/net/dev").splitlines()[2:]}


def state_files(engine):
    return {path for pattern in engine.state_dirs for path in glob.glob(f"{pattern}/*")}


class Cgroup:
    """The cgroup of a process as the machine sees it."""

    def __init__(self, pid):
        self.lines = [line.split(":", 2) for line in read(f"/proc/{pid}/cgroup").splitlines()]

    def folder(self, controller):
        """Returns the directory that holds this controller's files, and whether it is of version 2."""
        for _, names, path in self.lines:
            if controller in names.split(","):
                mount = next(mount for mount, has in cgroup_mounts() if has and controller in has)
                return mount + path, False
        for _, names, path in self.lines:
            if not names:
                mount = next(mount for mount, has in cgroup_mounts() if has is None)
                return mount + path, True
        raise Failure(f"no cgroup with the controller {controller}: {self.lines}")

    def value(self, controller, v1, v2):
        """Reads one file, by the name that it has in this machine's version."""
        folder, unified = self.folder(controller)
        return read(os.path.join(folder, v2 if unified else v1)).strip()

    def frozen(self):
        folder, unified = self.folder("freezer")
        if unified:
            return "frozen 1" in read(f"{folder}/cgroup.events")
        return read(f"{folder}/freezer.state").strip() == "FROZEN"
