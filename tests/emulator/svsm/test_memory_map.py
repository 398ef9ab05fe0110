# SPDX-License-Identifier: GPL-2.0-or-later
"""Which addresses are the guest's."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulator.svsm.driver import FLASH, FLASH_SIZE, HIGH, PAGE, RAM_HIGH, RAM_LOW, SVSM_BASE, SVSM_SIZE, Svsm

GIB = 1 << 30


def is_guest(svsm: Svsm, gpa: int, size: int) -> bool:
    return svsm.command("guest", gpa, size) == "1"


@pytest.mark.parametrize(
    ("gpa", "size", "guest"),
    [
        (0, PAGE, True),
        (0, RAM_LOW, True),
        (0, RAM_LOW + 1, False),
        (RAM_LOW - 1, 1, True),
        (RAM_LOW, 1, False),
        (0, 0, False),
        (HIGH, RAM_HIGH, True),
        (FLASH, FLASH_SIZE, True),
        (FLASH, FLASH_SIZE + RAM_HIGH, True),  # flash ends where the high RAM starts
        (FLASH, FLASH_SIZE + RAM_HIGH + 1, False),
        (SVSM_BASE - 1, 2, False),
        (SVSM_BASE, 8, False),
        (SVSM_BASE + SVSM_SIZE - 8, 8, False),
        ((1 << 64) - 8, 8, False),
        ((1 << 64) - 8, 16, False),
        (1 << 51, PAGE, False),
    ],
)
def test_is_guest(svsm: Svsm, gpa: int, size: int, guest: bool) -> None:
    assert is_guest(svsm, gpa, size) == guest


@pytest.mark.parametrize(
    "arguments",
    [
        (SVSM_BASE + 8, SVSM_SIZE, RAM_LOW, 0, 2, 1, 0),  # base
        (SVSM_BASE, 0, RAM_LOW, 0, 2, 1, 0),  # no memory
        (SVSM_BASE, SVSM_SIZE + 1, RAM_LOW, 0, 2, 1, 0),
        (512 * GIB, SVSM_SIZE, RAM_LOW, 0, 2, 1, 0),  # beyond the page tables
        (SVSM_BASE, SVSM_SIZE, RAM_LOW, 512 * GIB, 2, 1, 0),  # RAM beyond them
        (SVSM_BASE, SVSM_SIZE, RAM_LOW, 0, 2, 1, 0, SVSM_BASE + PAGE, PAGE),  # a region inside the SVSM
        (SVSM_BASE, SVSM_SIZE, RAM_LOW, 0, 2, 1, 0, FLASH + 1, PAGE),
        (SVSM_BASE, SVSM_SIZE, RAM_LOW, 0, 2, 1, 0, (1 << 64) - PAGE, 2 * PAGE),
        (SVSM_BASE, SVSM_SIZE, RAM_LOW, 0, 2, 1, 0, *([FLASH, PAGE] * 41)),  # more than the block holds
    ],
)
def test_contradicting_boot_block(svsm: Svsm, arguments: tuple[int, ...]) -> None:
    assert svsm.command("boot", *arguments) == "refused"


def test_svsm_inside_guest_ram(svsm: Svsm) -> None:
    base, size = 0x400000, 0x200000
    assert svsm.command("boot", base, size, RAM_LOW, 0, 2, 1, 0) == "ok"
    assert is_guest(svsm, base - PAGE, PAGE)
    assert not is_guest(svsm, base - PAGE, PAGE + 1)
    assert not is_guest(svsm, base, PAGE)
    assert not is_guest(svsm, 0, RAM_LOW)
    assert is_guest(svsm, base + size, RAM_LOW - base - size)


@given(gpa=st.integers(0, (1 << 64) - 1), size=st.integers(0, (1 << 64) - 1))
@settings(max_examples=200, deadline=None)
def test_nothing_beyond_the_regions(shared_svsm: Svsm, gpa: int, size: int) -> None:
    last = gpa + size - 1
    inside = size > 0 and (last < RAM_LOW or (gpa >= FLASH and last < HIGH + RAM_HIGH))
    assert is_guest(shared_svsm, gpa, size) == inside
