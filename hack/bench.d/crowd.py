"""Many containers at once: hundreds created in parallel, a thousand that run beside each other."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

PARALLEL = 200
RUNNING = 1000
HUNDRED = 100
MOST_GROWTH = 1.5


def measure(runtimes):
    """Returns the lines of a report; each runtime in turn makes its crowd and takes it away."""
    rows = ["| | failed | ms each |", "|---|---|---|"]
    for runtime in runtimes:
        failed, each = _parallel(runtime)
        rows.append(f"| {runtime.name}: {PARALLEL} created in parallel | {failed} | {each:.1f} |")
    for runtime in runtimes:
        failed, first, last = _beside(runtime)
        growth = f"{first:.1f} the first hundred, {last:.1f} the last: {last / first:.2f}"
        wanted = f" (wanted: < {MOST_GROWTH})" if runtime.name == "orlop" else ""
        rows.append(f"| {runtime.name}: {RUNNING} running at once | {failed} | {growth}{wanted} |")
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
