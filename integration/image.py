"""An image of Debian's static busybox, made here: no registry is needed."""
import hashlib
import io
import json
import os
import subprocess
import tarfile

PASSWD = "root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/home/guest:/bin/sh\n"
GROUP = "root:x:0:\nguest:x:1000:\nextra:x:3000:guest\n"
# name -> (mode, owner, content); None is a directory.
FILES = {
    "bin": (0o755, 0, None),
    "dev": (0o755, 0, None),
    "etc": (0o755, 0, None),
    "etc/passwd": (0o644, 0, PASSWD),
    "etc/group": (0o644, 0, GROUP),
    "home": (0o755, 0, None),
    "home/guest": (0o755, 1000, None),
    "proc": (0o555, 0, None),
    "root": (0o700, 0, None),
    "sys": (0o555, 0, None),
    "tmp": (0o1777, 0, None),
    "www": (0o755, 0, None),
    "www/index.html": (0o644, 0, "served from inside\n"),
}
# As process 1 of a pod it only waits and reaps; it sleeps by no program named sleep, which tests look for.
PAUSE = ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do tail -f /dev/null & wait; done"]


def root_archive(more=()):
    """Returns the bytes of a tar of the root file system; `more` are further FILES, or others in their place."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        files = {**FILES, **dict(more)}
        for name, (mode, owner, content) in files.items():
            add(archive, name, mode, content.encode() if isinstance(content, str) else content, owner)
        with open("/bin/busybox", "rb") as file:
            add(archive, "bin/busybox", 0o755, file.read())
        listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout
        for applet in sorted(name for name in listed.split() if name != "busybox" and f"bin/{name}" not in files):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


def add(archive, name, mode, content, owner=0):
    entry = tarfile.TarInfo(name)
    entry.mode, entry.uid, entry.gid = mode, owner, owner
    if content is None:
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    else:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def oci_image(command, root, **config):
    """Returns the descriptor of the manifest of an image of one layer, and its blobs by their digests."""
    blobs = {}

    def blob(data, kind):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": digest, "size": len(data)}

    layer = blob(root, "layer.v1.tar")
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": command, **config},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [layer],
    }
    return blob(json.dumps(manifest).encode(), "manifest.v1+json"), blobs


def oci_archive(path, name, command, root):
    """Writes a tar in the OCI image layout that holds one image of one layer."""
    entry, blobs = oci_image(command, root)
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    files = {f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    with tarfile.open(path, mode="w") as archive:
        for file, data in files.items():
            add(archive, file, 0o644, data)
