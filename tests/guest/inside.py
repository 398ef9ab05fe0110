# SPDX-License-Identifier: GPL-2.0-or-later
"""What is checked of a guest's memory and registers on every platform."""

from __future__ import annotations

import pytest

from snp_harness.errors import MemoryAccessError, UsageError
from snp_harness.guest.guest import Guest

#: Parametrizes a test's `platform`.
ON_EVERY_PLATFORM = pytest.mark.parametrize(
    "platform",
    [
        pytest.param("emulated", marks=pytest.mark.emulated),
        pytest.param("tcg", marks=pytest.mark.tcg),
        pytest.param("nested", marks=[pytest.mark.nested, pytest.mark.slow]),
    ],
)


def look_inside(guest: Guest) -> None:
    """What is the same on every platform, in a guest that waits in a loop of COM1."""
    guest.wait_for("ready")
    # The line's end is still to be written then, to another port. Each look takes longer than that.
    for _ in range(100):
        found = guest.registers()
        if found["rdx"] & 0xFFFF == 0x3FD:
            break
    assert found["rdx"] & 0xFFFF == 0x3FD
    assert found["cs_base"] == 0xF0000
    # in al, dx; test al, 1; jz
    assert bytes.fromhex("eca80174") in guest.memory.read(found["cs_base"] + found["rip"] - 4, 12)
    states = [guest.paused]
    with pytest.raises(UsageError, match="the guest has no vCPU 1"):
        guest.registers(1)
    guest.pause()
    pattern = bytes(range(256)) * 20
    guest.memory.write(0x100FFB, pattern)
    assert guest.memory.read(0x100FFB, len(pattern)) == pattern
    assert guest.memory.read(0x100FFA, 3) == b"\0" + pattern[:2]
    assert guest.memory.read(0x2000, 0) == b""
    states.append(guest.paused)
    guest.resume()
    guest.memory.write(0x2000, b"in a guest that runs")
    assert guest.memory.read(0x2000, 4) == b"in a"
    assert [*states, guest.paused] == [False, True, False]
    with pytest.raises(MemoryAccessError, match="GPA FEE00000"):
        guest.memory.read(0xFEE00000, 4)
    with pytest.raises(UsageError, match="at most 1048576"):
        guest.memory.read(0, 1 << 30)
    guest.console.send("still there")
    guest.wait_for("still there")
