"""The image that is measured: this machine's Debian packages, the required ones first, in eight layers."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LAYERS = 8
BYTES = 520_000_000
# One package may fill most of a layer, not more. Those with nothing but small files are left out: there would be too many of them.
MOST = 30_000_000
EACH = 5_000
LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
CREATED = "2024-01-01T00:00:00Z"


class Made:
    """The image on disk: plain tars, packed blobs and an OCI layout."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.tars = [self.folder / f"{number}.tar" for number in range(LAYERS)]
        self.blobs = [self.folder / f"{number}.tar.gz" for number in range(LAYERS)]
        self.layout = self.folder / "layout"

    def make(self):
        """Makes what an earlier run has not made already; its last file says that all of it is there."""
        done = self.folder / "made.json"
        if not done.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            files = sum(write_layer(path, entries) for path, entries in zip(self.tars, split(entries_of_packages())))
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(lambda path: subprocess.run(["gzip", "-nk6", path], check=True), self.tars))
            write_layout(self)
            done.write_text(json.dumps({"files": files, "bytes": sum(path.stat().st_size for path in self.tars)}))
        self.about = json.loads(done.read_text())
        self.packed = sum(path.stat().st_size for path in self.blobs)
        return self

    def archive(self, turn):
        """Writes what `docker save` writes: layers that nobody has packed, nor seen, for each has a file that is the turn's."""
        path, layer = self.folder / "plain.tar", self.folder / "turn.tar"
        names, diff_ids = [f"{number}/layer.tar" for number in range(LAYERS)], []
        with tarfile.open(path, "w") as tar:
            for name, plain_layer in zip(names, self.tars):
                shutil.copyfile(plain_layer, layer)
                with tarfile.open(layer, "a") as inner:
                    add_bytes(inner, f"turn-{turn}", str(time.time_ns()).encode())
                diff_ids.append(f"sha256:{digest(layer)}")
                tar.add(layer, name)
            listed = [{"Config": "config.json", "RepoTags": ["made/here:one"], "Layers": names}]
            add_bytes(tar, "config.json", config(diff_ids))
            add_bytes(tar, "manifest.json", json.dumps(listed).encode())
        layer.unlink()
        return path


def packages():
    """Returns [(whether the image cannot do without it, package)]: what every Debian has and what that needs, then the others."""
    form = "${db:Status-Status}\t${Priority}\t${Package}\t${Package}:${Architecture}\t${Pre-Depends}, ${Depends}\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = {row[2]: row for row in (line.split("\t") for line in listed) if row[0] == "installed"}
    base = sorted(name for name in rows if rows[name][1] == "required")
    for name in base:
        needed = (wish.split()[0].split(":")[0] for wish in rows[name][4].replace("|", ",").split(",") if wish.strip())
        base += [other for other in dict.fromkeys(needed) if other in rows and other not in base]
    return [(name in base, rows[name][3].removesuffix(":all")) for name in [*base, *sorted(set(rows) - set(base))]]


def entries_of_packages():
    """Returns [(path in the image, file here)] of each package, until there is enough of them."""
    seen, total, chosen = set(), 0, []
    for needed, package in packages():
        listed = subprocess.run(["dpkg-query", "-L", package], capture_output=True, text=True).stdout.splitlines()
        # A path may be listed by two names that are one now.
        entries = [entry for entry in dict(filter(None, map(place, listed))).items() if entry[0] not in seen]
        size = sum(entry[1].lstat().st_size for entry in entries)
        if not needed and (size > MOST or size < EACH * len(entries)):
            continue
        seen.update(name for name, _ in entries)
        chosen.append((size, entries))
        total += size
        if total > BYTES:
            return chosen
    raise SystemExit(f"bench: the packages of this machine have {total >> 20} MiB only: install more of them")


def place(path):
    """Returns where a file lies once /bin, /lib and the like are links, and the file; None for what is no plain file or link."""
    file = Path(path)
    real = Path(os.path.realpath(file.parent)) / file.name
    if not path.startswith("/") or len(real.parts) < 2 or not (real.is_symlink() or real.is_file()):
        return None
    return str(real.relative_to("/")), real


def split(chosen):
    """Deals the packages out to layers of about the same size, in order."""
    layers, each = [[] for _ in range(LAYERS)], sum(size for size, _ in chosen) / LAYERS
    sofar = 0
    for size, entries in chosen:
        layers[min(int(sofar / each), LAYERS - 1)] += entries
        sofar += size
    layers[0] += [(link, Path("/") / link) for link in LINKS if (Path("/") / link).is_symlink()]
    return [list(dict(layer).items()) for layer in layers]


def write_layer(path, entries):
    """Writes a tar, sorted, with the directories that it needs; returns how many entries it has."""
    known = set()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, file in sorted(entries):
            for parent in reversed(Path(name).parents):
                if str(parent) not in known and str(parent) != ".":
                    known.add(str(parent))
                    tar.add(f"/{parent}", str(parent), recursive=False, filter=plain)
            tar.add(file, name, recursive=False, filter=plain)
        return len(tar.getmembers())


def plain(info):
    """The same bytes on every run: no names of users, whole seconds, no links between files that another layer may have."""
    info.uname = info.gname = ""
    info.mtime = int(info.mtime)
    if info.islnk():
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.stat(f"/{info.name}").st_size
    return info


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


def write_layout(made):
    """Writes the OCI layout."""
    blobs = made.layout / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data):
        name = hashlib.sha256(data).hexdigest()
        (blobs / name).write_bytes(data)
        return {"digest": f"sha256:{name}", "size": len(data)}

    layers = []
    for path in made.blobs:
        name = digest(path)
        os.link(path, blobs / name)
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": f"sha256:{name}", "size": path.stat().st_size})
    diff_ids = [f"sha256:{digest(path)}" for path in made.tars]
    entry = put(json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **put(config(diff_ids))}, "layers": layers,
    }).encode())
    entry |= {"mediaType": "application/vnd.oci.image.manifest.v1+json", "annotations": {"org.opencontainers.image.ref.name": "it"}}
    (made.layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (made.layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def config(diff_ids):
    return json.dumps({
        "created": CREATED, "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/sbin:/usr/bin"], "Cmd": ["bash"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": CREATED, "created_by": f"packages, part {number}"} for number in range(LAYERS)],
    }).encode()


def add_bytes(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
