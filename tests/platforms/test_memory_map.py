# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the emulated host and its log lie, for any amount of guest RAM."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.errors import UsageError
from snp_harness.platforms.memory_map import HOST_SIZE, LAUNCH_MAX, RING_RECORDS, memory_map
from snp_harness.svsm import reference

GIB = 1 << 30
FOUR_GIB = 4 * GIB


def test_a_small_guest() -> None:
    found = memory_map(512 << 20, 40)
    assert (found.ram_low, found.ram_high) == (512 << 20, 0)
    assert found.host_base == FOUR_GIB
    assert found.ring_base == FOUR_GIB + found.host_size
    assert found.ring_size == 4096 + RING_RECORDS * 64
    assert found.ring_file_size >= found.ring_size


@pytest.mark.parametrize(
    ("ram", "low", "host"),
    [
        (0xB0000000 - (1 << 20), 0xB0000000 - (1 << 20), FOUR_GIB),
        (0xB0000000, 0x80000000, FOUR_GIB + GIB),
        (4 * GIB, 2 * GIB, FOUR_GIB + 2 * GIB),
        (4 * GIB + (1 << 20), 2 * GIB, FOUR_GIB + 3 * GIB),
    ],
)
def test_q35_s_split(ram: int, low: int, host: int) -> None:
    found = memory_map(ram, 40)
    assert (found.ram_low, found.ram_high, found.host_base) == (low, ram - low, host)


@given(st.integers(128, 1 << 18), st.integers(36, 46))
def test_nothing_overlaps(mib: int, phys_bits: int) -> None:
    ram = mib << 20
    try:
        found = memory_map(ram, phys_bits)
    except UsageError:
        assert ram > 16 * GIB
        return
    assert found.ram_low + found.ram_high == ram
    assert found.host_base >= FOUR_GIB + found.ram_high
    assert found.host_base % GIB == 0
    assert found.ring_base % (2 << 20) == found.ring_file_size % (2 << 20) == found.host_size % (2 << 20) == 0
    assert found.host_size >= HOST_SIZE + ram // 1024
    assert found.launch_base == found.ring_base + found.ring_file_size
    assert found.launch_base + LAUNCH_MAX <= found.svsm_gpa
    assert found.svsm_gpa + reference.MEMORY <= min(1 << phys_bits, 1 << 39)
    assert found.svsm_gpa % (2 << 20) == 0
    assert found.maxmem >= ram + found.host_size + found.ring_file_size
