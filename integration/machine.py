"""A virtual machine: Debian's cloud kernel and a Debian root under qemu, emulated, for what the kernel below us lacks.

The image (target/vm/PLACE/, or below $ORLOP_VM_CACHE) is made once per list of packages: root.img, kernel, modules/. A boot never writes
to it. What changes from call to call travels beside it: the files of integration/guest in the initial file system, which lays
them over the image, and everything else on a second disk, which the guest sees as /orlop.
"""
import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import tempfile
import time

from debian import mirror, run, said

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACE = f"{ROOT}/target/vm"
PACKAGES = """systemd systemd-sysv dbus dbus-user-session libpam-systemd udev kmod procps util-linux mount iproute2 iptables nftables strace
    busybox-static python3 podman conmon netavark aardvark-dns catatonit slirp4netns fuse-overlayfs uidmap docker.io containerd
    containernetworking-plugins skopeo runc crun criu apparmor""".split()
# Debian's name of the package that follows the newest kernel of a release.
KERNEL = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_blk", "virtio_console")
# An ordinary user, with ranges of ids in /etc/subuid and /etc/subgid, whose systemd manager runs without a login.
USER = """chroot "$1" useradd --create-home --shell /bin/bash orlop
    mkdir -p "$1/var/lib/systemd/linger" && touch "$1/var/lib/systemd/linger/orlop" """
CGROUPS = {
    "v2": [],
    "hybrid": ["systemd.unified_cgroup_hierarchy=0"],
    "v1": ["systemd.unified_cgroup_hierarchy=0", "systemd.legacy_systemd_cgroup_controller=1"],
}
# Emulated, everything that costs time in a kernel costs much of it: mitigations, where no stranger shares the processor, pages that are
# cleared twice, a clock that is a device.
ARGUMENTS = """console=ttyS0 quiet panic=-1 mitigations=off systemd.show_status=0 init_on_alloc=0 audit=0 tsc=reliable clocksource=tsc
    rcupdate.rcu_expedited=1""".split()
MEMORY_MIB = 2048


class Died(Exception):
    """The guest ended, or was ended, without telling an exit code."""


def image():
    """Returns the directory of the image, which is made where it is missing."""
    site, codename = mirror()
    key = hashlib.sha256(" ".join([codename, USER, *MODULES, *PACKAGES]).encode()).hexdigest()[:12]
    cache = os.environ.get("ORLOP_VM_CACHE", PLACE)
    place = f"{cache}/{codename}-{key}"
    os.makedirs(cache, exist_ok=True)
    with open(f"{cache}/lock", "w") as lock:
        # One makes it, and whoever comes meanwhile waits for that one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(place):
            begin = time.monotonic()
            print("vm: making the image", flush=True)
            new = tempfile.mkdtemp(prefix="new-", dir=cache)
            try:
                make(new, site, codename)
                shutil.rmtree(f"{new}/root")
                os.rename(new, place)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            print(f"vm: the image is made after {time.monotonic() - begin:.0f} s", flush=True)
    return place


def make(new, site, codename):
    """Makes a Debian root, puts the kernel's modules into it, and an ext4 image of it."""
    root = f"{new}/root"
    slim = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    run(["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}", *slim, f"--customize-hook={USER}", codename, root, site])
    # Profiles of programs that nothing here starts; the parser takes seconds for them.
    for profile in ("lsb_release", "nvidia_modprobe"):
        os.remove(f"{root}/etc/apparmor.d/{profile}")
    depends = said("apt-cache", "depends", KERNEL)
    package = next(word for word in depends.split() if word.startswith("linux-image-") and word != KERNEL)
    os.mkdir(f"{new}/package")
    run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=f"{new}/package")
    run(["dpkg", "-x", *glob.glob(f"{new}/package/*.deb"), f"{new}/package"])
    version = package.removeprefix("linux-image-")
    os.rename(f"{new}/package/boot/vmlinuz-{version}", f"{new}/kernel")
    shutil.copytree(f"{new}/package/lib/modules/{version}", f"{root}/usr/lib/modules/{version}", symlinks=True)
    shutil.rmtree(f"{new}/package")
    run(["chroot", root, "depmod", version])
    os.mkdir(f"{new}/modules")
    loads = said("chroot", root, "modprobe", "--all", "--set-version", version, "--show-depends", *MODULES)
    for number, path in enumerate(dict.fromkeys(line.split()[1] for line in loads.splitlines())):
        shutil.copy(root + path, f"{new}/modules/{number:02}-{os.path.basename(path)}")
    shutil.copy(f"{root}/bin/busybox", f"{new}/busybox")
    disk(root, f"{new}/root.img", 6144)


def disk(directory, path, size_mib):
    """Makes a sparse ext4 image of a directory; it lives for one boot, so it needs no journal."""
    run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", "-d", directory, path, f"{size_mib}M"], stdout=subprocess.DEVNULL)


def initial(base, scratch):
    """Makes the initial file system: busybox, modules, and integration/guest."""
    tree = f"{scratch}/initial"
    for name in ("bin", "dev", "root"):
        os.makedirs(f"{tree}/{name}")
    shutil.copy(f"{base}/busybox", f"{tree}/bin/busybox")
    shutil.copytree(f"{base}/modules", f"{tree}/modules")
    shutil.copytree(f"{ROOT}/integration/guest", f"{tree}/guest", symlinks=True)
    os.rename(f"{tree}/guest/init", f"{tree}/init")
    names = said("find", tree, "-printf", "%P\n").encode()
    with open(f"{scratch}/initrd", "wb") as out:
        run(["/bin/busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"], input=names, stdout=out, cwd=tree, stderr=subprocess.DEVNULL)


def boot(fill, cgroup="v2", arguments=(), seconds=600, output=print):
    """Boots, with what `fill` puts into a directory as /orlop, runs /orlop/command there, and returns its exit code.

    Each piece of its output goes to `output` as it comes. The guest's console is kept in target/vm/console.log.
    """
    base = image()
    os.makedirs(PLACE, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix="boot-", dir=PLACE)
    guest = None
    try:
        initial(base, scratch)
        os.mkdir(f"{scratch}/orlop")
        fill(f"{scratch}/orlop")
        used = int(said("du", "-sm", f"{scratch}/orlop").split()[0])
        disk(f"{scratch}/orlop", f"{scratch}/orlop.img", used * 5 // 4 + 256)
        guest = subprocess.Popen(qemu(base, scratch, [*ARGUMENTS, *CGROUPS[cgroup], *arguments]), stdin=subprocess.DEVNULL)
        return follow(guest, scratch, seconds, output)
    finally:
        if guest:
            guest.kill()
            guest.wait()
        if os.path.exists(f"{scratch}/console"):
            os.replace(f"{scratch}/console", f"{PLACE}/console.log")
        shutil.rmtree(scratch)


def qemu(base, scratch, arguments):
    """Returns the command line. It ends with this process, whatever ends this process."""
    port = lambda number, name: ["-chardev", f"file,id={name},path={scratch}/{name}", "-device", f"virtserialport,chardev={name},name={name},nr={number}"]
    drive = lambda path, snapshot: ["-drive", f"file={path},format=raw,if=virtio,cache=unsafe,snapshot={snapshot}"]
    return [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64"),
        *("-smp", "2", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", f"{base}/kernel", "-initrd", f"{scratch}/initrd", "-append", " ".join(arguments), "-serial", f"file:{scratch}/console"),
        *drive(f"{base}/root.img", "on"),
        *drive(f"{scratch}/orlop.img", "off"),
        *("-device", "virtio-serial-pci", *port(1, "output"), *port(2, "code")),
    ]


def follow(guest, scratch, seconds, output):
    """Passes output on until the guest tells an exit code."""
    end = time.monotonic() + seconds
    paths = [f"{scratch}/{name}" for name in ("output", "code")]
    while not all(os.path.exists(path) for path in paths) and guest.poll() is None:
        time.sleep(0.05)
    if guest.poll() is not None:
        raise Died(f"qemu does not start: exit code {guest.returncode}")
    with open(paths[0], "rb") as said_file, open(paths[1]) as code_file:
        code = ""
        while True:
            alive = guest.poll() is None
            # The code is written when all output has come: it is looked at first.
            code += code_file.read()
            piece = said_file.read()
            if piece:
                output(piece.decode(errors="replace"))
            if code.endswith("\n"):
                return int(code)
            if not alive:
                raise Died(f"the guest ended without an exit code; its console said last: {tail(scratch)}")
            if time.monotonic() > end:
                raise Died(f"the guest did not end within {seconds} s; its console said last: {tail(scratch)}")
            time.sleep(0.05)


def tail(scratch):
    with open(f"{scratch}/console", errors="replace") as console:
        return "".join(console.readlines()[-12:])
