# SPDX-License-Identifier: GPL-2.0-or-later
"""The console's printf: 31 characters at most here, the driver's buffer."""

from __future__ import annotations

import pytest

from tests.emulator.svsm.driver import Svsm


@pytest.mark.parametrize(
    ("text", "value", "printed"),
    [
        ("plain", 0, "plain"),
        ("%lx.", 0, "0."),
        ("%lx", (1 << 64) - 1, "ffffffffffffffff"),
        ("%lX", 0xBEEF, "BEEF"),
        ("%lu", (1 << 64) - 1, "18446744073709551615"),
        ("%x", 0x1_2345_6789, "23456789"),
        ("%u", 1 << 32, "0"),
        ("%08x|", 0xAB, "000000ab|"),
        ("%4lu|", 7, "   7|"),
        ("%2lx", 0x123, "123"),
        ("%c%%", 0x41, "A%"),
        ("100%", 0, "100"),
        ("%040lx", 1, "0" * 31),
        ("0123456789012345678901234567890123456789", 0, "0123456789012345678901234567890"),
    ],
)
def test_format(svsm: Svsm, text: str, value: int, printed: str) -> None:
    length, _, output = svsm.command("format", value, text).partition(" ")
    assert output == printed
    assert int(length, 16) == len(printed)
