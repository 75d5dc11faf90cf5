"""From samples of images to a table."""

import datetime
import os
import platform
from statistics import median

# operation -> [(contender, the most that lade may take of its)].
DEMANDS = {"pull": [("docker", 0.2), ("podman", 0.25), ("floor", 1.4)], "push": [("docker", 0.4)], "run": [("docker", 0.10)]}
# What lade may take by itself.
LIMITS = {"push again": 0.1, "rmi": 0.5, "sweep": 10}
PEAK = 100 << 10

HOW = """\
An image of {layers} layers, {megabytes} MB and {files} entries from Debian's packages (`hack/bench.d/image_made.py`), {packed} MB packed, on loopback from Debian's docker-registry. Medians of {rounds} rounds, in
which the engines take turns in an order of the round's own; a ratio is the median of the rounds' own ratios. Before each figure everything is written to disk and the caches are dropped. Stores lie on the same disk.
*push* is of layers that no engine has packed (`load` of an archive with plain layers); *rmi* is what the caller waits for, *sweep* what goes on after it. *floor* is the larger of inflating and
hashing all layers (`tests/bin/inflate.rs`, {inflate:.2f} s) and `tar -x` of their plain tars, in parallel, and sync ({extract:.2f} s).
A pull does the work of both: {both:.2f} s if it kept all processors busy and fetching, storing and checking cost nothing.
"""


def render(samples, made, versions, rounds):
    names = [name for name in ("lade", "docker", "podman") if name in samples["pull"]]
    floors = {name: median(values) for name, values in samples["floors"].items()}
    lines = [f"## Images, {datetime.date.today().isoformat()}", "", f"{versions}; Linux {platform.release()}, {os.cpu_count()} processors.", ""]
    numbers = {"layers": len(made.tars), "megabytes": made.about["bytes"] // 1_000_000, "files": made.about["files"], "packed": made.packed // 1_000_000}
    lines += [HOW.format(rounds=rounds, **numbers, **floors)]
    lines += [f"| seconds | {' | '.join(names)} | wanted |", "|---" * (len(names) + 2) + "|"]
    for operation, columns in samples.items():
        if operation in ("floors", "accounts", "peak", "size"):
            continue
        cells = [f"{median(columns[name]):.2f}" if columns.get(name) else "" for name in names]
        lines.append(f"| {operation} | {' | '.join(cells)} | {', '.join(wishes(operation, columns, samples))} |")
    lines += other_rows(samples, names)
    return "\n".join(lines).rstrip() + "\n"


def wishes(operation, columns, samples):
    columns = dict(columns)
    if operation == "pull" and "floors" in samples:
        columns["floor"] = [max(pair) for pair in zip(samples["floors"]["inflate"], samples["floors"]["extract"])]
    for other, most in DEMANDS.get(operation, []):
        if columns.get("lade") and columns.get(other):
            yield wish(f"≤ {most} of {other}", median(one / its for one, its in zip(columns["lade"], columns[other])), most)
    if operation in LIMITS and columns.get("lade"):
        yield wish(f"≤ {LIMITS[operation]} s", median(columns["lade"]), LIMITS[operation])


def wish(text, value, most):
    return f"{text}: {value:.2f} {'met' if value <= most else '**missed**'}"


def other_rows(samples, names):
    peaks = samples.get("peak", {})
    cells = [f"{median(peaks[name]) / 1024:.0f} MiB" if peaks.get(name) else "" for name in names]
    most = max(peaks["lade"]) if peaks.get("lade") else 0
    yield f"| pull: peak memory | {' | '.join(cells)} | {wish('≤ 100 MiB', most / 1024, PEAK / 1024) if most else ''} |"
    sizes = {name: values for name, values in samples.get("size", {}).items() if values}
    cells = [f"{median(sizes[name]) / 1e6:.1f} MB" if name in sizes else "" for name in names]
    both = "lade" in sizes and "docker" in sizes
    yield f"| push: size in the registry | {' | '.join(cells)} | {wish('≤ 1.05 of docker', median(sizes['lade']) / median(sizes['docker']), 1.05) if both else ''} |"
    for when, pairs in samples.get("accounts", {}).items():
        off = max(abs(counted - disk) / disk for counted, disk in pairs)
        yield f"| system df beside du, {when} | {off:.2%} off |{' |' * (len(names) - 1)} {wish('≤ 0.01', off, 0.01)} |"
