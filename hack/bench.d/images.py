"""hack/bench images: lade beside docker and podman on one image: pull, push, run, rmi, memory, and the accounts.

The image is made once, into target/bench-image, from the packages of this machine. Everything runs in a mount and a network namespace of its
own, against Debian's docker-registry on loopback there.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TREE / "integration")]

import image_made  # noqa: E402
import image_report  # noqa: E402
import report  # noqa: E402
from image_peers import PEERS, QUIET, available  # noqa: E402

HOST = "127.0.0.1:5000"
IMAGE = f"{HOST}/bench/debian:one"
INSIDE = "BENCH_IMAGES_FOLDER"
RUNS = 5


def main():
    args = arguments()
    if INSIDE not in os.environ:
        for profile, program in (("release", "stopwatch"), ("lade", "inflate")):
            subprocess.run(["cargo", "build", "-q", "--profile", profile, "-p", "orlop-tests", "--bin", program], cwd=TREE, check=True)
        sys.exit(in_namespaces())
    folder = Path(os.environ[INSIDE])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "bench", "/run"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    made = image_made.Made(TREE / "target/bench-image").make()
    registry = start_registry(folder)
    peers = [PEERS[name](TREE, folder) for name in args.only]
    try:
        copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{made.layout}:it", f"docker://{IMAGE}"]
        subprocess.run(copy, check=True)
        for peer in peers:
            peer.start()
        samples = measure(peers, made, folder, args.rounds)
    finally:
        for peer in peers:
            peer.end()
        registry.terminate()
        registry.wait()
    text = image_report.render(samples, made, versions(args.only), args.rounds)
    print(text)
    if args.record:
        report.record(TREE / "docs/performance.md", text, "Images")


def arguments():
    parser = argparse.ArgumentParser(prog="hack/bench images", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--only", action="append", choices=list(PEERS), help="only this engine (again for more)")
    parser.add_argument("--record", action="store_true", help="put the result into docs/performance.md")
    args = parser.parse_args()
    args.only = args.only or [name for name in PEERS if available(name)]
    for program in ("docker-registry", "skopeo"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is missing: hack/deps bench installs it")
    if os.geteuid() != 0:
        sys.exit("bench: not root: engines are started here by hand")
    return args


def in_namespaces():
    folder = tempfile.mkdtemp(prefix="bench-images-", dir="/var/tmp")
    argv = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, *sys.argv]
    try:
        return subprocess.call(argv, env={**os.environ, INSIDE: folder})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_registry(folder):
    config = folder / "registry.yml"
    log = "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
    config.write_text(f"{log}storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\nhttp: {{addr: '{HOST}'}}\n")
    registry = subprocess.Popen(["docker-registry", "serve", config], **QUIET)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://{HOST}/v2/").close()
            return registry
        except OSError:
            time.sleep(0.1)
    sys.exit("bench: docker-registry does not answer")


def quiet_disk():
    """Nothing waits to be written, and nothing is remembered."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def measure(peers, made, folder, rounds):
    """Returns {operation: {engine: [seconds]}}, and beside them floors, peaks, sizes and accounts."""
    names = [peer.name for peer in peers]
    operations = ("pull", "run", "push", "push again", "rmi", "sweep", "peak", "size")
    samples = {operation: {name: [] for name in names} for operation in operations}
    samples["floors"] = {"inflate": [], "extract": [], "both": []}
    samples["accounts"] = {"with the image": [], "after rmi": []}
    for turn in range(rounds):
        floors(samples["floors"], made, folder)
        archive = made.archive(turn)
        for peer in random.Random(turn).sample(peers, len(peers)):
            one_round(samples, peer, archive, turn)
    if "lade" not in names:
        del samples["accounts"]
    return samples


def one_round(samples, peer, archive, turn):
    def note(operation, value):
        samples[operation][peer.name].append(value)

    quiet_disk()
    wall, peak = peer.pull(IMAGE)
    note("pull", wall)
    note("peak", peak)
    if peer.name == "lade":
        samples["accounts"]["with the image"].append(peer.accounts())
    peer.run(IMAGE)
    note("run", sorted(peer.run(IMAGE)[0] for _ in range(RUNS))[RUNS // 2])
    quiet_disk()
    note("rmi", peer.remove(IMAGE)[0])
    note("sweep", peer.settle())
    if peer.name == "lade":
        samples["accounts"]["after rmi"].append(peer.accounts())
    push(note, peer, archive, turn)


def push(note, peer, archive, turn):
    """Of layers that nobody has packed, to a repository that nobody has pushed to."""
    target = f"{HOST}/pushed/{peer.name}{turn}:one"
    peer.load(archive)
    peer.tag("made/here:one", target)
    quiet_disk()
    note("push", peer.push(target)[0])
    note("push again", peer.push(target)[0])
    note("size", pushed_size(target))
    for name in (target, "made/here:one"):
        peer.remove(name)
    peer.settle()


def pushed_size(target):
    repository, tag = target.removeprefix(f"{HOST}/").split(":")
    accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    request = urllib.request.Request(f"http://{HOST}/v2/{repository}/manifests/{tag}", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return sum(layer["size"] for layer in json.load(answer)["layers"])


def floors(samples, made, folder):
    """What no engine can be faster than: the packed layers come from the disk, the plain ones from memory. `both` is the time in which all
    processors together do the work of both."""
    quiet_disk()
    work = processor_time()
    done = subprocess.run([TREE / "target/lade/inflate", *made.blobs], capture_output=True, text=True, check=True)
    samples["inflate"].append(int(done.stdout.split()[0]) / 1e9)
    work = processor_time() - work
    for path in made.tars:
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
    places = [folder / f"extract{number}" for number in range(len(made.tars))]
    os.sync()
    work -= processor_time()
    begin = time.monotonic()
    waiting, running = list(zip(made.tars, places)), []
    while waiting or running:
        while waiting and len(running) < os.cpu_count():
            tar, place = waiting.pop()
            place.mkdir()
            running.append(subprocess.Popen(["tar", "-xpf", tar, "-C", place]))
        running.pop(0).wait()
    subprocess.run(["sync", "-f", folder], check=True)
    samples["extract"].append(time.monotonic() - begin)
    samples["both"].append((work + processor_time()) / os.cpu_count())
    for place in places:
        shutil.rmtree(place)


def processor_time():
    """Of all programs that have ended here so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def versions(names):
    lines = {"lade": ["target/release/lade", "--version"], "docker": ["dockerd", "--version"], "podman": ["podman", "--version"]}
    said = [subprocess.run(lines[name], capture_output=True, text=True, cwd=TREE).stdout.strip().split(", build")[0] for name in names]
    return ", ".join(line.replace(" version", "") or name for name, line in zip(names, said))


if __name__ == "__main__":
    main()
