"""The bundles of the bench: what `runc spec` writes, on a root of busybox-static."""

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

# What Docker gives to a container that asks for nothing.
DOCKER_CAPABILITIES = [
    f"CAP_{name}"
    for name in (
        "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID "
        "SYS_CHROOT"
    ).split()
]


def spec_config():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["runc", "spec"], cwd=folder, check=True)
        config = json.loads(Path(folder, "config.json").read_text())
    config["process"]["terminal"] = False
    return config


def docker_config(tree):
    config = spec_config()
    sets = ("bounding", "effective", "permitted")
    config["process"]["capabilities"] = {name: DOCKER_CAPABILITIES for name in sets}
    template = json.loads((tree / "tests/data/seccomp-default.json").read_text())
    config["linux"]["seccomp"] = resolve(template, set(DOCKER_CAPABILITIES))
    return config


def make(folder, config, arguments):
    """Writes a bundle that runs `arguments`."""
    programs = folder / "rootfs/bin"
    programs.mkdir(parents=True)
    shutil.copy("/bin/busybox", programs)
    for name in ("true", "sleep"):
        os.link(programs / "busybox", programs / name)
    for point in ("proc", "dev", "sys"):
        (folder / "rootfs" / point).mkdir()
    process = {**config["process"], "args": arguments}
    (folder / "config.json").write_text(json.dumps({**config, "process": process}))


def resolve(template, capabilities):
    """Turns Docker's template into a profile for this kernel on x86-64, as its daemon does for each container."""
    own = next(entry for entry in template["archMap"] if entry["architecture"] == "SCMP_ARCH_X86_64")
    kept = [rule for rule in template["syscalls"] if _applies(rule, capabilities)]
    fields = ("names", "action", "errnoRet", "args")
    return {
        "defaultAction": template["defaultAction"],
        "defaultErrnoRet": template["defaultErrnoRet"],
        "architectures": [own["architecture"], *own["subArchitectures"]],
        "syscalls": [{field: rule[field] for field in fields if rule.get(field)} for rule in kept],
    }


def _applies(rule, capabilities):
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and "amd64" not in includes["arches"] or "amd64" in (excludes.get("arches") or []):
        return False
    if not capabilities.issuperset(includes.get("caps") or []) or capabilities.intersection(excludes.get("caps") or []):
        return False
    return not includes.get("minKernel") or _kernel(platform.release()) >= _kernel(includes["minKernel"])


def _kernel(text):
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])
