"""A lane: one engine, one runtime, a list of checks, and proof that nothing is left afterwards.

A lane runs in namespaces of its own (mounts, network, processes, IPC) with an empty /run and /var/lib, so that engines keep their default
paths, never meet the machine's own daemons, and leave nothing when they are killed. Cgroups are the machine's: those are
compared before and after. With --systemd the machine's systemd makes the cgroups of containers: then /run, processes and IPC are the
machine's, too, for systemd must be reached there, and must know processes by the same numbers.
"""
import argparse
import glob
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import inspection
from checking import PATIENCE, Failure, Skip, clip, command, read, transcript, within

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
INSIDE = "ORLOP_LANE_SCRATCH"
# So many failed checks are run once more, alone, as hack/again has it for tests; where more fail, something is broken.
MOST_AGAIN = 3
# An address of "this machine" that is not loopback: what a neighbour on the network would use.
HOST_ADDRESS = "198.51.100.1"


class Engine:
    """What a lane must say about its engine. `start` makes it ready, `stop` ends its daemons."""

    name = "engine"
    # What the cgroups of this engine contain in their paths; which of them, which mounts and links the engine itself makes and leaves.
    cgroup_marks = ()
    cgroup_parents = "$."
    own_mounts = ()
    own_links = ()
    # Directories that must be empty once the containers are gone (a runtime's state, bundles, the engine's containers).
    state_dirs = ()
    # Globs of what the runtime logs.
    runtime_logs = ()

    def __init__(self, options):
        self.options = options
        self.scratch = os.environ[INSIDE]
        self.runtime = options.runtime
        if options.as_runc:
            os.makedirs(f"{self.scratch}/bin")
            os.symlink(self.runtime, f"{self.scratch}/bin/runc")
            self.runtime = f"{self.scratch}/bin/runc"
        self.runtime_name = os.path.basename(self.runtime)
        # The engine's word for who makes cgroups.
        self.driver = "systemd" if options.systemd else "cgroupfs"
        self.daemons = []

    def start(self):
        raise NotImplementedError

    def stop(self):
        for process in reversed(self.daemons):
            process.terminate()
            try:
                process.wait(30 * PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failure(f"{process.args[0]} does not stop within {30 * PATIENCE} s of SIGTERM") from None

    def remove(self):
        """Removes what the check of this thread made."""

    def remove_all(self):
        """Removes every container and returns their names."""
        return []

    def version_line(self):
        return ""

    def daemon(self, argv, ready, env=None, seconds=30):
        log = f"{self.scratch}/{os.path.basename(argv[0])}.log"
        with open(log, "ab") as out:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
        self.daemons.append(process)
        within(seconds, f"{argv[0]} answers", lambda: process.poll() is not None or ready())
        if process.poll() is not None:
            raise Failure(f"{argv[0]} ended at once with {process.returncode}: {clip(read(log, ''))}")
        return process

    def logs(self, since):
        """Yields the tails of the daemons' logs and everything that the runtime logged since then."""
        for path in glob.glob(f"{self.scratch}/*.log"):
            lines = [line for line in read(path, "").splitlines() if "level=info" not in line]
            yield path, "\n".join(lines[-25:])
        for pattern in self.runtime_logs:
            for path in glob.glob(pattern):
                if os.path.exists(path) and os.stat(path).st_mtime >= since:
                    yield path, read(path, "")


def main(engine_type, checks):
    """Runs a lane and ends the process with its verdict."""
    parser = argparse.ArgumentParser(description=f"Runs {engine_type.name} against a runtime.")
    parser.add_argument("--runtime", default=f"{ROOT}/target/release/orlop", help="the runtime (default: %(default)s)")
    parser.add_argument("--as-runc", action="store_true", help="install the runtime under the name runc")
    parser.add_argument("--systemd", action="store_true", help="have systemd make the cgroups, on a machine that was booted with it")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this check (again for more)")
    parser.add_argument("--jobs", type=int, default=3, help="checks that run at once (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="name the checks")
    options = parser.parse_args()
    options.runtime = os.path.abspath(options.runtime)
    if options.list:
        print("\n".join(name for name, _, _ in checks))
        return
    unknown = set(options.only or ()) - {name for name, _, _ in checks}
    problem = None
    if unknown:
        problem = f"no check is named {', '.join(sorted(unknown))} (see --list)"
    elif os.geteuid() != 0:
        problem = "not root: engines are started here by hand"
    elif not os.access(options.runtime, os.X_OK):
        problem = f"no runtime at {options.runtime}: run cargo build --release -p orlop, or name one with --runtime"
    elif options.systemd and not os.path.isdir("/run/systemd/system"):
        problem = "--systemd, but systemd does not run here: use integration/vm --lane NAME"
    if problem:
        verdict(engine_type.name, [], problem)
    if INSIDE not in os.environ:
        sys.exit(in_namespaces(options.systemd))
    prepare_namespaces(options.systemd)
    wanted = [check for check in checks if not options.only or check[0] in options.only]
    Run(engine_type, options, wanted).run()


def verdict(name, results, problem=None):
    """Prints the last line and exits."""
    if problem:
        print(f"FAIL start: {problem}")
        results = [*results, ("failed", 0)]
    count = {word: sum(1 for result, _ in results if result == word) for word in ("passed", "failed", "skipped")}
    print(f"{name}: " + ", ".join(f"{number} {word}" for word, number in count.items()), flush=True)
    sys.exit(1 if count["failed"] or not count["passed"] else 0)


def in_namespaces(systemd):
    """Starts this program again in namespaces of its own and returns its exit code."""
    scratch = tempfile.mkdtemp(prefix="lane-", dir="/tmp")
    argv = ["unshare", "--mount", "--net", "--propagation", "private"]
    if not systemd:
        argv += ["--pid", "--ipc", "--fork", "--kill-child", "--mount-proc"]
    try:
        return subprocess.call([*argv, sys.executable, *sys.argv], env={**os.environ, INSIDE: scratch})
    except KeyboardInterrupt:
        return 130
    finally:
        os.rmdir(scratch)


def prepare_namespaces(systemd):
    """Gives the lane empty places; one with its own process namespace gets a process 1 that only reaps, and goes on as its child."""
    if not systemd:
        reap_in_another()
    for place in (os.environ[INSIDE], "/var/lib", *(() if systemd else ("/run", "/dev/shm"))):
        command(["mount", "-t", "tmpfs", "-o", "mode=755", "lane", place])
    if not systemd:
        os.chmod("/dev/shm", 0o1777)
        os.mkdir("/run/lock")
        inspection.show_hidden_hierarchies()
    # Engines and volumes want the shared mounts that a booted machine has.
    command(["mount", "--make-rshared", "/"])
    command(["ip", "link", "set", "lo", "up"])
    command(["ip", "address", "add", f"{HOST_ADDRESS}/32", "dev", "lo"])


def reap_in_another():
    if os.getpid() != 1:
        sys.exit(f"{INSIDE} is set outside of a lane: unset it")
    child = os.fork()
    if child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            pid, status = os.wait()
            if pid == child:
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


class Run:
    """The checks of one lane, run in parallel where that is safe, and the lines they print."""

    def __init__(self, engine_type, options, checks):
        self.name = engine_type.name
        self.options, self.checks = options, checks
        self.engine = engine_type(options)
        self.results, self.failed = [], []
        self.printing = threading.Lock()

    def run(self):
        self.before = inspection.Inspection(self.engine)
        begin = time.monotonic()
        try:
            self.engine.start()
        except Exception as error:
            self.report("failed", *self.failure("start", error, 0, transcript.said))
            self.end()
        print(f"{self.name}: {self.engine.version_line()}, ready in {time.monotonic() - begin:.1f} s", flush=True)
        idle = inspection.Inspection(self.engine)
        with ThreadPoolExecutor(self.options.jobs) as pool:
            list(pool.map(self.first, [check for check in self.checks if not check[2]]))
        for check in self.checks:
            if check[2]:
                self.first(check)
        self.again()
        self.one(("nothing_left", lambda engine: self.remove_and_compare(idle), True))
        self.one(("daemons_stop", lambda engine: self.stop_and_compare(), True))
        self.end()

    def remove_and_compare(self, idle):
        left = self.engine.remove_all()
        idle.compare()
        if left:
            raise Failure(f"containers that their checks did not remove: {'; '.join(left)}")

    def stop_and_compare(self):
        self.engine.stop()
        self.before.compare()

    def first(self, check):
        self.one(check, lambda *lines: self.failed.append((check, lines)))

    def again(self):
        for check, lines in self.failed:
            if len(self.failed) > MOST_AGAIN:
                self.report("failed", *lines)
                continue
            print("\n".join(["again, alone: " + lines[0], *lines[1:]]), flush=True)
            self.one(check)
            if self.results[-1][0] == "passed":
                print(f"unsteady {check[0]}: it failed among others and passed alone", flush=True)
            elif self.results[-1][0] == "skipped":
                self.results[-1] = ("failed", lines[0])

    def one(self, check, failed=None):
        """Runs a check and reports; what failed goes to `failed`, if that is given."""
        name, function, _ = check
        failed = failed or (lambda *lines: self.report("failed", *lines))
        transcript.said = []
        since, begin = time.time(), time.monotonic()
        try:
            many = function(self.engine)
            # A check that runs somebody else's tests returns what each of them has shown.
            for result, *lines in many or [("passed", f"ok {name} {time.monotonic() - begin:.1f} s")]:
                self.report(result, *lines)
        except Skip as reason:
            self.report("skipped", f"skip {name}: {reason}")
        except Exception as error:
            failed(*self.failure(name, error, since, transcript.said))
        try:
            self.engine.remove()
        except Exception as error:
            self.report("failed", *self.failure(f"{name} (removal)", error, since, transcript.said))

    def report(self, result, *lines):
        with self.printing:
            self.results.append((result, lines[0]))
            print("\n".join(lines), flush=True)

    def failure(self, name, error, since, said):
        """Returns what is to be said of a failed check, its name and reason in the first line."""
        lines = [f"FAIL {name}: {error}"]
        if not isinstance(error, Failure):
            lines += traceback.format_exc().splitlines()
        lines += [f"    {line}" for entry in said[-6:] for line in entry.splitlines()]
        for path, text in self.engine.logs(since):
            if text.strip():
                lines += [f"    -- {path}", *(f"    {line[:600]}" for line in clip(text, 6000).splitlines())]
        return lines

    def end(self):
        """Leaves the machine as it was found, whatever happened; the mounts go with their namespace."""
        inspection.end_processes(self.engine)
        self.before.remove_new_cgroups()
        verdict(self.name, self.results)
