# SPDX-License-Identifier: GPL-2.0-or-later
"""The memory of a guest that is held, by guest-physical address."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from snp_harness.errors import MemoryAccessError, UsageError
from snp_harness.guest.gdb import GdbStub
from snp_harness.platforms.memory_map import PAGE_SIZE
from snp_harness.vm.machine_base import GDB

if TYPE_CHECKING:
    from snp_harness.guest.keeper import Keeper
    from snp_harness.guest.qmp import GuestQmp

#: Most bytes of one call: QEMU's monitor prints them.
SIZE_MAX = 1 << 20
#: Bytes that one command of the monitor prints.
_CHUNK = 4096
_WORD = re.compile(r"\b0x([0-9a-f]{16})\b")


class GuestMemory:
    """Reads and writes memory. vmpl: whose view; None: that of the guest's VMPL.

    A VMPL sees a shared page, and a private page that is validated and on which the RMP gives it the permission. Its
    content is what the guest sees, also of a private page: the emulated host encrypts nothing, where hardware would
    show another content to everybody but the guest.
    """

    def __init__(
        self, qmp: GuestQmp, keeper: Callable[[], Keeper], stopped: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._qmp = qmp
        self._keeper = keeper
        self._stopped = stopped
        self._stub: GdbStub | None = None

    def read(self, gpa: int, size: int, vmpl: int | None = None) -> bytes:
        """Return `size` bytes. The guest may run; what it writes meanwhile is in the result or not.

        Raises MemoryAccessError if the VMPL may not read one of them or there is no memory, UnsupportedError,
        GuestEndedError.
        """
        return b"".join(self.peek(spa, length) for spa, length in self._parts(gpa, size, vmpl, write=False))

    def write(self, gpa: int, data: bytes, vmpl: int | None = None) -> None:
        """Write bytes, all or none; the guest is stopped for that time. Raises as `read`."""
        with self._stopped():
            parts = self._parts(gpa, len(data), vmpl, write=True)
            stub = self._open_stub()
            for spa, length in parts:
                stub.write(spa, data[:length])
                data = data[length:]

    def peek(self, address: int, size: int) -> bytes:
        """Return physical memory of QEMU's, also such as no guest has."""
        start = address & ~7
        found = bytearray()
        while len(found) < address + size - start:
            words = min(_CHUNK, address + size - start - len(found) + 7) // 8
            text = self._qmp.monitor(f"xp /{words}gx {start + len(found):#x}")
            values = [int(word, 16) for word in _WORD.findall(text)]
            if len(values) != words:
                raise MemoryAccessError(f"QEMU cannot read {words * 8} bytes at {start + len(found):X}")
            found += b"".join(value.to_bytes(8, "little") for value in values)
        return bytes(found[address - start : address - start + size])

    def close(self) -> None:
        """Close what writing has opened."""
        if self._stub is not None:
            self._stub.close()
            self._stub = None

    def _parts(self, gpa: int, size: int, vmpl: int | None, *, write: bool) -> list[tuple[int, int]]:
        """Return address and length of each part of a range that is in one page."""
        if not 0 <= size <= SIZE_MAX or gpa < 0:
            raise UsageError(f"{size} bytes at {gpa:#x} cannot be accessed", f"use at most {SIZE_MAX} bytes")
        running = self._keeper().session.running
        if size == 0:
            return []
        end = gpa + size
        starts = [gpa, *range(gpa - gpa % PAGE_SIZE + PAGE_SIZE, end, PAGE_SIZE)]
        lengths = [after - start for start, after in itertools.pairwise((*starts, end))]
        return list(zip(running.locate(self.peek, starts, vmpl, write=write), lengths, strict=True))

    def _open_stub(self) -> GdbStub:
        if self._stub is None:
            connection = self._keeper().call(lambda session: session.running.machine.channel(GDB).dup())
            try:
                self._qmp.monitor(f"gdbserver chardev:{GDB}")
                self._stub = GdbStub(connection)
            except BaseException:
                connection.close()
                raise
        return self._stub
