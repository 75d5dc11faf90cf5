"""A disk that loses at a power cut what was not flushed: a server of the network block device protocol (NBD), in memory.

Killing qemu loses nothing by itself: what a guest has written lies in the host's page cache by then, whatever `cache=` says. qemu's log of
writes (blklogwrites) and the guest's dm-log-writes keep an order to be replayed, of all writes, in a format to be read; here the disk is
ours, so it is enough to hold back what a disk with a write cache may hold back:

- A write is seen by later reads at once, and it is durable (in the file) when a flush that came after its answer has been answered, or
  when it asked for that itself (FUA).
- At the cut each write that is not durable is kept or lost, by chance, whatever came before or after it; what is kept may be torn between
  sectors. How likely either is differs from cut to cut: sometimes all is lost, sometimes all is kept.
- Sectors are 4 KiB, as those of disks are today. With smaller ones a journal's commit block may be torn, which ext4 takes for damage in older
  kernels: Linux 6.1 does not mount such a disk, 6.18 does.

A disk that lies (`lie`) answers flushes and makes nothing durable: what is tested on it has to fail.
"""
import mmap
import os
import socket
import struct
import threading

SECTOR = 4096
# The protocol's numbers: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
GREETING = b"NBDMAGICIHAVEOPT"
OPTION, OPTION_REPLY, REQUEST, REPLY = 0x49484156454F5054, 0x3E889045565A9, 0x25609513, 0x67446698
OPT_ABORT, OPT_GO = 2, 7
REP_ACK, REP_INFO, REP_UNSUPPORTED = 1, 3, (1 << 31) + 1
# Has flags, knows flushes, knows FUA; it knows nothing of discarding, so that nobody asks for it.
FLAGS = 1 | 4 | 8
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1
INVALID = 22


class Disk:
    """A file as a disk, for one boot."""

    def __init__(self, path, address, lie=False):
        self.size, self.lie = os.path.getsize(path), lie
        with open(path, "r+b") as file:
            self.durable = mmap.mmap(file.fileno(), self.size)
            # What reads see: pages of the file until they are written to, which then are this process's own.
            self.seen = mmap.mmap(file.fileno(), self.size, access=mmap.ACCESS_COPY)
        # What is not durable yet, and in its order what overlaps it: (offset, bytes, whether it is durable nevertheless).
        self.held = []
        self.writes, self.flushes, self.armed = 0, 0, None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen(1)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def steps(self):
        """Writes and flushes so far."""
        return self.writes + self.flushes

    def arm(self, steps, power_off):
        """Calls power_off when so many more writes and flushes have come, and answers nothing from then on."""
        self.armed = (self.steps + steps, power_off)

    def serve(self):
        try:
            connection, _ = self.listener.accept()
            with connection, connection.makefile("rb") as asked:
                if self.negotiate(connection, asked):
                    while self.answer(connection, asked):
                        pass
        except (OSError, EOFError):
            # The guest's power is off.
            pass

    def negotiate(self, connection, asked):
        connection.sendall(GREETING + struct.pack(">H", 3))
        exact(asked, 4)
        while True:
            _, option, length = struct.unpack(">QII", exact(asked, 16))
            exact(asked, length)
            reply = lambda kind, data=b"": connection.sendall(struct.pack(">QIII", OPTION_REPLY, option, kind, len(data)) + data)
            if option == OPT_GO:
                reply(REP_INFO, struct.pack(">HQH", 0, self.size, FLAGS))
                reply(REP_ACK)
                return True
            reply(REP_ACK if option == OPT_ABORT else REP_UNSUPPORTED)
            if option == OPT_ABORT:
                return False

    def answer(self, connection, asked):
        _, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", exact(asked, 28))
        data, error = b"", 0
        if kind == READ:
            data = self.seen[offset:offset + length]
        elif kind == WRITE:
            written = exact(asked, length)
            if self.is_cut():
                return False
            self.writes += 1
            self.write(offset, written, flags & FUA)
        elif kind == FLUSH:
            if self.is_cut():
                return False
            self.flushes += 1
            self.flush()
        elif kind == DISCONNECT:
            return False
        else:
            error = INVALID
        connection.sendall(struct.pack(">IIQ", REPLY, error, handle) + data)
        return True

    def is_cut(self):
        if self.armed and self.steps + 1 >= self.armed[0]:
            self.armed[1]()
            return True
        return False

    def write(self, offset, data, fua):
        self.seen[offset:offset + len(data)] = data
        durable = bool(fua) and not self.lie
        if durable:
            self.durable[offset:offset + len(data)] = data
        self.held.append((offset, data, durable))

    def flush(self):
        if not self.lie:
            self.keep_all()

    def keep_all(self):
        for offset, data, _ in self.held:
            self.durable[offset:offset + len(data)] = data
        self.held.clear()

    def close(self, chance=None):
        """Ends the disk after its guest: without `chance` as a machine that was shut down, with it by a cut; returns what became of the held writes."""
        self.listener.close()
        self.thread.join(30)
        if self.thread.is_alive():
            raise RuntimeError("the disk is in use still: its guest has not ended")
        number, kept = len(self.held), 0
        if chance is None:
            self.keep_all()
        else:
            kept = self.cut(chance)
        self.durable.flush()
        self.durable.close()
        self.seen.close()
        return f"{kept} of {number} unflushed writes kept"

    def cut(self, chance):
        likely = chance.choice((0.0, 1.0, chance.random(), chance.random()))
        torn = chance.choice((0.0, 0.3))
        kept = 0
        for offset, data, durable in self.held:
            if not durable and chance.random() >= likely:
                continue
            kept += not durable
            if durable or chance.random() >= torn:
                self.durable[offset:offset + len(data)] = data
                continue
            # Some sectors of it, or its beginning.
            sectors = range(0, len(data), SECTOR)
            some = chance.sample(sectors, chance.randrange(len(sectors))) if chance.random() < 0.5 else sectors[:chance.randrange(len(sectors))]
            for at in some:
                piece = data[at:at + SECTOR]
                self.durable[offset + at:offset + at + len(piece)] = piece
        self.held.clear()
        return kept


def exact(file, length):
    data = file.read(length)
    if len(data) != length:
        raise EOFError
    return data
