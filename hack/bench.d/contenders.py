"""Who is measured: what each contender's commands are, and how one sample is taken."""

import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path

from runtime_tools import cgroup_mounts

Sample = namedtuple("Sample", "wall cpu peak failed said")  # ms, ms, KiB, commands that failed, what they said


def stopwatch(tree, commands):
    done = subprocess.run([tree / "target/release/stopwatch", *commands], capture_output=True, text=True, check=True)
    wall, cpu, peak, failed = (int(word) for word in done.stdout.split()[-4:])
    return Sample(wall / 1e6, cpu / 1e3, peak, failed, done.stderr.strip())


FORCED = "delete --force"


class Runtime:
    """An OCI runtime with a state root of its own and one long-running container to exec into."""

    def __init__(self, name, path, folder):
        self.name, self.folder = name, folder
        self.command = f"{Path(shutil.which(path)).absolute()} --root {folder}/{name}"

    def commands(self, operation):
        short = f"--bundle {self.folder}/short"
        if operation.startswith("run"):
            return [f"{self.command} run {short} bench"]
        if operation == "exec":
            return [f"{self.command} exec {self.long()} /bin/true"]
        if operation == FORCED:
            return [f"{self.command} delete --force bench"]
        # Reaped in between: a container has to have stopped before it is deleted.
        return [f"{self.command} create {short} bench", f"{self.command} start bench", "--reap", f"{self.command} delete bench"]

    def prepare(self, operation):
        """Does what is not to be measured."""
        if operation == FORCED:
            subprocess.run(f"{self.command} run --detach --bundle {self.folder}/long bench".split(), check=True, stdin=subprocess.DEVNULL)

    def crowd(self, size):
        return [f"{self.command} run --bundle {self.folder}/short bench-{number}" for number in range(size)]

    def long(self):
        return f"bench-long-{self.name}"

    def pid_file(self):
        return Path(f"{self.folder}/{self.name}.pid")

    def start_long(self):
        options = f"--detach --bundle {self.folder}/long --pid-file {self.pid_file()}"
        subprocess.run(f"{self.command} run {options} {self.long()}".split(), check=True, stdin=subprocess.DEVNULL)

    def end_long(self):
        subprocess.run(f"{self.command} delete --force {self.long()}".split(), check=False)


class Floor:
    """The kernel alone: tests/bin/floor.rs. It execs into a container that one of the runtimes keeps."""

    name = "floor"

    def __init__(self, tree, folder, host):
        self.program, self.folder, self.host = tree / "target/release/floor", folder, host

    def prepare(self, operation):
        pass

    def commands(self, operation):
        if operation == FORCED:
            return []
        if operation == "exec":
            pid = self.host.pid_file().read_text()
            return [f"{self.program} exec {pid} /bin/true {' '.join(cgroups_of(pid))}"]
        return [self._run("bench-floor")]

    def crowd(self, size):
        return [self._run(f"bench-floor-{number}") for number in range(size)]

    def _run(self, name):
        return f"{self.program} run {self.folder}/short/rootfs {name} /bin/true {' '.join(cgroups_of('self'))}"

    def start_long(self):
        pass

    def end_long(self):
        pass


def cgroups_of(pid):
    """Returns the folder of a process in every v1 hierarchy."""
    rows = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    paths = {controller: path for _, controllers, path in rows for controller in controllers.split(",")}
    v1, _ = cgroup_mounts.hierarchies()
    # Co-mounted controllers are one hierarchy under several names.
    unique = {frozenset(names): point for point, names in v1.items()}
    return [os.path.normpath(f"{point}/{paths[next(iter(names))]}") for names, point in unique.items()]
