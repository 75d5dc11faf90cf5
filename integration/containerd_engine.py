"""A containerd of the lane's own, for its own client and for the Kubernetes one."""
import json
import os
import shutil

import image
from checking import Failure, command
from lane import Engine

# Pods get a lower OOM score than their node by default, which needs CAP_SYS_RESOURCE: test machines may lack it.
# The state of the runtime lies where the shim puts it: below /run, which is the lane's own.
CONFIG = """version = 2
root = "{place}/root"
state = "{place}/state"
[grpc]
address = "{place}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{place}/hosts"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{place}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "{name}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
BinaryName = "{binary}"
SystemdCgroup = {systemd}
"""
IMAGE = "docker.io/library/orlop-lane:latest"
PAUSE = "docker.io/library/orlop-lane-pause:latest"
PLUGINS = "/usr/lib/cni"
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "lane",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "lane0",
            "isGateway": True,
            "ipMasq": False,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.200.0/24"}]]},
        }
    ],
}


class Containerd(Engine):
    """containerd with stores of its own; `namespace` is where its clients work."""

    namespace = "default"

    def __init__(self, options):
        super().__init__(options)
        place = self.scratch
        self.socket = f"{place}/containerd.sock"
        self.state_dirs = (f"/run/containerd/runc/{self.namespace}", f"{place}/state/io.containerd.runtime.v2.task/{self.namespace}")
        self.state_dirs += ("/run/orlop", "/run/runc", "/run/netns")
        self.runtime_logs = (f"{place}/state/io.containerd.runtime.v2.task/{self.namespace}/*/*log.json",)
        # Both of these would send the clients elsewhere.
        self.env = {key: value for key, value in os.environ.items() if "proxy" not in key.lower() and not key.startswith("CONTAINERD")}
        if options.as_runc:
            self.env["PATH"] = f"{place}/bin:{self.env['PATH']}"

    def start(self):
        if not shutil.which("containerd"):
            raise Failure("no containerd on the PATH: run hack/deps test")
        place = self.scratch
        # Called as runc it is found by that name on the shim's PATH, as on a machine where it took runc's place.
        binary = "" if self.options.as_runc else self.runtime
        with open(f"{place}/config.toml", "w") as file:
            systemd = "true" if self.options.systemd else "false"
            file.write(CONFIG.format(place=place, name=self.runtime_name, binary=binary, pause=PAUSE, plugins=PLUGINS, systemd=systemd))
        ready = lambda: self.ctr("version", code=None, quiet=True).code == 0
        self.daemon(["containerd", "--config", f"{place}/config.toml"], ready, env=self.env)
        root = image.root_archive()
        for name, program in ((IMAGE, ["/bin/sh"]), (PAUSE, image.PAUSE)):
            image.oci_archive(f"{place}/image.tar", name, program, root)
            self.ctr("images", "import", f"{place}/image.tar")

    def network(self, *plugins):
        """Gives pods a bridge of their own, and what further plugins do."""
        if not os.path.isdir(PLUGINS):
            raise Failure(f"no network plugins in {PLUGINS}: run hack/deps test")
        os.mkdir(f"{self.scratch}/cni")
        with open(f"{self.scratch}/cni/lane.conflist", "w") as file:
            json.dump({**NETWORK, "plugins": [*NETWORK["plugins"], *plugins]}, file)
        self.state_dirs += ("/var/lib/cni/networks/lane/10.*", "/var/lib/cni/results")

    def ctr(self, *args, **more):
        return command(["ctr", "--address", self.socket, "--namespace", self.namespace, *args], env=self.env, cwd=self.scratch, **more)

    def version_line(self):
        return f"{self.ctr('--version').out.strip()}, runtime {self.runtime}"
