# SPDX-License-Identifier: GPL-2.0-or-later
"""Writing physical memory by QEMU's gdb stub: its monitor has no command for it.

Protocol: "GDB Remote Serial Protocol" of the GDB manual; QEMU's packet PhyMemMode is in its docs/system/gdb.rst.
"""

from __future__ import annotations

import socket

from snp_harness.vm.qemu_errors import QemuError, QemuTimeoutError

_TIMEOUT_S = 30.0
#: Bytes of a packet; QEMU accepts 4096 characters.
_CHUNK = 1024
_ANSWER_MAX = 1 << 16


class GdbStub:
    """A client of the stub at the other end of a connection, which stops the guest when it is started."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(_TIMEOUT_S)
        self._buffer = b""
        self._command("Qqemu.PhyMemMode:1")

    def write(self, address: int, data: bytes) -> None:
        """Write physical memory. Raises QemuError."""
        for start in range(0, len(data), _CHUNK):
            part = data[start : start + _CHUNK]
            self._command(f"M{address + start:x},{len(part):x}:{part.hex()}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _command(self, text: str) -> None:
        body = text.encode()
        try:
            self._connection.sendall(b"$%s#%02x" % (body, sum(body) & 0xFF))
            # Packets about stops may come before the answer.
            while (answer := self._packet()).startswith(b"T"):
                pass
        except TimeoutError:
            raise QemuTimeoutError(f"QEMU's gdb stub did not answer in {_TIMEOUT_S:g} s", "see its stderr") from None
        except OSError as error:
            raise QemuError(f"QEMU's gdb stub is gone: {error.strerror}", "see its stderr") from None
        if answer != b"OK":
            raise QemuError(f"QEMU's gdb stub answered {answer[:40]!r} to {text[:40]}", "see its version")

    def _packet(self) -> bytes:
        """Return the content of the next packet, and acknowledge it."""
        while True:
            start, end = self._buffer.find(b"$"), self._buffer.find(b"#")
            if 0 <= start < end and len(self._buffer) >= end + 3:
                packet, self._buffer = self._buffer[start + 1 : end], self._buffer[end + 3 :]
                self._connection.sendall(b"+")
                return packet
            data = self._connection.recv(4096)
            if not data or len(self._buffer) > _ANSWER_MAX:
                raise QemuError("QEMU's gdb stub has ended", "see its stderr")
            self._buffer += data
