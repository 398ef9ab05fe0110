# SPDX-License-Identifier: GPL-2.0-or-later
"""What firmware prints by port I/O, put together from trace events: phases in the very order of the accesses.

A console's bytes come to the harness by another way than trace events, and at another time. The bytes that a guest
writes to its ports are trace events too, in one order with its APIC accesses.
"""

from __future__ import annotations

import re

from snp_harness.apic.access import Phase

#: Longest part of a line that is kept, bytes.
LINE_LIMIT = 256
#: What EDK II prints when a phase begins, or has begun before (DEBUG builds; BdsDxe's in all): the last one matters.
MARKS: tuple[tuple[Phase, re.Pattern[bytes]], ...] = (
    (Phase.SEC, re.compile(rb"SecCoreStartupWithStack\(0x")),
    (Phase.PEI, re.compile(rb"Loading PEIM at|Platform PEIM Loaded|PlatformPei")),
    (Phase.DXE, re.compile(rb"Loading DXE CORE at|Loading driver at")),
    (Phase.BDS, re.compile(rb"BdsDxe: ")),
)


class PortConsole:
    """The bytes written to one port."""

    def __init__(self) -> None:
        self._line = bytearray()

    def write(self, value: int, size: int) -> tuple[Phase, str] | None:
        """Take what was written; at a line's end returns the phase that the line shows, and its text."""
        for byte in value.to_bytes(8, "little")[: max(0, min(size, 8))]:
            if byte in b"\r\n":
                line = bytes(self._line)
                self._line.clear()
                found = phase_of(line)
                if found is not None:
                    return found, line.decode("ascii", "replace").strip()
            elif len(self._line) < LINE_LIMIT:
                self._line.append(byte)
        return None


def phase_of(line: bytes) -> Phase | None:
    """The phase that a line of the console shows, None if it shows none."""
    return next((phase for phase, pattern in MARKS if pattern.search(line)), None)
