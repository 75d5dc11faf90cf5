"""A real terminal for a command: what a person at a keyboard would see."""
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time

from checking import PATIENCE, Failure, clip, transcript


class Terminal:
    """Runs a command as the leader of a session whose controlling terminal we hold the other end of."""

    def __init__(self, argv, rows=24, columns=80, env=None):
        self.argv, self.text, self.seen = argv, "", 0
        self.ours, theirs = os.openpty()
        self.resize(rows, columns)
        # setsid(1) takes the terminal: nothing of ours may run between fork and exec while other threads live.
        self.process = subprocess.Popen(["setsid", "--ctty", *argv], stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        transcript.said.append(f"$ {' '.join(self.argv)} (terminal)\n{clip(self.text)}")

    def resize(self, rows, columns):
        """Changes the window; the kernel sends SIGWINCH to the command."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.ours, text.encode())

    def read_some(self, seconds):
        """Returns whether there may be more to come."""
        ready, _, _ = select.select([self.ours], [], [], seconds)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self.ours, 65536)
        except OSError:
            # EIO: every other holder of the terminal is gone.
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def expect(self, pattern, seconds=20):
        """Reads until the pattern appears in what was not yet matched."""
        end = time.monotonic() + seconds * PATIENCE
        more = True
        while True:
            found = re.search(pattern, self.text[self.seen :])
            if found:
                self.seen += found.end()
                return found
            if not more or time.monotonic() > end:
                raise Failure(f"the terminal does not show {pattern!r}: {clip(self.text, 800)!r}")
            more = self.read_some(0.2)

    def shows(self, pattern, seconds):
        """Tells whether `expect` would succeed."""
        try:
            self.expect(pattern, seconds)
        except Failure:
            return False
        return True

    def size_inside(self, rows, columns, seconds):
        """Asks the shell inside until it has this size, and tells whether it came to that."""
        end = time.monotonic() + seconds * PATIENCE
        while True:
            self.send("echo size=$(stty size)=\n")
            # A terminal has no size until its client has said one.
            found = self.expect(r"size=(\d+ \d+)?=")
            if found.group(1) == f"{rows} {columns}":
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.1)

    def expect_size(self, rows, columns):
        if not self.size_inside(rows, columns, 15):
            raise Failure(f"the size inside does not become {rows} {columns}")

    def change_size(self, rows, columns):
        """Resizes until it is seen inside: a client that is still starting may miss a signal."""
        for _ in range(3):
            self.resize(rows, columns)
            if self.size_inside(rows, columns, 4):
                return
            self.resize(rows, columns - 1)
        raise Failure(f"the size inside does not become {rows} {columns}")

    def wait(self, code, seconds=20):
        """Reads to the end and compares the exit code."""
        end = time.monotonic() + seconds * PATIENCE
        while self.read_some(0.1) and time.monotonic() < end:
            pass
        try:
            got = self.process.wait(max(1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure(f"no end within {seconds} s: {' '.join(self.argv)}") from None
        if got != code:
            raise Failure(f"exit code {got}, not {code}: {' '.join(self.argv)}: {clip(self.text, 600)!r}")
