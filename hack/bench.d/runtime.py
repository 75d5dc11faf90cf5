"""hack/bench runtime: orlop beside crun, runc and the kernel's own time, on one config.json.

Every figure comes from tests/bin/stopwatch.rs. The contenders take turns within each round, and a ratio is the median
of the ratios of the rounds, because a machine's speed may change by half between one minute and the next. All of it
runs in a mount namespace of its own in which every cgroup controller is on v1: crun refuses a hybrid host.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TREE / "integration")]

from runtime_tools import cgroup_mounts  # noqa: E402

import bundle  # noqa: E402
import crowd  # noqa: E402
import report  # noqa: E402
from contenders import FORCED, Floor, Runtime, stopwatch  # noqa: E402

PARALLEL = 50
# An idle kernel makes the first who moves a process between cgroups wait for all processors, those who follow at once not.
REST = 0.1
RESTED = "run after a rest"
# One after the other, as different programs on one machine do it.
TURNS = "run in turns"


def main():
    args = arguments()
    build()
    cgroup_mounts.enter(unified=False)
    work = Path(tempfile.mkdtemp(prefix="bench-"))
    # State roots belong on a tmpfs, as /run is one; in this namespace it goes away by itself.
    subprocess.run(["mount", "-n", "-t", "tmpfs", "-o", "mode=755", "bench", work], check=True)
    try:
        results = {title: measure(work / name, config, args) for title, name, config in bundles()}
        text = report.render(results, versions(args), args.rounds)
        print(text)
        if args.record:
            report.record(TREE / "docs/performance.md", text)
    finally:
        subprocess.run(["umount", "-n", "-l", work], check=True)
        work.rmdir()


def arguments():
    parser = argparse.ArgumentParser(prog="hack/bench runtime", description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", default=str(TREE / "target/release/orlop"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=30, help="default: %(default)s; a sixth of them for the parallel runs")
    parser.add_argument("--crowd", action="store_true", help="besides, hundreds created in parallel and a thousand that run at once")
    parser.add_argument("--record", action="store_true", help="put the result into docs/performance.md")
    args = parser.parse_args()
    for program in (args.runtime, "crun", "runc", "hyperfine", "/bin/busybox"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is missing: hack/deps bench installs the peers, cargo build --release orlop")
    return args


def build():
    """Both are static: the time of a dynamic linker is not the kernel's."""
    for program in ("floor", "stopwatch"):
        command = ["cargo", "rustc", "-q", "--release", "-p", "orlop-tests", "--bin", program, "--"]
        flags = ["-C", "target-feature=+crt-static", "-C", "relocation-model=static"]
        subprocess.run(command + flags, cwd=TREE, check=True)


def bundles():
    yield "The `spec` bundle", "spec", bundle.spec_config()
    yield "With Docker's seccomp profile and capabilities", "docker", bundle.docker_config(TREE)


def contenders(folder, args):
    runtimes = [Runtime(name, path, folder) for name, path in (("orlop", args.runtime), ("crun", "crun"), ("runc", "runc"))]
    return [*runtimes, Floor(TREE, folder, runtimes[1])]


def measure(folder, config, args):
    """Returns {operation: {contender: [Sample of each round]}}."""
    bundle.make(folder / "short", config, ["/bin/true"])
    bundle.make(folder / "long", config, ["/bin/sleep", "1000"])
    field = contenders(folder, args)
    samples = {}
    try:
        for contender in field:
            contender.start_long()
        for turn in range(args.rounds):
            for operation in ("run", TURNS, "create, start, delete", "exec", FORCED, RESTED):
                one_round(samples, operation, field, turn, lambda one, what=operation: one.commands(what))
        for turn in range(max(args.rounds // 6, 3)):
            one_round(samples, f"{PARALLEL} in parallel", field, turn, lambda one: ["--together", *one.crowd(PARALLEL)])
        if args.crowd:
            samples["crowd"] = crowd.measure([one for one in field if one.name in ("orlop", "crun")])
        samples["hyperfine"] = report.hyperfine([(one.name, one.commands("run")[0]) for one in field], folder)
    finally:
        for contender in field:
            contender.end_long()
    return samples


def one_round(samples, operation, field, turn, commands):
    """One sample of each contender, in an order of the round's own.

    Before it, but for TURNS, the contender does the same once uncounted, because the kernel takes namespaces and cgroups apart later
    and holds up who asks for new ones meanwhile: nobody is to pay for somebody else's.
    """
    field = [one for one in field if commands(one)]
    rows = samples.setdefault(operation, {one.name: [] for one in field})
    for one in random.Random(turn).sample(field, len(field)):
        if operation != TURNS:
            one.prepare(operation)
            stopwatch(TREE, commands(one))
        if operation == RESTED:
            time.sleep(REST)
        one.prepare(operation)
        sample = stopwatch(TREE, commands(one))
        if sample.failed and "parallel" not in operation:
            sys.exit(f"bench: {one.name}: {operation} failed: {sample.said or 'no reason given'}")
        rows[one.name].append(sample)


def versions(args):
    named = [("orlop", args.runtime), ("crun", "crun"), ("runc", "runc")]
    lines = [subprocess.run([path, "--version"], capture_output=True, text=True).stdout.splitlines() for _, path in named]
    return ", ".join(line[0].replace(" version", "") if line else name for (name, _), line in zip(named, lines))


if __name__ == "__main__":
    main()
