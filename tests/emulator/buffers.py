# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers that are given bytes: buffers.h."""

from __future__ import annotations

from tests.emulator.native import Driver

#: Bytes of a command: a page.
_PUT = 4096


class BufferDriver(Driver):
    """A driver with buffers, by number."""

    def load(self, buffer: int, data: bytes) -> None:
        """Put `data` into a buffer that has exactly its size."""
        self.ask("size", buffer, len(data))
        for start in range(0, len(data), _PUT):
            part = data[start : start + _PUT]
            words = part.ljust(_PUT, b"\0")
            numbers = (int.from_bytes(words[at : at + 8], "big") for at in range(0, _PUT, 8))
            self.ask("put", buffer, start, len(part), *numbers)
