"""The machine whose power is cut: the virtual machine's kernel (machine.py), busybox, and the disk of cut_disk.py; no systemd, no Debian.

The host sends a line of shell by a port, the guest runs it (cut_init) and answers with what it says and its exit code, each as soon as it is known.
"""
import os
import select
import shutil
import socket
import subprocess
import time

import machine
from cut_disk import SECTOR, Disk

ARGUMENTS = "console=ttyS0 quiet panic=-1 oops=panic mitigations=off init_on_alloc=0 audit=0 tsc=reliable clocksource=tsc rcupdate.rcu_expedited=1"
BOOT_SECONDS = 180


class Died(Exception):
    """The guest has ended, or does not answer."""


def initial(base, place):
    """Makes kernel and initrd."""
    tree = f"{place}/initial"
    shutil.copy(f"{base}/kernel", f"{place}/kernel")
    for name in ("bin", "dev", "proc", "sys", "tmp", "run", "tools", "data"):
        os.makedirs(f"{tree}/{name}")
    shutil.copy(f"{base}/busybox", f"{tree}/bin/busybox")
    shutil.copytree(f"{base}/modules", f"{tree}/modules")
    shutil.copy(f"{machine.ROOT}/integration/cut_init", f"{tree}/init")
    names = machine.said("find", tree, "-printf", "%P\n").encode()
    with open(f"{place}/initrd", "wb") as out:
        machine.run(["/bin/busybox", "cpio", "-o", "-H", "newc", "-R", "0:0"], input=names, stdout=out, cwd=tree, stderr=subprocess.DEVNULL)
    shutil.rmtree(tree)


class Guest:
    """One boot. `place` has kernel, initrd and tools.img, and is where sockets and the console's text go; `name` tells boots at one time apart."""

    def __init__(self, place, name, image, lie):
        self.console = f"{place}/{name}.console"
        addresses = [f"{place}/{name}.{kind}" for kind in ("disk", "port")]
        for address in addresses:
            if os.path.exists(address):
                os.remove(address)
        self.disk = Disk(image, addresses[0], lie)
        self.said, self.process, self.socket = b"", None, None
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(addresses[1])
                listener.listen(1)
                listener.settimeout(60)
                self.process = subprocess.Popen(self.qemu(place, *addresses), stdin=subprocess.DEVNULL)
                self.socket, _ = listener.accept()
            self.expect(b"== ready\n", BOOT_SECONDS)
        except BaseException:
            self.power_off()
            raise
        finally:
            for address in addresses:
                os.remove(address)

    def qemu(self, place, disk, port):
        """Returns the command line; `cache=writeback` gives the guest a disk with a write cache, whose flushes go to our disk."""
        return [
            *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand"),
            *("-smp", "2", "-m", "768", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", f"{place}/kernel", "-initrd", f"{place}/initrd", "-append", ARGUMENTS, "-serial", f"file:{self.console}"),
            *("-drive", f"file={place}/tools.img,format=raw,if=none,id=tools,readonly=on", "-device", "virtio-blk-pci,drive=tools"),
            *("-drive", f"file=nbd:unix:{disk},format=raw,if=none,id=data,cache=writeback", "-device", f"virtio-blk-pci,drive=data,physical_block_size={SECTOR}"),
            *("-device", "virtio-serial-pci", "-chardev", f"socket,id=port,path={port}", "-device", "virtserialport,chardev=port,name=port,nr=1"),
        ]

    def run(self, command, seconds=300):
        """Runs a line of shell to its end; returns its exit code and what it said."""
        self.begin(command)
        text, _, rest = self.expect(b"\n== end ", seconds).partition(b"\n== end ")
        return int(rest + self.expect(b"\n", 10)), text.decode(errors="replace").strip()

    def begin(self, command):
        self.socket.sendall(command.encode() + b"\n")
        # The newline stays: an end may follow with nothing between.
        self.expect(b"== begin", 60)

    def expect(self, mark, seconds):
        """Returns what is said up to a mark, with it."""
        end = time.monotonic() + seconds
        while mark not in self.said:
            if not self.more(end - time.monotonic()):
                ended = "the guest has ended" if self.process.poll() is not None else f"no {mark.decode().strip()!r} in {seconds} s"
                raise Died(f"{ended}; it said: {self.said.decode(errors='replace').strip()!r}; its console said last: {self.tail()}")
        before, _, self.said = self.said.partition(mark)
        return before + mark

    def more(self, seconds):
        """Waits for more to be said; tells whether there was more."""
        if not select.select([self.socket], [], [], max(seconds, 0))[0]:
            return False
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionResetError:
            piece = b""
        self.said += piece
        return bool(piece)

    def cut_in(self, command, seconds=None, steps=None):
        """Begins a command and cuts the power so much later; returns its exit code if it was reported before, what it said, and the seconds it had.

        With neither it is cut right behind the report of the command's end.
        """
        if steps is not None:
            self.disk.arm(steps, self.power_off)
        self.begin(command)
        begin = time.monotonic()
        end = begin + (600 if seconds is None else seconds)
        while self.reported() is None and self.more(end - time.monotonic()):
            pass
        self.power_off()
        took = time.monotonic() - begin
        # What has come out has been reported, however late we read it.
        while self.more(0):
            pass
        text = self.said.partition(b"\n== end ")[0]
        return self.reported(), text.decode(errors="replace").strip(), took

    def reported(self):
        _, mark, rest = self.said.partition(b"\n== end ")
        code, end, _ = rest.partition(b"\n")
        return int(code) if mark and end else None

    def power_off(self):
        """No warning, no answer, no flush."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def tail(self):
        with open(self.console, errors="replace") as console:
            return "".join(console.readlines()[-12:])
