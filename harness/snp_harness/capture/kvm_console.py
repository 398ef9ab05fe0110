# SPDX-License-Identifier: GPL-2.0-or-later
"""The firmware's console output from trace events of port I/O: it shows phases in the order of the accesses.

A console's own bytes reach the harness by another path than trace events, and at another time. The bytes that a guest
writes to its ports are also trace events, in one order with its APIC accesses.
"""

from __future__ import annotations

import re

from snp_harness.apic.access import Phase

#: Bytes of a line that are kept.
LINE_LIMIT = 256
#: EDK II prints these when a phase begins, or later (DEBUG builds; BdsDxe's in all builds). The last match counts.
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
        """Add bytes that were written; at a line's end returns the phase that the line shows, and its text."""
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
    """Return the phase that a line of the console shows, None if it shows none."""
    return next((phase for phase, pattern in MARKS if pattern.search(line)), None)
