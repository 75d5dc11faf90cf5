"""Many containers at once: hundreds created in parallel, a thousand that run beside each other."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

PARALLEL = 200
RUNNING = 1000
HUNDRED = 100
MOST_GROWTH = 1.5
# What a thousand take differs by half from one turn to the next.
TURNS = 3


def measure(runtimes):
    """Returns the lines of a report; each runtime in turn makes its crowd and takes it away, the crowd that runs TURNS times."""
    rows = ["| | failed | ms each |", "|---|---|---|"]
    for runtime in runtimes:
        failed, each = _parallel(runtime)
        rows.append(f"| {runtime.name}: {PARALLEL} created in parallel | {failed} | {each:.1f} |")
    turns = {runtime.name: [] for runtime in runtimes}
    for _ in range(TURNS):
        for runtime in runtimes:
            turns[runtime.name].append(_beside(runtime))
    for name, results in turns.items():
        failed, first, last = (list(each) for each in zip(*results))
        growths = sorted(after / before for before, after in zip(first, last))
        growth = f"{median(first):.1f} the first hundred, {median(last):.1f} the last: {median(growths):.2f} ({growths[0]:.2f} to {growths[-1]:.2f})"
        wanted = f" (wanted: < {MOST_GROWTH})" if name == "orlop" else ""
        rows.append(f"| {name}: {RUNNING} running at once | {sum(failed)} | {growth}{wanted} |")
    return rows


def _parallel(runtime):
    names = [f"crowd-{number}" for number in range(PARALLEL)]
    line = f"{runtime.command} create --bundle {runtime.folder}/long"
    begin = time.monotonic()
    children = [_start(f"{line} {name}") for name in names]
    failed = sum(child.wait() != 0 for child in children)
    each = (time.monotonic() - begin) * 1000 / PARALLEL
    _take_away(runtime, names)
    return failed, each


def _beside(runtime):
    names = [f"crowd-{number}" for number in range(RUNNING)]
    took, failed = [], 0
    for name in names:
        begin = time.monotonic()
        failed += _start(f"{runtime.command} run --detach --bundle {runtime.folder}/long {name}").wait() != 0
        took.append((time.monotonic() - begin) * 1000)
    _take_away(runtime, names)
    return failed, median(took[:HUNDRED]), median(took[-HUNDRED:])


def _start(line):
    quiet = subprocess.DEVNULL
    return subprocess.Popen(line.split(), stdin=quiet, stdout=quiet, stderr=quiet)


def _take_away(runtime, names):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: _start(f"{runtime.command} delete --force {name}").wait(), names))
