"""What is on the tools' disk of the machine whose power is cut: programs with their libraries, a registry with two images, an archive of one."""
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import tarfile
import time

import image
import machine

PORT = 5000
# The image that comes and goes, one that has a layer in common with it and stays, and what the archive calls the first.
THING, KEPT, LOADED = f"127.0.0.1:{PORT}/thing:one", f"127.0.0.1:{PORT}/kept:one", "loaded:one"
REGISTRY = """version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {root}}}
  maintenance: {{readonly: {{enabled: {readonly}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
# Calls that say yes and do nothing for a program with such a lie: all that make anything durable, or the one that does for all files together.
LIES = {"programs": ("fsync", "fdatasync", "syncfs", "sync_file_range", "msync"), "content": ("syncfs",)}


def tools(place, programs):
    """Makes tools.img; returns the digests of the image: (configuration, manifest)."""
    root = f"{place}/tools"
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(f"{root}/bin")
    for program in programs:
        install(root, program)
    for lie, calls in LIES.items():
        source = "".join(f"int {name}() {{ return 0; }}\n" for name in calls)
        machine.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", f"{root}/bin/{lie}.so", "-"], input=source, text=True)
    base = layer(1, root=True)
    thing = layout(f"{place}/layout/thing", [base, *(layer(seed) for seed in (2, 3, 4))], LOADED)
    layout(f"{place}/layout/kept", [base, layer(5)], "kept:one")
    with tarfile.open(f"{root}/thing.tar", "w") as archive:
        archive.add(f"{place}/layout/thing", ".")
    registry(place, root)
    used = int(machine.said("du", "-sm", root).split()[0])
    machine.disk(root, f"{place}/tools.img", used * 5 // 4 + 32)
    shutil.rmtree(root)
    shutil.rmtree(f"{place}/layout")
    return thing


def install(root, program):
    """Copies a program, and its libraries to where it looks for them."""
    shutil.copy(program, f"{root}/bin/")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True)
    for word in listed.stdout.split():
        if word.startswith("/") and not os.path.exists(root + word):
            os.makedirs(os.path.dirname(root + word), exist_ok=True)
            shutil.copy(word, root + word)


def layer(seed, root=False):
    """Returns the bytes of a layer's tar: small files, hard links, one file of some MB, and from the third on whiteouts of the one before."""
    chance = random.Random(seed)
    buffer = io.BytesIO(image.root_archive() if root else b"")
    with tarfile.open(fileobj=buffer, mode="a" if root else "w") as archive:
        top = f"layer{seed}"
        image.add(archive, top, 0o755, None)
        for directory in range(8):
            image.add(archive, f"{top}/{directory}", 0o750, None, directory)
            for file in range(25):
                text = chance.randbytes(chance.choice((0, 10, 300, 5000))) * 2
                image.add(archive, f"{top}/{directory}/file{file}", 0o640, text, seed)
            link = tarfile.TarInfo(f"{top}/{directory}/linked")
            link.type, link.linkname = tarfile.LNKTYPE, f"{top}/{directory}/file0"
            archive.addfile(link)
        image.add(archive, f"{top}/large", 0o644, chance.randbytes(1 << 20) + bytes(1 << 20))
        if 2 < seed < 5:
            image.add(archive, f"layer{seed - 1}/.wh.large", 0o644, b"")
            image.add(archive, f"layer{seed - 1}/3/.wh..wh..opq", 0o644, b"")
    return buffer.getvalue()


def layout(path, layers, name):
    """Writes a directory in the OCI image layout; returns the digests of configuration and manifest."""
    os.makedirs(f"{path}/blobs/sha256")

    def blob(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        with open(f"{path}/blobs/sha256/{digest}", "wb") as file:
            file.write(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    packed = [blob(gzip.compress(data, 6, mtime=0), "layer.v1.tar+gzip") for data in layers]
    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    config = blob(json.dumps(config).encode(), "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": packed}
    manifest = blob(json.dumps(manifest).encode(), "manifest.v1+json")
    entry = {**manifest, "annotations": {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}}
    for file, document in (("index.json", {"schemaVersion": 2, "manifests": [entry]}), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(f"{path}/{file}", "w") as out:
            json.dump(document, out)
    return config["digest"], manifest["digest"]


def registry(place, root):
    """Fills the files of a docker-registry by one that runs here, and says how the guest's is to find them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(f"{place}/registry.yml", "w") as file:
        file.write(REGISTRY.format(root=f"{root}/registry", readonly="false", port=port))
    with open(f"{root}/registry.yml", "w") as file:
        file.write(REGISTRY.format(root="/tools/registry", readonly="true", port=PORT))
    with open(f"{place}/registry.log", "w") as log:
        server = subprocess.Popen(["docker-registry", "serve", f"{place}/registry.yml"], stdout=log, stderr=log, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"})
    try:
        wait(port)
        for name, tag in (("thing", LOADED), ("kept", "kept:one")):
            source, target = f"oci:{place}/layout/{name}:{tag}", f"docker://127.0.0.1:{port}/{name}:one"
            machine.run(["skopeo", "copy", "--quiet", "--preserve-digests", "--insecure-policy", "--dest-tls-verify=false", source, target])
    finally:
        server.kill()
        server.wait()


def wait(port):
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("docker-registry does not answer within 10 s")
