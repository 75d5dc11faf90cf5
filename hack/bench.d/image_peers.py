"""Who pulls, pushes and removes: each with a store of its own on the same disk."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from contenders import stopwatch

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Peer:
    """One engine: `line(words)` is its command line."""

    def __init__(self, tree, folder):
        self.tree, self.folder = tree, Path(folder) / self.name
        self.folder.mkdir(parents=True)

    def start(self):
        pass

    def end(self):
        pass

    def line(self, *words):
        return " ".join([*self.prefix, *words])

    def time(self, *words):
        """Returns wall seconds and peak KiB of a command."""
        sample = stopwatch(self.tree, [self.line(*words)])
        if sample.failed:
            # stopwatch keeps quiet what its commands say.
            again = subprocess.run(self.line(*words).split(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
            raise SystemExit(f"bench: {self.name}: {self.line(*words)} failed; once more it ended with {again.returncode}: {again.stderr[-500:]}")
        return sample.wall / 1000, sample.peak

    def pull(self, image):
        return self.time("pull", "-q", *self.plain, image)

    def push(self, image):
        return self.time("push", *self.plain, image)

    def load(self, path):
        self.time("load", "-i", str(path))

    def tag(self, image, name):
        self.time("tag", image, name)

    def remove(self, image):
        return self.time("rmi", "-f", image)

    def run(self, image):
        return self.time("run", "--rm", "--network", "none", image, "true")

    def settle(self):
        """Returns seconds until nothing is done in the background any more."""
        return 0.0

    plain = ()


class Lade(Peer):
    name = "lade"

    def __init__(self, tree, folder):
        super().__init__(tree, folder)
        program = os.environ.get("LADE", f"{tree}/target/release/lade")
        runtime = os.environ.get("ORLOP", f"{tree}/target/release/orlop")
        self.data, self.behind = self.folder / "data", 0.0
        self.prefix = [program, "--data-root", str(self.data), "--run-root", f"{self.folder}/run", "--runtime", runtime]

    def remove(self, image):
        # The stopwatch waits for the sweep that goes on behind the command, too.
        begin = time.monotonic()
        wall, peak = super().remove(image)
        self.behind = time.monotonic() - begin - wall
        return wall, peak

    def settle(self):
        begin = time.monotonic() - self.behind
        trash = self.data / "trash"
        while any(path.name != "lock" for path in trash.iterdir()) or self.processes():
            if time.monotonic() - begin > 60:
                raise SystemExit("bench: lade: the sweep has not ended after a minute")
            time.sleep(0.02)
        return time.monotonic() - begin

    def processes(self):
        """Those whose program or arguments are this engine's."""
        mark = str(self.data).encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if mark in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                    found.append(entry.parent.name)
            except OSError:
                pass
        return found

    def accounts(self):
        """Returns what `system df` counts, and du."""
        said = subprocess.run(self.line("system", "df", "--format", "{{.Bytes}}").split(), capture_output=True, text=True, check=True).stdout
        disk = subprocess.run(["du", "-s", "--block-size=1", self.data], capture_output=True, text=True, check=True).stdout
        return sum(map(int, said.split())), int(disk.split()[0])


class Docker(Peer):
    name = "docker"

    def start(self):
        place = self.folder
        socket = f"unix://{place}/docker.sock"
        client = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        self.prefix = [client, "--host", socket]
        (place / "daemon.json").write_text(json.dumps({"max-concurrent-downloads": 8, "max-concurrent-uploads": 8}))
        argv = ["dockerd", "--data-root", place / "data", "--exec-root", place / "exec", "--pidfile", place / "pid", "--config-file", place / "daemon.json"]
        argv += ["--host", socket, "--bridge", "none", "--iptables=false", "--ip-masq=false", "--storage-driver", "overlay2"]
        with open(place / "log", "wb") as log:
            self.daemon = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "HOME": str(place), "DOCKER_CONFIG": str(place)})
        for _ in range(300):
            if subprocess.run([*self.prefix, "version"], **QUIET).returncode == 0:
                return
            time.sleep(0.1)
        raise SystemExit(f"bench: dockerd does not answer: {(place / 'log').read_text()[-500:]}")

    def pull(self, image):
        self.forget_peak()
        wall, _ = super().pull(image)
        return wall, self.peak()

    def members(self):
        children = subprocess.run(["pgrep", "-P", str(self.daemon.pid)], capture_output=True, text=True).stdout.split()
        return [str(self.daemon.pid), *children]

    def forget_peak(self):
        for pid in self.members():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self):
        """The peaks of the daemon and its containerd, added up."""
        lines = [line for pid in self.members() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    def end(self):
        self.daemon.terminate()
        self.daemon.wait(60)


class Podman(Peer):
    name = "podman"
    plain = ("--tls-verify=false",)

    def __init__(self, tree, folder):
        super().__init__(tree, folder)
        place = self.folder
        conf = place / "containers.conf"
        # crun, its default, refuses hosts with both versions of cgroups.
        conf.write_text('[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=4096:4096"]\n[engine]\nruntime="runc"\ncgroup_manager="cgroupfs"\nevents_logger="file"\n[network]\n' + f'network_config_dir="{place}/networks"\n')
        os.environ["CONTAINERS_CONF"] = str(conf)
        self.prefix = [shutil.which("podman"), "--root", f"{place}/root", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp", "--storage-driver", "overlay"]


def available(name):
    return {"lade": True, "docker": shutil.which("dockerd"), "podman": shutil.which("podman")}[name]


PEERS = {"lade": Lade, "docker": Docker, "podman": Podman}
