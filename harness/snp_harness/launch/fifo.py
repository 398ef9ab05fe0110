# SPDX-License-Identifier: GPL-2.0-or-later
"""A console of QEMU's as two FIFOs.

QEMU's serial ports write byte by byte. Linux charges a Unix socket a buffer for each write, so that one is full after
some 280 bytes that nobody has read; what the guest prints then waits, or is lost. A pipe takes 64 KiB and more of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
from pathlib import Path

#: Bytes a pipe holds where the user's limit allows it.
PIPE_SIZE = 1 << 20
#: Linux include/uapi/linux/fcntl.h; in Python since 3.10.
_F_SETPIPE_SZ = 1031
#: What follows the path that QEMU is given: it reads the one and writes the other (QEMU chardev/char-pipe.c).
_INPUT, _OUTPUT = ".in", ".out"


class ConsoleFifo:
    """Our ends of both, with a socket's methods, not blocking. The FIFOs are there until `close`.

    directory: of the run, absolute. QEMU's argument is `pipe,path=` and the path of `name` in it. Raises OSError.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._paths = [directory / (name + end) for end in (_INPUT, _OUTPUT)]
        self._source = self.sink = -1
        try:
            for path in self._paths:
                # One that a killed run left.
                path.unlink(missing_ok=True)
                os.mkfifo(path, 0o600)
            flags = os.O_NONBLOCK | os.O_CLOEXEC
            # Linux: opened for both, so that it does not wait for the reader.
            self.sink = os.open(self._paths[0], os.O_RDWR | flags)
            self._source = os.open(self._paths[1], os.O_RDONLY | flags)
        except OSError:
            self.close()
            raise
        enlarge(self._source)

    def fileno(self) -> int:
        """The end that gives what QEMU writes."""
        return self._source

    def setblocking(self, flag: bool) -> None:
        """As a socket's."""
        for fd in (self._source, self.sink):
            os.set_blocking(fd, flag)

    def recv(self, size: int) -> bytes:
        """As a socket's; b"" once QEMU has ended."""
        data = os.read(self._source, size)
        if not data and not self._hung_up():
            raise BlockingIOError(errno.EAGAIN, "QEMU has not opened it yet")
        return data

    def send(self, data: bytes) -> int:
        """As a socket's."""
        return os.write(self.sink, data)

    def _hung_up(self) -> bool:
        """There was a writer, and there is none any more."""
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
    """Let a pipe hold PIPE_SIZE bytes, if the user's limit allows that; any size works."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, _F_SETPIPE_SZ, PIPE_SIZE)


def fifo_name(console: str) -> str:
    """The file name, without its end, of a console's FIFOs in a run directory."""
    return f".{console}"
