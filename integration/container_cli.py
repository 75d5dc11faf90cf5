"""Checks of engines that share one command line: podman and docker."""
import json
import os
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from checking import PATIENCE, Checks, Failure, command, lacks, matches, read, same, status_value, within
from inspection import Cgroup
from lane import HOST_ADDRESS, Engine
from terminal import Terminal

IMAGE = "orlop-lane"
FOREVER = ("sleep", "1000")
# A process 1 that obeys: shells ignore what they do not trap.
LOOP = "while :; do sleep 0.1; done"
checks = Checks()


class CliEngine(Engine):
    """An engine with `run`, `exec`, `inspect` and their flags."""

    # The start of every command line, its environment, and how to remove at once.
    prefix = ()
    env = None
    rm = ("rm", "-f", "-v")
    # What an engine says when it refuses to enter a frozen container.
    paused_text = "pause"

    def __init__(self, options):
        super().__init__(options)
        self.made = threading.local()

    def cli(self, *args, **more):
        return command([*self.prefix, *args], env=self.env, **{"cwd": self.scratch, **more})

    def run(self, *args, **more):
        """Runs a container in the foreground and removes it."""
        return self.cli("run", "--rm", *args, **more)

    def detach(self, *args, program=FOREVER):
        """Starts a container in the background; it is removed at the end of the check."""
        return self.keep(self.cli("run", "-d", *args, IMAGE, *program).out)

    def keep(self, text):
        container = Container(self, text.strip().splitlines()[-1])
        # The newest first: a container that others join cannot go before them.
        self.made.ids = [container.id, *getattr(self.made, "ids", ())]
        return container

    def terminal(self, *args, **size):
        return Terminal([*self.prefix, *args], env=self.env, **size)

    def remove(self):
        ids, self.made.ids = getattr(self.made, "ids", ()), ()
        if ids and self.cli(*self.rm, *ids, code=None, quiet=True).code:
            # Some are gone already, as their check wanted; or, removed all at once, one went before its joiner did.
            for one in ids:
                self.cli(*self.rm, one, code=None, quiet=True)


    def remove_all(self):
        # --rm may be a background process of the engine's, still on its way.
        deadline = time.monotonic() + 5 * PATIENCE
        while left := self.cli("ps", "-a", "--format", "{{.ID}} {{.Status}}: {{.Command}}", quiet=True).out.splitlines():
            if time.monotonic() > deadline:
                self.cli(*self.rm, *[line.split()[0] for line in left])
                break
            time.sleep(0.1)
        return left


class Container:
    """One container, by its id."""

    def __init__(self, engine, identity):
        self.engine, self.id = engine, identity

    def inspect(self, template):
        return self.engine.cli("inspect", "--format", "{{" + template + "}}", self.id, quiet=True).out.strip()

    def pid(self):
        return int(self.inspect(".State.Pid"))

    def exec(self, *args, **more):
        return self.engine.cli("exec", *args, **more)

    def sh(self, script, *flags, **more):
        return self.engine.cli("exec", *flags, self.id, "sh", "-c", script, **more).out.strip()

    def logs(self):
        result = self.engine.cli("logs", self.id, quiet=True)
        return result.out + result.err

    def says(self, text):
        within(20, f"{text!r} in the logs", lambda: text in self.logs())

    def ended(self):
        within(20, "the container has ended", lambda: self.inspect(".State.Status") == "exited")


@checks
def run(engine):
    result = engine.run("-i", IMAGE, "sh", "-c", "cat; echo to-stderr >&2", stdin="to-stdin")
    same("stdout", result.out, "to-stdin")
    same("stderr", result.err, "to-stderr\n")


@checks
def run_moves_much_data(engine):
    data = os.urandom(1 << 20).hex().encode()
    same("bytes", engine.run("-i", IMAGE, "wc", "-c", stdin=data).out.strip(), str(len(data)))
    # Docker drops what it has not read two seconds after the end of a container: on a machine that is slower, the container waits for it.
    out = engine.run(IMAGE, "sh", "-c", f"yes 0123456789abcde | head -c 2097152; sleep {2 * (PATIENCE - 1)}").out
    same("bytes out", len(out), 2097152)


@checks
def exit_codes(engine):
    table = [
        (["true"], 0, None),
        (["sh", "-c", "exit 3"], 3, None),
        (["/etc/passwd"], 126, "permission denied"),
        (["nosuchprogram"], 127, r"executable file not found in \$PATH"),
        (["/no/such/program"], 127, "no such file or directory"),
    ]
    for program, code, text in table:
        result = engine.run(IMAGE, *program, code=code)
        if text:
            matches(f"message of {program}", f"(?i){text}", result.err)


@checks
def exit_code_after_a_signal(engine):
    container = engine.detach()
    engine.cli("kill", container.id)
    same("wait", engine.cli("wait", container.id).out.strip(), "137")
    container.ended()
    same("inspect", container.inspect(".State.ExitCode"), "137")


@checks
def terminal_and_resize(engine):
    with engine.terminal("run", "--rm", "-it", IMAGE, "sh", rows=31, columns=97) as terminal:
        terminal.expect_size(31, 97)
        terminal.change_size(44, 132)
        terminal.send("tty; exit 5\n")
        terminal.expect(r"/dev/(pts/\d+|console)")
        terminal.wait(5)
    script = f"trap 'echo winch=$(stty size)=' WINCH; trap 'echo int; exit 4' INT; echo ready; {LOOP}"
    with engine.terminal("run", "--rm", "-it", IMAGE, "sh", "-c", script) as terminal:
        terminal.expect("ready")
        # A client that is still starting may miss the first.
        for columns in (70, 71, 72):
            terminal.resize(20, columns)
            if terminal.shows(f"winch=20 {columns}=", 3):
                break
        else:
            raise Failure("no SIGWINCH arrives inside")
        terminal.send("\x03")
        terminal.expect("int")
        terminal.wait(4)


@checks
def exec_user_cwd_env(engine):
    container = engine.detach("-e", "FROM_RUN=1")
    script = "id -u; id -g; pwd; echo $FROM_RUN $FROM_EXEC"
    out = container.sh(script, "--user", "1000:3000", "--workdir", "/tmp", "--env", "FROM_EXEC=2")
    same("inside", out.split("\n"), ["1000", "3000", "/tmp", "1 2"])
    same("user by name", container.sh("id -un; id -G; echo $HOME", "--user", "guest").split("\n"), ["guest", "1000 3000", "/home/guest"])
    same("stdin", engine.cli("exec", "-i", container.id, "cat", stdin="through").out, "through")
    same("cgroup", container.sh("cat /proc/self/cgroup"), container.sh("cat /proc/1/cgroup"))


@checks
def exec_exit_codes(engine):
    container = engine.detach()
    for program, codes in [(["true"], [0]), (["sh", "-c", "exit 7"], [7]), (["/etc/passwd"], [126]), (["nosuchprogram"], [126, 127])]:
        result = engine.cli("exec", container.id, *program, code=None)
        if result.code not in codes:
            raise Failure(f"exec {program}: exit code {result.code}, not {codes}")
    matches("message", r"(?i)executable file .*not found in \$PATH", result.out + result.err)
    same("the container still runs", container.inspect(".State.Running"), "true")


@checks
def exec_terminal_and_resize(engine):
    container = engine.detach()
    with engine.terminal("exec", "-it", container.id, "sh", rows=33, columns=101) as terminal:
        terminal.expect_size(33, 101)
        terminal.change_size(50, 140)
        terminal.send("exit 9\n")
        terminal.wait(9)


@checks
def exec_detached(engine):
    container = engine.detach()
    engine.cli("exec", "-d", container.id, "sh", "-c", "echo done >/tmp/mark; sleep 1000")
    within(10, "the mark", lambda: container.sh("cat /tmp/mark 2>/dev/null; true") == "done")
    matches("top", "sleep 1000", engine.cli("top", container.id).out)


@checks
def stop_with_term(engine):
    container = engine.detach(program=("sh", "-c", f"trap 'exit 42' TERM; echo ready; {LOOP}"))
    container.says("ready")
    engine.cli("stop", "-t", "20", container.id)
    same("exit code", container.inspect(".State.ExitCode"), "42")


@checks
def stop_with_kill(engine):
    container = engine.detach(program=("sh", "-c", f"trap '' TERM; echo ready; {LOOP}"))
    container.says("ready")
    engine.cli("stop", "-t", "1", container.id, timeout=20)
    same("exit code", container.inspect(".State.ExitCode"), "137")


@checks
def kill_with_a_signal(engine):
    container = engine.detach(program=("sh", "-c", f"trap 'echo got-usr1' USR1; echo ready; {LOOP}"))
    container.says("ready")
    engine.cli("kill", "-s", "USR1", container.id)
    container.says("got-usr1")
    engine.cli("kill", "-s", "9", container.id)
    container.ended()
    error = engine.cli("kill", container.id, code=None)
    if error.code == 0:
        raise Failure("kill of an ended container succeeds")
    matches("message", "(?i)not running|only kill running|can only", error.err)


@checks
def pause(engine):
    container = engine.detach(program=("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/tmp/count; sleep 0.05; done"))
    pid = container.pid()
    count = f"/proc/{pid}/root/tmp/count"
    within(10, "it counts", lambda: read(count, "").strip())
    engine.cli("pause", container.id)
    same("frozen", Cgroup(pid).frozen(), True)
    frozen_at = read(count)
    same("status", container.inspect(".State.Status"), "paused")
    refusal = engine.cli("exec", container.id, "true", code=None)
    if refusal.code == 0:
        raise Failure("exec into a paused container succeeds")
    matches("refusal", f"(?i){engine.paused_text}", refusal.err)
    same("count while frozen", read(count), frozen_at)
    engine.cli("unpause", container.id)
    same("frozen", Cgroup(pid).frozen(), False)
    within(10, "it counts again", lambda: read(count, frozen_at).strip() not in ("", frozen_at.strip()))
    engine.cli("pause", container.id)
    engine.cli(*engine.rm, container.id)
    same("a paused container is removed", os.path.exists(f"/proc/{pid}"), False)


@checks
def rm_force(engine):
    container = engine.detach()
    pid = container.pid()
    error = engine.cli("rm", container.id, code=None)
    if error.code == 0:
        raise Failure("rm of a running container succeeds without -f")
    engine.cli(*engine.rm, container.id)
    same("the process is gone", os.path.exists(f"/proc/{pid}"), False)
    if engine.cli("inspect", container.id, code=None).code == 0:
        raise Failure("inspect still knows it")


@checks
def create_then_start(engine):
    container = engine.keep(engine.cli("create", IMAGE, "sh", "-c", "echo started; exit 6").out)
    same("status", container.inspect(".State.Status"), "created")
    engine.cli("start", "-a", container.id, code=6)
    engine.keep(engine.cli("create", IMAGE, "true").out)


@checks
def restart(engine):
    container = engine.detach(program=("sh", "-c", "echo started; trap 'exit 0' TERM; " + LOOP))
    container.says("started")
    first = container.pid()
    engine.cli("restart", "-t", "20", container.id)
    same("status", container.inspect(".State.Status"), "running")
    if container.pid() == first:
        raise Failure("the same process after a restart")
    within(10, "both starts in the logs", lambda: container.logs().count("started") == 2)


@checks
def logs(engine):
    container = engine.detach(program=("sh", "-c", "for i in 1 2 3; do echo out $i; done; echo err >&2"))
    container.ended()
    result = engine.cli("logs", container.id)
    same("stdout", result.out, "out 1\nout 2\nout 3\n")
    same("stderr", result.err, "err\n")


@checks
def state_after_exit(engine):
    container = engine.detach(program=("sh", "-c", "exit 11"))
    container.ended()
    state = json.loads(engine.cli("inspect", container.id, quiet=True).out)[0]["State"]
    same("state", [state[key] for key in ("Running", "Pid", "ExitCode", "OOMKilled")], [False, 0, 11, False])
    lacks("finish time", "^0001", state["FinishedAt"])
    same("ps", engine.cli("ps", "-aq", "--no-trunc", "--filter", f"id={container.id}").out.strip(), container.id)


@checks
def top_and_stats(engine):
    container = engine.detach()
    matches("top", r"sleep 1000", engine.cli("top", container.id).out)
    pids = engine.cli("stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", container.id).out.strip()
    matches("stats", r"^[1-9][0-9.]* ?[kKMG]?i?B / .* 1$", pids)


@checks
def names_users_environment(engine):
    flags = "--hostname inside --user 1000:2000 --group-add 3000 -e COLOUR=green -w /home/guest".split()
    out = engine.run(*flags, IMAGE, "sh", "-c", "hostname; id -u; id -g; id -G; echo $COLOUR; pwd").out
    same("inside", out.split("\n")[:-1], ["inside", "1000", "2000", "2000 3000", "green", "/home/guest"])
    same("user by name", engine.run("--user", "guest", IMAGE, "sh", "-c", "id -u; id -G; echo $HOME").out.split("\n")[:-1], ["1000", "1000 3000", "/home/guest"])


@checks
def tmpfs(engine):
    flags = ["--tmpfs", "/scratch:size=1m,mode=1770,noexec", "--tmpfs", "/etc/late"]
    out = engine.run(*flags, IMAGE, "sh", "-c", "grep -E ' /(scratch|etc/late) ' /proc/mounts; stat -c %a /scratch; touch /scratch/x").out
    line = matches("mount", r"^tmpfs /scratch tmpfs (.*) 0 0$", out).group(1).split(",")
    missing = {"rw", "nosuid", "nodev", "noexec", "size=1024k", "mode=1770"} - set(line)
    same("missing options", missing, set())
    matches("second mount", "^tmpfs /etc/late tmpfs", out)
    matches("mode", "^1770$", out)
    full = engine.run(*flags, IMAGE, "dd", "if=/dev/zero", "of=/scratch/big", "bs=1M", "count=2", code=1)
    matches("full", "No space left", full.err)


@checks
def read_only(engine):
    result = engine.run("--read-only", "--tmpfs", "/tmp", IMAGE, "sh", "-c", "touch /tmp/fine && echo fine; touch /root/x", code=1)
    same("tmpfs", result.out, "fine\n")
    matches("write", "Read-only file system", result.err)
    matches("devices", "c", engine.run("--read-only", IMAGE, "sh", "-c", "echo c >/dev/null && echo c >/dev/shm/x && cat /dev/shm/x").out)


@checks
def limits(engine):
    flags = "--memory 64m --memory-swap 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 77"
    container = engine.detach(*flags.split())
    cgroup = Cgroup(container.pid())
    table = [
        ("memory", "memory.limit_in_bytes", "memory.max", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "memory.low", "33554432"),
        ("cpu", "cpu.cfs_quota_us", "cpu.max", ("50000", "50000 100000")),
        ("cpuset", "cpuset.cpus", "cpuset.cpus", "0"),
        ("pids", "pids.max", "pids.max", "77"),
    ]
    for controller, v1, v2, wanted in table:
        got = cgroup.value(controller, v1, v2)
        if got not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            raise Failure(f"{v1} is {got}, not {wanted}")
    # Version 2 has a weight instead, by a formula of the runtime's.
    shares = cgroup.value("cpu", "cpu.shares", "cpu.weight")
    same("cpu shares", shares == "512" or 1 <= int(shares) < 100, True)
    same("it is held", container.sh("dd if=/dev/zero of=/dev/null bs=1M count=1 2>/dev/null; nproc"), "1")


@checks
def update(engine):
    container = engine.detach(*"--memory 64m --memory-swap 64m --cpus 0.5".split())
    cgroup = Cgroup(container.pid())
    for memory, cpus, quota in (("96m", "0.75", "75000"), ("48m", "0.25", "25000")):
        engine.cli("update", "--memory", memory, "--memory-swap", memory, "--cpus", cpus, container.id)
        same("memory", cgroup.value("memory", "memory.limit_in_bytes", "memory.max"), str(int(memory[:-1]) << 20))
        matches("processor", f"^{quota}", cgroup.value("cpu", "cpu.cfs_quota_us", "cpu.max"))


@checks
def pids_limit_holds(engine):
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 3 & done; true"
    result = engine.run("--pids-limit", "10", IMAGE, "sh", "-c", script, code=None)
    matches("fork", "(?i)can't fork|resource temporarily", result.err)


@checks
def published_port(engine):
    container = engine.detach("-p", "127.0.0.1::8080", "-p", f"{HOST_ADDRESS}:18080:8080", program=("httpd", "-f", "-p", "8080", "-h", "/www"))
    port = matches("port", r"127\.0\.0\.1:(\d+)", engine.cli("port", container.id, "8080").out).group(1)
    for address in (f"127.0.0.1:{port}", f"{HOST_ADDRESS}:18080"):
        within(15, f"an answer from {address}", lambda: fetch(address) == "served from inside\n")


def fetch(address):
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{address}/", timeout=5 * PATIENCE).read().decode()
    except OSError:
        return None


@checks
def volumes(engine):
    folder = f"{engine.scratch}/volumes"
    os.makedirs(f"{folder}/rw")
    os.makedirs(f"{folder}/ro")
    with open(f"{folder}/ro/file", "w") as file:
        file.write("given\n")
    flags = ["-v", f"{folder}/rw:/rw", "-v", f"{folder}/ro:/ro:ro", "-v", f"{folder}/ro/file:/etc/one-file:ro", "-v", f"named-{engine.name}:/www"]
    result = engine.run(*flags, IMAGE, "sh", "-c", "cat /ro/file /etc/one-file /www/index.html; echo made >/rw/file; touch /ro/x", code=1)
    same("inside", result.out, "given\ngiven\nserved from inside\n")
    matches("read-only", "Read-only file system", result.err)
    same("outside", read(f"{folder}/rw/file"), "made\n")
    engine.cli("volume", "rm", f"named-{engine.name}")


@checks
def volume_propagation(engine):
    folder = f"{engine.scratch}/propagation"
    for name in ("private", "slave", "shared"):
        os.makedirs(f"{folder}/{name}/late")
        os.makedirs(f"{folder}/{name}/inside")
    flags = [f"-v={folder}/{name}:/{name}:r{name}" for name in ("private", "slave", "shared")]
    # The engines' AppArmor profiles forbid mounts.
    free = [word for what in ("seccomp", "apparmor") for word in ("--security-opt", f"{what}=unconfined")]
    container = engine.detach("--cap-add", "SYS_ADMIN", *free, *flags)
    seen = lambda path: path in [line.split(" ")[4] for line in read(f"/proc/{container.pid()}/mountinfo").splitlines()]
    ours = lambda path: path in [line.split(" ")[4] for line in read("/proc/self/mountinfo").splitlines()]
    try:
        for name in ("private", "slave", "shared"):
            command(["mount", "-t", "tmpfs", "late", f"{folder}/{name}/late"])
            container.sh(f"mount -t tmpfs inside /{name}/inside")
        same("mounts made outside, seen inside", [seen(f"/{name}/late") for name in ("private", "slave", "shared")], [False, True, True])
        same("mounts made inside, seen outside", [ours(f"{folder}/{name}/inside") for name in ("private", "slave", "shared")], [False, False, True])
    finally:
        for path in [f"{folder}/{name}/late" for name in ("private", "slave", "shared")] + [f"{folder}/shared/inside"]:
            command(["umount", path], code=None)


@checks
def privileged(engine):
    out = engine.run("--privileged", IMAGE, "sh", "-c", "cat /proc/self/status; ls /dev; grep -E ' /(sys|proc) ' /proc/mounts; mount -t tmpfs x /mnt || mkdir /mnt && mount -t tmpfs x /mnt && echo mounted").out
    # Older engines do not know, and do not ask for, what came with Linux 5.8 and 5.9.
    known = lambda text, field: int(status_value(text, field), 16) & (1 << 38) - 1
    same("capabilities", known(out, "CapEff"), known(read("/proc/self/status"), "CapBnd"))
    same("seccomp", status_value(out, "Seccomp"), "0")
    matches("sysfs", r"^sysfs /sys sysfs rw", out)
    matches("a device of the machine", r"^kmsg$|^loop-control$|^fuse$", out)
    matches("mount", "^mounted$", out)


@checks
def capabilities(engine):
    def bits(*flags):
        text = engine.run(*flags, IMAGE, "cat", "/proc/self/status").out
        return [status_value(text, field) for field in ("CapPrm", "CapEff", "CapBnd")]

    same("one", bits("--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"), ["0000000000000400"] * 3)
    same("none", bits("--cap-drop", "ALL"), ["0000000000000000"] * 3)
    default, more = int(bits()[1], 16), int(bits("--cap-add", "SYS_PTRACE")[1], 16)
    same("added", more ^ default, 1 << 19)
    for bit, name in [(21, "SYS_ADMIN"), (12, "NET_ADMIN"), (16, "SYS_MODULE")]:
        same(f"{name} by default", default >> bit & 1, 0)
    user = bits("--user", "1000")
    same("an ordinary user", user[:2], ["0000000000000000"] * 2)


@checks
def seccomp(engine):
    mode = lambda *flags: status_value(engine.run(*flags, IMAGE, "cat", "/proc/self/status").out, "Seccomp")
    same("default", mode(), "2")
    same("unconfined", mode("--security-opt", "seccomp=unconfined"), "0")
    profile = f"{engine.scratch}/profile.json"
    with open(profile, "w") as file:
        rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, file)
    own = engine.run("--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/tmp/x", code=1)
    matches("own profile", "(?i)not supported", own.err)


@checks
def no_new_privileges(engine):
    text = engine.run("--security-opt", "no-new-privileges", IMAGE, "cat", "/proc/self/status").out
    same("NoNewPrivs", status_value(text, "NoNewPrivs"), "1")


@checks
def init_process(engine):
    container = engine.detach("--init")
    matches("process 1", "init|catatonit", container.sh("cat /proc/1/cmdline").split("\0")[0])
    container.sh("sh -c 'sleep 0.1 & exec true'; sh -c '(sleep 0.2 &) '; true")
    zombies = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ' Z '; true"
    within(10, "orphans are reaped", lambda: container.sh(zombies) == "0")
    engine.cli("stop", "-t", "20", container.id, timeout=10)
    same("TERM reaches the program", container.inspect(".State.ExitCode"), "143")


@checks
def joined_namespaces(engine):
    # docker shares only an IPC namespace that was made for it.
    first = engine.detach("--ipc", "shareable")
    second = engine.detach("--pid", f"container:{first.id}", "--ipc", f"container:{first.id}", "--network", f"container:{first.id}")
    link = lambda container, kind: os.readlink(f"/proc/{container.pid()}/ns/{kind}")
    for kind in ("pid", "ipc", "net"):
        same(f"{kind} namespace", link(second, kind), link(first, kind))
    for kind in ("mnt", "uts"):
        same(f"{kind} namespace is its own", link(second, kind) != link(first, kind), True)
    matches("its neighbour", "sleep 1000[\\s\\S]*sleep 1000", second.sh("ps"))


@checks
def host_namespaces(engine):
    container = engine.detach("--pid", "host", "--ipc", "host", "--network", "host", "--uts", "host")
    for kind in ("pid", "ipc", "net", "uts"):
        same(f"{kind} namespace", os.readlink(f"/proc/{container.pid()}/ns/{kind}"), os.readlink(f"/proc/self/ns/{kind}"))
    pid = container.pid()
    engine.cli(*engine.rm, container.id)
    same("the process is gone", os.path.exists(f"/proc/{pid}"), False)


@checks
def devices(engine):
    # Not one of the devices that every container may use anyway.
    out = engine.run("--cap-add", "SYSLOG", "--device", "/dev/kmsg:/dev/mine:r", IMAGE, "sh", "-c", "exec 3</dev/mine && echo opened; exec 4>/dev/mine", code=None)
    same("read", out.out, "opened\n")
    matches("write", "Operation not permitted", out.err)
    # Major 1, minor 2 is /dev/mem: a node may be made, but not opened.
    made = engine.run("--cap-add", "MKNOD", IMAGE, "sh", "-c", "mknod /tmp/mem c 1 2 && echo made; cat /tmp/mem | head -c 1", code=None)
    same("mknod", made.out, "made\n")
    matches("open", "Operation not permitted", made.err)
    basics = engine.run(IMAGE, "sh", "-c", "for d in null zero full random urandom tty; do stat -c '%n %a %t:%T' /dev/$d; done; ls -l /dev/ptmx /dev/fd").out
    matches("null", r"^/dev/null 666 1:3$", basics)
    matches("tty", r"^/dev/tty 666 5:0$", basics)


@checks
def hidden_files(engine):
    out = engine.run(IMAGE, "sh", "-c", "cat /proc/kcore | head -c 1 | wc -c; cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l; echo 1 >/proc/sys/kernel/msgmax", code=1)
    same("masked", out.out.split(), ["0", "0", "0"])
    matches("read-only", "Read-only file system", out.err)


@checks
def kernel_settings(engine):
    flags = "--ulimit nofile=100:200 --ulimit nproc=4096:4096 --sysctl net.ipv4.ip_unprivileged_port_start=7 --sysctl kernel.msgmax=4321 --oom-score-adj 500 --shm-size 5m"
    out = engine.run(
        *flags.split(), IMAGE, "sh", "-c", "ulimit -Sn; ulimit -Hn; cd /proc/sys; cat net/ipv4/ip_unprivileged_port_start kernel/msgmax /proc/self/oom_score_adj; df -k /dev/shm | tail -1 | awk '{print $2}'"
    ).out
    same("inside", out.split(), ["100", "200", "7", "4321", "500", "5120"])


@checks
def runtime_is_named(engine):
    container = engine.detach()
    matches("runtime of the container", "^" + engine.runtime_label() + "$", container.inspect(engine.runtime_template))


@checks(alone=True)
def twenty_at_once(engine):
    with ThreadPoolExecutor(20) as pool:
        started = list(pool.map(lambda _: engine.cli("run", "-d", IMAGE, *FOREVER, quiet=True).out.strip(), range(20)))
        containers = [engine.keep(text) for text in started]
        pids = [container.pid() for container in containers]
        same("processes", len({pid for pid in pids if os.path.exists(f"/proc/{pid}/ns")}), 20)
        same("cgroups", len({Cgroup(pid).folder("memory") for pid in pids}), 20)
        answers = list(pool.map(lambda one: engine.cli("exec", one.id, "echo", one.id, quiet=True).out.strip(), containers))
        same("exec in each", answers, [container.id for container in containers])
        engine.cli(*engine.rm, *[container.id for container in containers])
        same("gone", [pid for pid in pids if os.path.exists(f"/proc/{pid}")], [])
        codes = list(pool.map(lambda code: engine.run(IMAGE, "sh", "-c", f"exit {code}", code=None, quiet=True).code, range(20)))
        same("exit codes", codes, list(range(20)))
