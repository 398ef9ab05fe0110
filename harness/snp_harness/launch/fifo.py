# SPDX-License-Identifier: GPL-2.0-or-later
"""A console of QEMU as two FIFOs.

QEMU's serial ports write byte by byte. Linux charges a Unix socket a buffer for each write, so that it is full after
some 280 unread bytes; later output of the guest is delayed or lost. A pipe holds at least 64 KiB.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
from pathlib import Path

#: Capacity of a pipe if the user's limit allows it, bytes.
PIPE_SIZE = 1 << 20
#: Linux include/uapi/linux/fcntl.h; in Python since 3.10.
_F_SETPIPE_SZ = 1031
#: Suffixes that QEMU appends to the path: it reads from the first and writes to the second (QEMU chardev/char-pipe.c).
_INPUT, _OUTPUT = ".in", ".out"


class ConsoleFifo:
    """This side's ends of both FIFOs, not blocking, with a socket's methods. The FIFOs exist until `close`.

    directory: of the run, absolute. QEMU's argument is `pipe,path=` and the path of `name` in it. Raises OSError.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._paths = [directory / (name + end) for end in (_INPUT, _OUTPUT)]
        self._source = self.sink = -1
        try:
            for path in self._paths:
                # A killed run may have left one.
                path.unlink(missing_ok=True)
                os.mkfifo(path, 0o600)
            flags = os.O_NONBLOCK | os.O_CLOEXEC
            # Opened for reading and writing: on Linux that does not wait for a reader.
            self.sink = os.open(self._paths[0], os.O_RDWR | flags)
            self._source = os.open(self._paths[1], os.O_RDONLY | flags)
        except OSError:
            self.close()
            raise
        enlarge(self._source)

    def fileno(self) -> int:
        """Return the descriptor from which QEMU's output is read."""
        return self._source

    def setblocking(self, flag: bool) -> None:
        """Set both ends to blocking or not, as a socket does."""
        for fd in (self._source, self.sink):
            os.set_blocking(fd, flag)

    def recv(self, size: int) -> bytes:
        """Read at most `size` bytes; b"" after QEMU has ended. Raises BlockingIOError if there are none."""
        data = os.read(self._source, size)
        if not data and not self._hung_up():
            raise BlockingIOError(errno.EAGAIN, "QEMU has not opened it yet")
        return data

    def send(self, data: bytes) -> int:
        """Write to QEMU's input; return the number of bytes written. Raises BlockingIOError if there is no room."""
        return os.write(self.sink, data)

    def _hung_up(self) -> bool:
        """Return whether all writers have closed the FIFO; False before the first one has opened it."""
        poll = select.poll()
        poll.register(self._source, 0)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close both ends, and remove the FIFOs."""
        for fd in (self._source, self.sink):
            if fd >= 0:
                os.close(fd)
        self._source = self.sink = -1
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink()


def enlarge(fd: int) -> None:
    """Set a pipe's capacity to PIPE_SIZE if the user's limit allows it; any capacity works."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_SIZE)


def fifo_name(console: str) -> str:
    """Return the file name, without suffix, of a console's FIFOs in a run directory."""
    return f".{console}"
