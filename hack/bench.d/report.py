"""From samples to a table, and into docs/performance.md."""

import datetime
import json
import os
import platform
import subprocess
from statistics import median

METRICS = (("wall", "wall, ms", "{:.1f}"), ("cpu", "user+system, ms", "{:.1f}"), ("peak", "peak memory, KiB", "{:.0f}"))

# (operation, metric) -> [(contender, the most that orlop may take of its)].
DEMANDS = {
    ("run", "wall"): [("crun", 0.5), ("floor", 1.5)],
    ("run in turns", "wall"): [("crun", 0.5), ("floor", 1.5)],
    ("run", "cpu"): [("crun", 0.6)],
    ("run", "peak"): [("crun", 1.0)],
    ("create, start, delete", "wall"): [("crun", 0.7)],
    ("create, start, delete", "peak"): [("crun", 1.0)],
    ("exec", "wall"): [("crun", 0.5)],
    ("exec", "peak"): [("crun", 1.0)],
    ("delete --force", "wall"): [("runc", 0.2)],
    ("50 in parallel", "wall"): [("crun", 0.7)],
}

HOW = """\
Medians of {rounds} rounds ({few} for the parallel runs). Within a round the contenders take turns, each doing the same
twice at once, of which the second counts (*in turns*: once only); a ratio is the median of the rounds' own ratios. All get the same `config.json` (what `runc spec` writes, `/bin/true` of
busybox-static, no terminal), a state root on a tmpfs, and all cgroup controllers on v1. *floor* is what the kernel
alone takes for the same namespaces, mounts and cgroups and one exec (`tests/bin/floor.rs`). Wall time, processor time
of all processes and peak memory come from `tests/bin/stopwatch.rs`: peak memory is the greatest resident size
(`ru_maxrss`, shared pages included) of any one process, the container's first before its exec included.
"""


def hyperfine(commands, folder):
    """Returns {contender: median ms} of `run`, from short hyperfine runs in turn: a second opinion on our stopwatch."""
    seen = {name: [] for name, _ in commands}
    for _ in range(5):
        out = folder / "hyperfine.json"
        command = ["hyperfine", "-N", "--style", "none", "--warmup", "1", "--runs", "10", "--export-json", out]
        subprocess.run([*command, *(line for _, line in commands)], check=True, capture_output=True)
        for (name, _), result in zip(commands, json.loads(out.read_text())["results"]):
            seen[name].append(result["median"] * 1000)
    return {name: median(values) for name, values in seen.items()}


def render(results, versions, rounds):
    today = datetime.date.today().isoformat()
    lines = [f"## Runtime, {today}", ""]
    lines += [f"{versions}; Linux {platform.release()}, {os.cpu_count()} processors.", ""]
    lines += [HOW.format(rounds=rounds, few=max(rounds // 6, 3))]
    for title, samples in results.items():
        lines += [f"### {title}", ""]
        lines += table(samples)
        if samples.get("crowd"):
            lines += ["", *samples["crowd"]]
        second = ", ".join(f"{name} {value:.1f}" for name, value in samples["hyperfine"].items())
        lines += ["", f"hyperfine's medians of `run`, ms: {second}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def table(samples):
    operations = [operation for operation in samples if operation not in ("hyperfine", "crowd")]
    names = list(samples[operations[0]])
    rows = [f"| | {' | '.join(names)} | orlop/crun | orlop/floor | crun/floor | wanted |", "|---" * (len(names) + 5) + "|"]
    for operation in operations:
        for metric, label, form in METRICS:
            columns = {name: [getattr(sample, metric) for sample in taken] for name, taken in samples[operation].items()}
            cells = [form.format(median(columns[name])) if name in columns else "" for name in names]
            pairs = (("orlop", "crun"), ("orlop", "floor"), ("crun", "floor"))
            cells += [f"{ratio(columns[one], columns[other]):.2f}" if other in columns else "" for one, other in pairs]
            wishes = [wish(most, other, ratio(columns["orlop"], columns[other])) for other, most in DEMANDS.get((operation, metric), [])]
            rows.append(f"| {operation}: {label} | {' | '.join(cells)} | {', '.join(wishes)} |")
        failed = [sum(sample.failed for sample in samples[operation].get(name, [])) for name in names]
        if any(failed):
            rows.append(f"| {operation}: failed | {' | '.join(map(str, failed))} | | | | none |")
    return rows


def ratio(ours, theirs):
    return median(one / other for one, other in zip(ours, theirs))


def wish(most, other, value):
    return f"≤ {most} of {other}: {value:.2f} {'met' if value <= most else '**missed**'}"


def record(page, text, name="Runtime"):
    """Replaces the section of the same name in the page, or adds it at the end."""
    old = page.read_text() if page.exists() else "# Performance\n"
    sections = old.split("\n## ")
    kept = [section for section in sections if not section.startswith(f"{name}, ")]
    page.parent.mkdir(exist_ok=True)
    page.write_text("\n## ".join(part.rstrip() + "\n" for part in kept) + "\n" + text)
