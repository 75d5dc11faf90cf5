"""What a check is made of: commands with a time limit, comparisons that say what a user would notice, a table of checks."""
import os
import re
import shlex
import signal
import subprocess
import threading
import time

# How much longer than on a machine of the usual kind everything may take: the virtual machine is emulated.
PATIENCE = int(os.environ.get("ORLOP_PATIENCE", "1"))


class Failure(Exception):
    """A user would notice this."""


class Skip(Exception):
    """This machine cannot show it; the reason is printed."""


class Output:
    """What one command said and how it ended."""

    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def __str__(self):
        parts = [f"$ {shlex.join(self.argv)}", f"exit code {self.code}"]
        parts += [f"{name}: {clip(text)}" for name, text in (("stdout", self.out), ("stderr", self.err)) if text.strip()]
        return "\n".join(parts)


def clip(text, most=3000):
    text = text.strip()
    return text if len(text) <= most else f"{text[: most // 2]}\n[...]\n{text[-most // 2 :]}"


class Transcript(threading.local):
    """The commands of the check that this thread runs: printed when it fails."""

    def __init__(self):
        self.said = []


transcript = Transcript()


def command(argv, code=0, stdin="", timeout=60, env=None, cwd=None, quiet=False):
    """Runs a command to its end; any other exit code than `code` is a failure (None: every code will do)."""
    timeout *= PATIENCE
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    try:
        out, err = process.communicate(data, timeout=timeout)
        late = False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = finish(process)
        late = True
    result = Output(argv, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    if not quiet:
        transcript.said.append(str(result))
    if late:
        raise Failure(f"no end within {timeout} s: {shlex.join(argv)}")
    if code is not None and result.code != code:
        raise Failure(f"exit code {result.code}, not {code}: {shlex.join(argv)}: {clip(result.err or result.out, 300)}")
    return result


def finish(process):
    """Collects what a killed command said; a grandchild may still hold its pipes, so there is a limit here, too."""
    try:
        return process.communicate(timeout=2)
    except subprocess.TimeoutExpired:
        return b"", b""


def same(what, got, wanted):
    if got != wanted:
        raise Failure(f"{what}: {got!r}, not {wanted!r}")


def matches(what, pattern, text):
    """Returns the match of a regular expression, searched over lines."""
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise Failure(f"{what}: nothing like {pattern!r} in {clip(text, 600)!r}")
    return found


def status_value(text, field):
    """Returns one line of /proc/PID/status."""
    return matches(field, rf"^{field}:\s*(.*)$", text).group(1).strip()


def lacks(what, pattern, text):
    if re.search(pattern, text, re.MULTILINE):
        raise Failure(f"{what}: {pattern!r} must not be in {clip(text, 600)!r}")


def within(seconds, what, probe):
    """Returns the first true value of `probe`."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.05)


def read(path, default=None):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        if default is None:
            raise
        return default


class Checks(list):
    """A table of checks in the order of their definition; `alone` ones run after the others, one at a time."""

    def __call__(self, function=None, *, alone=False):
        if function is None:
            return lambda it: self(it, alone=alone)
        self.append((function.__name__, function, alone))
        return function


# Ends by an OOM kill, with the code of that. Its cgroup outlives the kill by a second: containerd's shim reports
# none of a cgroup that is gone before it looks.
HUNGRY = ("sh", "-c", "sleep 0.5; tail /dev/zero; code=$?; sleep 1; exit $code")
